//! The driver of awa.
//!
//! Its defaults are its batching: claims of up to 512 jobs (`DEFAULT_CLAIM_BATCH_LIMIT`) and completions of up to 512
//! or 1 ms (`awa-worker`, `completion.rs`). The poll of 50 ms and the absence of a deadline, which opens its compact
//! claim path, are those of its author's own throughput benchmark, `tests/benchmark_test.rs`,
//! `test_throughput_rust_workers_queue_storage`. The seldom statistics and the least of 80 connections are those of
//! its author's comparison with other queues (postgresql-job-queue-benchmarking, `awa-bench/src/long_horizon.rs`).
//! More claimers than its default of one made it slower here.

#[path = "../../protocol.rs"]
mod protocol;

use std::time::Duration;

use anyhow::ensure;
use awa::{
    Client, InsertOpts, InsertParams, JobArgs, JobResult, QueueConfig, QueueStorage,
    QueueStorageConfig, insert_with, migrations,
};
use protocol::{Order, Orders};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

const QUEUE: &str = "peers";
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const ADMIN_INTERVAL: Duration = Duration::from_secs(300);
const CONNECTIONS: u32 = 80;
const BULK: usize = 5_000;

#[derive(Serialize, Deserialize, JobArgs)]
struct Nothing {
    number: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let orders = Orders::read()?;
    let pool =
        PgPoolOptions::new().max_connections(CONNECTIONS).connect(&orders.database_url).await?;
    match orders.order {
        Order::Prepare => prepare(&orders, pool).await,
        Order::Run => run(&orders, pool).await,
        Order::Latency => latency(&orders, pool).await,
    }
}

async fn prepare(orders: &Orders, pool: PgPool) -> anyhow::Result<()> {
    ensure!(!orders.ordered, "awa keeps no order per key");
    migrations::run(&pool).await?;
    // Its storage engine of today. Without this, what is enqueued before the first worker starts takes the old one.
    let storage = QueueStorage::new(QueueStorageConfig::default())?;
    storage.install(&pool).await?;
    let numbers: Vec<usize> = (0..orders.tasks).collect();
    for some in numbers.chunks(BULK) {
        let jobs = some.iter().map(|&number| job(number)).collect::<Result<Vec<_>, _>>()?;
        storage.enqueue_params_copy(&pool, &jobs).await?;
    }
    let config = queue_config(orders)?;
    let settings = serde_json::json!({
        "claim_batch_size": config.claim_batch_size,
        "claimers": config.claimers,
        "completion_batch_size": 512,
        "completion_flush_ms": 1,
        "poll_interval_ms": POLL_INTERVAL.as_millis(),
        "deadline": "none",
        "concurrency": orders.concurrency,
        "connections": CONNECTIONS,
        "key": "none",
    });
    println!("{settings}");
    Ok(())
}

fn job(number: usize) -> Result<InsertParams, awa::AwaError> {
    awa::model::insert::params_with(&Nothing { number }, insert_options())
}

fn insert_options() -> InsertOpts {
    InsertOpts { queue: QUEUE.to_owned(), ..InsertOpts::default() }
}

fn queue_config(orders: &Orders) -> anyhow::Result<QueueConfig> {
    Ok(QueueConfig {
        max_workers: u32::try_from(orders.concurrency)?,
        poll_interval: POLL_INTERVAL,
        deadline_duration: Duration::ZERO,
        ..QueueConfig::default()
    })
}

async fn started(orders: &Orders, pool: PgPool) -> anyhow::Result<Client> {
    let client = Client::builder(pool)
        .queue(QUEUE, queue_config(orders)?)
        .queue_stats_interval(ADMIN_INTERVAL)
        .runtime_snapshot_interval(ADMIN_INTERVAL)
        .register::<Nothing, _, _>(|_, _| async {
            protocol::handler_started();
            Ok(JobResult::Completed)
        })
        .build()?;
    client.start().await?;
    Ok(client)
}

async fn run(orders: &Orders, pool: PgPool) -> anyhow::Result<()> {
    let _client = started(orders, pool).await?;
    std::future::pending().await
}

async fn latency(orders: &Orders, pool: PgPool) -> anyhow::Result<()> {
    let _client = started(orders, pool.clone()).await?;
    let mut number = 0;
    let insert = async || {
        number += 1;
        insert_with(&pool, &Nothing { number }, insert_options()).await?;
        Ok(())
    };
    protocol::measure_pickups(insert).await
}
