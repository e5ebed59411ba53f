//! The SQL of integrations: the daemon moves their circuit breakers; people pause, resume and limit them. Admitting tasks is part of the claim (`reconciler.admit`).

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{Attempt, Breaker, Cause, Move, Sign, Status};
use crate::membership::MemberKey;
use crate::store::{StoreError, interval};

/// Locks the breaker of a task's integration if the attempt may move it; a healthy app's row is not touched.
pub async fn lock(
    connection: &mut PgConnection,
    key: &MemberKey,
    attempt: &Attempt,
) -> Result<Option<Breaker>, StoreError> {
    let row = sqlx::query!(
        "select status, status_cause, status_since, consecutive_failures, consecutive_trips, ramp_limit, probe_task_id
         from reconciler.integrations
         where workspace_id = $1 and integration_id = $2
           and (probe_task_id = $3 or $4
                or $5 and (consecutive_failures > 0 or ramp_limit is not null or consecutive_trips > 0))
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
    Ok(row.map(|row| Breaker {
        status: match row.status.as_str() {
            "active" => Status::Active,
            "probing" => Status::Probing,
            "tripped" => Status::Tripped,
            _ => Status::WithPerson,
        },
        cause: row.status_cause.as_deref().map(|cause| match cause {
            "rate_limit" => Cause::RateLimit,
            _ => Cause::Failures,
        }),
        since: row.status_since,
        failures: number(row.consecutive_failures),
        trips: number(row.consecutive_trips),
        ramp: row.ramp_limit.map(number),
        probe: row.probe_task_id,
    }))
}

/// Writes how a locked breaker moves.
pub async fn write(
    connection: &mut PgConnection,
    key: &MemberKey,
    moved: Move,
) -> Result<(), StoreError> {
    let (workspace, integration) = (&key.workspace, &key.integration);
    match moved {
        Move::Count => sqlx::query!(
            "update reconciler.integrations set consecutive_failures = consecutive_failures + 1
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
        ),
        Move::Forget { ramp } => sqlx::query!(
            "update reconciler.integrations
             set consecutive_failures = 0, ramp_limit = $3,
                 consecutive_trips = case when $3::integer is null then 0 else consecutive_trips end
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
            ramp.and_then(|ramp| i32::try_from(ramp).ok()),
        ),
        Move::Trip { cause, wait, trips } => sqlx::query!(
            "update reconciler.integrations
             set status = 'tripped', status_cause = $3, status_reason = $4, status_until = clock_timestamp() + $5,
                 consecutive_trips = $6, probe_task_id = null, ramp_limit = null
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
            cause.as_str(),
            cause.sentence(),
            interval(wait),
            i32::try_from(trips).unwrap_or(i32::MAX),
        ),
        Move::Recover => sqlx::query!(
            "update reconciler.integrations set status = 'active'
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
        ),
        Move::Await(wait) => sqlx::query!(
            "update reconciler.integrations set status_until = clock_timestamp() + $3
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
            interval(wait),
        ),
        Move::NextProbe => sqlx::query!(
            "update reconciler.integrations set status_until = clock_timestamp(), probe_task_id = null
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
        ),
    }
    .execute(connection)
    .await?;
    Ok(())
}

/// Admits no task until a person has fixed the login. A pause by a person stays a pause.
pub async fn reject_login(
    connection: &mut PgConnection,
    key: &MemberKey,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update reconciler.integrations
         set status = 'login_rejected', status_reason = $3, ramp_limit = null
         where workspace_id = $1 and integration_id = $2 and status not in ('paused', 'login_rejected')",
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
    pub status: String,
    pub status_reason: Option<String>,
    pub status_until: Option<DateTime<Utc>>,
    pub status_since: Option<DateTime<Utc>>,
    pub max_in_flight: Option<i32>,
    pub starts_per_minute: Option<i32>,
    pub own_account: Option<String>,
    pub administrator_roles: Option<Vec<String>>,
    pub snapshot_every_s: Option<i32>,
    pub waiting: i64,
    pub in_flight: i64,
    pub unfinished_actions: i64,
}

/// Integrations, the inactive ones first.
pub async fn list(pool: &PgPool, only_inactive: bool) -> Result<Vec<Line>, StoreError> {
    Ok(sqlx::query_as!(
        Line,
        r#"select i.workspace_id, i.integration_id, i.name, i.status, i.status_reason, i.status_until, i.status_since,
                  i.max_in_flight, i.starts_per_minute, i.own_account, i.administrator_roles, i.snapshot_every_s,
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
           where not $1 or i.status <> 'active'
           order by i.status = 'active', i.workspace_id, i.integration_id"#,
        only_inactive,
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

/// Sets the status in the name of a person; the database checks what a person may set.
pub async fn set_status(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    status: &str,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update reconciler.integrations set status = $3, status_reason = $4
         where workspace_id = $1 and integration_id = $2",
        workspace,
        integration,
        status,
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

/// What people may say of an integration's snapshots: `None` leaves it, `Some(None)` takes back what was said.
#[derive(Debug, Default)]
pub struct Settings {
    /// The account that the automation logs in with.
    pub own_account: Option<Option<String>>,
    /// Ids of roles that make an administrator.
    pub administrator_roles: Option<Option<Vec<String>>>,
    /// Seconds between snapshots that nothing else asked for.
    pub snapshot_every_s: Option<Option<u32>>,
}

/// Sets what is given.
pub async fn set(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    settings: &Settings,
) -> Result<(), StoreError> {
    let every = settings.snapshot_every_s.flatten();
    sqlx::query!(
        "update reconciler.integrations
         set own_account = case when $3 then $4 else own_account end,
             administrator_roles = case when $5 then $6 else administrator_roles end,
             snapshot_every_s = case when $7 then $8 else snapshot_every_s end
         where workspace_id = $1 and integration_id = $2",
        workspace,
        integration,
        settings.own_account.is_some(),
        settings.own_account.as_ref().and_then(Option::as_deref),
        settings.administrator_roles.is_some(),
        settings.administrator_roles.as_ref().and_then(Option::as_deref),
        settings.snapshot_every_s.is_some(),
        every.map(|every| i32::try_from(every).unwrap_or(i32::MAX)),
    )
    .execute(connection)
    .await?;
    Ok(())
}
