//! Steady load: tasks come at an even rate, while somebody always reads the table in one long transaction after another.

use std::time::Duration;

use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use crate::bed;
use crate::process::{Working, worker};
use crate::rows::{HISTORY, Rows, Standing};
use crate::shape::{Place, Shape, number};
use crate::tasks::insert_urgent;

const CONCURRENCY: usize = 100;
const BATCHES_PER_SECOND: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);
const READERS: u32 = 3;

/// Waits are from the insert to the close, which no pickup is longer than.
const MINUTE_STATE: &str = "
    select (select count(*) from reconciler.members where ready_task_id is not null and next_attempt_at <= now())
           + (select count(*) from reconciler.arrivals),
           (select coalesce(percentile_cont(0.99) within group (
                       order by extract(epoch from closed_at - received_at)::float8 * 1000), 0)
            from reconciler.automation_tasks where closed_at > now() - interval '1 minute'),
           (select sum(n_dead_tup)::bigint from pg_stat_user_tables
            where schemaname = 'reconciler' and relname in ('automation_tasks', 'members', 'arrivals'))";

#[derive(Clone, Copy)]
struct Load {
    tasks_per_second: usize,
    minutes: u32,
    reader: Duration,
}

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let load = Load {
        tasks_per_second: number("TASKS_PER_SECOND", 800)?,
        minutes: number("MINUTES", 10)?,
        reader: Duration::from_secs(number("READER_S", 120)?),
    };
    for run in 1..=number("RUNS", 1)? {
        let place = shape.place().await?;
        Rows::new(HISTORY, "finished", Standing::Finished).write(&place.pool).await?;
        bed::settle(&place.url).await?;
        let mut others = JoinSet::new();
        (0..READERS).for_each(|reader| {
            others.spawn(read_on(place.url.clone(), load.reader, load.reader / READERS * reader));
        });
        let inserter = PgPoolOptions::new().max_connections(1).connect(&place.url).await?;
        others.spawn(insert_on(inserter, load.tasks_per_second));
        let working = Working::start([worker(&place.url, CONCURRENCY)?])?;
        watch(shape, &place, load, run).await?;
        ended(&mut others)?;
        others.shutdown().await;
        working.stop()?;
    }
    Ok(())
}

async fn watch(shape: &Shape<'_>, place: &Place, load: Load, run: u32) -> anyhow::Result<()> {
    let details = json!({
        "tasks_per_second": load.tasks_per_second, "concurrency": CONCURRENCY, "readers": READERS,
        "seconds of a reader": load.reader.as_secs(), "finished before": HISTORY,
        "runs": "one by default, as it takes so many minutes",
        "p99": "from the insert to the close, of what was closed in the minute",
    });
    let mut minutes = interval_at(Instant::now() + MINUTE, MINUTE);
    let mut worst: f64 = 0.0;
    for minute in 1..=load.minutes {
        minutes.tick().await;
        let (backlog, p99, dead): (i64, f64, i64) =
            sqlx::query_as(MINUTE_STATE).fetch_one(&place.pool).await?;
        worst = worst.max(p99);
        for (what, value, unit) in [
            ("backlog", backlog as f64, "tasks"),
            ("p99", p99, "ms"),
            ("dead rows", dead as f64, "rows"),
        ] {
            let setting = format!("minute {minute} {what}");
            shape.ours(&setting, run, (value, unit), details.clone())?;
        }
    }
    shape.ours("worst minute p99", run, (worst, "ms"), details)
}

/// The load never ends by itself, unless something is wrong.
fn ended(others: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    others.try_join_next().map_or(Ok(()), |ended| ended?)
}

async fn insert_on(pool: PgPool, tasks_per_second: usize) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / BATCHES_PER_SECOND as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let batch = tasks_per_second / BATCHES_PER_SECOND;
    for number in 0.. {
        ticks.tick().await;
        insert_urgent(&pool.clone().into(), number * batch, (number + 1) * batch).await?;
    }
    Ok(())
}

/// One snapshot after another, each held for so long.
async fn read_on(url: String, held: Duration, after: Duration) -> anyhow::Result<()> {
    tokio::time::sleep(after).await;
    let mut connection = bed::connect(&url).await?;
    loop {
        let read = "begin isolation level repeatable read; select count(*) from reconciler.automation_tasks";
        sqlx::raw_sql(AssertSqlSafe(read)).execute(&mut connection).await?;
        tokio::time::sleep(held).await;
        sqlx::raw_sql("rollback").execute(&mut connection).await?;
    }
}
