//! `serve`: the loops, the listener of the probes, and the way from a signal to a stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backend::Client;
use crate::config::Config;
use crate::emit;
use crate::flow::{RetryStage, SyncStage, nudges};
use crate::intake;
use crate::pulse::Pulse;
use crate::schema;
use crate::shutdown::Signals;
use crate::upkeep;
use crate::wakeup::{self, Bells};
use crate::worker::Worker;

mod probes;

/// A loop that no bell rang for looks all the same, once in so many polls.
const SELDOM: u32 = 30;

/// The daemon, with all its loops running.
#[derive(Debug)]
pub struct Daemon {
    pool: PgPool,
    signals: Signals,
    loops: JoinSet<()>,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
    grace: Duration,
}

impl Daemon {
    /// Starts the loops once configuration, database and backend address are right.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let began = Instant::now();
        let signals = Signals::hear().context("signals cannot be heard")?;
        let backend = Client::new(&config.backend)?;
        let pool = schema::connect(&config.database).await?;
        schema::check(&pool).await?;

        let stop = CancellationToken::new();
        let ready = Arc::new(AtomicBool::new(true));
        let listener = probes::bind(config.http.listen).await?;
        let listen = listener.local_addr().context("the listener has no address")?;
        let mut loops = JoinSet::new();
        loops.spawn(probes::serve(listener, pool.clone(), Arc::clone(&ready), stop.clone()));
        start_loops(&config, &pool, &backend, &stop, &mut loops);
        emit!(SERVICE_STARTED, version = env!("CARGO_PKG_VERSION"), http.listen = %listen,
          start_ms = began.elapsed().as_millis() as u64, "The daemon is up");
        let grace = Duration::from_secs(config.shutdown.grace_s);
        Ok(Self { pool, signals, loops, ready, stop, grace })
    }

    /// Runs until a signal stops the daemon. `Err` if a loop ended by itself, or work in flight outlasted the grace.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { pool, mut signals, mut loops, ready, stop, grace } = self;
        let unasked = tokio::select! {
            signal = signals.next() => {
                emit!(SERVICE_STOPPING, signal, grace_s = grace.as_secs(), "Stopping; work in flight may end");
                None
            }
            ended = loops.join_next() => Some(ended),
        };
        ready.store(false, Ordering::SeqCst);
        stop.cancel();
        if let Some(ended) = unasked {
            bail!("a loop ended by itself: {ended:?}");
        }
        drain(&mut loops, &mut signals, grace).await?;
        pool.close().await;
        Ok(())
    }
}

fn start_loops(
    config: &Config,
    pool: &PgPool,
    backend: &Client,
    stop: &CancellationToken,
    loops: &mut JoinSet<()>,
) {
    let bells = Bells::default();
    let poll = Duration::from_millis(config.wakeup.poll_ms);
    if config.wakeup.listen {
        loops.spawn(wakeup::listen(pool.clone(), bells.clone(), stop.clone()));
    }
    let patience = config.database.patience();
    let looks = Pulse::new("wakeup", poll);
    loops.spawn(wakeup::look(pool.clone(), bells.clone(), patience, looks, stop.clone()));
    let unasked = poll * SELDOM;
    loops.spawn(intake::run(
        pool.clone(),
        config.clone(),
        bells.clone(),
        Pulse::new("intake", unasked),
        stop.clone(),
    ));
    loops.spawn(nudges::run(
        pool.clone(),
        config.clone(),
        bells.clone(),
        Pulse::new("nudges", unasked),
        stop.clone(),
    ));
    let tasks = Worker {
        stage: RetryStage::new(config, pool.clone(), backend.clone()),
        max_in_flight: config.worker.max_tasks_in_flight,
        max_ahead: config.worker.max_tasks_ahead,
        new_work: bells.tasks,
        pulse: Pulse::new("tasks", unasked),
    };
    loops.spawn(tasks.run(stop.clone()));
    let syncs = Worker {
        stage: SyncStage::new(config, pool.clone(), backend.clone()),
        max_in_flight: config.worker.max_syncs_in_flight,
        max_ahead: 0,
        new_work: bells.syncs,
        pulse: Pulse::new("syncs", unasked),
    };
    loops.spawn(syncs.run(stop.clone()));
    let upkeep_pulse = Pulse::new("upkeep", Duration::from_secs(config.upkeep.every_s));
    loops.spawn(upkeep::run(pool.clone(), config.clone(), upkeep_pulse, stop.clone()));
}

/// Waits for the loops to end by themselves; leases of what does not end in time run out.
async fn drain(
    loops: &mut JoinSet<()>,
    signals: &mut Signals,
    grace: Duration,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let ended = async { while loops.join_next().await.is_some() {} };
    tokio::select! {
        () = ended => {
            emit!(SERVICE_STOPPED, took_ms = began.elapsed().as_millis() as u64, "The daemon stopped");
            Ok(())
        }
        signal = signals.next() => bail!("a second {signal} cut the stop short"),
        () = tokio::time::sleep(grace) => bail!("work in flight outlasted {} s of grace", grace.as_secs()),
    }
}
