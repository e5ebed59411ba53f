//! How fast what waits is finished, and what that costs.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::driver::{Running, Task};
use super::server::{Costs, Server};
use super::systems::System;

const POLL: Duration = Duration::from_millis(10);
const PROGRESS_CHECK: Duration = Duration::from_secs(20);
/// So many checks in a row without progress are the end.
const PATIENCE: u32 = 3;

/// What is to be drained.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) tasks: u32,
    pub(super) concurrency: u32,
    pub(super) ordered: bool,
}

impl Load {
    pub(super) fn shape(self) -> &'static str {
        if self.ordered { "drain ordered" } else { "drain" }
    }
}

/// One run, in a database of its own: tasks per second, and everything else.
pub(super) async fn drain(
    server: &mut Server,
    system: &System,
    load: Load,
) -> anyhow::Result<(f64, Value)> {
    let task = Task { system, url: server.create_database().await?, load };
    measure(server, &task).await
}

async fn measure(server: &mut Server, task: &Task<'_>) -> anyhow::Result<(f64, Value)> {
    let settings = task.prepare().await?;
    let mut watch = server.settle(&task.url).await?;
    let transactions = server.transactions().await?;
    let mut running = task.run().await?;
    let finished = async {
        let start = running.first().await?;
        let before = Costs::so_far(server, &running).await?;
        let (polls, end) = wait_until_finished(&mut watch, task, &mut running).await?;
        let costs = Costs::so_far(server, &running).await?.since(&before);
        anyhow::Ok((end - start, costs, polls))
    };
    let finished = finished.await;
    let killed = running.kill().await;
    drop(watch);
    let (elapsed, costs, polls) = finished?;
    killed?;
    server.wait_for_quiet().await?;
    let transactions = server.transactions().await? - transactions - polls;
    let tasks = f64::from(task.load.tasks);
    let details = json!({
        "settings": settings,
        "tasks": task.load.tasks,
        "seconds": elapsed.as_secs_f64(),
        "per_task": {
            "transactions": transactions as f64 / tasks,
            "wal_bytes": costs.wal_bytes as f64 / tasks,
            "server_cpu_us": costs.server_cpu.as_secs_f64() * 1e6 / tasks,
            "driver_cpu_us": costs.driver_cpu.as_secs_f64() * 1e6 / tasks,
        },
        "dead_tuples": server.dead_tuples(&task.url).await?,
    });
    Ok((tasks / elapsed.as_secs_f64(), details))
}

async fn wait_until_finished(
    watch: &mut PgConnection,
    task: &Task<'_>,
    running: &mut Running,
) -> anyhow::Result<(i64, Instant)> {
    let mut progress = Progress { left: i64::MAX, checked: Instant::now(), in_vain: 0 };
    let mut polls = 0;
    loop {
        polls += 1;
        if !ask::<bool>(watch, task.system.unfinished, task).await? {
            let end = Instant::now();
            let left: i64 = ask(watch, task.system.left, task).await?;
            ensure!(left == 0, "it looked finished, but {left} are left");
            return Ok((polls + 1, end));
        }
        running.check_alive()?;
        if progress.checked.elapsed() > PROGRESS_CHECK {
            polls += 1;
            progress.check(ask(watch, task.system.left, task).await?)?;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn ask<T>(watch: &mut PgConnection, query: &'static str, task: &Task<'_>) -> anyhow::Result<T>
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let answer = sqlx::query_scalar(query).bind(i64::from(task.load.tasks));
    Ok(answer.fetch_one(watch).await?)
}

struct Progress {
    left: i64,
    checked: Instant,
    in_vain: u32,
}

impl Progress {
    fn check(&mut self, left: i64) -> anyhow::Result<()> {
        self.in_vain = if left < self.left { 0 } else { self.in_vain + 1 };
        if self.in_vain == PATIENCE {
            bail!("no progress for {} s with {left} left", (PROGRESS_CHECK * PATIENCE).as_secs());
        }
        (self.left, self.checked) = (left.min(self.left), Instant::now());
        Ok(())
    }
}
