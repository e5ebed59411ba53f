//! `tasks`: automation tasks, on a terminal.

use std::path::Path;
use std::process::ExitCode;

use super::desk;
use super::several::{Several, Verb};
use super::terminal::{CardFormat, Clock, List, ListFormat, clock, facts, happened, more};
use crate::operator::desk::{Actor, Names, TaskCard};
use crate::retry::review::{TaskFilter, TaskLine};
use crate::text::printable;

/// What to do with tasks.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List unfinished tasks, the oldest first: why each waits, until when, and who can change that
    List {
        /// Only this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// Only this integration
        #[arg(long)]
        integration: Option<String>,
        /// Only this member, by id or email
        #[arg(long)]
        member: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Those that come after this one in the list
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
        #[command(flatten)]
        format: ListFormat,
    },
    /// Show one task: where it stands, why, and what happened to it
    Show {
        /// The task's id
        id: i64,
        #[command(flatten)]
        format: CardFormat,
    },
    /// Cancel tasks that are not to be tried any more
    ///
    /// Nothing more is asked of the backend for it. What is on its way is waited for, then the task ends as cancelled.
    Cancel {
        #[command(flatten)]
        which: Several,
        /// Why, for whoever reads the trail
        #[arg(long)]
        reason: String,
    },
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<ExitCode> {
    let (_, desk) = desk(file).await?;
    match command {
        Command::List { workspace, integration, member, limit, after, format } => {
            let (workspace, integration) = (workspace.as_deref(), integration.as_deref());
            let member = member.as_deref();
            let filter = TaskFilter { workspace, integration, member, ids: &[], after, limit };
            let read = async || {
                let lines = desk.tasks(&Actor::by_login(), filter).await?;
                let below = more(lines.len(), limit, lines.last().map(|line| line.id));
                format.render(&listed(&lines, below))
            };
            format.show(read).await?;
        }
        Command::Show { id, format } => {
            let actor = Actor::by_login();
            let (card, names) = (desk.task(&actor, id).await?, desk.names(&actor).await?);
            format.print(&card, |card| page(card, &names))?;
        }
        Command::Cancel { which, reason } => {
            let actor = which.actor(&desk).await?;
            let preview = async |ids: &[i64]| {
                let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                let filter = TaskFilter { ids, limit, ..TaskFilter::default() };
                listed(&desk.tasks(&Actor::by_login(), filter).await?, String::new()).shown()
            };
            let act = async |id: i64| {
                desk.cancel(&actor, id, &reason).await?;
                Ok(format!(
                    "Task {id} is not tried any more. It ends once nothing of it is on its way.\n"
                ))
            };
            return which.each(Verb { verb: "cancel", rows: "tasks" }, preview, act).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(lines: &[TaskLine], below: String) -> List<'_, TaskLine, 9> {
    List {
        lines,
        heads: [
            "ID",
            "STATE",
            "OPERATION",
            "APP",
            "MEMBER",
            "RECEIVED",
            "WHY IT WAITS",
            "INTEGRATION",
            "WORKSPACE",
        ],
        wide: &["INTEGRATION", "WORKSPACE"],
        cells,
        nothing: "no task is unfinished",
        below,
    }
}

fn cells(line: &TaskLine, clock: Clock) -> [String; 9] {
    [
        line.id.to_string(),
        line.state.clone(),
        line.operation.clone(),
        printable(&line.integration_name),
        printable(&line.member_email),
        clock.minute(line.received_at),
        printable(&line.why),
        printable(&line.integration_id),
        printable(&line.workspace_id),
    ]
}

fn page(TaskCard { facts: card, trail }: &TaskCard, names: &Names) -> String {
    let text = format!(
        "Task {} of workspace {}: {} for {} in {}: {}\n\n{}\n\n",
        card.id,
        card.workspace_id,
        card.operation,
        printable(&card.member_email),
        printable(&card.integration_name),
        card.state,
        printable(&card.reason)
    );
    let moment = |at| clock().moment(at);
    let known = facts([
        ("source id", Some(printable(&card.source_id))),
        ("integration", Some(card.integration_id.clone())),
        ("member", Some(card.member_id.clone())),
        ("trigger", Some(card.trigger.clone())),
        ("requested", Some(moment(card.requested_at))),
        ("received", Some(moment(card.received_at))),
        ("attempts", Some(card.attempts.to_string())),
        ("failure code", card.failure_code.as_deref().map(printable)),
        ("last error", card.last_error.as_deref().map(printable)),
        ("ended", card.closed_at.map(moment)),
        ("superseded by", card.superseded_by.map(|id| format!("task {id}"))),
        ("manual action", card.action_id.map(|id| id.to_string())),
    ]);
    text + &known + &happened(trail, names)
}
