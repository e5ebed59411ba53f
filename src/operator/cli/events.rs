//! `events`: the trail, on a terminal.

use std::path::Path;

use super::terminal::{Clock, List, ListFormat, more};
use super::{desk, one_of};
use crate::history::{EventFilter, EventLine, Subject};
use crate::operator::desk::Actor;
use crate::text::printable;

/// What to do with the trail.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List what happened, the newest first: who, when, what, and to which row
    List {
        /// Only what happened to this kind of row
        #[arg(long, requires = "id", value_parser = one_of!(Subject))]
        subject: Option<Subject>,
        /// The id of the row
        #[arg(long, requires = "subject")]
        id: Option<String>,
        /// Only this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Those that come after this one in the list
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
        #[command(flatten)]
        format: ListFormat,
    },
}

/// Runs it.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let (_, desk) = desk(file).await?;
    let Command::List { subject, id, workspace, limit, after, format } = command;
    let row = subject.zip(id.as_deref());
    let filter = EventFilter { row, workspace: workspace.as_deref(), after, limit };
    let read = async || {
        let actor = Actor::by_login();
        let mut lines = desk.events(&actor, filter).await?;
        if format.is_for_people() {
            desk.names(&actor).await?.put_in(lines.iter_mut().map(|line| &mut line.actor));
        }
        let below = more(lines.len(), limit, lines.last().map(|line| line.id));
        format.render(&listed(&lines, below))
    };
    format.show(read).await
}

fn listed(lines: &[EventLine], below: String) -> List<'_, EventLine, 7> {
    List {
        lines,
        heads: ["ID", "AT", "WHAT", "ROW", "WHO", "DETAIL", "WORKSPACE"],
        wide: &["WORKSPACE"],
        cells,
        nothing: "nothing has happened",
        below,
    }
}

fn cells(line: &EventLine, clock: Clock) -> [String; 7] {
    [
        line.id.to_string(),
        clock.moment(line.at),
        line.what.clone(),
        format!("{} {}", line.subject, printable(&line.subject_id)),
        printable(&line.actor),
        printable(&line.detail.to_string()),
        printable(&line.workspace_id),
    ]
}
