//! Idle: what the program asks of the database, and how busy it is, while there is nothing to do.

use std::time::Duration;

use anyhow::Context;
use cerby_reconciler::schema;
use serde_json::json;
use sqlx::PgPool;
use testkit::private_postgres::{Options, PrivatePostgres, Shutdown};
use testkit::simulator::{Integration, Kind, Settings, Simulator, World};

use crate::process::{Working, core_seconds, serve};
use crate::rows::{INTEGRATIONS, introduce};
use crate::shape::{Shape, number};

/// What it does at its start is no rest.
const WARM_UP: Duration = Duration::from_secs(5);

/// How statements are counted.
#[derive(Clone, Copy)]
enum Counter {
    Statements,
    Transactions,
}

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    // A server of its own: the one that everything else is measured on counts no statements.
    let mut server = PrivatePostgres::start(Options { durable: true }).await?;
    let counter = counter(&mut server).await?;
    let pool = PgPool::connect(&server.url()).await?;
    schema::migrate(&pool.clone().into()).await?;
    introduce(&pool).await?;
    for run in 1..=number("RUNS", 5)? {
        rest(shape, run, &server.url(), counter).await?;
    }
    pool.close().await;
    server.stop().await
}

async fn rest(shape: &Shape<'_>, run: u32, url: &str, counter: Counter) -> anyhow::Result<()> {
    let seconds: f64 = number("IDLE_S", 60.0)?;
    let apps = Simulator::start(world(), Settings::default()).await?;
    let observer = observer(url).await?;
    let working = Working::start([serve(url, &apps)])?;
    tokio::time::sleep(WARM_UP).await;
    let (asked, used) = (counter.read(&observer).await?, core_seconds(working.id())?);
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let asked = counter.read(&observer).await? - asked;
    let used = core_seconds(working.id())? - used;
    working.stop()?;
    observer.close().await;
    apps.stop().await?;
    let setting = format!("{INTEGRATIONS} integrations");
    let details = json!({"seconds": seconds, "counted": counter.name()});
    shape.ours(&setting, run, (asked / seconds, "statements/s"), details.clone())?;
    shape.ours(&setting, run, (100.0 * used / seconds, "% of a core"), details)
}

/// A connection to another database, whose statements are not counted.
async fn observer(url: &str) -> anyhow::Result<PgPool> {
    let (server, _) = url.rsplit_once('/').context("a URL names a database")?;
    Ok(PgPool::connect(&format!("{server}/template1")).await?)
}

fn world() -> World {
    let integration = |number| {
        let id = format!("app-{number}");
        Integration::new("acme", &id, "App", Kind::App, "asana_tenant")
    };
    (0..INTEGRATIONS).map(integration).fold(World::new(), World::integration)
}

/// Lets the server count statements, if it can.
async fn counter(server: &mut PrivatePostgres) -> anyhow::Result<Counter> {
    let pool = PgPool::connect(&server.url()).await?;
    let known: bool = sqlx::query_scalar(
        "select exists (select from pg_available_extensions where name = 'pg_stat_statements')",
    )
    .fetch_one(&pool)
    .await?;
    if known {
        sqlx::raw_sql("alter system set shared_preload_libraries = 'pg_stat_statements'")
            .execute(&pool)
            .await?;
    }
    pool.close().await;
    if !known {
        return Ok(Counter::Transactions);
    }
    server.restart(Shutdown::Fast).await?;
    let template = observer(&server.url()).await?;
    sqlx::raw_sql("create extension pg_stat_statements").execute(&template).await?;
    template.close().await;
    Ok(Counter::Statements)
}

impl Counter {
    fn name(self) -> &'static str {
        match self {
            Self::Statements => "statements, begin and commit included",
            Self::Transactions => "transactions, for the server cannot count statements",
        }
    }

    /// What the program's database has been asked so far.
    async fn read(self, observer: &PgPool) -> anyhow::Result<f64> {
        let count = match self {
            Self::Statements => {
                "select coalesce(sum(s.calls), 0)::float8 from pg_stat_statements s
                 join pg_database d on d.oid = s.dbid where d.datname = 'postgres'"
            }
            Self::Transactions => {
                "select (xact_commit + xact_rollback)::float8 from pg_stat_database where datname = 'postgres'"
            }
        };
        Ok(sqlx::query_scalar(count).fetch_one(observer).await?)
    }
}
