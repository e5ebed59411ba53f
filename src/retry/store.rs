//! The SQL of automation tasks whose turn it is: claim, and record under the lease.
//!
//! The lease is in `reconciler.turns`, and no token is ever given twice: who changes a row there by its token holds the
//! task, and only then is `automation_tasks` written, in the same statement. That statement may have to wait for intake,
//! which marks what was overtaken: it names the row by its key, and not by the place where it was before.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use sqlx::PgPool;
use sqlx::types::Json;

use super::floors::DueFrom;
use super::{ClaimedTask, EscalationReason, Lost};
use crate::backend::{Failure, plain_code};
use crate::lease::{Lease, LeaseLost, fenced};
use crate::membership::{IntegrationKind, MemberKey, Trigger, UnknownWord, Wanted};
use crate::store::{StoreError, interval};

/// What a claim may take.
#[derive(Debug, Clone)]
pub struct Quota {
    /// Tasks at most.
    pub tasks: i64,
    /// Tasks of one integration in flight at a time, where its row does not say.
    pub max_in_flight: Option<i32>,
    /// Tasks of one integration taken up per minute, where its row does not say.
    pub starts_per_minute: Option<i32>,
    /// Workspaces whose backend does not answer: left alone.
    pub silent_workspaces: Vec<String>,
    /// From where on to look in integrations whose oldest tasks are known to be gone.
    pub due_from: DueFrom,
}

