//! The inbound contract as a type: the rows that the backend inserts. Here they are read from lines of JSON, checked
//! and inserted.

use std::fmt::{self, Display, Formatter};

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::database::PgConnection;

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
    pub requested_at: RequestedAt,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    pub failure_screenshot_url: Option<String>,
    pub can_retry: Option<bool>,
    pub user_required: Option<bool>,
    pub traceparent: Option<String>,
    pub requested_by: Option<String>,
    /// `failed` if it is missing; `succeeded` if automation did it elsewhere.
    pub outcome: Option<String>,
}

/// The time of a request. A time without a zone is read as UTC.
#[derive(Debug, Clone, Copy)]
pub struct RequestedAt {
    pub at: DateTime<Utc>,
    pub has_zone: bool,
}

impl From<DateTime<Utc>> for RequestedAt {
    fn from(at: DateTime<Utc>) -> Self {
        Self { at, has_zone: true }
    }
}

impl<'de> Deserialize<'de> for RequestedAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(at) = text.parse::<DateTime<Utc>>() {
            return Ok(Self { at, has_zone: true });
        }
        let text = text.replacen(' ', "T", 1);
        match text.parse::<NaiveDateTime>() {
            Ok(at) => Ok(Self { at: at.and_utc(), has_zone: false }),
            Err(_) => {
                Err(D::Error::custom("invalid time, expected one such as 2026-11-30T09:00:00Z"))
            }
        }
    }
}

impl Serialize for RequestedAt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.at.serialize(serializer)
    }
}

#[derive(Debug)]
pub struct Numbered {
    pub number: usize,
    pub task: InboundTask,
}

const BAD_LINES_SHOWN: usize = 20;

/// Lines that do not match the contract, each with its number and the reason.
#[derive(Debug, Default)]
pub struct BadLines(Vec<String>);

impl BadLines {
    pub fn push(&mut self, number: usize, why: &str) {
        self.0.push(format!("line {number}: {why}"));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Display for BadLines {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(BAD_LINES_SHOWN)];
        let more = self.0.len() - shown.len();
        write!(out, "{} bad lines, nothing was inserted:\n  {}", self.0.len(), shown.join("\n  "))?;
        if more > 0 { write!(out, "\n  … and {more} more") } else { Ok(()) }
    }
}

/// Reads lines of JSON, each an object with the columns of the contract.
///
/// # Errors
/// Names every bad line by number and column, without its values.
pub fn parse(text: &str) -> Result<Vec<Numbered>, BadLines> {
    let mut tasks = Vec::new();
    let mut bad = BadLines::default();
    // Windows writes a byte-order mark, which is not part of the first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
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
            Err(why) => bad.push(number, &why),
        }
    }
    if bad.is_empty() {
        return Ok(tasks);
    }
    Err(bad)
}

/// serde's message names a missing or unknown column. For a bad value, the path names it.
fn at_column(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let text = error.inner().to_string();
    let text = without_value(text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text));
    match error.path().to_string().as_str() {
        "." => text,
        column => format!("column {column}: {text}"),
    }
}

/// Removes the value from a message such as `invalid type: string "jo@example.com", expected a boolean`, because it may
/// be personal data.
fn without_value(text: &str) -> String {
    match (text.find(['"', '`']), text.rsplit_once(", expected ")) {
        (Some(value), Some((_, expected))) if text.starts_with("invalid ") => {
            format!("{}, expected {expected}", text[..value].trim_end())
        }
        _ => text.to_owned(),
    }
}

/// Inserts lines. Returns how many of them were new.
pub async fn insert(connection: &mut PgConnection, batch: &[Numbered]) -> sqlx::Result<u64> {
    let rows: Vec<_> = batch.iter().map(|line| &line.task).collect();
    let rows = serde_json::to_value(rows).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let written = sqlx::query!(
        "-- import_tasks
         insert into reconciler.automation_tasks
             (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, member_username, member_name, operation, entitlements, hub_role, trigger,
              requested_at, failure_code, failure_message, failure_screenshot_url, can_retry, user_required,
              traceparent, requested_by, outcome)
         select workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
                member_id, member_email, member_username, member_name, operation,
                array(select jsonb_array_elements_text(entitlements)), hub_role, trigger,
                requested_at, failure_code, failure_message, failure_screenshot_url, can_retry, user_required,
                traceparent, requested_by, coalesce(outcome, 'failed')
         from jsonb_to_recordset($1) as line
              (workspace_id text, source_id text, job_id text, integration_id text, integration_kind text,
               integration_name text, application text, member_id text, member_email text, member_username text,
               member_name text, operation text, entitlements jsonb, hub_role text, trigger text,
               requested_at timestamptz, failure_code text, failure_message text, failure_screenshot_url text,
               can_retry boolean, user_required boolean, traceparent text,
               requested_by text, outcome text)
         on conflict do nothing",
        rows,
    )
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}
