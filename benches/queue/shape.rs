//! What every shape needs: databases, numbers from the environment, and its lines in the file of measurements.

use std::process::Command;
use std::time::Duration;

use cerby_reconciler::schema::{self, Planning, settings};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::bed::{self, Bed};
use crate::process::{Working, worker};
use crate::record::{Machine, Measurement, record};

pub(crate) use crate::drain::number;

const OURS: &str = "cerby-reconciler";

/// Whether any member has a task whose turn it is. Asked of each integration from the last due time on: those before it
/// are gone first.
pub(crate) const OPEN: &str = "
    select exists (
        select from reconciler.integration_states i
        cross join lateral (
            select from reconciler.members m
            where m.workspace_id = i.workspace_id and m.integration_id = i.integration_id
              and m.ready_task_id is not null and m.next_attempt_at is not null
            order by m.ready_is_removal desc, m.next_attempt_at desc
            limit 1) ready
        where i.next_due_at is not null)";

/// Whether anything is left that may be worked on. Asked of each integration, so that neither what is not due yet nor
/// what waits in an inactive integration is read.
const READY: &str = "
    select exists (
        select from reconciler.integrations i
        cross join (values (true), (false)) lane (is_removal)
        cross join lateral (
            select from reconciler.members m
            where m.workspace_id = i.workspace_id and m.integration_id = i.integration_id
              and m.ready_task_id is not null and m.ready_is_removal = lane.is_removal and m.next_attempt_at <= now()
            order by m.next_attempt_at desc
            limit 1) due
        where i.status = 'active')";

/// A shape while it is measured.
pub(crate) struct Shape<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) machine: &'a Machine,
    pub(crate) name: &'static str,
}

/// A database with our schema.
pub(crate) struct Place {
    pub(crate) url: String,
    /// Of the superuser, whose statements take the time they need.
    pub(crate) pool: PgPool,
}

impl Shape<'_> {
    /// Makes a database with our schema and nothing in it, in place of the last.
    pub(crate) async fn place(&self) -> anyhow::Result<Place> {
        self.place_beside(0).await
    }

    /// The same beside those of other numbers.
    pub(crate) async fn place_beside(&self, number: usize) -> anyhow::Result<Place> {
        let name = format!("shape_{}_{number}", self.name.replace(' ', "_"));
        let url = self.bed.database(&name).await?;
        let pool = PgPool::connect(&url).await?;
        schema::migrate(&pool.clone().into()).await?;
        Ok(Place { url, pool })
    }

    /// Writes a value of ours.
    pub(crate) fn ours(
        &self,
        setting: &str,
        run: u32,
        (value, unit): (f64, &str),
        details: Value,
    ) -> anyhow::Result<()> {
        self.theirs(OURS, setting, run, (value, unit), details)
    }

    /// Writes a value of another system.
    pub(crate) fn theirs(
        &self,
        system: &str,
        setting: &str,
        run: u32,
        (value, unit): (f64, &str),
        details: Value,
    ) -> anyhow::Result<()> {
        record(
            self.machine,
            &Measurement {
                shape: self.name.to_owned(),
                system: system.to_owned(),
                setting: setting.to_owned(),
                run,
                unit: unit.to_owned(),
                value,
                details,
            },
        )
    }
}

impl Place {
    /// Lets one driver work until nothing is ready; from its first step on.
    pub(crate) async fn drain(&self, concurrency: usize) -> anyhow::Result<Duration> {
        bed::settle(&self.url).await?;
        self.work_off(worker(&self.url, concurrency)?).await
    }

    /// The same with this driver, in the state that the database is in.
    pub(crate) async fn work_off(&self, driver: Command) -> anyhow::Result<Duration> {
        let mut connection = bed::connect(&self.url).await?;
        let working = Working::start([driver])?;
        until_none_ready(&mut connection).await?;
        let took = working.began.elapsed();
        working.stop()?;
        Ok(took)
    }
}

pub(crate) async fn until_none_ready(connection: &mut PgConnection) -> anyhow::Result<()> {
    until_not(connection, READY).await
}

/// Statements that make a session plan as the daemon's do.
pub(crate) fn planning() -> String {
    settings(Planning::Fixed)
        .map(|(setting, value)| format!("set {setting} = '{value}';"))
        .collect()
}

/// Asks until the answer is no.
pub(crate) async fn until_not(
    connection: &mut PgConnection,
    question: &'static str,
) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(planning())).execute(&mut *connection).await?;
    while sqlx::query_scalar::<_, bool>(question).fetch_one(&mut *connection).await? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub(crate) fn rate(tasks: usize, took: Duration) -> f64 {
    tasks as f64 / took.as_secs_f64()
}

/// A number as people write it: 100 000.
pub(crate) fn spaced(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(" ")
}
