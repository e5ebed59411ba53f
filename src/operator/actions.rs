//! `actions`: what people have to do, on a terminal.

use std::path::Path;

use anyhow::{Context, bail};
use sqlx::PgPool;

use super::refusal;
use crate::config::Config;
use crate::manual_action::instructions::printable;
use crate::manual_action::store::{self, Card, Line};
use crate::schema::{self, Purpose};
use crate::store::{StoreError, begin_as};

/// What to do with actions.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List actions, the most urgent first
    List {
        /// Only these statuses; unfinished ones (open, in_progress, done) if none is given
        #[arg(long, value_parser = STATUSES)]
        status: Vec<String>,
        /// Ended ones too
        #[arg(long, conflicts_with = "status")]
        all: bool,
        /// Only this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: i64,
        /// One JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show one action: its instructions, where it stands, and what happened to it
    Show {
        /// The action's id
        id: i64,
    },
    /// Say that the change was made in the app; the app is then read to prove it
    Done {
        /// The action's id
        id: i64,
        /// What was done, for whoever reads the trail
        #[arg(long)]
        note: Option<String>,
        /// Your name, where several people share one database login
        #[arg(long = "as", env = "USER", value_name = "NAME", default_value = "unknown")]
        name: String,
    },
}

const STATUSES: [&str; 8] = [
    "open",
    "in_progress",
    "done",
    "verified",
    "attested",
    "not_needed",
    "dismissed",
    "superseded",
];

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    let pool = schema::connect(&config.database, Purpose::Work).await?;
    schema::check(&pool).await?;
    match command {
        Command::List { status, all, workspace, limit, json } => {
            let statuses = if all || !status.is_empty() { status } else { unfinished() };
            let lines = store::list(&pool, &statuses, workspace.as_deref(), limit).await?;
            if json {
                return print_json(&lines);
            }
            print_table(&lines);
            Ok(())
        }
        Command::Show { id } => show(&pool, id).await,
        Command::Done { id, note, name } => done(&pool, id, note.as_deref(), &name).await,
    }
}

fn unfinished() -> Vec<String> {
    STATUSES[..3].iter().map(ToString::to_string).collect()
}

fn print_json(lines: &[Line]) -> anyhow::Result<()> {
    for line in lines {
        println!("{}", serde_json::to_string(line)?);
    }
    Ok(())
}

fn print_table(lines: &[Line]) {
    if lines.is_empty() {
        println!("no such actions");
        return;
    }
    let heads = ["ID", "STATUS", "DUE", "OPERATION", "APP", "MEMBER", "WORKSPACE", "WHY"]
        .map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(heads).chain(lines.iter().map(cells)).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    for row in &rows {
        let padded: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", padded.join("  ").trim_end());
    }
}

fn cells(line: &Line) -> [String; 8] {
    let again = if line.reopened_count > 0 {
        format!(" (reopened {}×)", line.reopened_count)
    } else {
        String::new()
    };
    let due = line.due_at.format("%Y-%m-%d %H:%M UTC");
    [
        line.id.to_string(),
        format!("{}{again}", line.status),
        if line.overdue { format!("{due} OVERDUE") } else { due.to_string() },
        line.operation.clone(),
        printable(&line.integration_name),
        printable(&line.member_email),
        line.workspace_id.clone(),
        printable(&line.reason),
    ]
}

async fn show(pool: &PgPool, id: i64) -> anyhow::Result<()> {
    let card =
        store::find(pool, id).await?.with_context(|| format!("there is no manual action {id}"))?;
    println!("Manual action {id} of workspace {}: {}\n", card.workspace_id, card.status);
    // Rendered from names that anybody may type: made printable when it was rendered.
    println!("{}\n", card.instructions);
    for (name, value) in facts(&card) {
        println!("{name:<18}{value}");
    }
    println!("\nWhat happened:");
    for line in store::trail(pool, &card).await? {
        println!(
            "  {}  {:<24}{}",
            line.at.format("%Y-%m-%d %H:%M:%S UTC"),
            line.what,
            printable(&line.actor)
        );
    }
    Ok(())
}

fn facts(card: &Card) -> Vec<(&'static str, String)> {
    let time =
        |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let mut facts = vec![
        ("due", time(card.due_at)),
        ("opened", time(card.opened_at)),
        ("attempts", card.attempts.to_string()),
        ("reopened", card.reopened_count.to_string()),
    ];
    let texts = [
        ("failure message", card.failure_message.clone()),
        ("assignee", card.assignee.clone()),
        ("note", card.note.clone()),
        ("done by", card.done_by.clone()),
        ("done at", card.done_at.map(time)),
        ("verdict", card.verdict.clone()),
        ("verdict at", card.verdict_at.map(time)),
        ("seen", card.seen.clone()),
    ];
    facts.extend(texts.into_iter().filter_map(|(name, text)| Some((name, printable(&text?)))));
    facts
}

async fn done(pool: &PgPool, id: i64, note: Option<&str>, name: &str) -> anyhow::Result<()> {
    let mut tx = begin_as(pool, &format!("cli:{name}")).await?;
    match store::mark_done(&mut tx, id, note).await {
        Ok(true) => tx.commit().await?,
        Ok(false) => bail!("there is no manual action {id}"),
        Err(StoreError::Database(error)) => bail!("{}", refusal::words(&error)),
        Err(error) => return Err(error.into()),
    }
    println!("action {id} is done; the app will be read to prove it");
    Ok(())
}
