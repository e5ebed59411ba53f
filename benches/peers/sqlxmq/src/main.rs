//! The driver of sqlxmq.
//!
//! Its documentation: the difference between minimum and maximum concurrency is the largest batch that is received,
//! and larger batches are more efficient (`JobRunnerOptions::set_concurrency`). Half of the maximum as the minimum is
//! its defaults' proportion (16, 32) and that of its author's stress test (50, 100). It completes one job at a time.

#[path = "../../protocol.rs"]
mod protocol;

use std::error::Error;
use std::path::Path;

use protocol::{Order, Orders};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use sqlxmq::{CurrentJob, JobRegistry, JobRunnerHandle, job};

const CHANNEL: &str = "peers";
const CONNECTIONS: u32 = 50;

#[job(channel_name = "peers")]
async fn nothing(mut current: CurrentJob) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
    protocol::handler_started();
    current.complete().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let orders = Orders::read()?;
    let pool =
        PgPoolOptions::new().max_connections(CONNECTIONS).connect(&orders.database_url).await?;
    match orders.order {
        Order::Prepare => prepare(&orders, pool).await,
        Order::Run => run(&orders, &pool).await,
        Order::Latency => latency(&orders, &pool).await,
    }
}

async fn prepare(orders: &Orders, pool: PgPool) -> anyhow::Result<()> {
    Migrator::new(Path::new(env!("SQLXMQ_MIGRATIONS"))).await?.run(&pool).await?;
    // What `JobBuilder::spawn` sends, with its defaults, for all at once.
    let all = "select mq_insert(array_agg(row(gen_random_uuid(), interval '0', 4, interval '1 second', $1, \
               case when $2 then number::text else '' end, null, $2, $3, \
               json_build_object('number', number)::text, null)::mq_new_t)) \
               from generate_series(1, $4) number";
    sqlx::query(all)
        .bind(CHANNEL)
        .bind(orders.ordered)
        .bind(nothing.name())
        .bind(i32::try_from(orders.tasks)?)
        .execute(&pool)
        .await?;
    let settings = serde_json::json!({
        "min_concurrency": orders.concurrency / 2,
        "max_concurrency": orders.concurrency,
        "connections": CONNECTIONS,
        "key": if orders.ordered { "an ordered channel per job" } else { "none" },
    });
    println!("{settings}");
    Ok(())
}

async fn started(orders: &Orders, pool: &PgPool) -> anyhow::Result<JobRunnerHandle> {
    let runner = JobRegistry::new(&[nothing])
        .runner(pool)
        .set_concurrency(orders.concurrency / 2, orders.concurrency)
        .run()
        .await?;
    Ok(runner)
}

async fn run(orders: &Orders, pool: &PgPool) -> anyhow::Result<()> {
    let _runner = started(orders, pool).await?;
    std::future::pending().await
}

async fn latency(orders: &Orders, pool: &PgPool) -> anyhow::Result<()> {
    let _runner = started(orders, pool).await?;
    let insert = async || {
        nothing.builder().set_json("{}")?.spawn(pool).await?;
        Ok(())
    };
    protocol::measure_pickups(insert).await
}
