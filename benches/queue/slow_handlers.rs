//! Slow handlers: steps that wait, very many at a time, against the same loop without a database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use cerby_reconciler::config::Config;
use cerby_reconciler::poll_interval::PollInterval;
use cerby_reconciler::store::StoreError;
use cerby_reconciler::telemetry::metrics::LoopName;
use cerby_reconciler::worker::{Stage, Worker};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::bed;
use crate::process::{driver, said, worker};
use crate::shape::{Shape, number, rate};

const CONCURRENCY: usize = 500;

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let tasks = number("TASKS", 100_000)?;
    let step_ms = number("STEP_MS", 50_u64)?;
    let setting = format!("{step_ms} ms, concurrency {CONCURRENCY}");
    let details = json!({"tasks": tasks});
    for run in 1..=number("RUNS", 5)? {
        let place = shape.place().await?;
        let mut prepare = driver("prepare", &place.url)?;
        prepare.env("TASKS", tasks.to_string());
        said(prepare)?;
        let mut working = worker(&place.url, CONCURRENCY)?;
        working.env("STEP_MS", step_ms.to_string());
        bed::settle(&place.url).await?;
        let took = place.work_off(working).await?;
        shape.ours(&setting, run, (rate(tasks, took), "tasks/s"), details.clone())?;

        let mut memory = driver("in-memory", &place.url)?;
        memory.env("TASKS", tasks.to_string()).env("STEP_MS", step_ms.to_string());
        memory.env("CONCURRENCY", CONCURRENCY.to_string());
        let seconds = said(memory)?["seconds"].as_f64().context("the driver tells it")?;
        let value = (tasks as f64 / seconds, "tasks/s");
        shape.theirs("no database", &setting, run, value, details.clone())?;
    }
    Ok(())
}

/// A queue in memory.
struct Memory {
    left: AtomicUsize,
    unfinished: AtomicUsize,
    takes: Duration,
    done: CancellationToken,
}

impl Stage for Memory {
    type Claim = ();
    type Outcome = ();

    async fn claim(&self, limit: usize) -> Result<Vec<()>, StoreError> {
        let take = |left: usize| Some(left.saturating_sub(limit));
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        Ok(vec![(); before.unwrap_or_default().min(limit)])
    }

    async fn step(&self, (): &()) -> Option<()> {
        tokio::time::sleep(self.takes).await;
        Some(())
    }

    async fn record(&self, (): (), (): ()) {
        if self.unfinished.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.done.cancel();
        }
    }

    async fn hand_back(&self, claims: Vec<()>) {
        self.left.fetch_add(claims.len(), Ordering::SeqCst);
    }

    fn span(&self, (): &()) -> tracing::Span {
        tracing::Span::none()
    }
}

/// Works on a queue in memory until it is empty, and says how long that took.
pub(crate) async fn work_in_memory(config: &Config) -> anyhow::Result<()> {
    let tasks = number("TASKS", 100_000)?;
    let done = CancellationToken::new();
    let stage = Memory {
        left: AtomicUsize::new(tasks),
        unfinished: AtomicUsize::new(tasks),
        takes: Duration::from_millis(number("STEP_MS", 50)?),
        done: done.clone(),
    };
    let worker = Worker {
        stage: Arc::new(stage),
        max_in_flight: config.worker.max_tasks_in_flight,
        max_ahead: config.worker.max_tasks_ahead,
        new_work: Arc::new(Notify::new()),
        poll_interval: PollInterval::new(
            LoopName::Tasks,
            Duration::from_millis(config.wakeup.poll_ms),
        ),
    };
    let began = Instant::now();
    worker.run(done).await;
    println!("{}", json!({"seconds": began.elapsed().as_secs_f64()}));
    Ok(())
}
