//! The whole flow on a private PostgreSQL, with two replicas of the daemon and a simulated backend.
//!
//! `demo` shows the flow as it happens and lets people act as operators. `demo --once` runs it with a scripted operator
//! and checks the result. In both, six members play a story each. Only the backend and its apps are simulated: replicas
//! are processes of the program that ships, and logins have the privileges of one role each.
//!
//! With the same seed, the same people in the same apps play the stories, each story has the same steps in the same
//! order, and each attempt of automation for a member comes to the same end. Times, ids, faults of single requests and
//! the order between members may differ, because the replicas work concurrently.

mod cast;
mod commands;
mod director;
mod farewell;
mod live;
mod logins;
mod once;
mod operate;
mod operator;
mod person;
mod progress;
mod replicas;
mod running;
mod screen;
mod sentences;
mod simulate;
mod snapshot;
mod story;
mod summary;
mod tasks;
mod tempo;
mod truth;
mod world;

use std::time::Instant;

use anyhow::Context;

use cerby_reconciler::operator::cli::terminal::print;
use cerby_reconciler::shutdown::Signals;
pub use commands::NAME as OPERATE;
pub use operate::{Operate, operate};
use running::Running;
pub use screen::picture;
pub use simulate::{Simulate, simulate};
use tempo::Tempo;

/// How the demo runs.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Play it through unattended, with time compressed, and say how it ended
    #[arg(long, conflicts_with = "with_operator")]
    once: bool,
    /// Print the end as one line of JSON
    #[arg(long, requires = "once")]
    json: bool,
    /// Who is in the stories, and what goes wrong: the same number gives the same
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Let a scripted operator work all manual actions, not only those of the stories
    #[arg(long)]
    with_operator: bool,
}

/// Runs the demo. `Err` if it cannot run, or if an unattended run did not end as expected.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut signals = Signals::hear().context("signals cannot be heard")?;
    let tempo = if options.once { Tempo::compressed() } else { Tempo::watchable() };
    // A signal during the start drops what was started, and the drop stops it.
    let mut running = tokio::select! {
        running = Running::start(&tempo, options.seed) => running?,
        signal = signals.next() => anyhow::bail!("{signal} came before the demo ran"),
    };
    if options.once {
        return once::play(running, &tempo, &options, began, &mut signals).await;
    }
    let shown = live::show(&mut running, &tempo, options.with_operator, &mut signals).await;
    let source = running.scene.commands.source();
    let stopped = running.stop().await;
    let last = shown?;
    print(&farewell::text(&last, &source))?;
    stopped
}