/// Claims tasks that are due, shared out between the integrations that admit them, and tasks whose
/// job is to be watched, whatever the status: what runs already is only looked at.
///
/// Touches lease columns only, which no index holds, of rows that are small. A lease that ended unreleased is claimable again,
/// and the attempt behind it counts as one of unknown outcome. The time a task was due and nobody took it up,
/// because its integration was inactive or nobody was there, is waiting and moves `trying_since`.
pub async fn claim(
    pool: &PgPool,
    quota: &Quota,
    lease: Duration,
) -> Result<Vec<Arc<ClaimedTask>>, StoreError> {
    let ends = Instant::now() + lease;
    let rows = sqlx::query!(
        r#"
        with admitted as materialized (
            select * from (
                select i.workspace_id, i.integration_id, $1::integer as takes, false as limited, false as is_probe,
                       '{}'::bigint[] as in_flight, i.probe_task_id, i.status_since,
                       coalesce(($6::jsonb -> i.workspace_id ->> i.integration_id)::timestamptz, '-infinity') as due_from
                from reconciler.integrations i
                where i.status = 'active' and not reconciler.is_limited(i, $3, $4) and i.workspace_id <> all ($5)
                union all
                select i.workspace_id, i.integration_id, a.takes, true, a.is_probe, a.in_flight, i.probe_task_id,
                       i.status_since, '-infinity'
                from reconciler.admit($1, $3, $4, $5) a
                join reconciler.integrations i using (workspace_id, integration_id)
            ) every
            order by random() -- or a busy integration would keep the others waiting
        ),
        passing as materialized (
            select t.place, a.limited, a.is_probe, a.in_flight, a.probe_task_id, a.status_since
            from admitted a
            cross join lateral (
                select h.ctid as place
                from reconciler.turns h
                where h.workspace_id = a.workspace_id and h.integration_id = a.integration_id
                  and h.turn = 'head' and h.next_attempt_at between a.due_from and now()
                  and (h.lease_until is null or h.lease_until <= now())
                  and (not a.limited or h.running_job_id is null)
                order by h.next_attempt_at, h.task_id
                limit a.takes
                for no key update skip locked
            ) t
            limit $1
        ),
        watched as materialized (
            select t.place, i.probe_task_id, i.status_since
            from reconciler.integrations i
            cross join lateral (
                select h.ctid as place
                from reconciler.turns h
                where h.workspace_id = i.workspace_id and h.integration_id = i.integration_id
                  and h.running_job_id is not null and h.next_attempt_at <= now()
                  and (h.lease_until is null or h.lease_until <= now())
                order by h.next_attempt_at, h.task_id
                limit $1
                for no key update skip locked
            ) t
            where (i.status <> 'active' or reconciler.is_limited(i, $3, $4))
              and i.workspace_id <> all ($5)
            limit $1
        ),
        due as materialized (
            select place, false as limited, false as is_probe, '{}'::bigint[] as in_flight, probe_task_id, status_since,
                   false as in_order
            from watched
            union all
            select *, not limited from passing
            limit $1
        ),
        claimed as (
            update reconciler.turns t
            set lease_until = now() + $2,
                lease_token = nextval('reconciler.lease_tokens'),
                unreleased_claims = t.unreleased_claims + 1,
                trying_since = t.trying_since + greatest(now() - t.next_attempt_at, interval '0'),
                uncertain_since = case when t.lease_until is not null and t.running_job_id is null
                                       then coalesce(t.uncertain_since, now())
                                       else t.uncertain_since end
            from due
            where t.ctid = due.place
            returning t.*, due.limited, due.in_flight, due.in_order, due.status_since,
                      due.is_probe or coalesce(due.probe_task_id = t.task_id, false) as is_probe
        ),
        passed as (
            update reconciler.integrations i
            set status = case when c.is_probe then 'probing' else i.status end,
                probe_task_id = case when c.is_probe then c.ids[1] end,
                status_until = case when c.is_probe then now() + $2 end,
                admitted_task_ids = c.in_flight || c.ids,
                next_start_at = case when coalesce(i.starts_per_minute, $4) is null then i.next_start_at
                                     else greatest(i.next_start_at, now()) + cardinality(c.ids)
                                          * (interval '1 minute' / coalesce(i.starts_per_minute, $4)) end
            from (select workspace_id, integration_id, is_probe, in_flight, array_agg(task_id order by task_id) as ids
                  from claimed where limited group by 1, 2, 3, 4) c
            where i.workspace_id = c.workspace_id and i.integration_id = c.integration_id
        )
        select t.id, t.workspace_id, t.integration_id, t.application, t.member_id, t.member_email,
               t.member_username, t.operation, t.entitlements,
               coalesce(t.hub_role, 'account_collaborator') as "hub_role!", t.trigger, t.job_id, t.requested_at,
               t.failure_code, t.failure_message, t.failure_screenshot_url, t.can_retry, t.user_required,
               t.attempts, c.trying_since, c.running_job_id, c.running_since, c.uncertain_since,
               t.superseded_by, c.unreleased_claims, c.lease_token, now() as "claimed_at!",
               c.is_probe as "is_probe!", t.returned_at is not null as "returned!",
               coalesce(c.status_since > t.received_at, false) as "reopened!",
               case when c.in_order then c.next_attempt_at end as taken_in_order,
               exists (
                   select from reconciler.manual_actions a
                   where a.workspace_id = t.workspace_id and a.integration_id = t.integration_id
                     and a.member_id = t.member_id and (a.operation = 'remove') <> (t.operation = 'remove')
                     and a.status in ('superseded', 'dismissed', 'attested', 'returned')
                     and not exists (
                         select from reconciler.syncs s
                         where s.workspace_id = a.workspace_id and s.integration_id = a.integration_id
                           and s.state = 'finished' and s.report ? 'snapshot' and s.started_at > a.closed_at)
                     and not exists (
                         select from reconciler.automation_tasks n
                         where n.workspace_id = a.workspace_id and n.integration_id = a.integration_id
                           and n.member_id = a.member_id and n.state = 'succeeded' and n.attempts > 0
                           and n.tried_since > a.closed_at)
               ) as "touched_by_hand!"
        from claimed c
        cross join lateral (
            select * from reconciler.automation_tasks t where t.id = c.task_id and t.workspace_id = c.workspace_id
            offset 0
        ) t
        "#,
        i32::try_from(quota.tasks).unwrap_or(i32::MAX),
        interval(lease),
        quota.max_in_flight,
        quota.starts_per_minute,
        &quota.silent_workspaces,
        Json(&quota.due_from) as _,
    )
    .fetch_all(pool)
    .await?;
    let touched: Vec<_> = rows.iter().filter(|row| row.touched_by_hand).map(|row| row.id).collect();
    let tried_before = tried_before(pool, &touched).await?;
    rows.into_iter()
        .map(|row| {
            let bad = |source: UnknownWord| StoreError::BadRow {
                table: "automation_tasks",
                id: row.id,
                source,
            };
            let trigger: Trigger = row.trigger.parse().map_err(bad)?;
            Ok(Arc::new(ClaimedTask {
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
                has_automation: row.returned || trigger.has_job(row.job_id.as_deref()),
                job: row.job_id,
                requested_at: row.requested_at,
                returned: row.returned,
                reopened: row.reopened,
                is_probe: row.is_probe,
                first_failure: Failure {
                    code: row.failure_code.as_deref().map(plain_code),
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
                tried_before: tried_before.contains(&row.id),
                taken_in_order: row.taken_in_order,
            }))
        })
        .collect()
}

/// Which of these tasks want what an earlier one of the member, or they themselves before they were sent back, tried
/// without success, and nothing has told since what came of that: no snapshot, no success of automation, no person who
/// undid it.
async fn tried_before(pool: &PgPool, tasks: &[i64]) -> Result<HashSet<i64>, StoreError> {
    if tasks.is_empty() {
        return Ok(HashSet::new());
    }
    let tried = sqlx::query_scalar!(
        "select t.id
         from unnest($1::bigint[]) k (id)
         cross join lateral (select * from reconciler.automation_tasks t where t.id = k.id offset 0) t
         where exists (
             select from reconciler.automation_tasks n
             where n.workspace_id = t.workspace_id and n.integration_id = t.integration_id
               and n.member_id = t.member_id and (n.operation = 'remove') = (t.operation = 'remove')
               and n.acted_until is not null and n.state <> 'succeeded'
               and not exists (
                   select from reconciler.manual_actions a
                   where a.workspace_id = n.workspace_id and a.integration_id = n.integration_id
                     and a.member_id = n.member_id and (a.operation = 'remove') <> (n.operation = 'remove')
                     and a.status = 'attested' and a.closed_at > n.acted_until
                   offset 0)
               and not exists (
                   select from reconciler.syncs s
                   where s.workspace_id = n.workspace_id and s.integration_id = n.integration_id
                     and s.state = 'finished' and s.report ? 'snapshot' and s.started_at > n.acted_until
                   offset 0)
               and not exists (
                   select from reconciler.automation_tasks l
                   where l.workspace_id = n.workspace_id and l.integration_id = n.integration_id
                     and l.member_id = n.member_id and l.state = 'succeeded' and l.attempts > 0
                     and l.tried_since > n.acted_until
                   offset 0)
             offset 0)",
        tasks,
    )
    .fetch_all(pool)
    .await?;
    Ok(tried.into_iter().collect())
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
        "with held as (
             select h.task_id, h.workspace_id, h.running_job_id,
                    clock_timestamp() + case when t.superseded_by is null then $4 else interval '0' end as next
             from reconciler.turns h
             join reconciler.automation_tasks t on t.id = h.task_id and t.workspace_id = h.workspace_id
             where h.task_id = $1 and h.workspace_id = $2 and h.lease_token = $3
             for no key update
         ), released as (
             update reconciler.turns h
             set running_job_id = null, running_since = null,
                 uncertain_since = case when $6 then clock_timestamp() end,
                 trying_since = coalesce(h.trying_since, clock_timestamp()),
                 next_attempt_at = held.next, lease_until = null, unreleased_claims = 0
             from held
             where h.task_id = $1 and h.workspace_id = $2
         )
         update reconciler.automation_tasks t
         set state = 'pending', attempts = t.attempts + case when held.running_job_id is null then 1 else 0 end,
             next_attempt_at = held.next, last_error = $5
         from held
         where t.id = held.task_id and t.workspace_id = held.workspace_id",
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
        "with held as (
             select h.task_id, h.workspace_id,
                    clock_timestamp()
                    + case when t.superseded_by is not null and $8 then interval '0' else $4 end as next
             from reconciler.turns h
             join reconciler.automation_tasks t on t.id = h.task_id and t.workspace_id = h.workspace_id
             where h.task_id = $1 and h.workspace_id = $2 and h.lease_token = $3
             for no key update
         ), released as (
             update reconciler.turns h
             set running_job_id = null, running_since = null,
                 uncertain_since = case when $6 then clock_timestamp() else h.uncertain_since end,
                 trying_since = h.trying_since + $4,
                 next_attempt_at = held.next, lease_until = null, unreleased_claims = 0
             from held
             where h.task_id = $1 and h.workspace_id = $2
         )
         update reconciler.automation_tasks t
         set state = 'pending', attempts = t.attempts + case when $7 then 1 else 0 end,
             next_attempt_at = held.next, last_error = $5
         from held
         where t.id = held.task_id and t.workspace_id = held.workspace_id",
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

