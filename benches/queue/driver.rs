//! Our queue by itself, as a process: the daemon's loops with steps that ask no backend. Speaks the protocol that the
//! drivers of other queues speak: `prepare` enqueues, `run` works until it is killed and says when it began.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use cerby_reconciler::backend::Client;
use cerby_reconciler::config::Config;
use cerby_reconciler::database::PgPool;
use cerby_reconciler::flow::RetryStage;
use cerby_reconciler::poll_interval::PollInterval;
use cerby_reconciler::retry::{ClaimedTask, TaskOutcome};
use cerby_reconciler::schema::Planning;
use cerby_reconciler::store::StoreError;
use cerby_reconciler::telemetry::metrics::LoopName;
use cerby_reconciler::wakeup::{Wakeups, listen, poll};
use cerby_reconciler::worker::{Stage, Worker};
use cerby_reconciler::{intake, schema};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::tasks::{self, Fill};

/// The stage of the daemon, with steps that ask no backend: they say at once, or after a while, that the member is as
/// desired.
struct IdleStage {
    stage: Arc<RetryStage>,
    steps: Idle,
}

/// What a step does instead of asking the backend.
pub(crate) struct Idle {
    takes: Duration,
    has_begun: AtomicBool,
    began: mpsc::UnboundedSender<(Instant, String)>,
}

impl Idle {
    /// Steps that take no time and tell when they begin, and for which member.
    pub(crate) fn telling(began: mpsc::UnboundedSender<(Instant, String)>) -> Self {
        Self { takes: Duration::ZERO, has_begun: AtomicBool::new(true), began }
    }
}

impl Idle {
    async fn step(&self, task: &ClaimedTask) -> TaskOutcome {
        if !self.has_begun.swap(true, Ordering::Relaxed) {
            println!("first");
            let _ = std::io::stdout().flush();
        }
        let _ = self.began.send((Instant::now(), task.key.member.clone()));
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        TaskOutcome::Succeed { reason: "Confirmed in the app after an attempt" }
    }
}

impl Stage for IdleStage {
    type Claim = Arc<ClaimedTask>;
    type Outcome = TaskOutcome;

    async fn claim(&self, limit: usize) -> Result<Vec<Arc<ClaimedTask>>, StoreError> {
        self.stage.claim(limit).await
    }

    async fn step(&self, task: &Arc<ClaimedTask>) -> Option<TaskOutcome> {
        Some(self.steps.step(task).await)
    }

    async fn record(&self, task: Arc<ClaimedTask>, outcome: TaskOutcome) {
        self.stage.record(task, outcome).await;
    }

    async fn hand_back(&self, tasks: Vec<Arc<ClaimedTask>>) {
        self.stage.hand_back(tasks).await;
    }

    fn span(&self, task: &Arc<ClaimedTask>) -> tracing::Span {
        self.stage.span(task)
    }
}

/// Runs a part of the protocol.
pub(crate) async fn drive(part: &str) -> anyhow::Result<()> {
    let config = config()?;
    match part {
        "prepare" => prepare(&config).await,
        "run" => run(&config).await,
        "latency" => latency(&config).await,
        "intake" => crate::intake::order(&config).await,
        "in-memory" => crate::slow_handlers::work_in_memory(&config).await,
        "upkeep" => crate::retention::keep_up(&config).await,
        "many-workspaces" => crate::many_workspaces::pick_up(&config).await,
        "bare-client" => crate::http::make_requests(&config).await,
        other => bail!("no part of a driver is called {other}"),
    }
}

fn number(name: &str, default: usize) -> anyhow::Result<usize> {
    Ok(std::env::var(name).map_or(Ok(default), |number| number.parse())?)
}

