//! `syncs`: what snapshots of the apps found, and decisions on held reports, on a terminal.

mod page;

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::terminal::{json, more, print, table};
use super::{Acting, desk};
use crate::operator::desk::Desk;
use crate::sync::report::Class;
use crate::sync::review::{Filter, SyncLine};
use crate::text::printable;

/// What to do with syncs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List syncs and what they found, the newest first
    List {
        /// Only of this integration
        #[arg(long)]
        integration: Option<String>,
        /// Only of this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// Only those whose report waits for a decision
        #[arg(long)]
        held: bool,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Those that come after this one in the list
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
        /// One JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show one sync: its snapshot and how complete it was, everybody who differs, and what happened to it
    Show {
        /// The sync's id
        id: i64,
        /// One JSON object, with the report as it is stored
        #[arg(long)]
        json: bool,
    },
    /// Let a held report be applied, removals included, if it is still the same
    Approve(Decision),
    /// End a sync whose report is held; nothing of the report is applied
    Reject(Decision),
    /// Ask for a snapshot of an integration now
    Request {
        /// The integration's id
        #[arg(long)]
        integration: String,
        /// Its workspace; needed if several workspaces know the integration
        #[arg(long)]
        workspace: Option<String>,
        #[command(flatten)]
        acting: Acting,
    },
}

/// On which report, why, and who decides.
#[derive(Debug, clap::Args)]
pub(super) struct Decision {
    /// The sync's id
    id: i64,
    /// Why, for whoever wonders
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    acting: Acting,
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let (_, desk) = desk(file).await?;
    match command {
        Command::List { integration, workspace, held, limit, after, json: as_json } => {
            let (workspace, integration) = (workspace.as_deref(), integration.as_deref());
            let filter = Filter { workspace, integration, held, after, limit };
            let lines = desk.syncs(filter).await?;
            print(&match (as_json, lines.is_empty()) {
                (true, _) => json(&lines)?,
                (false, true) if held => "no report is held\n".to_owned(),
                (false, true) => "no such syncs\n".to_owned(),
                (false, false) => {
                    listed(&lines) + &more(lines.len(), limit, lines.last().map(|line| line.id))
                }
            })
        }
        Command::Show { id, json: as_json } => show(&desk, id, as_json).await,
        Command::Approve(Decision { id, reason, acting }) => {
            desk.approve(&acting.actor(), id, &reason).await?;
            print(&format!(
                "sync {id} is approved: its report is applied if it is still the same\n"
            ))
        }
        Command::Reject(Decision { id, reason, acting }) => {
            desk.reject(&acting.actor(), id, &reason).await?;
            print(&format!("sync {id} is rejected: nothing of it is applied\n"))
        }
        Command::Request { integration, workspace, acting } => {
            let integration = desk.integration(&integration, workspace.as_deref()).await?;
            let active = desk.request(&acting.actor(), &integration).await?;
            let id = &integration.id;
            print(&match active {
                None => format!("a snapshot of {id} is requested: the app is read now\n"),
                Some((active, state)) => format!(
                    "a snapshot of {id} is requested: the app is read when sync {active}, which is {state}, has ended\n"
                ),
            })
        }
    }
}

fn listed(lines: &[SyncLine]) -> String {
    let heads = [
        "ID",
        "STATE",
        "INTEGRATION",
        "CAUSES",
        "REQUESTED (UTC)",
        "STARTED (UTC)",
        "FINISHED (UTC)",
        "MEMBERS",
        "COMPLETE",
        "DIFFERENCES",
        "WORKSPACE",
        "WHY",
    ];
    table(heads, lines.iter().map(cells))
}

fn cells(line: &SyncLine) -> [String; 12] {
    let nothing = || "-".to_owned();
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M").to_string();
    let read = |key: &str| line.snapshot.as_ref().and_then(|snapshot| snapshot.get(key));
    let complete = read("complete").and_then(Value::as_bool);
    [
        line.id.to_string(),
        line.state.clone(),
        printable(&line.integration_name),
        line.causes.join(","),
        time(line.requested_at),
        line.started_at.map_or_else(nothing, time),
        line.finished_at.map_or_else(nothing, time),
        read("members").and_then(Value::as_u64).map_or_else(nothing, |count| count.to_string()),
        complete.map_or("-", |complete| if complete { "yes" } else { "NO" }).to_owned(),
        line.counts.as_ref().map_or_else(nothing, differences),
        printable(&line.workspace_id),
        printable(&why(line)),
    ]
}

/// The classes that somebody is in, but for those who are as desired.
fn differences(counts: &Value) -> String {
    let differ: Vec<_> = counted(counts)
        .filter(|(class, count)| *count > 0 && class != &word(Class::Matched))
        .map(|(class, count)| format!("{count} {class}"))
        .collect();
    if differ.is_empty() { "none".to_owned() } else { differ.join(", ") }
}

/// How many are in each class, the weightiest class first.
fn counted(counts: &Value) -> impl Iterator<Item = (String, u64)> {
    Class::ALL.into_iter().map(|class| {
        let class = word(class);
        let count = counts.get(&class).and_then(Value::as_u64).unwrap_or(0);
        (class, count)
    })
}

fn word(class: Class) -> String {
    json!(class).as_str().unwrap_or_default().to_owned()
}

/// Why it ended or waits, or what went wrong last.
fn why(line: &SyncLine) -> String {
    let held = line.held_reason.as_deref().filter(|_| line.state == "held");
    match (held, line.held_until, &line.finished_reason, &line.last_error) {
        (Some(reason), Some(until), ..) => {
            format!("{reason}; decide until {} UTC", until.format("%Y-%m-%d %H:%M"))
        }
        (.., Some(finished), _) => finished.clone(),
        (.., None, Some(error)) => format!("tried again: {error}"),
        _ if line.state == "requested" => {
            format!("due {} UTC", line.next_step_at.format("%Y-%m-%d %H:%M"))
        }
        (.., None, None) => String::new(),
    }
}

async fn show(desk: &Desk, id: i64, as_json: bool) -> anyhow::Result<()> {
    let sync = desk.sync(id).await?;
    match as_json {
        true => print(&json(&[sync.card])?),
        false => print(&page::of(&sync.card, &sync.trail)),
    }
}
