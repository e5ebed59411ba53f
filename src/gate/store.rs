//! The SQL of gates: the daemon moves them, people pause, resume and limit. Letting tasks through is part of their claim (`reconciler.admit`).

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{Attempt, Cause, Gate, Move, Position, Sign};
use crate::membership::MemberKey;
use crate::store::{StoreError, interval};

/// Locks the gate of a task's integration if the attempt may move it; a healthy app's row is not touched.
pub async fn lock(
    connection: &mut PgConnection,
    key: &MemberKey,
    attempt: &Attempt,
) -> Result<Option<Gate>, StoreError> {
    let row = sqlx::query!(
        "select gate, gate_cause, gate_since, gate_failures, gate_closings, gate_slope, gate_probe
         from reconciler.integrations
         where workspace_id = $1 and integration_id = $2
           and (gate_probe = $3 or $4
                or $5 and (gate_failures > 0 or gate_slope is not null or gate_closings > 0))
         for no key update",
        key.workspace,
        key.integration,
        attempt.task,
        matches!(attempt.sign, Sign::Fails | Sign::LimitsRate(_)),
        attempt.sign == Sign::Works,
    )
    .fetch_optional(connection)
    .await?;
    let number = |number: i32| u32::try_from(number).unwrap_or(0);
    Ok(row.map(|row| Gate {
        position: match row.gate.as_str() {
            "open" => Position::Open,
            "half_open" => Position::HalfOpen,
            "closed" => Position::Closed,
            _ => Position::WithPerson,
        },
        cause: row.gate_cause.as_deref().map(|cause| match cause {
            "rate_limit" => Cause::RateLimit,
            _ => Cause::Failures,
        }),
        since: row.gate_since,
        failures: number(row.gate_failures),
        closings: number(row.gate_closings),
        slope: row.gate_slope.map(number),
        probe: row.gate_probe,
    }))
}

/// Writes how a locked gate moves.
pub async fn write(
    connection: &mut PgConnection,
    key: &MemberKey,
    moved: Move,
) -> Result<(), StoreError> {
    let (workspace, integration) = (&key.workspace, &key.integration);
    match moved {
        Move::Count => sqlx::query!(
            "update reconciler.integrations set gate_failures = gate_failures + 1
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
        ),
        Move::Forget { slope } => sqlx::query!(
            "update reconciler.integrations
             set gate_failures = 0, gate_slope = $3,
                 gate_closings = case when $3::integer is null then 0 else gate_closings end
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
            slope.and_then(|slope| i32::try_from(slope).ok()),
        ),
        Move::Close { cause, wait, closings } => sqlx::query!(
            "update reconciler.integrations
             set gate = 'closed', gate_cause = $3, gate_reason = $4, gate_until = clock_timestamp() + $5,
                 gate_closings = $6, gate_probe = null, gate_slope = null
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
            cause.as_str(),
            cause.sentence(),
            interval(wait),
            i32::try_from(closings).unwrap_or(i32::MAX),
        ),
        Move::Open => sqlx::query!(
            "update reconciler.integrations set gate = 'open'
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
        ),
        Move::Await(wait) => sqlx::query!(
            "update reconciler.integrations set gate_until = clock_timestamp() + $3
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
            interval(wait),
        ),
        Move::NextProbe => sqlx::query!(
            "update reconciler.integrations set gate_until = clock_timestamp(), gate_probe = null
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
        ),
    }
    .execute(connection)
    .await?;
    Ok(())
}

