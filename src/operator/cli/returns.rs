//! `returns`: how the return of several actions to automation went, on a terminal.

use std::path::Path;

use super::desk;
use super::terminal::{CardFormat, Clock, List, ListFormat, clock, facts, more};
use crate::manual_action::return_review::{ReturnFilter, ReturnLine};
use crate::manual_action::returns::ReturnState;
use crate::operator::desk::{Actor, Names};
use crate::text::printable;

/// What to do with returns.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List returns of several actions to automation, the newest first
    List {
        /// Only this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// Only this integration
        #[arg(long)]
        integration: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Those that come after this one in the list
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
        #[command(flatten)]
        format: ListFormat,
    },
    /// Show one return: its canary, what was sent, and what stays with people
    Show {
        /// The return's id
        id: i64,
        #[command(flatten)]
        format: CardFormat,
    },
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let (_, desk) = desk(file).await?;
    match command {
        Command::List { workspace, integration, limit, after, format } => {
            let (workspace, integration) = (workspace.as_deref(), integration.as_deref());
            let filter = ReturnFilter { id: None, workspace, integration, after, limit };
            let read = async || {
                let lines = desk.returns(&Actor::by_login(), filter).await?;
                let below = more(lines.len(), limit, lines.last().map(|line| line.id));
                format.render(&listed(&lines, below))
            };
            format.show(read).await
        }
        Command::Show { id, format } => {
            let actor = Actor::by_login();
            let (line, names) = (desk.find_return(&actor, id).await?, desk.names(&actor).await?);
            format.print(&line, |line| page(line, &names))
        }
    }
}

fn listed(lines: &[ReturnLine], below: String) -> List<'_, ReturnLine, 10> {
    List {
        lines,
        heads: [
            "ID",
            "STATE",
            "APP",
            "REQUESTED",
            "CANARY",
            "SENT",
            "REMAINING",
            "WHY",
            "INTEGRATION",
            "WORKSPACE",
        ],
        wide: &["INTEGRATION", "WORKSPACE"],
        cells,
        nothing: "no such returns",
        below,
    }
}

fn cells(line: &ReturnLine, clock: Clock) -> [String; 10] {
    [
        line.id.to_string(),
        line.state.clone(),
        printable(&line.integration_name),
        clock.minute(line.requested_at),
        format!("task {}", line.canary_task_id),
        line.sent.to_string(),
        line.remaining_action_ids.len().to_string(),
        printable(&line.reason),
        printable(&line.integration_id),
        printable(&line.workspace_id),
    ]
}

/// What a state means for the actions that have not returned.
fn outlook(state: ReturnState) -> &'static str {
    match state {
        ReturnState::Waiting => "the rest follows when the canary has worked",
        ReturnState::Releasing => "the canary worked, and the rest is being sent",
        ReturnState::Released => "all have returned",
        ReturnState::Stopped => "the canary failed, and the rest stays with people",
    }
}

fn page(line: &ReturnLine, names: &Names) -> String {
    let moment = |at| clock().moment(at);
    let canary = line.canary_state.as_deref().unwrap_or("deleted");
    let reason = line.canary_reason.as_deref().map(printable).unwrap_or_default();
    let outlook = match line.state.parse() {
        Ok(state) => outlook(state),
        Err(_) => "a newer program knows what this means",
    };
    let remaining: Vec<_> = line.remaining_action_ids.iter().map(i64::to_string).collect();
    let head = format!(
        "Return {} of workspace {}: {}: {}\n\n",
        line.id,
        printable(&line.workspace_id),
        line.state,
        outlook
    );
    head + &facts([
        ("app", Some(format!("{} ({})", printable(&line.integration_name), line.integration_id))),
        ("failure code", line.failure_code.as_deref().map(printable)),
        ("operation", line.operation.clone()),
        ("reason", Some(printable(&line.reason))),
        ("requested", Some(moment(line.requested_at))),
        ("requested by", Some(printable(names.of(&line.requested_by)))),
        ("canary", Some(format!("task {}: {canary}. {reason}", line.canary_task_id))),
        ("sent", Some(format!("{} after the first canary", line.sent))),
        ("remaining", (!remaining.is_empty()).then(|| format!("actions {}", remaining.join(" ")))),
        ("decided", line.decided_at.map(moment)),
    ])
}
