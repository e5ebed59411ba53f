//! `actions`: what people have to do, on a terminal.

use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, bail};
use sqlx::PgPool;

use super::refusal;
use crate::config::Config;
use crate::manual_action::instructions::printable;
use crate::manual_action::store::{self, Card, Line};
use crate::schema;
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
    let pool = schema::connect(&config.database).await?;
    schema::check(&pool).await?;
    match command {
        Command::List { status, all, workspace, limit, json } => {
            let statuses = if all || !status.is_empty() { status } else { unfinished() };
            let lines = store::list(&pool, &statuses, workspace.as_deref(), limit).await?;
            print(&if json { self::json(&lines)? } else { table(&lines) })
        }
        Command::Show { id } => show(&pool, id).await,
        Command::Done { id, note, name } => done(&pool, id, note.as_deref(), &name).await,
    }
}

fn unfinished() -> Vec<String> {
    STATUSES[..3].iter().map(ToString::to_string).collect()
}

fn json(lines: &[Line]) -> Result<String, serde_json::Error> {
    lines.iter().map(|line| Ok(serde_json::to_string(line)? + "\n")).collect()
}

fn table(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "no such actions\n".to_owned();
    }
    let heads = ["ID", "STATUS", "DUE", "OPERATION", "APP", "MEMBER", "WORKSPACE", "WHY"]
        .map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(heads).chain(lines.iter().map(cells)).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let aligned = |row: &[String; 8]| {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(aligned).collect()
}

/// Writes to stdout; a reader who has seen enough, such as `head`, ends it quietly.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("stdout cannot be written"),
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
    // The instructions were rendered from names that anybody may type, and made printable then.
    let mut text = format!(
        "Manual action {id} of workspace {}: {}\n\n{}\n\n",
        card.workspace_id, card.status, card.instructions
    );
    for (name, value) in facts(&card) {
        text.push_str(&format!("{name:<18}{value}\n"));
    }
    text.push_str("\nWhat happened:\n");
    for line in store::trail(pool, &card).await? {
        let (at, actor) = (line.at.format("%Y-%m-%d %H:%M:%S UTC"), printable(&line.actor));
        text.push_str(&format!("  {at}  {:<24}{actor}\n", line.what));
    }
    print(&text)
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
