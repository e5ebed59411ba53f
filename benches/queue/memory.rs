//! Memory: what the program holds at rest, and the most that the queue's engine holds under a great backlog.

use std::time::Duration;

use serde_json::json;
use testkit::simulator::{Settings, Simulator, World};

use crate::bed;
use crate::process::{Working, memory_mb, serve, worker};
use crate::rows::{Rows, Standing};
use crate::shape::{Shape, number};

const CONCURRENCY: usize = 500;

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    for run in 1..=number("RUNS", 5)? {
        at_rest(shape, run).await?;
    }
    for run in 1..=number("RUNS", 3)? {
        loaded(shape, run).await?;
    }
    Ok(())
}

async fn at_rest(shape: &Shape<'_>, run: u32) -> anyhow::Result<()> {
    let seconds = number("IDLE_S", 10)?;
    let place = shape.place().await?;
    let apps = Simulator::start(World::new(), Settings::default()).await?;
    let working = Working::start([serve(&place.url, &apps)])?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let resident = memory_mb(working.id(), "VmRSS")?;
    working.stop()?;
    apps.stop().await?;
    let details = json!({"program": "serve", "queue": "empty", "seconds": seconds});
    shape.ours("idle", run, (resident, "MB"), details)
}

async fn loaded(shape: &Shape<'_>, run: u32) -> anyhow::Result<()> {
    let (queued, step_ms) = (number("TASKS", 1_000_000)?, number("STEP_MS", 5_u64)?);
    let seconds = number("LOADED_S", 20)?;
    let place = shape.place().await?;
    Rows::new(queued, "task", Standing::Ready).write(&place.pool).await?;
    bed::settle(&place.url).await?;
    let mut busy = worker(&place.url, CONCURRENCY)?;
    busy.env("STEP_MS", step_ms.to_string());
    let working = Working::start([busy])?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let most = memory_mb(working.id(), "VmHWM")?;
    working.stop()?;
    let details = json!({
        "program": "the queue's engine", "queued": queued, "concurrency": CONCURRENCY, "step_ms": step_ms,
        "seconds": seconds, "runs": "fewer, as the rows take longer to write",
    });
    shape.ours("loaded", run, (most, "MB"), details)
}