/// Records that the app refused the stored login: the task is due as soon as its integration is active, and an attempt that
/// failed for it is not counted.
pub async fn park(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    error: &str,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "with held as (
             select task_id, workspace_id, running_job_id, clock_timestamp() as next
             from reconciler.turns
             where task_id = $1 and workspace_id = $2 and lease_token = $3
             for no key update
         ), released as (
             update reconciler.turns h
             set running_job_id = null, running_since = null, uncertain_since = null,
                 next_attempt_at = held.next, lease_until = null, unreleased_claims = 0
             from held
             where h.task_id = $1 and h.workspace_id = $2
         )
         update reconciler.automation_tasks t
         set state = 'pending',
             attempts = greatest(0, t.attempts - case when held.running_job_id is null then 0 else 1 end),
             next_attempt_at = held.next, last_error = $4
         from held
         where t.id = held.task_id and t.workspace_id = held.workspace_id",
        task.id,
        task.key.workspace,
        task.lease.token,
        error,
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
/// backend refused before it made a job; `acted_for` says how long what was tried may change the app from now on.
pub async fn close(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    state: &str,
    reason: &str,
    failed_attempt: bool,
    acted_for: Option<Duration>,
) -> Result<Result<Closed, LeaseLost>, StoreError> {
    let closed = sqlx::query!(
        "with ended as (
             delete from reconciler.turns
             where task_id = $1 and workspace_id = $2 and lease_token = $3
             returning task_id, workspace_id, running_job_id, trying_since
         )
         update reconciler.automation_tasks t
         set state = $4, closed_at = clock_timestamp(), closed_reason = $5, tried_since = ended.trying_since,
             attempts = t.attempts + case when $6 and ended.running_job_id is null then 1 else 0 end,
             acted_until = coalesce(clock_timestamp() + $7::interval, t.acted_until)
         from ended
         where t.id = ended.task_id and t.workspace_id = ended.workspace_id
         returning t.attempts, t.superseded_by",
        task.id,
        task.key.workspace,
        task.lease.token,
        state,
        reason,
        failed_attempt,
        acted_for.map(interval) as _,
    )
    .fetch_optional(connection)
    .await?;
    let closed = closed.map(|row| Closed {
        attempts: u32::try_from(row.attempts).unwrap_or(0),
        superseded_by: row.superseded_by,
    });
    Ok(closed.ok_or(LeaseLost))
}

