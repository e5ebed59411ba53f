//! The SQL of syncs: claim, record under the lease, and the facts that guard and verdict need.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::{ClaimedSync, HeldDecision, Procedure, SyncState};
use crate::backend::UpdateReport;
use crate::lease::{Lease, LeaseLost, fenced};
use crate::membership::{UnknownWord, Wanted};
use crate::store::{StoreError, interval};

/// Claims up to `limit` syncs with a step due. A request waits until the integration's running sync has ended.
pub async fn claim(
    pool: &PgPool,
    limit: i64,
    lease: Duration,
) -> Result<Vec<ClaimedSync>, StoreError> {
    let ends = Instant::now() + lease;
    let rows = sqlx::query!(
        r#"
        with due as materialized (
            select s.ctid as place
            from reconciler.syncs s
            where s.state in ('requested', 'started', 'report_ready', 'applying')
              and s.next_step_at <= now()
              and (s.lease_until is null or s.lease_until <= now())
              and (s.state <> 'requested' or not exists (
                  select from reconciler.syncs a
                  where a.workspace_id = s.workspace_id and a.integration_id = s.integration_id
                    and a.state in ('started', 'report_ready', 'held', 'applying')
                  offset 0))
            order by s.next_step_at
            limit $1
            for no key update skip locked
        )
        update reconciler.syncs s
        set lease_until = now() + $2, lease_token = s.lease_token + 1,
            unreleased_claims = s.unreleased_claims + 1
        from due, reconciler.integrations i
        where s.ctid = due.place
          and i.workspace_id = s.workspace_id and i.integration_id = s.integration_id
        returning s.id, s.workspace_id, s.integration_id, i.application, s.procedure, s.state,
                  s.running_job_id, s.running_since, s.report_id, s.failures, s.decision, s.lease_token,
                  s.unreleased_claims, now() as "claimed_at!", s.started_at, s.held_until,
                  s.report -> 'snapshot' ->> 'hash' as held_hash,
                  case when s.state = 'applying' then s.report -> 'update' end as "update?",
                  i.own_account, i.administrator_roles
        "#,
        limit,
        interval(lease),
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ClaimedSync {
            update: row.update.and_then(|update| serde_json::from_value(update).ok()),
            held_hash: row.held_hash,
            held_until: row.held_until,
            started_at: row.started_at,
            own_account: row.own_account,
            administrator_roles: row.administrator_roles,
            id: row.id,
            lease: Lease { token: row.lease_token, ends },
            workspace: row.workspace_id,
            integration: row.integration_id,
            application: row.application,
            procedure: match row.procedure.as_str() {
                "check_and_apply" => Procedure::CheckAndApply,
                _ => Procedure::Sync,
            },
            state: match row.state.as_str() {
                "requested" => SyncState::Requested,
                "started" => SyncState::Started,
                "report_ready" => SyncState::ReportReady,
                _ => SyncState::Applying,
            },
            running: row.running_job_id.zip(row.running_since),
            report: row.report_id,
            failures: row.failures,
            decision: row.decision.map(|decision| match decision.as_str() {
                "approved" => HeldDecision::Approved,
                _ => HeldDecision::Rejected,
            }),
            unreleased_claims: row.unreleased_claims,
            claimed_at: row.claimed_at,
        })
        .collect())
}

/// Marks a request as started, before the backend is asked: the snapshot can only be younger than this.
///
/// `Err(LeaseLost)` also when another sync of the integration started first.
pub async fn start(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "update reconciler.syncs
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

/// Records a job to look at again; `applies` when it was started just now to apply a report.
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
        "update reconciler.syncs
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

/// Records that the snapshot begins anew after `after`; `failed` counts it. What a person approved stays so.
pub async fn again(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    after: Duration,
    why: &str,
    failed: bool,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "update reconciler.syncs
         set state = case when state in ('requested', 'report_ready') then state else 'started' end,
             report_id = case when state = 'report_ready' then report_id end,
             report = case when state = 'report_ready' then report end,
             running_job_id = null, running_since = null,
             failures = failures + case when $6 then 1 else 0 end, last_error = $5,
             next_step_at = clock_timestamp() + $4,
             lease_until = null, unreleased_claims = 0
         where id = $1 and workspace_id = $2 and lease_token = $3",
        sync.id,
        sync.workspace,
        sync.lease.token,
        interval(after),
        why,
        failed,
    )
    .execute(connection)
    .await?;
    Ok(fenced(written.rows_affected()))
}

