//! The driver of graphile_worker, the Rust crate.
//!
//! The settings are those of its author's own benchmark of 200 000 jobs, `benches/perf_test.rs` in the crate, which
//! are also what `docs/src/configuration/worker-options.md` calls a throughput-oriented worker: a local queue, and
//! completions batched for 5 ms. The 100 connections are from `benches/common/mod.rs`.

#[path = "../../protocol.rs"]
mod protocol;

use std::time::Duration;

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, JobSpecBuilder, LocalQueueConfig, RawJobSpec, TaskHandler,
    Worker, WorkerContext, WorkerOptions, WorkerUtils,
};
use protocol::{Order, Orders};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

const SCHEMA: &str = "graphile_worker";
const LOCAL_QUEUE: usize = 5_000;
const BATCH_DELAY: Duration = Duration::from_millis(5);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const CONNECTIONS: u32 = 100;
const BULK: usize = 10_000;

#[derive(Serialize, Deserialize)]
struct Nothing {
    number: usize,
}

impl TaskHandler for Nothing {
    const IDENTIFIER: &'static str = "nothing";

    async fn run(self, _context: WorkerContext) -> impl IntoTaskHandlerResult {
        protocol::handler_started();
        Ok::<(), String>(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let orders = Orders::read()?;
    let pool =
        PgPoolOptions::new().max_connections(CONNECTIONS).connect(&orders.database_url).await?;
    match orders.order {
        Order::Prepare => prepare(&orders, pool).await,
        Order::Run => Ok(worker(&orders, pool).await?.run().await?),
        Order::Latency => latency(&orders, pool).await,
    }
}

async fn prepare(orders: &Orders, pool: PgPool) -> anyhow::Result<()> {
    let utils = WorkerUtils::new(pool, SCHEMA);
    utils.migrate().await?;
    let numbers: Vec<usize> = (0..orders.tasks).collect();
    for some in numbers.chunks(BULK) {
        let jobs: Vec<RawJobSpec> = some.iter().map(|&number| job(orders, number)).collect();
        utils.add_raw_jobs(&jobs).await?;
    }
    let settings = serde_json::json!({
        "local_queue": { "size": LOCAL_QUEUE, "queue_count": 1 },
        "complete_job_batch_delay_ms": BATCH_DELAY.as_millis(),
        "fail_job_batch_delay_ms": BATCH_DELAY.as_millis(),
        "poll_interval_ms": POLL_INTERVAL.as_millis(),
        "concurrency": orders.concurrency,
        "connections": CONNECTIONS,
        "key": if orders.ordered { "a queue name per job" } else { "none" },
    });
    println!("{settings}");
    Ok(())
}

fn job(orders: &Orders, number: usize) -> RawJobSpec {
    let spec = match orders.ordered {
        true => JobSpecBuilder::new().queue_name(format!("member-{number}")).build(),
        false => JobSpec::default(),
    };
    let payload = serde_json::json!({ "number": number });
    RawJobSpec { identifier: Nothing::IDENTIFIER.to_owned(), payload, spec }
}

async fn worker(orders: &Orders, pool: PgPool) -> anyhow::Result<Worker> {
    let options = WorkerOptions::default()
        .pg_pool(pool)
        .schema(SCHEMA)
        .concurrency(orders.concurrency)
        .poll_interval(POLL_INTERVAL)
        .local_queue(LocalQueueConfig::default().with_size(LOCAL_QUEUE))
        .complete_job_batch_delay(BATCH_DELAY)
        .fail_job_batch_delay(BATCH_DELAY)
        .define_job::<Nothing>();
    Ok(options.init().await?)
}

async fn latency(orders: &Orders, pool: PgPool) -> anyhow::Result<()> {
    let worker = worker(orders, pool).await?;
    let utils = worker.create_utils();
    let work = tokio::spawn(async move { worker.run().await });
    let mut number = 0;
    let insert = async || {
        number += 1;
        utils.add_job(Nothing { number }, JobSpec::default()).await?;
        Ok(())
    };
    let outcome = protocol::measure_pickups(insert).await;
    work.abort();
    outcome
}