/// Hands back claims that no step was started for.
pub async fn hand_back(pool: &PgPool, tasks: &[Arc<ClaimedTask>]) -> Result<(), StoreError> {
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    let tokens: Vec<_> = tasks.iter().map(|task| task.lease.token).collect();
    sqlx::query!(
        "update reconciler.turns
         set lease_until = null, unreleased_claims = 0
         where task_id = any ($1) and lease_token = any ($2)",
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
pub async fn face(
    connection: &mut PgConnection,
    workspace: &str,
    task: i64,
) -> Result<Face, StoreError> {
    let row = sqlx::query!(
        "select integration_name, integration_kind, member_name
         from reconciler.automation_tasks where id = $1 and workspace_id = $2",
        task,
        workspace,
    )
    .fetch_one(connection)
    .await?;
    let bad = |source| StoreError::BadRow { table: "automation_tasks", id: task, source };
    Ok(Face {
        integration_name: row.integration_name,
        kind: row.integration_kind.parse().map_err(bad)?,
        member_name: row.member_name,
    })
}

/// Escalates a task that has ended well, because it did not last; its trigger and attempts. `None` if it is gone,
/// goes on again, or an action of the member is unfinished.
pub async fn escalate_again(
    connection: &mut PgConnection,
    key: &MemberKey,
    task: i64,
    reason: &str,
) -> Result<Option<(Trigger, u32)>, StoreError> {
    let row = sqlx::query!(
        "update reconciler.automation_tasks t
         set state = 'escalated', closed_reason = $5, closed_at = clock_timestamp()
         where t.id = $4 and t.workspace_id = $1 and t.state in ('succeeded', 'escalated')
           and not exists (select from reconciler.manual_actions a
                           where a.workspace_id = $1 and a.integration_id = $2 and a.member_id = $3
                             and a.status in ('open', 'in_progress', 'done'))
         returning t.trigger, t.attempts",
        key.workspace,
        key.integration,
        key.member,
        task,
        reason,
    )
    .fetch_optional(connection)
    .await?;
    let bad = |source| StoreError::BadRow { table: "automation_tasks", id: task, source };
    row.map(|row| Ok((row.trigger.parse().map_err(bad)?, u32::try_from(row.attempts).unwrap_or(0))))
        .transpose()
}

/// What the row says of an escalation.
pub fn closed_reason(reason: &EscalationReason, failure: &Failure) -> String {
    match &failure.code {
        Some(code) => format!("{}: {code}", reason.sentence()),
        None => reason.sentence().to_owned(),
    }
}
