//! `syncs`: what snapshots of the apps found, and decisions on held reports, on a terminal.

mod page;

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::several::{Several, Verb};
use super::terminal::{CardFormat, Clock, List, ListFormat, more, print};
use super::{Acting, desk};
use crate::operator::desk::{Actor, Desk, DeskError};
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
        #[command(flatten)]
        format: ListFormat,
    },
    /// Show one sync: its snapshot and how complete it was, everybody who differs, and what happened to it
    Show {
        /// The sync's id
        id: i64,
        #[command(flatten)]
        format: CardFormat,
    },
    /// Let held reports be applied, removals included, if they are still the same
    Approve(Decision),
    /// End syncs whose report is held; nothing of the report is applied
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

/// On which reports, why, and who decides.
#[derive(Debug, clap::Args)]
pub(super) struct Decision {
    #[command(flatten)]
    which: Several,
    /// Why, for whoever wonders
    #[arg(long)]
    reason: String,
}

impl Decision {
    async fn each(
        &self,
        desk: &Desk,
        verb: &'static str,
        act: impl AsyncFn(&Actor, i64) -> Result<String, DeskError>,
    ) -> anyhow::Result<ExitCode> {
        let actor = self.which.actor(desk).await?;
        let preview = async |ids: &[i64]| {
            let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            let filter = Filter { ids, limit, ..Filter::default() };
            listed(&desk.syncs(&Actor::by_login(), filter).await?, "no such syncs", String::new())
                .shown()
        };
        let verb = Verb { verb, rows: "syncs" };
        self.which.each(verb, preview, async |id| act(&actor, id).await).await
    }
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<ExitCode> {
    let (_, desk) = desk(file).await?;
    match command {
        Command::List { integration, workspace, held, limit, after, format } => {
            let (workspace, integration) = (workspace.as_deref(), integration.as_deref());
            let filter = Filter { workspace, integration, held, ids: &[], after, limit };
            let nothing = if held { "no report is held" } else { "no such syncs" };
            let read = async || {
                let lines = desk.syncs(&Actor::by_login(), filter).await?;
                let below = more(lines.len(), limit, lines.last().map(|line| line.id));
                format.render(&listed(&lines, nothing, below))
            };
            format.show(read).await?;
        }
        Command::Show { id, format } => {
            let actor = Actor::by_login();
            let (card, names) = (desk.sync(&actor, id).await?, desk.names(&actor).await?);
            format.print(&card, |card| page::of(card, &names))?;
        }
        Command::Approve(decision) => {
            let act = async |actor: &Actor, id| {
                desk.approve(actor, id, &decision.reason).await?;
                Ok(format!(
                    "sync {id} is approved: its report is applied if it is still the same\n"
                ))
            };
            return decision.each(&desk, "approve", act).await;
        }
        Command::Reject(decision) => {
            let act = async |actor: &Actor, id| {
                desk.reject(actor, id, &decision.reason).await?;
                Ok(format!("sync {id} is rejected: nothing of it is applied\n"))
            };
            return decision.each(&desk, "reject", act).await;
        }
        Command::Request { integration, workspace, acting } => {
            let integration =
                desk.integration(&Actor::by_login(), &integration, workspace.as_deref()).await?;
            let active = desk.request(&acting.actor(&desk).await?, &integration).await?;
            let id = &integration.id;
            print(&match active {
                None => format!("a snapshot of {id} is requested: the app is read now\n"),
                Some((active, state)) => format!(
                    "a snapshot of {id} is requested: the app is read when sync {active}, which is {state}, has ended\n"
                ),
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn listed<'a>(lines: &'a [SyncLine], nothing: &'a str, below: String) -> List<'a, SyncLine, 13> {
    List {
        lines,
        heads: [
            "ID",
            "STATE",
            "APP",
            "CAUSES",
            "STARTED",
            "MEMBERS",
            "COMPLETE",
            "DIFFERENCES",
            "WHY",
            "REQUESTED",
            "FINISHED",
            "INTEGRATION",
            "WORKSPACE",
        ],
        wide: &["REQUESTED", "FINISHED", "INTEGRATION", "WORKSPACE"],
        cells,
        nothing,
        below,
    }
}

fn cells(line: &SyncLine, clock: Clock) -> [String; 13] {
    let nothing = || "-".to_owned();
    let time = |at| clock.minute(at);
    let read = |key: &str| line.snapshot.as_ref().and_then(|snapshot| snapshot.get(key));
    let complete = read("complete").and_then(Value::as_bool);
    [
        line.id.to_string(),
        line.state.clone(),
        printable(&line.integration_name),
        line.causes.join(","),
        line.started_at.map_or_else(nothing, time),
        read("members").and_then(Value::as_u64).map_or_else(nothing, |count| count.to_string()),
        complete.map_or("-", |complete| if complete { "yes" } else { "NO" }).to_owned(),
        line.counts.as_ref().map_or_else(nothing, differences),
        printable(&why(line, clock)),
        time(line.requested_at),
        line.finished_at.map_or_else(nothing, time),
        printable(&line.integration_id),
        printable(&line.workspace_id),
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
fn why(line: &SyncLine, clock: Clock) -> String {
    let held = line.held_reason.as_deref().filter(|_| line.state == "held");
    match (held, line.held_until, &line.finished_reason, &line.last_error) {
        (Some(reason), Some(until), ..) => {
            format!("{reason}; decide until {}", clock.minute(until))
        }
        (.., Some(finished), _) => finished.clone(),
        (.., None, Some(error)) => format!("tried again: {error}"),
        _ if line.state == "requested" => format!("due {}", clock.minute(line.next_step_at)),
        (.., None, None) => String::new(),
    }
}
