//! Drain: tasks of distinct members that are all due, and steps that do nothing.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::bed::{self, Bed};
use crate::process::{Working, driver, said, worker};
use crate::record::{Machine, Measurement, record};
use crate::shape::OPEN;

const CONCURRENCIES: [usize; 3] = [32, 100, 500];

pub(crate) async fn measure(bed: &Bed, machine: &Machine) -> anyhow::Result<()> {
    let runs = number("RUNS", 5)?;
    let tasks = number("TASKS", 200_000)?;
    for run in 1..=runs {
        for concurrency in CONCURRENCIES {
            let url = bed.database("drain").await?;
            let settings = prepare(&url, tasks, concurrency)?;
            let (rate, cost) = drain(&url, tasks, concurrency).await?;
            record(
                machine,
                &Measurement {
                    shape: "drain".to_owned(),
                    system: "cerby-reconciler".to_owned(),
                    setting: format!("concurrency {concurrency}"),
                    run,
                    unit: "tasks/s".to_owned(),
                    value: rate,
                    details: json!({"tasks": tasks, "settings": settings, "cost": cost}),
                },
            )?;
        }
    }
    Ok(())
}

pub(crate) fn number<T: std::str::FromStr>(name: &str, default: T) -> anyhow::Result<T> {
    match std::env::var(name) {
        Ok(number) => number.parse().ok().with_context(|| format!("{name}={number}: not a number")),
        Err(_) => Ok(default),
    }
}

fn prepare(url: &str, tasks: usize, concurrency: usize) -> anyhow::Result<Value> {
    let mut command = driver("prepare", url)?;
    command.env("TASKS", tasks.to_string()).env("CONCURRENCY", concurrency.to_string());
    said(command)
}

async fn drain(url: &str, tasks: usize, concurrency: usize) -> anyhow::Result<(f64, Value)> {
    bed::settle(url).await?;
    let mut connection = bed::connect(url).await?;
    let before = counters(&mut connection).await?;
    let working = Working::start([worker(url, concurrency)?])?;
    let took = until_done(&mut connection, working.began).await?;
    let after = counters(&mut connection).await?;
    working.stop()?;
    let per_task = |counter: usize| (after[counter] - before[counter]) / tasks as f64;
    let cost = json!({"transactions_per_task": per_task(0), "wal_bytes_per_task": per_task(1)});
    Ok((tasks as f64 / took.as_secs_f64(), cost))
}

pub(crate) async fn until_done(
    connection: &mut PgConnection,
    began: Instant,
) -> anyhow::Result<Duration> {
    while sqlx::query_scalar::<_, bool>(OPEN).fetch_one(&mut *connection).await? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(began.elapsed())
}

/// Transactions and bytes of WAL so far.
async fn counters(connection: &mut PgConnection) -> anyhow::Result<[f64; 2]> {
    let row: (f64, f64) = sqlx::query_as(
        "select (select xact_commit::float8 from pg_stat_database where datname = current_database()),
                (select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8)",
    )
    .fetch_one(connection)
    .await?;
    Ok([row.0, row.1])
}
