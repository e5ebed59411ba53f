//! The SQL of automation tasks whose turn it is: claim, and record under the lease.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use sqlx::PgPool;

use super::{ClaimedTask, EscalationReason, Lost};
use crate::backend::Failure;
use crate::lease::{Lease, LeaseLost, fenced};
use crate::membership::{IntegrationKind, MemberKey, Trigger, UnknownWord, Wanted};
use crate::store::{StoreError, interval};

/// Claims up to `limit` tasks that are due, of integrations whose gate is open, shared out between them.
///
/// Touches lease columns only, which no index holds. A lease that ended unreleased is claimable again,
/// and the attempt behind it counts as one of unknown outcome.
pub async fn claim(
    pool: &PgPool,
    limit: i64,
    lease: Duration,
) -> Result<Vec<ClaimedTask>, StoreError> {
    let ends = Instant::now() + lease;
    let rows = sqlx::query!(
        r#"
        with open_integrations as materialized (
            select workspace_id, integration_id from reconciler.integrations
            where gate = 'open'
            order by random()
        ),
        due as materialized (
            select t.id, t.workspace_id
            from open_integrations i
            cross join lateral (
                select h.id, h.workspace_id
                from reconciler.automation_tasks h
                where h.workspace_id = i.workspace_id and h.integration_id = i.integration_id
                  and h.turn = 'head' and h.next_attempt_at <= now()
                  and (h.lease_until is null or h.lease_until <= now())
                order by h.next_attempt_at, h.id
                limit $1
                for no key update skip locked
            ) t
            limit $1
        )
        update reconciler.automation_tasks t
        set lease_until = now() + $2,
            lease_token = t.lease_token + 1,
            unreleased_claims = t.unreleased_claims + 1,
            uncertain_since = case when t.lease_until is not null and t.running_job_id is null
                                   then coalesce(t.uncertain_since, now())
                                   else t.uncertain_since end
        from due
        where t.id = due.id and t.workspace_id = due.workspace_id
        returning t.id, t.workspace_id, t.integration_id, t.application, t.member_id, t.member_email,
                  t.member_username, t.operation, t.entitlements, t.hub_role, t.trigger, t.job_id,
                  t.failure_code, t.failure_message, t.failure_screenshot_url, t.can_retry, t.user_required,
                  t.attempts, t.trying_since, t.running_job_id, t.running_since, t.uncertain_since,
                  t.superseded_by, t.unreleased_claims, t.lease_token, now() as "claimed_at!",
                  t.operation = 'remove' and exists (
                      select from reconciler.manual_actions a
                      where a.workspace_id = t.workspace_id and a.integration_id = t.integration_id
                        and a.member_id = t.member_id and a.operation <> 'remove'
                        and a.status in ('superseded', 'dismissed', 'attested')
                        and not exists (
                            select from reconciler.syncs s
                            where s.workspace_id = a.workspace_id and s.integration_id = a.integration_id
                              and s.state = 'finished' and s.started_at > a.closed_at)
                  ) as "touched_by_hand!"
        "#,
        limit,
        interval(lease),
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let bad = |source: UnknownWord| StoreError::BadRow {
                table: "automation_tasks",
                id: row.id,
                source,
            };
            let trigger: Trigger = row.trigger.parse().map_err(bad)?;
            Ok(ClaimedTask {
                id: row.id,
                lease: Lease { token: row.lease_token, ends },
                wanted: Wanted {
                    operation: row.operation.parse().map_err(bad)?,
                    member: row.member_id.clone(),
                    email: row.member_email,
                    username: row.member_username,
                    entitlements: row.entitlements.into_iter().collect(),
                },
                key: MemberKey {
                    workspace: row.workspace_id,
                    integration: row.integration_id,
                    member: row.member_id,
                },
                hub_role: row.hub_role,
                application: row.application,
                trigger,
                has_job: trigger.has_job(row.job_id.as_deref()),
                first_failure: Failure {
                    code: row.failure_code,
                    message: row.failure_message,
                    screenshot_url: row.failure_screenshot_url,
                    can_retry: row.can_retry,
                    user_required: row.user_required,
                },
                attempts: u32::try_from(row.attempts).unwrap_or(0),
                trying_since: row.trying_since,
                running: row.running_job_id.zip(row.running_since),
                uncertain_since: row.uncertain_since,
                superseded_by: row.superseded_by,
                unreleased_claims: row.unreleased_claims,
                claimed_at: row.claimed_at,
                touched_by_hand: row.touched_by_hand,
            })
        })
        .collect()
}

/// Records a job to look at again after `after`. One that was just started counts as an attempt.
pub async fn watch(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    job: &str,
    after: Duration,
    started: bool,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "update reconciler.automation_tasks
         set state = 'running', running_job_id = $4,
             running_since = case when $6 then clock_timestamp() else running_since end,
             attempts = attempts + case when $6 then 1 else 0 end,
             trying_since = coalesce(trying_since, clock_timestamp()),
             uncertain_since = null,
             next_attempt_at = clock_timestamp() + $5,
             lease_until = null, unreleased_claims = 0
         where id = $1 and workspace_id = $2 and lease_token = $3 and turn = 'head'",
        task.id,
        task.key.workspace,
        task.lease.token,
        job,
        interval(after),
        started,
    )
    .execute(connection)
    .await?;
    Ok(fenced(written.rows_affected()))
}

