//! `actions`: what people have to do, on a terminal.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use super::terminal::{happened, json, moment, print, table};
use super::{acting, connected};
use super::{refusal, returns};
use crate::catalogue;
use crate::database::PgPool;
use crate::history;
use crate::manual_action::store::{self, ActionLine, Card, Proof};
use crate::text::printable;

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
    /// Send actions back to automation after a fix: shows what would be sent, and sends it with --yes
    ///
    /// One action by its id; or all open ones of an integration, by failure code and operation: then one canary
    /// goes first, and the rest follows when it has worked.
    Return(returns::Options),
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
    /// Take back that the change was made, before it was judged: only who said it may
    Withdraw {
        /// Which one, and who
        #[command(flatten)]
        which: ActionArg,
    },
    /// Take up an action: an open one, or with --take-over and a note one that a colleague works on
    Claim {
        /// Which one, and who
        #[command(flatten)]
        which: ActionArg,
        /// Take it over from whoever works on it
        #[arg(long, requires = "note")]
        take_over: bool,
        /// Why it is taken over
        #[arg(long, requires = "take_over")]
        note: Option<String>,
    },
    /// Give an action to a colleague: your own, or one that nobody works on
    HandOver {
        /// Which one, and who
        #[command(flatten)]
        which: ActionArg,
        /// The colleague
        assignee: String,
        /// Why, or what they need to know
        #[arg(long)]
        note: String,
    },
    /// Give back an action that you work on, for anybody to claim
    Release {
        /// Which one, and who
        #[command(flatten)]
        which: ActionArg,
    },
    /// Confirm what another person said, where the app cannot be read and its integration asks for a second person
    Confirm {
        /// Which one, and who
        #[command(flatten)]
        which: ActionArg,
    },
}

/// An action, and who acts.
#[derive(Debug, clap::Args)]
pub struct ActionArg {
    /// The action's id
    id: i64,
    /// Your name, where several people share one database login
    #[arg(long = "as", env = "USER", value_name = "NAME", default_value = "unknown")]
    name: String,
}

const STATUSES: [&str; 9] = [
    "open",
    "in_progress",
    "done",
    "verified",
    "attested",
    "not_needed",
    "dismissed",
    "superseded",
    "returned",
];

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let (config, pool) = connected(file).await?;
    match command {
        Command::List { status, all, workspace, limit, json: as_json } => {
            let statuses = if all || !status.is_empty() { status } else { unfinished() };
            let lines = store::list(&pool, &statuses, workspace.as_deref(), limit).await?;
            print(&if as_json { json(&lines)? } else { listed(&lines) })
        }
        Command::Show { id } => show(&pool, id).await,
        Command::Return(options) => returns::run(&pool, &config, &options).await,
        Command::Done { id, note, name } => {
            let attest_after = config.manual_action.attest_after_s;
            done(&pool, id, note.as_deref(), &name, attest_after).await
        }
        Command::Withdraw { which } => withdraw(&pool, &which).await,
        Command::Claim { which, note, .. } => claim(&pool, &which, note.as_deref()).await,
        Command::HandOver { which, assignee, note } => {
            hand_over(&pool, &which, &assignee, &note).await
        }
        Command::Release { which } => release(&pool, &which).await,
        Command::Confirm { which } => confirm(&pool, &which).await,
    }
}

fn unfinished() -> Vec<String> {
    STATUSES[..3].iter().map(ToString::to_string).collect()
}

fn listed(lines: &[ActionLine]) -> String {
    if lines.is_empty() {
        return "no such actions\n".to_owned();
    }
    let heads = ["ID", "STATUS", "DUE", "OPERATION", "APP", "MEMBER", "WORKSPACE", "WHY"];
    table(heads, lines.iter().map(cells))
}

fn cells(line: &ActionLine) -> [String; 8] {
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
        member(line),
        line.workspace_id.clone(),
        printable(&line.reason),
    ]
}

/// Whom it is about; fixing a login is about nobody.
fn member(line: &ActionLine) -> String {
    if line.member_email.is_empty() { "-".to_owned() } else { printable(&line.member_email) }
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
    let rows = [("action", card.id), ("task", card.task_id)];
    text.push_str(&happened(&history::trail(pool, &card.workspace_id, &rows).await?));
    print(&text)
}

