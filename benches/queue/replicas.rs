//! Replicas: several processes on one database against one; none takes what another has.

use anyhow::ensure;
use serde_json::json;
use sqlx::PgPool;

use crate::bed;
use crate::process::{Working, driver, said, worker};
use crate::shape::{Shape, number, rate, until_none_ready};

const CONCURRENCY: usize = 100;

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let tasks = number("TASKS", 200_000)?;
    for run in 1..=number("RUNS", 5)? {
        for replicas in [1, 4] {
            let place = shape.place().await?;
            let mut prepare = driver("prepare", &place.url)?;
            prepare.env("TASKS", tasks.to_string());
            said(prepare)?;
            bed::settle(&place.url).await?;
            let mut connection = bed::connect(&place.url).await?;
            let workers: Vec<_> =
                (0..replicas).map(|_| worker(&place.url, CONCURRENCY)).collect::<Result<_, _>>()?;
            let working = Working::start(workers)?;
            until_none_ready(&mut connection).await?;
            let took = working.began.elapsed();
            working.stop()?;
            none_twice(&place.pool, tasks).await?;
            let details = json!({
                "tasks": tasks, "concurrency of each": CONCURRENCY,
                "deadlocks": deadlocks(&place.pool).await?, "tasks closed twice": 0,
            });
            let value = (rate(tasks, took), "tasks/s");
            shape.ours(&replicas.to_string(), run, value, details)?;
        }
    }
    Ok(())
}

async fn none_twice(pool: &PgPool, tasks: usize) -> anyhow::Result<()> {
    let (lines, closed): (i64, i64) = sqlx::query_as(
        "select count(*), count(distinct subject_id) from reconciler.events where what = 'task.succeeded'",
    )
    .fetch_one(pool)
    .await?;
    let all = tasks as i64;
    ensure!(lines == all && closed == all, "{lines} closings of {closed} of {all} tasks");
    Ok(())
}

async fn deadlocks(pool: &PgPool) -> anyhow::Result<i64> {
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    Ok(sqlx::query_scalar(deadlocks).fetch_one(pool).await?)
}