/// Records a failed attempt and when the next one is due: at once if it was superseded meanwhile, to be closed.
pub async fn retry(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    after: Duration,
    error: &str,
    lost: Lost,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "update reconciler.automation_tasks
         set state = 'pending', running_job_id = null, running_since = null,
             uncertain_since = case when $6 then clock_timestamp() end,
             trying_since = coalesce(trying_since, clock_timestamp()),
             attempts = attempts + case when running_job_id is null then 1 else 0 end,
             next_attempt_at = clock_timestamp()
                               + case when superseded_by is null then $4 else interval '0' end,
             last_error = $5,
             lease_until = null, unreleased_claims = 0
         where id = $1 and workspace_id = $2 and lease_token = $3 and turn = 'head'",
        task.id,
        task.key.workspace,
        task.lease.token,
        interval(after),
        error,
        lost != Lost::Nothing,
    )
    .execute(connection)
    .await?;
    Ok(fenced(written.rows_affected()))
}

/// Records a wait: the age limit moves with it, and no attempt is used unless an answer was lost.
/// A later intent that marked the task meanwhile cuts it short.
pub async fn wait(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    after: Duration,
    why: &str,
    lost: Lost,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "update reconciler.automation_tasks
         set state = 'pending', running_job_id = null, running_since = null,
             uncertain_since = case when $6 then clock_timestamp() else uncertain_since end,
             attempts = attempts + case when $7 then 1 else 0 end,
             trying_since = trying_since + $4,
             next_attempt_at = clock_timestamp()
                               + case when superseded_by is not null and $8 then interval '0' else $4 end,
             last_error = $5,
             lease_until = null, unreleased_claims = 0
         where id = $1 and workspace_id = $2 and lease_token = $3 and turn = 'head'",
        task.id,
        task.key.workspace,
        task.lease.token,
        interval(after),
        why,
        lost != Lost::Nothing,
        lost == Lost::Answer,
        task.superseded_by.is_none(),
    )
    .execute(connection)
    .await?;
    Ok(fenced(written.rows_affected()))
}

/// What the row says once it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Attempts, the last one included.
    pub attempts: u32,
    /// The later intent that superseded it while it was worked on.
    pub superseded_by: Option<i64>,
}

/// Closes a task as `succeeded`, `escalated` or `superseded`. `failed_attempt` counts an attempt that the
/// backend refused before it made a job.
pub async fn close(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    state: &str,
    reason: &str,
    failed_attempt: bool,
) -> Result<Result<Closed, LeaseLost>, StoreError> {
    let closed = sqlx::query!(
        "update reconciler.automation_tasks
         set state = $4, turn = null, closed_at = clock_timestamp(), closed_reason = $5,
             attempts = attempts + case when $6 and running_job_id is null then 1 else 0 end,
             running_job_id = null, running_since = null, uncertain_since = null,
             lease_until = null, unreleased_claims = 0
         where id = $1 and workspace_id = $2 and lease_token = $3 and turn = 'head'
         returning attempts, superseded_by",
        task.id,
        task.key.workspace,
        task.lease.token,
        state,
        reason,
        failed_attempt,
    )
    .fetch_optional(connection)
    .await?;
    let closed = closed.map(|row| Closed {
        attempts: u32::try_from(row.attempts).unwrap_or(0),
        superseded_by: row.superseded_by,
    });
    Ok(closed.ok_or(LeaseLost))
}

/// Gives the member's next task its turn; whether there was one.
pub async fn promote(connection: &mut PgConnection, key: &MemberKey) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select reconciler.promote_waiting($1, $2, $3) as "promoted!""#,
        key.workspace,
        key.integration,
        key.member,
    )
    .fetch_one(connection)
    .await?)
}

/// Hands back claims that no step was started for.
pub async fn hand_back(pool: &PgPool, tasks: &[ClaimedTask]) -> Result<(), StoreError> {
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    let tokens: Vec<_> = tasks.iter().map(|task| task.lease.token).collect();
    sqlx::query!(
        "update reconciler.automation_tasks t
         set lease_until = null, unreleased_claims = 0
         from unnest($1::bigint[], $2::bigint[]) held (id, token)
         where t.id = held.id and t.lease_token = held.token and t.turn = 'head'",
        &ids,
        &tokens,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// What people call the app and the member of a task.
#[derive(Debug)]
pub struct Face {
    /// What people call the integration.
    pub integration_name: String,
    /// What kind of integration it is.
    pub kind: IntegrationKind,
    /// The member's name.
    pub member_name: Option<String>,
}

/// Reads the names of a task; a claim does not carry them, since few tasks need them.
pub async fn face(connection: &mut PgConnection, task: &ClaimedTask) -> Result<Face, StoreError> {
    let row = sqlx::query!(
        "select integration_name, integration_kind, member_name
         from reconciler.automation_tasks where id = $1 and workspace_id = $2",
        task.id,
        task.key.workspace,
    )
    .fetch_one(connection)
    .await?;
    let bad = |source| StoreError::BadRow { table: "automation_tasks", id: task.id, source };
    Ok(Face {
        integration_name: row.integration_name,
        kind: row.integration_kind.parse().map_err(bad)?,
        member_name: row.member_name,
    })
}

/// What the row says of an escalation.
pub fn closed_reason(reason: &EscalationReason, failure: &Failure) -> String {
    match &failure.code {
        Some(code) => format!("{}: {code}", reason.sentence()),
        None => reason.sentence().to_owned(),
    }
}
