//! Many workspaces: one task in each at once, and then new tasks at an even rate between them. How long after its commit
//! the first step of a task begins.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use cerby_reconciler::config::Config;
use cerby_reconciler::database::PgPool;
use cerby_reconciler::schema;
use cerby_reconciler::schema::Planning;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::driver::{Engine, Idle, log_to_nowhere};
use crate::process::{driver, said};
use crate::shape::{Shape, number, spaced};

/// Each comes to another workspace than the one before.
const STRIDE: usize = 7919;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let (workspaces, per_second) =
        (number("WORKSPACES", 1000_usize)?, number("TASKS_PER_SECOND", 100_usize)?);
    let all = format!("one in each of {}", spaced(workspaces));
    for run in 1..=number("RUNS", 5)? {
        let place = shape.place().await?;
        let waits = said(driver("many-workspaces", &place.url)?)?;
        for (setting, which) in [
            (format!("{all}, all new: last"), "new_ms"),
            (format!("{all}, all known: last"), "known_ms"),
            (format!("{per_second} a second: p50"), "p50_ms"),
            (format!("{per_second} a second: p99"), "p99_ms"),
        ] {
            let wait = waits[which].as_f64().context("the driver tells it")?;
            shape.ours(&setting, run, (wait, "ms"), waits.clone())?;
        }
    }
    Ok(())
}

/// Tasks come, and an engine that had nothing to do picks them up.
pub(crate) async fn pick_up(config: &Config) -> anyhow::Result<()> {
    log_to_nowhere()?;
    let (workspaces, per_second) =
        (number("WORKSPACES", 1000_usize)?, number("TASKS_PER_SECOND", 100_usize)?);
    let seconds = number("SECONDS", 20_usize)?;
    let pool = schema::connect(&config.database, Planning::Fixed).await?;
    let (began, mut begins) = unbounded_channel();
    let engine = Engine::start(config, &pool, Idle::telling(began))?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let new = all_at_once(&pool, &mut begins, "new", workspaces).await?;
    let tasks = per_second * seconds;
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(per_second)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut committed = HashMap::new();
    for index in 0..tasks {
        ticks.tick().await;
        insert(&pool, "even", index, index + 1, workspaces).await?;
        committed.insert(format!("even-member-{index}"), Instant::now());
    }
    let mut waits = Vec::new();
    for _ in 0..tasks {
        let (at, member) = next(&mut begins).await?;
        let committed =
            committed.remove(&member).with_context(|| format!("{member} came twice"))?;
        waits.push(at.saturating_duration_since(committed).as_secs_f64() * 1000.0);
    }
    let known = all_at_once(&pool, &mut begins, "known", workspaces).await?;
    engine.stop().await;
    waits.sort_by(f64::total_cmp);
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part).round() as usize];
    let said = json!({
        "workspaces": workspaces, "tasks_per_second": per_second, "seconds": seconds, "new_ms": new, "known_ms": known,
        "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99), "max_ms": at(1.0),
    });
    println!("{said}");
    Ok(())
}

/// Inserts one task in each workspace and waits until the last has begun; how long that took.
async fn all_at_once(
    pool: &PgPool,
    begins: &mut UnboundedReceiver<(Instant, String)>,
    name: &str,
    workspaces: usize,
) -> anyhow::Result<f64> {
    insert(pool, name, 0, workspaces, workspaces).await?;
    let committed = Instant::now();
    let mut last = committed;
    for _ in 0..workspaces {
        last = last.max(next(begins).await?.0);
    }
    Ok(last.saturating_duration_since(committed).as_secs_f64() * 1000.0)
}

async fn next(
    begins: &mut UnboundedReceiver<(Instant, String)>,
) -> anyhow::Result<(Instant, String)> {
    match timeout(PATIENCE, begins.recv()).await {
        Ok(Some(begun)) => Ok(begun),
        Ok(None) => bail!("the engine ended"),
        Err(_) => bail!("nothing began for {} s", PATIENCE.as_secs()),
    }
}

/// Inserts some that are to be looked at at once, in one statement.
async fn insert(
    pool: &PgPool,
    name: &str,
    from: usize,
    to: usize,
    workspaces: usize,
) -> anyhow::Result<()> {
    sqlx::query(
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
              member_email, member_name, operation, trigger, requested_at)
         select 'workspace-' || n * $4 % $5, $3 || '-' || n, 'app', 'app', 'App', 'asana_tenant',
                $3 || '-member-' || n, 'member@example.com', 'Member', 'remove', 'user_deprovisioned', now()
         from generate_series($1::bigint, $2::bigint - 1) n",
    )
    .bind(from as i64)
    .bind(to as i64)
    .bind(name)
    .bind(STRIDE as i64)
    .bind(workspaces as i64)
    .execute(pool)
    .await?;
    Ok(())
}
