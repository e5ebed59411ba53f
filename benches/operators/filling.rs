//! Tables as full as after months of work: written by plain SQL, straight in their final state.

use std::time::Instant;

use anyhow::Context;
use cerby_reconciler::schema;
use sqlx::{AssertSqlSafe, PgPool};

use crate::bed::{self, Bed};

const ACTIONS: u32 = 1_000_000;

/// What is unfinished of the tasks, whatever the number of actions.
const WAITING_TASKS: u32 = 3000;

/// The tables that are counted when they are full.
const TABLES: [&str; 10] = [
    "manual_actions",
    "action_figures",
    "automation_tasks",
    "members",
    "arrivals",
    "events",
    "syncs",
    "returns",
    "integration_settings",
    "task_places",
];

pub(crate) struct Sizes {
    pub(crate) actions: u32,
}

impl Sizes {
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let actions = std::env::var("OPERATORS_ACTIONS").map_or(Ok(ACTIONS), |text| text.parse());
        let actions = actions.context("OPERATORS_ACTIONS")?;
        anyhow::ensure!(actions >= 10_000, "OPERATORS_ACTIONS is at least 10000");
        Ok(Self { actions })
    }
}

/// Makes a database with our schema and fills it; its URL.
pub(crate) async fn fill(bed: &Bed, sizes: &Sizes) -> anyhow::Result<String> {
    let began = Instant::now();
    let url = bed.database("operators").await?;
    let pool = PgPool::connect(&url).await?;
    schema::migrate(&pool.clone().into()).await?;
    let write = async |statements| write(&url, sizes, statements).await;
    write(include_str!("filling/plan.sql")).await?;
    tokio::try_join!(
        write(include_str!("filling/actions.sql")),
        write(concat!(include_str!("filling/tasks.sql"), include_str!("filling/members.sql"))),
        write(concat!(include_str!("filling/trail.sql"), include_str!("filling/syncs.sql"))),
    )?;
    write(include_str!("filling/figures.sql")).await?;
    sqlx::raw_sql("drop table public.plan; drop function public.chance").execute(&pool).await?;
    bed::settle(&url).await?;
    println!("filled in {:.0} s", began.elapsed().as_secs_f64());
    for table in TABLES {
        let count = format!("select count(*) from reconciler.{table}");
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&pool).await?;
        println!("{table:<24}{rows:>10} rows");
    }
    pool.close().await;
    Ok(url)
}

/// Runs statements as rows are restored: no trigger takes them for new.
async fn write(url: &str, sizes: &Sizes, statements: &'static str) -> anyhow::Result<()> {
    let mut connection = bed::connect(url).await?;
    let actions = sizes.actions;
    let settings = format!(
        "set session_replication_role = replica;
         set operators.actions = {actions};
         set operators.tasks = {WAITING_TASKS}"
    );
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut connection).await?;
    sqlx::raw_sql(statements).execute(&mut connection).await?;
    Ok(())
}
