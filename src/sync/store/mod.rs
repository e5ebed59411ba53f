//! The SQL of syncs: the claim, the records under the lease, and the facts that the guard and the verdicts need.

mod claim;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{ClaimedSync, SyncEnd};
use crate::backend::UpdateReport;
use crate::database::{PgConnection, PgPool};
use crate::lease::{LeaseLost, fenced};
use crate::store::{StoreError, interval};

pub use claim::{Quota, claim};

/// Marks a request as started before the backend is asked, so that the snapshot can only be younger than this time.
///
/// Also returns `Err(LeaseLost)` if another sync of the integration started first.
pub async fn start(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "-- start_sync
         update reconciler.syncs
         set state = 'started', started_at = clock_timestamp()
         where id = $1 and workspace_id = $2 and lease_token = $3 and state = 'requested'",
        sync.id,
        sync.workspace,
        sync.lease.token,
    )
    .execute(connection)
    .await;
    match written {
        Ok(written) => Ok(fenced(written.rows_affected())),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(Err(LeaseLost)),
        Err(error) => Err(error.into()),
    }
}

/// Renews the lease of a claim.
pub async fn renew(
    pool: &PgPool,
    sync: &ClaimedSync,
    lease: Duration,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "-- renew_sync
         update reconciler.syncs set lease_until = clock_timestamp() + $4
         where id = $1 and workspace_id = $2 and lease_token = $3 and lease_until is not null",
        sync.id,
        sync.workspace,
        sync.lease.token,
        interval(lease),
    )
    .execute(pool)
    .await?;
    Ok(fenced(written.rows_affected()))
}

/// Records a job to poll again. `applies` is the report that the job was started just now to apply.
pub async fn watch(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    job: &str,
    after: Duration,
    started: bool,
    applies: Option<&UpdateReport>,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let report = applies.map(|update| json!({"update": update}));
    let written = sqlx::query!(
        "-- watch_sync_job
         update reconciler.syncs
         set running_job_id = $4,
             running_since = case when $6 then clock_timestamp() else running_since end,
             state = case when $7::jsonb is not null then 'applying' else state end,
             report = coalesce($7, report), report_id = coalesce($8, report_id),
             next_step_at = clock_timestamp() + $5,
             lease_until = null, unreleased_claims = 0
         where id = $1 and workspace_id = $2 and lease_token = $3",
        sync.id,
        sync.workspace,
        sync.lease.token,
        job,
        interval(after),
        started,
        report,
        applies.map(|report| report.id.as_str()),
    )
    .execute(connection)
    .await?;
    Ok(fenced(written.rows_affected()))
}

/// Records that the snapshot is taken again from the start after `after`. `failed` counts a failure, and `earlier_run` is
/// something of unknown age. A report that a person approved stays approved.
pub async fn read_again(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    after: Duration,
    why: &str,
    failed: bool,
    earlier_run: Option<String>,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "-- read_again
         update reconciler.syncs
         set state = case when state in ('requested', 'report_ready') then state else 'started' end,
             report_id = case when state = 'report_ready' then report_id end,
             report = case when state = 'report_ready' then report end,
             running_job_id = null, running_since = null,
             failures = failures + case when $6 then 1 else 0 end, last_error = $5,
             earlier_runs = earlier_runs || array_remove(array[$7::text], null),
             next_step_at = clock_timestamp() + $4,
             lease_until = null, unreleased_claims = 0
         where id = $1 and workspace_id = $2 and lease_token = $3",
        sync.id,
        sync.workspace,
        sync.lease.token,
        interval(after),
        why,
        failed,
        earlier_run,
    )
    .execute(connection)
    .await?;
    Ok(fenced(written.rows_affected()))
}

/// Records that the snapshot is taken again from the start at once, so that it is younger than every change until now.
/// Counts a failure.
pub async fn restart(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    why: &str,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "-- restart_sync
         update reconciler.syncs
         set started_at = clock_timestamp(), report_id = null, report = null,
             running_job_id = null, running_since = null,
             failures = failures + 1, last_error = $4, next_step_at = clock_timestamp(),
             lease_until = null, unreleased_claims = 0
         where id = $1 and workspace_id = $2 and lease_token = $3 and state = 'started'",
        sync.id,
        sync.workspace,
        sync.lease.token,
        why,
    )
    .execute(connection)
    .await?;
    Ok(fenced(written.rows_affected()))
}

/// Records that the report is held until a person decides, for at most `held`.
pub async fn hold(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    report_id: &str,
    report: &Value,
    reason: &str,
    held: Duration,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "-- hold_sync
         update reconciler.syncs
         set state = 'held', held_reason = $4, held_until = clock_timestamp() + $7, report = $5, report_id = $6,
             running_job_id = null, running_since = null, lease_until = null, unreleased_claims = 0
         where id = $1 and workspace_id = $2 and lease_token = $3",
        sync.id,
        sync.workspace,
        sync.lease.token,
        reason,
        report,
        report_id,
        interval(held),
    )
    .execute(connection)
    .await?;
    Ok(fenced(written.rows_affected()))
}

