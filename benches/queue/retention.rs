//! Retention: a drain while the daemon's upkeep deletes what is past its retention, against one while nothing is.

use std::io::Write;
use std::time::Duration;

use anyhow::ensure;
use cerby_reconciler::config::Config;
use cerby_reconciler::database::PgPool;
use cerby_reconciler::poll_interval::PollInterval;
use cerby_reconciler::schema::Planning;
use cerby_reconciler::telemetry::metrics::LoopName;
use cerby_reconciler::{schema, upkeep};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::bed;
use crate::process::{Working, driver, worker};
use crate::rows::{Rows, Standing};
use crate::shape::{Place, Shape, number, rate, spaced};

const CONCURRENCY: usize = 100;

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let (tasks, expired) = (number("TASKS", 200_000)?, number("EXPIRED", 1_000_000)?);
    for run in 1..=number("RUNS", 3)? {
        let place = shape.place().await?;
        Rows::new(expired, "expired", Standing::Expired).write(&place.pool).await?;
        let details = json!({
            "tasks": tasks, "concurrency": CONCURRENCY, "expired": expired, "lines of the trail": expired,
            "runs": "both settings one after the other on one database",
        });
        Rows::new(tasks, "before", Standing::Ready).write(&place.pool).await?;
        let took = place.drain(CONCURRENCY).await?;
        shape.ours("no deletion", run, (rate(tasks, took), "tasks/s"), details.clone())?;

        Rows::new(tasks, "during", Standing::Ready).write(&place.pool).await?;
        let (rate, deleted) = drain_while_deleting(&place, tasks).await?;
        let mut details = details;
        details["deleted during the drain"] = deleted.into();
        let setting = format!("while {} tasks are deleted", spaced(expired));
        shape.ours(&setting, run, (rate, "tasks/s"), details)?;
    }
    Ok(())
}

/// The rate, and how many tasks were deleted meanwhile.
async fn drain_while_deleting(place: &Place, tasks: usize) -> anyhow::Result<(f64, i64)> {
    bed::settle(&place.url).await?;
    let before = expired(&place.pool.clone().into()).await?;
    let deleting = Working::start([driver("upkeep", &place.url)?])?;
    let took = place.work_off(worker(&place.url, CONCURRENCY)?).await?;
    deleting.stop()?;
    let deleted = before - expired(&place.pool.clone().into()).await?;
    ensure!(deleted > 0, "nothing was deleted");
    Ok((rate(tasks, took), deleted))
}

async fn expired(pool: &PgPool) -> anyhow::Result<i64> {
    let count = "select count(*) from reconciler.automation_tasks where source_id like 'expired-%'";
    Ok(sqlx::query_scalar(count).fetch_one(pool).await?)
}

/// Upkeep as the daemon does it, until it is interrupted.
pub(crate) async fn keep_up(config: &Config) -> anyhow::Result<()> {
    let pool = schema::connect(&config.database, Planning::Fixed).await?;
    println!("up");
    std::io::stdout().flush()?;
    let stop = CancellationToken::new();
    let poll_interval =
        PollInterval::new(LoopName::Upkeep, Duration::from_secs(config.upkeep.every_s));
    let keeping = tokio::spawn(upkeep::run(pool, config.clone(), poll_interval, stop.clone()));
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    Ok(keeping.await?)
}