/// Shuts the gate until a person has mended the app's login. A person's pause stays a pause.
pub async fn park(
    connection: &mut PgConnection,
    key: &MemberKey,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update reconciler.integrations
         set gate = 'credentials', gate_reason = $3, gate_slope = null
         where workspace_id = $1 and integration_id = $2 and gate not in ('paused', 'credentials')",
        key.workspace,
        key.integration,
        reason,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One line of the list that operators read.
#[derive(Debug, serde::Serialize)]
#[expect(missing_docs, reason = "the columns of reconciler.integrations, and counts")]
pub struct Line {
    pub workspace_id: String,
    pub integration_id: String,
    pub name: String,
    pub gate: String,
    pub gate_reason: Option<String>,
    pub gate_until: Option<DateTime<Utc>>,
    pub gate_since: Option<DateTime<Utc>>,
    pub max_in_flight: Option<i32>,
    pub starts_per_minute: Option<i32>,
    pub own_account: Option<String>,
    pub administrator_roles: Option<Vec<String>>,
    pub reading_every_s: Option<i32>,
    pub waiting: i64,
    pub in_flight: i64,
    pub unfinished_actions: i64,
}

/// Integrations, the shut ones first.
pub async fn list(pool: &PgPool, only_shut: bool) -> Result<Vec<Line>, StoreError> {
    Ok(sqlx::query_as!(
        Line,
        r#"select i.workspace_id, i.integration_id, i.name, i.gate, i.gate_reason, i.gate_until, i.gate_since,
                  i.max_in_flight, i.starts_per_minute, i.own_account, i.administrator_roles, i.reading_every_s,
                  t.waiting as "waiting!", t.in_flight as "in_flight!", a.unfinished as "unfinished_actions!"
           from reconciler.integrations i
           cross join lateral (
               select count(*) filter (where t.running_job_id is null) as waiting,
                      count(*) filter (where t.running_job_id is not null) as in_flight
               from reconciler.turns t
               where t.workspace_id = i.workspace_id and t.integration_id = i.integration_id) t
           cross join lateral (
               select count(*) as unfinished from reconciler.manual_actions a
               where a.workspace_id = i.workspace_id and a.integration_id = i.integration_id
                 and a.status in ('open', 'in_progress', 'done')) a
           where not $1 or i.gate <> 'open'
           order by i.gate = 'open', i.workspace_id, i.integration_id"#,
        only_shut,
    )
    .fetch_all(pool)
    .await?)
}

/// The workspaces that know an integration.
pub async fn workspaces_of(pool: &PgPool, integration: &str) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        "select workspace_id from reconciler.integrations where integration_id = $1 order by 1",
        integration,
    )
    .fetch_all(pool)
    .await?)
}

/// A person's hand at the gate; the database says what they may do with it.
pub async fn set_gate(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    gate: &str,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update reconciler.integrations set gate = $3, gate_reason = $4
         where workspace_id = $1 and integration_id = $2",
        workspace,
        integration,
        gate,
        reason,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets the limits that are given; zero takes one away.
pub async fn set_limits(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    in_flight: Option<u32>,
    per_minute: Option<u32>,
) -> Result<(), StoreError> {
    let number =
        |number: Option<u32>| number.map(|number| i32::try_from(number).unwrap_or(i32::MAX));
    sqlx::query!(
        "update reconciler.integrations
         set max_in_flight = case when $3::integer is null then max_in_flight else nullif($3, 0) end,
             starts_per_minute = case when $4::integer is null then starts_per_minute else nullif($4, 0) end
         where workspace_id = $1 and integration_id = $2",
        workspace,
        integration,
        number(in_flight),
        number(per_minute),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What people may say of an integration's readings: `None` leaves it, `Some(None)` takes back what was said.
#[derive(Debug, Default)]
pub struct Settings {
    /// The account that the automation logs in with.
    pub own_account: Option<Option<String>>,
    /// Ids of roles that make an administrator.
    pub administrator_roles: Option<Option<Vec<String>>>,
    /// Seconds between readings that nothing else asked for.
    pub reading_every_s: Option<Option<u32>>,
}

/// Sets what is given.
pub async fn set(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    settings: &Settings,
) -> Result<(), StoreError> {
    let every = settings.reading_every_s.flatten();
    sqlx::query!(
        "update reconciler.integrations
         set own_account = case when $3 then $4 else own_account end,
             administrator_roles = case when $5 then $6 else administrator_roles end,
             reading_every_s = case when $7 then $8 else reading_every_s end
         where workspace_id = $1 and integration_id = $2",
        workspace,
        integration,
        settings.own_account.is_some(),
        settings.own_account.as_ref().and_then(Option::as_deref),
        settings.administrator_roles.is_some(),
        settings.administrator_roles.as_ref().and_then(Option::as_deref),
        settings.reading_every_s.is_some(),
        every.map(|every| i32::try_from(every).unwrap_or(i32::MAX)),
    )
    .execute(connection)
    .await?;
    Ok(())
}
