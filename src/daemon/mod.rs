//! `serve`: the loops, the listener of the probes, and the stop after a signal.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backend::Client;
use crate::config::{self, Config};
use crate::database::PgPool;
use crate::emit;
use crate::flow::outages::Outages;
use crate::flow::{RetryStage, SyncStage, nudges};
use crate::intake;
use crate::intake::webhook::WebhookStage;
use crate::manual_action::instructions::Library;
use crate::poll_interval::{Loops, PollInterval};
use crate::schema::{self, SchemaError};
use crate::shutdown::Signals;
use crate::telemetry::metrics::LoopName;
use crate::telemetry::{self, chain};
use crate::upkeep;
use crate::wakeup::{self, Wakeups};
use crate::worker::Worker;

mod listener;
mod metrics;
mod probes;

use probes::Health;

/// A loop that no wakeup reached still runs once in this many polls.
const IDLE_POLL_FACTOR: u32 = 30;

/// At the start the daemon tries the database at the first interval, and logs at the second that it cannot be used yet.
const TRY_EVERY: Duration = Duration::from_secs(1);
const LOG_EVERY: Duration = Duration::from_secs(30);

/// The daemon, with all its loops running.
#[derive(Debug)]
pub struct Daemon {
    signals: Signals,
    loops: JoinSet<()>,
    health: Health,
    stop: CancellationToken,
    grace: Duration,
}

impl Daemon {
    /// Answers probes, waits for the database, and starts the loops. `None` if a signal came first.
    pub async fn start(config: Config, library: Arc<Library>) -> anyhow::Result<Option<Self>> {
        let began = Instant::now();
        let mut signals = Signals::hear().context("signals cannot be heard")?;
        let backend = Client::new(&config.backend)?;
        tell_risks(&config)?;

        let stop = CancellationToken::new();
        let health = Health::new(Duration::from_secs(config.http.stalled_s));
        let listener = probes::bind(config.http.listen).await?;
        let listen = listener.local_addr().context("the listener has no address")?;
        let mut loops = JoinSet::new();
        loops.spawn(probes::serve(listener, health.clone(), stop.clone()));
        let grace = Duration::from_secs(config.shutdown.grace_s);
        let pool = tokio::select! {
            pool = usable_database(&config.database) => pool?,
            signal = signals.next() => {
                emit!(SERVICE_STOPPING, signal, grace_s = grace.as_secs(), "Stopping before the database was there");
                emit!(SERVICE_STOPPED, took_ms = 0, "The daemon stopped");
                return Ok(None);
            }
        };
        if pool.is_pooled() {
            emit!(
                DATABASE_POOLED,
                "A pooler is in front of the database; polling finds work without LISTEN"
            );
        }
        loops.spawn(telemetry::tell_losses(stop.clone()));
        loops.spawn(telemetry::traces::tell_losses(stop.clone()));
        let outages = Outages::new(pool.clone(), backend.clone(), config.database.query_timeout());
        // Reads the known outages before the first request, so that this replica does not have to detect them again. If
        // the database does not answer, the loop tries again.
        let _ = outages.share().await;
        let parts = Parts { config: &config, library, pool: &pool, backend: &backend };
        start_loops(parts, outages, &health.loops, &stop, &mut loops);
        health.pool.get_or_init(|| pool);
        emit!(SERVICE_STARTED, version = env!("CARGO_PKG_VERSION"), http.listen = %listen,
          start_ms = began.elapsed().as_millis() as u64, "The daemon is up");
        Ok(Some(Self { signals, loops, health, stop, grace }))
    }

    /// Runs something beside the loops. It has to end when the daemon stops.
    pub fn also<F>(&mut self, run: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.loops.spawn(run(self.stop.clone()));
    }

    /// Runs until a signal stops the daemon. `Err` if a loop ended by itself, or work in flight outlasted the grace
    /// period.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { mut signals, mut loops, health, stop, grace } = self;
        let unasked = tokio::select! {
            signal = signals.next() => {
                emit!(SERVICE_STOPPING, signal, grace_s = grace.as_secs(), "Stopping; work in flight may end");
                None
            }
            ended = loops.join_next() => Some(ended),
        };
        health.stopping.store(true, Ordering::SeqCst);
        stop.cancel();
        if let Some(ended) = unasked {
            bail!("a loop ended by itself: {ended:?}");
        }
        drain(&mut loops, &mut signals, grace).await?;
        if let Some(pool) = health.pool.get() {
            pool.close().await;
        }
        Ok(())
    }
}