fn text(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// The delivered settings, but for what the protocol says.
fn config() -> anyhow::Result<Config> {
    let variables = [
        ("RECONCILER__DATABASE__URL", std::env::var("DATABASE_URL")?),
        ("RECONCILER__BACKEND__BASE_URL", text("BASE_URL", "http://127.0.0.1:9")),
        ("RECONCILER__BACKEND__API_KEY", text("API_KEY", "unused")),
        ("RECONCILER__WORKER__MAX_TASKS_IN_FLIGHT", number("CONCURRENCY", 100)?.to_string()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
    Ok(Config::from_sources(None, Some(variables))?)
}

async fn prepare(config: &Config) -> anyhow::Result<()> {
    let pool = schema::connect(&config.database, Planning::Fixed).await?;
    schema::migrate(&pool).await?;
    let fill = Fill { tasks: number("TASKS", 200_000)?, ..Fill::default() };
    tasks::insert(&pool, &fill).await?;
    tasks::order(&pool).await?;
    let settings = serde_json::json!({
        "max_tasks_in_flight": config.worker.max_tasks_in_flight,
        "max_tasks_ahead": config.worker.max_tasks_ahead,
        "max_connections": config.database.max_connections,
        "integrations": fill.integrations, "operation": fill.operation,
        "order per member, events, history, log lines": "on",
    });
    println!("{settings}");
    Ok(())
}

/// Everything that works on tasks in the daemon.
pub(crate) struct Engine {
    stop: CancellationToken,
    loops: tokio::task::JoinSet<()>,
}

impl Engine {
    pub(crate) fn start(config: &Config, pool: &PgPool, steps: Idle) -> anyhow::Result<Self> {
        let backend = Client::new(&config.backend)?;
        let (stop, wakeups) = (CancellationToken::new(), Wakeups::default());
        let every = Duration::from_millis(config.wakeup.poll_ms);
        let mut loops = tokio::task::JoinSet::new();
        loops.spawn(listen(pool.clone(), wakeups.clone(), stop.clone()));
        let looks = PollInterval::new(LoopName::Wakeup, every);
        let query_timeout = config.database.query_timeout();
        loops.spawn(poll(pool.clone(), wakeups.clone(), query_timeout, looks, stop.clone()));
        let poll_interval = PollInterval::new(LoopName::Intake, every);
        loops.spawn(intake::run(
            pool.clone(),
            config.clone(),
            wakeups.clone(),
            poll_interval,
            stop.clone(),
        ));
        let worker = Worker {
            stage: Arc::new(IdleStage {
                stage: RetryStage::new(config, Arc::default(), pool.clone(), backend),
                steps,
            }),
            max_in_flight: config.worker.max_tasks_in_flight,
            max_ahead: config.worker.max_tasks_ahead,
            new_work: Arc::clone(&wakeups.tasks),
            poll_interval: PollInterval::new(LoopName::Tasks, every),
        };
        loops.spawn(worker.run(stop.clone()));
        Ok(Self { stop, loops })
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.loops.join_next().await.is_some() {}
    }
}

async fn run(config: &Config) -> anyhow::Result<()> {
    log_to_nowhere()?;
    let pool = schema::connect(&config.database, Planning::Fixed).await?;
    let (began, _) = mpsc::unbounded_channel();
    let takes = Duration::from_millis(number("STEP_MS", 0)? as u64);
    let engine =
        Engine::start(config, &pool, Idle { takes, has_begun: AtomicBool::new(false), began })?;
    tokio::signal::ctrl_c().await?;
    engine.stop().await;
    Ok(())
}

/// Log lines are made and written as ever; nobody keeps them.
pub(crate) fn log_to_nowhere() -> anyhow::Result<()> {
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false);
    lines
        .with_writer(std::sync::Mutex::new(nowhere))
        .try_init()
        .map_err(|error| anyhow::anyhow!("logging is set up: {error}"))
}

/// One insert after another into an idle daemon: how long after each commit its attempt begins.
async fn latency(config: &Config) -> anyhow::Result<()> {
    log_to_nowhere()?;
    let pool = schema::connect(&config.database, Planning::Fixed).await?;
    let (began, mut begins) = mpsc::unbounded_channel();
    let engine = Engine::start(config, &pool, Idle::telling(began))?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut waits = Vec::new();
    for index in 0..number("INSERTS", 1000)? {
        tasks::insert_one(&pool, index).await?;
        let committed = Instant::now();
        let Some((began, _)) = begins.recv().await else { bail!("the engine ended") };
        waits.push(began.saturating_duration_since(committed).as_secs_f64() * 1000.0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    engine.stop().await;
    waits.sort_by(f64::total_cmp);
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part).round() as usize];
    println!(
        "{}",
        serde_json::json!({"p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99), "max_ms": at(1.0)})
    );
    Ok(())
}
