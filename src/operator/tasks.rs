//! `tasks`: automation tasks, on a terminal.

use std::path::Path;

use super::terminal::print;
use super::{acting, connected, refusal};
use crate::retry::cancel;

/// What to do with tasks.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Cancel a task that is not to be tried any more
    ///
    /// Nothing more is asked of the backend for it. What is on its way is waited for, then the task ends as cancelled.
    Cancel {
        /// The task's id
        id: i64,
        /// Why, for whoever reads the trail
        #[arg(long)]
        reason: String,
        /// Your name, where several people share one database login
        #[arg(long = "as", env = "USER", value_name = "NAME", default_value = "unknown")]
        name: String,
    },
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let (_, pool) = connected(file).await?;
    match command {
        Command::Cancel { id, reason, name } => {
            let mut tx = acting(&pool, &name).await?;
            cancel::request(&mut tx, id, &reason).await.map_err(refusal::of)?;
            tx.commit().await?;
            print(&format!(
                "Task {id} is not tried any more. It ends once nothing of it is on its way.\n"
            ))
        }
    }
}
