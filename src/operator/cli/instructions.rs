//! `instructions`: texts that people reported, on a terminal.

use std::path::Path;

use super::desk;
use super::terminal::{Clock, List, ListFormat};
use crate::manual_action::changed_screens::ChangedScreen;
use crate::operator::desk::Actor;
use crate::text::printable;

/// What to do with instructions.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the texts of which people reported that the app looks different, those first that most did
    ///
    /// A text is a file of instructions.folder, or one that the program has. At most 200 texts are listed, and at most
    /// 1000 actions of each are counted. A text that was mended has another hash and is counted anew.
    List {
        /// Only this workspace
        #[arg(long)]
        workspace: Option<String>,
        #[command(flatten)]
        format: ListFormat,
    },
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let Command::List { workspace, format } = command;
    let (_, desk) = desk(file).await?;
    let read = async || {
        let lines = desk.changed_screens(&Actor::by_login(), workspace.as_deref()).await?;
        format.render(&listed(&lines))
    };
    format.show(read).await
}

fn listed(lines: &[ChangedScreen]) -> List<'_, ChangedScreen, 9> {
    List {
        lines,
        heads: [
            "TEXT",
            "SOURCE",
            "APPLICATION",
            "OPERATION",
            "REPORTS",
            "ACTIONS",
            "LAST REPORT",
            "WHAT CHANGED",
            "HASH",
        ],
        wide: &["HASH"],
        cells,
        nothing: "nobody reported that an app looks different from its instructions",
        below: String::new(),
    }
}

fn cells(line: &ChangedScreen, clock: Clock) -> [String; 9] {
    let text = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), printable);
    [
        text(&line.instructions),
        text(&line.source),
        printable(&line.application),
        line.operation.clone(),
        line.reports.to_string(),
        line.used.to_string(),
        clock.minute(line.last_reported_at),
        text(&line.last_note),
        text(&line.instructions_hash),
    ]
}
