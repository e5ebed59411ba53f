//! The simulated backend of the demo as a server of its own, for daemons and a database that somebody else runs.

use std::net::SocketAddr;

use anyhow::Context;
use cerby_reconciler::operator::cli::terminal::print;
use cerby_reconciler::operator::desk::{Actor, Desk};
use cerby_reconciler::shutdown::Signals;
use sqlx::postgres::PgPoolOptions;

use super::tempo::Tempo;
use super::{cast, running, tasks, world};
use crate::simulator::{Settings, Simulator};

/// Where it listens, and where it reports failed tasks.
#[derive(Debug, clap::Args)]
pub struct Simulate {
    /// The address and port of its API; {workspace} is the first part of its path
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The value of X-API-Key that it requires
    #[arg(long)]
    api_key: String,
    /// The URL of the database, with a login in the role reconciler_backend
    #[arg(long)]
    database: String,
    /// What goes wrong: the same number gives the same
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// Serves until a signal comes. The failed tasks arrive as in the demo; those that are there already change nothing.
pub async fn simulate(options: Simulate) -> anyhow::Result<()> {
    let mut signals = Signals::hear().context("signals cannot be heard")?;
    let tempo = Tempo::watchable();
    let tasks = tasks::all();
    let settings = Settings {
        listen: options.listen,
        api_key: options.api_key.clone(),
        ..running::settings(&tempo, options.seed)
    };
    let simulator = Simulator::start(world::before(&tasks), settings)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let cast = cast::cast(&tasks, options.seed);
    cast::set_fates(&simulator, &cast, &tasks);
    print(&format!("serving {}\n", simulator.base_url()))?;
    tokio::select! {
        arrived = let_tasks_arrive(&options.database, &tempo, &cast) => {
            print(&format!("{} failed tasks were reported\n", arrived?))?;
            signals.next().await;
        }
        _ = signals.next() => {}
    }
    simulator.stop().await.context("the simulated backend did not stop in order")
}

async fn let_tasks_arrive(
    database: &str,
    tempo: &Tempo,
    cast: &[cast::Part],
) -> anyhow::Result<usize> {
    let pool = PgPoolOptions::new().max_connections(1).connect(database).await;
    let desk = Desk::new(pool.context("the database does not answer")?.into());
    let mut arrived = 0;
    for batch in tasks::batches(tempo.arrivals, cast) {
        desk.import(&Actor::by_login(), &batch, |_, _| ()).await?;
        arrived += batch.lines().count();
        tokio::time::sleep(tempo.arrive_every).await;
    }
    Ok(arrived)
}
