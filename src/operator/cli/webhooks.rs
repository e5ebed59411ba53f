//! `webhooks`: events of Cerby's webhooks that are not resolved, on a terminal.

use std::path::Path;
use std::process::ExitCode;

use super::desk;
use super::several::{Several, Verb};
use super::terminal::{Clock, List, ListFormat, more};
use crate::intake::webhook::review::{WebhookFilter, WebhookLine};
use crate::operator::cursor::InWorkspace;
use crate::operator::desk::Actor;
use crate::text::printable;

/// What to do with events of webhooks.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List events whose job could not be made into tasks yet, and why
    List {
        /// Only this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Those that come after this one in the list
        #[arg(long, value_name = "WORKSPACE/ID")]
        after: Option<InWorkspace>,
        #[command(flatten)]
        format: ListFormat,
    },
    /// End events that cannot be resolved: their jobs are not read any more
    Dismiss {
        #[command(flatten)]
        which: Several,
        /// The workspace of the events
        #[arg(long)]
        workspace: String,
        /// Why, for whoever reads the trail
        #[arg(long)]
        reason: String,
    },
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<ExitCode> {
    let (_, desk) = desk(file).await?;
    match command {
        Command::List { workspace, limit, after, format } => {
            let after = after.as_ref().map(InWorkspace::pair);
            let filter = WebhookFilter { workspace: workspace.as_deref(), after, limit };
            let read = async || {
                let lines = desk.webhooks(&Actor::by_login(), filter).await?;
                let last =
                    lines.last().map(|one| InWorkspace::new(&one.workspace_id, &one.event_id));
                format.render(&listed(&lines, more(lines.len(), limit, last)))
            };
            format.show(read).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Dismiss { which, workspace, reason } => {
            let actor = which.actor(&desk).await?;
            let preview =
                async |ids: &[String]| Ok(ids.iter().map(|id| printable(id) + "\n").collect());
            let act = async |id: String| {
                desk.dismiss_webhook(&actor, &workspace, &id, &reason).await?;
                Ok(format!("event {} is dismissed: its job is not read any more\n", printable(&id)))
            };
            let verb = Verb { verb: "dismiss", rows: "webhook events" };
            which.each(verb, preview, act).await
        }
    }
}

fn listed(lines: &[WebhookLine], below: String) -> List<'_, WebhookLine, 7> {
    List {
        lines,
        heads: ["EVENT", "TYPE", "JOB", "PROBLEM", "RECEIVED", "NEXT ATTEMPT", "WORKSPACE"],
        wide: &["TYPE"],
        cells,
        nothing: "every event of a webhook is resolved",
        below,
    }
}

fn cells(line: &WebhookLine, clock: Clock) -> [String; 7] {
    [
        printable(&line.event_id),
        printable(&line.event_type),
        printable(&line.job_id),
        printable(&line.problem),
        clock.minute(line.received_at),
        line.next_attempt_at.map_or("given up".to_owned(), |at| clock.minute(at)),
        line.workspace_id.clone(),
    ]
}