fn facts(card: &Card) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("due", moment(card.due_at)),
        ("opened", moment(card.opened_at)),
        ("attempts", card.attempts.to_string()),
        ("reopened", card.reopened_count.to_string()),
    ];
    let texts = [
        ("failure message", card.failure_message.clone()),
        ("assignee", card.assignee.clone()),
        ("note", card.note.clone()),
        ("done by", card.done_by.clone()),
        ("done at", card.done_at.map(moment)),
        ("confirmed by", card.confirmed_by.clone()),
        ("verdict", card.verdict.clone()),
        ("verdict at", card.verdict_at.map(moment)),
        ("observed", card.observed.clone()),
    ];
    facts.extend(texts.into_iter().filter_map(|(name, text)| Some((name, printable(&text?)))));
    facts
}

async fn done(
    pool: &PgPool,
    id: i64,
    note: Option<&str>,
    name: &str,
    attest_after_s: u64,
) -> anyhow::Result<()> {
    let mut tx = acting(pool, name).await?;
    let is_there = store::mark_done(&mut tx, id, note).await.map_err(refusal::of)?;
    let proof = store::proof(&mut tx, id).await?;
    let Some(proof) = proof.filter(|_| is_there) else { bail!("there is no manual action {id}") };
    tx.commit().await?;
    print(&format!("action {id} is done; {}\n", what_follows(id, &proof, attest_after_s)))
}

fn what_follows(id: i64, proof: &Proof, attest_after_s: u64) -> String {
    if catalogue::is_readable(&proof.application) {
        return "the app will be read to prove it".to_owned();
    }
    if proof.operation == "reconnect" {
        return "the app cannot be read: the next task shows whether the login works".to_owned();
    }
    let after = Duration::from_secs(attest_after_s);
    let once_confirmed = match proof.four_eyes {
        true => format!(", once another person has run `cerby-reconciler actions confirm {id}`"),
        false => String::new(),
    };
    format!(
        "the app cannot be read, so nothing will be checked: your word closes the action after {after:?}{once_confirmed}\n\
         If it was a mistake: `cerby-reconciler actions withdraw {id}`"
    )
}

async fn withdraw(pool: &PgPool, ActionArg { id, name }: &ActionArg) -> anyhow::Result<()> {
    let mut tx = acting(pool, name).await?;
    if !store::withdraw(&mut tx, *id).await.map_err(refusal::of)? {
        bail!("there is no manual action {id} that somebody called done");
    }
    tx.commit().await?;
    print(&format!("action {id} is open again: nothing is said of it any more\n"))
}

async fn claim(
    pool: &PgPool,
    ActionArg { id, name }: &ActionArg,
    note: Option<&str>,
) -> anyhow::Result<()> {
    let mut tx = acting(pool, name).await?;
    store::claim(&mut tx, *id, note).await.map_err(refusal::of)?;
    tx.commit().await?;
    print(&format!("action {id} is yours\n"))
}

async fn hand_over(
    pool: &PgPool,
    ActionArg { id, name }: &ActionArg,
    assignee: &str,
    note: &str,
) -> anyhow::Result<()> {
    let mut tx = acting(pool, name).await?;
    store::hand_over(&mut tx, *id, assignee, note).await.map_err(refusal::of)?;
    tx.commit().await?;
    print(&format!("action {id} is {}'s\n", printable(assignee)))
}

async fn release(pool: &PgPool, ActionArg { id, name }: &ActionArg) -> anyhow::Result<()> {
    let mut tx = acting(pool, name).await?;
    if !store::release(&mut tx, *id).await.map_err(refusal::of)? {
        bail!("there is no manual action {id} that somebody works on");
    }
    tx.commit().await?;
    print(&format!("action {id} is open: anybody may claim it\n"))
}

async fn confirm(pool: &PgPool, ActionArg { id, name }: &ActionArg) -> anyhow::Result<()> {
    let mut tx = acting(pool, name).await?;
    store::confirm(&mut tx, *id).await.map_err(refusal::of)?;
    tx.commit().await?;
    print(&format!("action {id} is confirmed\n"))
}
