//! `import`: failed tasks from a file of JSON lines, all or none.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use sqlx::Executor;

use super::refusal;
use super::terminal::print;
use crate::config::Config;
use crate::database::{PgConnection, PgPool};
use crate::schema;
use crate::store::begin_as;

const BATCH: usize = 500;
const BAD_LINES_SHOWN: usize = 20;

/// One line: the columns of the inbound contract.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InboundTask {
    pub workspace_id: String,
    pub source_id: String,
    pub job_id: Option<String>,
    pub integration_id: String,
    pub integration_kind: String,
    pub integration_name: String,
    pub application: String,
    pub member_id: String,
    pub member_email: String,
    pub member_username: Option<String>,
    pub member_name: Option<String>,
    pub operation: String,
    #[serde(default)]
    pub entitlements: Vec<String>,
    pub hub_role: Option<String>,
    pub trigger: String,
    pub requested_at: DateTime<Utc>,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    pub failure_screenshot_url: Option<String>,
    pub can_retry: Option<bool>,
    pub user_required: Option<bool>,
    pub traceparent: Option<String>,
}

/// A line and its number in the file.
#[derive(Debug)]
struct Numbered {
    number: usize,
    task: InboundTask,
}

/// How many lines were inserted, and how many were there already.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// New rows.
    pub inserted: u64,
    /// Lines whose source_id the workspace had already.
    pub known: u64,
}

/// Imports a file and says what came of it.
pub(super) async fn run(config: Option<&Path>, file: &Path) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let text = read(file)?;
    let pool = schema::connect(&config.database).await?;
    schema::check(&pool).await?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} rows {elapsed}")
            .expect("a valid template"),
    );
    let imported = import_showing(&bar, &pool, &text).await?;
    print(&format!("{} inserted, {} known already\n", imported.inserted, imported.known))
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("standard input is not readable as UTF-8")?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read as UTF-8", file.display()))
}

/// Inserts every line of `text` in one transaction, or none. Names each bad line by number and column.
pub async fn import(pool: &PgPool, text: &str) -> anyhow::Result<Imported> {
    import_showing(&ProgressBar::hidden(), pool, text).await
}

async fn import_showing(
    progress: &ProgressBar,
    pool: &PgPool,
    text: &str,
) -> anyhow::Result<Imported> {
    let tasks = parse(text)?;
    progress.set_length(tasks.len() as u64);
    let mut tx = begin_as(pool, "import").await?;
    let mut inserted = 0;
    for batch in tasks.chunks(BATCH) {
        inserted += insert_batch(&mut tx, batch).await?;
        progress.inc(batch.len() as u64);
    }
    tx.commit().await.context("the import was not committed: nothing was inserted")?;
    progress.finish_and_clear();
    Ok(Imported { inserted, known: tasks.len() as u64 - inserted })
}

fn parse(text: &str) -> anyhow::Result<Vec<Numbered>> {
    let mut tasks = Vec::new();
    let mut bad = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let mut json = serde_json::Deserializer::from_str(line);
        let parsed = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| at_column(&error))
            .and_then(|task| {
                json.end().map(|()| task).map_err(|_| "more than one object".to_owned())
            });
        match parsed {
            Ok(task) => tasks.push(Numbered { number, task }),
            Err(why) => bad.push(format!("line {number}: {why}")),
        }
    }
    if bad.is_empty() {
        return Ok(tasks);
    }
    let (count, more) = (bad.len(), bad.len().saturating_sub(BAD_LINES_SHOWN));
    bad.truncate(BAD_LINES_SHOWN);
    let rest = if more > 0 { format!("\n  … and {more} more") } else { String::new() };
    bail!("{count} bad lines, nothing was inserted:\n  {}{rest}", bad.join("\n  "));
}

/// serde's words name a missing or unknown column themselves; for a bad value the path does.
fn at_column(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let text = error.inner().to_string();
    let text = without_value(text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text));
    match error.path().to_string().as_str() {
        "." => text,
        column => format!("column {column}: {text}"),
    }
}

/// `invalid type: string "jo@example.com", expected a boolean` without what could be anybody's.
fn without_value(text: &str) -> String {
    match (text.find(['"', '`']), text.rsplit_once(", expected ")) {
        (Some(value), Some((_, expected))) if text.starts_with("invalid ") => {
            format!("{}, expected {expected}", text[..value].trim_end())
        }
        _ => text.to_owned(),
    }
}

async fn insert_batch(connection: &mut PgConnection, batch: &[Numbered]) -> anyhow::Result<u64> {
    connection.execute("savepoint batch").await?;
    match insert(connection, batch).await {
        Ok(inserted) => {
            connection.execute("release savepoint batch").await?;
            Ok(inserted)
        }
        Err(sqlx::Error::Database(_)) => {
            connection.execute("rollback to savepoint batch").await?;
            Err(first_refused(connection, batch).await)
        }
        Err(error) => Err(error).context("the database did not answer: nothing was inserted"),
    }
}

/// Finds the line that the database refuses by giving it one line at a time.
async fn first_refused(connection: &mut PgConnection, batch: &[Numbered]) -> anyhow::Error {
    for line in batch {
        if let Err(error) = insert(connection, std::slice::from_ref(line)).await {
            return anyhow::anyhow!(
                "line {}: {}\nnothing was inserted",
                line.number,
                refusal::words(&error)
            );
        }
    }
    anyhow::anyhow!(
        "the database refused a batch of which it takes every line: try again; nothing was inserted"
    )
}

async fn insert(connection: &mut PgConnection, batch: &[Numbered]) -> sqlx::Result<u64> {
    let rows: Vec<_> = batch.iter().map(|line| &line.task).collect();
    let rows = serde_json::to_value(rows).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let written = sqlx::query!(
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, member_username, member_name, operation, entitlements, hub_role, trigger,
              requested_at, failure_code, failure_message, failure_screenshot_url, can_retry, user_required,
              traceparent)
         select workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
                member_id, member_email, member_username, member_name, operation,
                array(select jsonb_array_elements_text(entitlements)), hub_role, trigger,
                requested_at, failure_code, failure_message, failure_screenshot_url, can_retry, user_required,
                traceparent
         from jsonb_to_recordset($1) as line
              (workspace_id text, source_id text, job_id text, integration_id text, integration_kind text,
               integration_name text, application text, member_id text, member_email text, member_username text,
               member_name text, operation text, entitlements jsonb, hub_role text, trigger text,
               requested_at timestamptz, failure_code text, failure_message text, failure_screenshot_url text,
               can_retry boolean, user_required boolean, traceparent text)
         on conflict do nothing",
        rows,
    )
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}