/// Records that the snapshot begins anew at once, and so is younger than what was done until now; counts it as failed.
pub async fn anew(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    why: &str,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "update reconciler.syncs
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

/// Records that the report waits for a person, for `held` at most.
pub async fn hold(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    report_id: &str,
    report: &Value,
    reason: &str,
    held: Duration,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "update reconciler.syncs
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

/// Ends a sync as `finished` or `failed`; answers with when it had started.
pub async fn finish(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    state: &str,
    reason: &str,
    report: Option<Value>,
) -> Result<Result<DateTime<Utc>, LeaseLost>, StoreError> {
    let started = sqlx::query_scalar!(
        r#"update reconciler.syncs
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
        state,
        reason,
        report,
    )
    .fetch_optional(connection)
    .await?;
    Ok(started.ok_or(LeaseLost))
}

/// An unfinished action of the integration, as far as a verdict needs it.
#[derive(Debug)]
pub struct ActionToJudge {
    /// The action.
    pub id: i64,
    /// The task that it stands for.
    pub task: i64,
    /// Open, in progress or done.
    pub status: String,
    /// What it wants.
    pub wanted: Wanted,
    /// How often it was read since it was called done.
    pub snapshots: i32,
    /// How often it was opened again.
    pub reopened: i32,
}

/// Locks the unfinished actions that a snapshot started at `started_at` may speak of: done before it, or still
/// open and opened before it.
pub async fn lock_actions(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    started_at: DateTime<Utc>,
) -> Result<Vec<ActionToJudge>, StoreError> {
    let rows = sqlx::query!(
        "select locked.id, locked.task_id, locked.status, locked.operation, locked.member_id, locked.member_email,
                locked.member_username, locked.entitlements, locked.snapshots, locked.reopened_count
         from (select a.id
               from (select * from reconciler.manual_actions
                     where workspace_id = $1 and integration_id = $2 and status in ('open', 'in_progress', 'done')
                     offset 0) a
               where a.operation <> 'reconnect'
               order by a.id) known
         cross join lateral (
             select * from reconciler.manual_actions a where a.id = known.id
             for no key update
             offset 0
         ) locked
         where (locked.status = 'done' and locked.done_at < $3)
            or (locked.status in ('open', 'in_progress') and locked.opened_at < $3)",
        sync.workspace,
        sync.integration,
        started_at,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let bad = |source: UnknownWord| StoreError::BadRow {
                table: "manual_actions",
                id: row.id,
                source,
            };
            Ok(ActionToJudge {
                id: row.id,
                task: row.task_id,
                status: row.status,
                wanted: Wanted {
                    operation: row.operation.parse().map_err(bad)?,
                    member: row.member_id,
                    email: row.member_email,
                    username: row.member_username,
                    entitlements: row.entitlements.into_iter().collect(),
                },
                snapshots: row.snapshots,
                reopened: row.reopened_count,
            })
        })
        .collect()
}

/// Locks the integration's action that asks to fix its login, if this sync began after what it speaks of; its id,
/// and whether it is done.
pub async fn lock_reconnect(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
) -> Result<Option<(i64, bool)>, StoreError> {
    let row = sqlx::query!(
        r#"select a.id, a.status = 'done' as "done!"
         from reconciler.manual_actions a
         join reconciler.syncs s on s.id = $3 and s.workspace_id = a.workspace_id
         where a.workspace_id = $1 and a.integration_id = $2 and a.member_id = ''
           and ((a.status = 'done' and a.done_at < s.started_at)
                or (a.status in ('open', 'in_progress') and a.opened_at < s.started_at))
         for no key update of a"#,
        sync.workspace,
        sync.integration,
        sync.id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.id, row.done)))
}

/// Writes a verdict, and the status it leads to.
pub async fn write_verdict(
    connection: &mut PgConnection,
    action: i64,
    status: &str,
    verdict: &str,
    observed: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update reconciler.manual_actions
         set status = $2, verdict = $3, verdict_at = clock_timestamp(), observed = $4, snapshots = snapshots + 1
         where id = $1",
        action,
        status,
        verdict,
        observed,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Asks for another snapshot after `after`.
pub async fn request(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    after: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "select reconciler.request_sync($1, $2, clock_timestamp() + $3, 'again')",
        sync.workspace,
        sync.integration,
        interval(after),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Hands back claims that no step was started for.
pub async fn hand_back(pool: &PgPool, syncs: &[ClaimedSync]) -> Result<(), StoreError> {
    let ids: Vec<_> = syncs.iter().map(|sync| sync.id).collect();
    let tokens: Vec<_> = syncs.iter().map(|sync| sync.lease.token).collect();
    sqlx::query!(
        "update reconciler.syncs s
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

/// Snapshots in a row that failed or were incomplete, before and after one more.
#[derive(Debug, Clone, Copy)]
pub struct Doubt {
    /// Before it.
    pub before: i32,
    /// With it.
    pub now: i32,
}

/// Counts a snapshot that failed or was incomplete, or forgets those that did.
pub async fn count_doubtful(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    is_doubtful: bool,
) -> Result<Doubt, StoreError> {
    let before = sqlx::query_scalar!(
        "select unverifiable_snapshots from reconciler.integrations where workspace_id = $1 and integration_id = $2",
        sync.workspace,
        sync.integration,
    )
    .fetch_one(&mut *connection)
    .await?;
    let now = if is_doubtful { before.saturating_add(1) } else { 0 };
    if now != before {
        sqlx::query!(
            "update reconciler.integrations set unverifiable_snapshots = $3
             where workspace_id = $1 and integration_id = $2",
            sync.workspace,
            sync.integration,
            now,
        )
        .execute(connection)
        .await?;
    }
    Ok(Doubt { before, now })
}
