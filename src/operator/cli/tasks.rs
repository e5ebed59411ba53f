//! `tasks`: automation tasks, on a terminal.

use std::path::Path;

use super::terminal::{Format, facts, happened, json, moment, more, print, table};
use super::{Acting, desk};
use crate::operator::desk::{Desk, TaskPage};
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
        /// How to print the list
        #[command(flatten)]
        format: Format,
    },
    /// Show one task: where it stands, why, and what happened to it
    Show {
        /// The task's id
        id: i64,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Cancel a task that is not to be tried any more
    ///
    /// Nothing more is asked of the backend for it. What is on its way is waited for, then the task ends as cancelled.
    Cancel {
        /// The task's id
        id: i64,
        /// Why, for whoever reads the trail
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        acting: Acting,
    },
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let (_, desk) = desk(file).await?;
    match command {
        Command::List { workspace, integration, member, limit, after, format } => {
            let (workspace, integration) = (workspace.as_deref(), integration.as_deref());
            let member = member.as_deref();
            list(&desk, TaskFilter { workspace, integration, member, after, limit }, format).await
        }
        Command::Show { id, json: as_json } => show(&desk, id, as_json).await,
        Command::Cancel { id, reason, acting } => {
            desk.cancel(&acting.actor(), id, &reason).await?;
            print(&format!(
                "Task {id} is not tried any more. It ends once nothing of it is on its way.\n"
            ))
        }
    }
}

const HEADS: [&str; 8] =
    ["ID", "STATE", "OPERATION", "APP", "MEMBER", "WORKSPACE", "RECEIVED", "WHY IT WAITS"];

async fn list(desk: &Desk, filter: TaskFilter<'_>, format: Format) -> anyhow::Result<()> {
    let lines = desk.tasks(filter).await?;
    let more = more(lines.len(), filter.limit, lines.last().map(|line| line.id));
    let shown = match lines.is_empty() {
        true => "no task is unfinished\n".to_owned(),
        false => table(HEADS, lines.iter().map(cells)) + &more,
    };
    format.print(&lines, HEADS, cells, shown)
}

fn cells(line: &TaskLine) -> [String; 8] {
    [
        line.id.to_string(),
        line.state.clone(),
        line.operation.clone(),
        printable(&line.integration_name),
        printable(&line.member_email),
        line.workspace_id.clone(),
        moment(line.received_at),
        printable(&line.why),
    ]
}

async fn show(desk: &Desk, id: i64, as_json: bool) -> anyhow::Result<()> {
    let TaskPage { card, trail } = desk.task(id).await?;
    if as_json {
        return print(&json(&[&card])?);
    }
    let text = format!(
        "Task {id} of workspace {}: {} for {} in {}: {}\n\n{}\n\n",
        card.workspace_id,
        card.operation,
        printable(&card.member_email),
        printable(&card.integration_name),
        card.state,
        printable(&card.reason)
    );
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
    print(&(text + &known + &happened(&trail)))
}