/// Ends a sync. Returns when it had started.
pub async fn finish(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    end: SyncEnd,
    reason: &str,
    report: Option<Value>,
) -> Result<Result<DateTime<Utc>, LeaseLost>, StoreError> {
    let started = sqlx::query_scalar!(
        r#"-- finish_sync
         update reconciler.syncs
         set state = $4, finished_at = clock_timestamp(), finished_reason = $5,
             started_at = coalesce(started_at, clock_timestamp()),
             report = coalesce(report, '{}') || coalesce($6::jsonb, '{}'),
             running_job_id = null, running_since = null, lease_until = null, unreleased_claims = 0
         where id = $1 and workspace_id = $2 and lease_token = $3
           and state in ('requested', 'started', 'report_ready', 'applying')
         returning started_at as "started_at!""#,
        sync.id,
        sync.workspace,
        sync.lease.token,
        end.as_str(),
        reason,
        report,
    )
    .fetch_optional(connection)
    .await?;
    Ok(started.ok_or(LeaseLost))
}

/// When a sync that this worker has claimed started; `None` if the lease was lost.
pub async fn started_at(
    pool: &PgPool,
    sync: &ClaimedSync,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let started = sqlx::query_scalar!(
        "-- sync_started_at
         select started_at from reconciler.syncs where id = $1 and workspace_id = $2 and lease_token = $3",
        sync.id,
        sync.workspace,
        sync.lease.token,
    )
    .fetch_optional(pool)
    .await?;
    Ok(started.map(|at| at.unwrap_or(sync.claimed_at)))
}

/// Whether this worker still has the lease of a sync.
pub async fn is_held(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- sync_is_held
        select exists (select from reconciler.syncs
                       where id = $1 and workspace_id = $2 and lease_token = $3) as "held!""#,
        sync.id,
        sync.workspace,
        sync.lease.token,
    )
    .fetch_one(connection)
    .await?)
}

/// Requests another snapshot after `after`.
pub async fn request(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    after: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- request_sync_again
         select reconciler.schedule_sync($1, $2, clock_timestamp() + $3, 'recheck')",
        sync.workspace,
        sync.integration,
        interval(after),
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Requests a snapshot of an integration, at once if no time is given. Returns false if a person has the existing
/// request locked: then try again later.
pub async fn request_at(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    cause: &str,
    due_at: Option<DateTime<Utc>>,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- request_sync_at
        select reconciler.schedule_sync($1, $2, coalesce($4, clock_timestamp()), $3) as "is_there!""#,
        workspace,
        integration,
        cause,
        due_at,
    )
    .fetch_one(connection)
    .await?)
}

/// Hands back claims for which no step was started.
pub async fn hand_back(pool: &PgPool, syncs: &[ClaimedSync]) -> Result<(), StoreError> {
    let ids: Vec<_> = syncs.iter().map(|sync| sync.id).collect();
    let tokens: Vec<_> = syncs.iter().map(|sync| sync.lease.token).collect();
    sqlx::query!(
        "-- hand_back_syncs
         update reconciler.syncs s
         set lease_until = null, unreleased_claims = 0
         from unnest($1::bigint[], $2::bigint[]) held (id, token)
         where s.id = held.id and s.lease_token = held.token",
        &ids,
        &tokens,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The number of snapshots in a row that failed or were incomplete, before and after the latest one.
#[derive(Debug, Clone, Copy)]
pub struct Doubt {
    pub before: i32,
    pub now: i32,
}

/// Counts a snapshot that failed or was incomplete, or resets the count.
pub async fn count_unverifiable(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    is_unverifiable: bool,
) -> Result<Doubt, StoreError> {
    let row = sqlx::query!(
        r#"-- count_unverifiable
        with before as (
            select unverifiable_snapshots from reconciler.integration_states
            where workspace_id = $1 and integration_id = $2
            for no key update
        )
        update reconciler.integration_states d
        set unverifiable_snapshots = case when $3 then b.unverifiable_snapshots + 1 else 0 end
        from before b
        where d.workspace_id = $1 and d.integration_id = $2
        returning b.unverifiable_snapshots as before, d.unverifiable_snapshots as now"#,
        sync.workspace,
        sync.integration,
        is_unverifiable,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map_or(Doubt { before: 0, now: 0 }, |row| Doubt { before: row.before, now: row.now }))
}

/// Marks an app as unverifiable because its sync has waited for long.
pub async fn mark_unverifiable(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    enough: i32,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- mark_unverifiable
         update reconciler.integration_states
         set unverifiable_snapshots = greatest(unverifiable_snapshots, $3)
         where workspace_id = $1 and integration_id = $2",
        sync.workspace,
        sync.integration,
        enough,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores when the snapshot of a sync that has just ended began, and counts it if it was incomplete. Doubts about
/// members from before that time are outdated.
pub async fn count_snapshot(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    is_complete: bool,
) -> Result<Doubt, StoreError> {
    let doubt = count_unverifiable(&mut *connection, sync, !is_complete).await?;
    sqlx::query!(
        "-- remember_snapshot
         update reconciler.integration_states d
         set snapshot_at = greatest(d.snapshot_at, s.started_at)
         from reconciler.syncs s
         where d.workspace_id = $1 and d.integration_id = $2 and s.id = $3 and s.workspace_id = $1",
        sync.workspace,
        sync.integration,
        sync.id,
    )
    .execute(connection)
    .await?;
    Ok(doubt)
}