/// Logs what works and is not safe.
fn tell_risks(config: &Config) -> Result<(), SchemaError> {
    for (key, path) in config.world_readable_secrets() {
        emit!(SECRET_WORLD_READABLE, key, path, "Every account of this machine may read a secret");
    }
    if let Some(schema::Unverified { host, sslmode }) = schema::unverified(&config.database)? {
        emit!(
            DATABASE_UNVERIFIED,
            host,
            sslmode,
            "Nothing proves that the database is the right one"
        );
    }
    Ok(())
}

/// Waits for a database that the daemon can use, and logs at intervals what it waits for. `Err` if waiting does not
/// help.
async fn usable_database(config: &config::Database) -> Result<PgPool, SchemaError> {
    let began = Instant::now();
    let mut told: Option<Instant> = None;
    let (mut config, file) = (config.clone(), config.secret_file());
    loop {
        let changed =
            file.as_ref().and_then(|file| file.changed(|url| Ok::<_, Infallible>(url.clone())));
        config.url = changed.or(config.url);
        match usable(&config).await {
            // The file of the URL may get another password.
            Err(error)
                if error.may_pass() || error.is_login_refused() && config.url_file.is_some() =>
            {
                if told.is_none_or(|told| told.elapsed() >= LOG_EVERY) {
                    told = Some(Instant::now());
                    emit!(DATABASE_NOT_READY, error = %chain(&error), waited_s = began.elapsed().as_secs(),
                          "The daemon waits for the database");
                }
                tokio::time::sleep(TRY_EVERY).await;
            }
            ended => return ended,
        }
    }
}

async fn usable(config: &config::Database) -> Result<PgPool, SchemaError> {
    let pool = schema::connect(config, schema::Planning::Fixed).await?;
    schema::check_login(&pool).await?;
    schema::check(&pool).await?;
    Ok(pool)
}

/// What the loops are made of.
struct Parts<'a> {
    config: &'a Config,
    library: Arc<Library>,
    pool: &'a PgPool,
    backend: &'a Client,
}

fn start_loops(
    Parts { config, library, pool, backend }: Parts<'_>,
    outages: Outages,
    health: &Loops,
    stop: &CancellationToken,
    loops: &mut JoinSet<()>,
) {
    let wakeups = Wakeups::default();
    let poll = Duration::from_millis(config.wakeup.poll_ms);
    if config.wakeup.listen && !pool.is_pooled() {
        loops.spawn(wakeup::listen(pool.clone(), wakeups.clone(), stop.clone()));
    }
    let query_timeout = config.database.query_timeout();
    let looks = PollInterval::new(LoopName::Wakeup, poll).among(health);
    loops.spawn(wakeup::poll(pool.clone(), wakeups.clone(), query_timeout, looks, stop.clone()));
    let sharing = PollInterval::new(LoopName::Outages, poll).among(health);
    loops.spawn(outages.run(wakeups.clone(), sharing, stop.clone()));
    let unasked = poll * IDLE_POLL_FACTOR;
    loops.spawn(intake::run(
        pool.clone(),
        config.clone(),
        wakeups.clone(),
        PollInterval::new(LoopName::Intake, unasked).among(health),
        stop.clone(),
    ));
    loops.spawn(nudges::run(
        pool.clone(),
        config.clone(),
        wakeups.clone(),
        PollInterval::new(LoopName::Nudges, unasked).among(health),
        stop.clone(),
    ));
    let tasks = Worker {
        stage: RetryStage::new(config, library.clone(), pool.clone(), backend.clone()),
        max_in_flight: config.worker.max_tasks_in_flight,
        max_ahead: config.worker.max_tasks_ahead,
        new_work: wakeups.tasks,
        poll_interval: PollInterval::new(LoopName::Tasks, unasked).among(health),
    };
    loops.spawn(tasks.run(stop.clone()));
    let syncs = Worker {
        stage: SyncStage::new(config, library, pool.clone(), backend.clone()),
        max_in_flight: config.worker.max_syncs_in_flight,
        max_ahead: 0,
        new_work: wakeups.syncs,
        poll_interval: PollInterval::new(LoopName::Syncs, unasked).among(health),
    };
    loops.spawn(syncs.run(stop.clone()));
    let webhooks = Worker {
        stage: WebhookStage::new(config, pool.clone(), backend.clone()),
        max_in_flight: WebhookStage::MAX_IN_FLIGHT,
        max_ahead: 0,
        new_work: wakeups.webhooks,
        poll_interval: PollInterval::new(LoopName::Webhooks, unasked).among(health),
    };
    loops.spawn(webhooks.run(stop.clone()));
    let upkeep_interval =
        PollInterval::new(LoopName::Upkeep, Duration::from_secs(config.upkeep.every_s))
            .among(health);
    loops.spawn(upkeep::run(pool.clone(), config.clone(), upkeep_interval, stop.clone()));
}

/// Waits for the loops to end by themselves. The leases of work that does not end in time run out.
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
