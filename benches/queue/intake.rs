//! Intake: one connection inserts, and one process orders what comes, both at once. Then what came is drained, for intake
//! is not to be what tasks wait for.

use std::io::Write;
use std::time::{Duration, Instant};

use cerby_reconciler::config::Config;
use cerby_reconciler::poll_interval::PollInterval;
use cerby_reconciler::schema::Planning;
use cerby_reconciler::telemetry::metrics::LoopName;
use cerby_reconciler::wakeup::{Wakeups, listen};
use cerby_reconciler::{intake, schema};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::bed;
use crate::process::{Working, driver};
use crate::rows::{HISTORY, Rows, Standing};
use crate::shape::{Place, Shape, number, rate, until_not};
use crate::tasks::{Fill, insert_range};

const ARRIVED: &str = "select exists (select from reconciler.arrivals)";

const LARGEST: usize = 10_000;
const CONCURRENCY: usize = 100;

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    for run in 1..=number("RUNS", 5)? {
        for (batch, tasks) in [(1, 20_000), (100, 200_000), (LARGEST, 200_000)] {
            let tasks = number("TASKS", tasks)?;
            let place = shape.place().await?;
            let took = insert_and_order(&place, tasks, batch).await?;
            let details = json!({"rows": tasks, "connections that insert": 1, "finished": HISTORY});
            let setting = format!("batches of {batch}");
            shape.ours(&setting, run, (rate(tasks, took), "rows/s"), details)?;
            if batch == LARGEST {
                let took = drain(&place).await?;
                let details = json!({"rows": tasks, "concurrency": CONCURRENCY});
                shape.ours("their drain", run, (rate(tasks, took), "rows/s"), details)?;
            }
        }
    }
    Ok(())
}

async fn insert_and_order(place: &Place, tasks: usize, batch: usize) -> anyhow::Result<Duration> {
    Rows::new(HISTORY, "finished", Standing::Finished).write(&place.pool).await?;
    bed::settle(&place.url).await?;
    let inserter = PgPoolOptions::new().max_connections(1).connect(&place.url).await?;
    let mut connection = bed::connect(&place.url).await?;
    let working = Working::start([driver("intake", &place.url)?])?;
    let fill = Fill { tasks, ..Fill::default() };
    let began = Instant::now();
    for from in (0..tasks).step_by(batch) {
        insert_range(&inserter.clone().into(), &fill, from, tasks.min(from + batch)).await?;
    }
    until_not(&mut connection, ARRIVED).await?;
    let took = began.elapsed();
    working.stop()?;
    Ok(took)
}

async fn drain(place: &Place) -> anyhow::Result<Duration> {
    let due = "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members set next_attempt_at = now()";
    sqlx::query(due).execute(&place.pool).await?;
    place.drain(CONCURRENCY).await
}

/// Orders rows as they come, until it is interrupted.
pub(crate) async fn order(config: &Config) -> anyhow::Result<()> {
    let pool = schema::connect(&config.database, Planning::Fixed).await?;
    let (wakeups, stop) = (Wakeups::default(), CancellationToken::new());
    let poll_interval =
        PollInterval::new(LoopName::Intake, Duration::from_millis(config.wakeup.poll_ms));
    let listening = tokio::spawn(listen(pool.clone(), wakeups.clone(), stop.clone()));
    let ordering =
        tokio::spawn(intake::run(pool, config.clone(), wakeups, poll_interval, stop.clone()));
    println!("up");
    std::io::stdout().flush()?;
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    listening.await?;
    Ok(ordering.await?)
}
