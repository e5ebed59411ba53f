//! `tasks`: automation tasks, on a terminal.

use std::path::Path;

use super::terminal::print;
use super::{Acting, desk};

/// What to do with tasks.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
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
        Command::Cancel { id, reason, acting } => {
            desk.cancel(&acting.actor(), id, &reason).await?;
            print(&format!(
                "Task {id} is not tried any more. It ends once nothing of it is on its way.\n"
            ))
        }
    }
}
