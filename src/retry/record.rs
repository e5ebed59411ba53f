//! The SQL that records what a step said of a claimed request, each under its lease: of many at once what comes all the
//! time, and of one what is rare. What a statement about many leaves out is recorded by itself.
//!
//! A statement about many does not lock rows before it changes them, for a lock is written as a change is: the change
//! itself asks for the lease again. A row that moved meanwhile is left out. A statement about one may have to wait for
//! intake, which marks what was overtaken: it names the row by its key.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{ClaimedTask, EscalationReason, Lost};
use crate::backend::Failure;
use crate::lease::{LeaseLost, fenced};
use crate::membership::{IntegrationKind, MemberKey, MemberKeys, Operation, Trigger};
use crate::store::{StoreError, interval};

/// How a request ends, as it changes its member.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// The request.
    pub task: &'a ClaimedTask,
    /// `succeeded`, `escalated`, `superseded` or `cancelled`.
    pub state: EndState,
    /// Why, for people.
    pub reason: &'a str,
    /// How long what was tried may change the app from now on; `None` if nothing was tried.
    pub effects_for: Option<Duration>,
}

/// The states in which a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndState {
    /// The member is as wanted.
    Succeeded,
    /// A person is asked.
    Escalated,
    /// A later request made it pointless.
    Superseded,
}

impl EndState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Escalated => "escalated",
            Self::Superseded => "superseded",
        }
    }
}

/// What the end of requests changes of what is known of their members, as parallel arrays: decided here, and only written
/// by the statements.
#[derive(Default)]
struct Knowledge {
    /// Until when their attempts may still act.
    effects_for: Vec<Option<sqlx::postgres::types::PgInterval>>,
    /// A removal was tried without success, until then.
    removal_tried: Vec<bool>,
    /// An invite or a change of role was.
    admission_tried: Vec<bool>,
    /// An attempt since then has proven what the app shows: doubts from before are settled.
    proven_since: Vec<Option<DateTime<Utc>>>,
    /// The invite that took effect, and when it was asked for: what took effect of a later one stays known.
    invites: Vec<Option<i64>>,
    /// The change of role that took effect.
    roles: Vec<Option<i64>>,
    requested: Vec<DateTime<Utc>>,
}

impl<'a> FromIterator<&'a End<'a>> for Knowledge {
    fn from_iter<I: IntoIterator<Item = &'a End<'a>>>(ends: I) -> Self {
        let mut all = Self::default();
        for End { task, state, effects_for, .. } in ends {
            let succeeded = *state == EndState::Succeeded;
            let tried = effects_for.is_some() && !succeeded;
            let is_removal = task.wanted.operation == Operation::Remove;
            let took_effect =
                |operation| (succeeded && task.wanted.operation == operation).then_some(task.id);
            all.effects_for.push(effects_for.map(interval));
            all.removal_tried.push(tried && is_removal);
            all.admission_tried.push(tried && !is_removal);
            all.proven_since.push(task.trying_since.filter(|_| succeeded && task.attempts > 0));
            all.invites.push(took_effect(Operation::Invite));
            all.roles.push(took_effect(Operation::ChangeRole));
            all.requested.push(task.requested_at);
        }
        all
    }
}

/// A request whose member is as wanted, among many.
#[derive(Debug, Clone, Copy)]
pub struct Success<'a> {
    /// Its end.
    pub end: End<'a>,
    /// Whether it showed that the app works, which may move its breaker.
    pub app_works: bool,
    /// The time until the member is checked again, where a change that was confirmed is watched.
    pub watch_after: Option<Duration>,
}

/// The members whose requests were closed, and which of them have another that waits for its turn.
#[derive(Debug, Default)]
pub struct Closed {
    /// The tasks.
    pub tasks: HashSet<i64>,
    /// The members with another request.
    pub blocked: MemberKeys,
}

/// Closes requests as succeeded, in the trail too. Left out are those whose lease was lost and those that may move their
/// breaker: a healthy app's row is read and not touched.
pub async fn succeed(
    connection: &mut PgConnection,
    successes: &[Success<'_>],
) -> Result<Closed, StoreError> {
    let keys: MemberKeys = successes.iter().map(|success| &success.end.task.key).collect();
    let tasks: Vec<_> = successes.iter().map(|success| success.end.task.id).collect();
    let tokens: Vec<_> = successes.iter().map(|success| success.end.task.lease.token).collect();
    let reasons: Vec<_> = successes.iter().map(|success| success.end.reason.to_owned()).collect();
    let app_works: Vec<_> = successes.iter().map(|success| success.app_works).collect();
    let watches: Vec<_> =
        successes.iter().map(|success| success.watch_after.map(interval)).collect();
    let known: Knowledge = successes.iter().map(|success| &success.end).collect();
    let rows = sqlx::query!(
        r#"-- succeed
        with held as materialized (
            select m.place, m.tried, s.*
            from (select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[],
                                       $7::boolean[], $8::interval[], $9::interval[], $10::timestamptz[],
                                       $11::bigint[], $12::bigint[], $13::timestamptz[])
                           s (workspace_id, integration_id, member_id, id, token, reason, app_works, watch_after,
                              effects_for, proven_since, invite, role, requested_at)
                  order by workspace_id, integration_id, member_id) s -- as everybody who locks several does
            cross join lateral (
                select m.ctid as place, m.trying_since as tried
                from reconciler.members m
                where m.workspace_id = s.workspace_id and m.integration_id = s.integration_id
                  and m.member_id = s.member_id and m.lease_token = s.token and m.ready_task_id = s.id
                  and not exists (
                      select from reconciler.integration_states d
                      where d.workspace_id = s.workspace_id and d.integration_id = s.integration_id
                        and (d.probe_task_id = s.id
                             or s.app_works
                                and (d.consecutive_failures > 0 or d.ramp_limit is not null or d.consecutive_trips > 0)))
                offset 0
            ) m
        ), ended as (
            update reconciler.members m
            set ready_task_id = null, trying_since = null, running_job_id = null, running_since = null,
                uncertain_since = null, lease_until = null, unreleased_claims = 0, worked_at = clock_timestamp(),
                effects_possible_until = greatest(m.effects_possible_until, clock_timestamp() + h.effects_for),
                removed_by_hand_at = case when m.removed_by_hand_at < h.proven_since then null
                                          else m.removed_by_hand_at end,
                admitted_by_hand_at = case when m.admitted_by_hand_at < h.proven_since then null
                                           else m.admitted_by_hand_at end,
                removal_tried_until = case when m.removal_tried_until < h.proven_since then null
                                           else m.removal_tried_until end,
                admission_tried_until = case when m.admission_tried_until < h.proven_since then null
                                             else m.admission_tried_until end,
                invite_task_id = case when (m.invite_requested_at, m.invite_task_id) > (h.requested_at, h.id) then m.invite_task_id
                                      else coalesce(h.invite, m.invite_task_id) end,
                invite_requested_at = case when h.invite is null then m.invite_requested_at
                                           else greatest(m.invite_requested_at, h.requested_at) end,
                role_task_id = case when (m.role_requested_at, m.role_task_id) > (h.requested_at, h.id) then m.role_task_id
                                    else coalesce(h.role, m.role_task_id) end,
                role_requested_at = case when h.role is null then m.role_requested_at
                                         else greatest(m.role_requested_at, h.requested_at) end,
                watch_task_id = case when h.watch_after is null then m.watch_task_id else h.id end,
                watch_operation = case when h.watch_after is null then m.watch_operation
                                       when m.ready_is_removal then 'remove' else 'invite' end,
                watch_since = case when h.watch_after is null then m.watch_since else clock_timestamp() end,
                watch_due_at = case when h.watch_after is null then m.watch_due_at
                                    else clock_timestamp() + h.watch_after end,
                watch_checks = case when h.watch_after is null then m.watch_checks else 0 end,
                watch_asked_at = case when h.watch_after is null then m.watch_asked_at end
            from held h
            where m.ctid = h.place and m.lease_token = h.token
            returning m.workspace_id, m.integration_id, m.member_id, m.blocked_task_ids <> '{}' as has_blocked,
                      h.id, h.reason, h.tried, h.effects_for
        ), closed as (
            update reconciler.automation_tasks t
            set state = 'succeeded', closed_at = clock_timestamp(), closed_reason = e.reason, trying_since = e.tried,
                effects_possible_until = coalesce(clock_timestamp() + e.effects_for, t.effects_possible_until)
            from ended e
            where t.id = e.id and t.workspace_id = e.workspace_id
        ), told as (
            insert into reconciler.events (actor, what, workspace_id, subject, subject_id, detail)
            select actor.name, 'task.succeeded', e.workspace_id, 'task', e.id::text,
                   jsonb_build_object('reason', e.reason)
            from (select reconciler.current_actor() as name offset 0) actor, -- asked once, not for each line
                 ended e
        )
        select id as "id!", workspace_id, integration_id, member_id, has_blocked as "has_blocked!" from ended"#,
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &tasks,
        &tokens,
        &reasons,
        &app_works,
        &watches as _,
        &known.effects_for as _,
        &known.proven_since as _,
        &known.invites as _,
        &known.roles as _,
        &known.requested,
    )
    .fetch_all(connection)
    .await?;
    let mut closed = Closed::default();
    for row in rows {
        closed.tasks.insert(row.id);
        if row.has_blocked {
            closed.blocked.push(row.workspace_id, row.integration_id, row.member_id);
        }
    }
    Ok(closed)
}

/// A request whose job at the backend is polled again.
#[derive(Debug, Clone, Copy)]
pub struct Watching<'a> {
    /// The request.
    pub task: &'a ClaimedTask,
    /// The job.
    pub job: &'a str,
    /// When to poll.
    pub after: Duration,
    /// Whether it was started just now, which is an attempt.
    pub started: bool,
}

/// Records jobs to poll again. Those that were just started count as attempts; those that somebody else started do
/// not. Returns the ids of the tasks that were held. Left out are those whose lease was lost.
pub async fn watch(
    connection: &mut PgConnection,
    watched: &[Watching<'_>],
) -> Result<HashSet<i64>, StoreError> {
    let keys: MemberKeys = watched.iter().map(|watching| &watching.task.key).collect();
    let tasks: Vec<_> = watched.iter().map(|watching| watching.task.id).collect();
    let tokens: Vec<_> = watched.iter().map(|watching| watching.task.lease.token).collect();
    let jobs: Vec<_> = watched.iter().map(|watching| watching.job.to_owned()).collect();
    let waits: Vec<_> = watched.iter().map(|watching| interval(watching.after)).collect();
    let started: Vec<_> = watched.iter().map(|watching| watching.started).collect();
    let written = sqlx::query_scalar!(
        r#"-- watch_jobs
        with held as materialized (
            select m.place, w.id, w.token, w.job, w.started, clock_timestamp() + w.after as next
            from (select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[],
                                       $7::interval[], $8::boolean[])
                           w (workspace_id, integration_id, member_id, id, token, job, after, started)
                  order by workspace_id, integration_id, member_id) w
            cross join lateral (
                select m.ctid as place
                from reconciler.members m
                where m.workspace_id = w.workspace_id and m.integration_id = w.integration_id
                  and m.member_id = w.member_id and m.lease_token = w.token and m.ready_task_id = w.id
                offset 0
            ) m
        ), released as (
            update reconciler.members m
            set running_job_id = h.job,
                running_since = case when h.started or m.running_job_id is null then clock_timestamp()
                                     else m.running_since end,
                trying_since = coalesce(m.trying_since, clock_timestamp()),
                uncertain_since = null,
                next_attempt_at = h.next, lease_until = null, unreleased_claims = 0
            from held h
            where m.ctid = h.place and m.lease_token = h.token
            returning h.id, m.workspace_id, m.next_attempt_at, h.started
        )
        update reconciler.automation_tasks t
        set state = 'running', attempts = t.attempts + case when r.started then 1 else 0 end,
            next_attempt_at = r.next_attempt_at
        from released r
        where t.id = r.id and t.workspace_id = r.workspace_id
        returning t.id"#,
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &tasks,
        &tokens,
        &jobs,
        &waits,
        &started,
    )
    .fetch_all(connection)
    .await?;
    Ok(written.into_iter().collect())
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
        "-- retry
         with held as (
             select m.workspace_id, m.integration_id, m.member_id, m.running_job_id,
                    clock_timestamp() + case when t.superseded_by is null then $6 else interval '0' end as next
             from reconciler.members m
             join reconciler.automation_tasks t on t.id = $4 and t.workspace_id = m.workspace_id
             where m.workspace_id = $1 and m.integration_id = $2 and m.member_id = $3 and m.ready_task_id = $4
               and m.lease_token = $5
             for no key update
         ), released as (
             update reconciler.members m
             set running_job_id = null, running_since = null,
                 uncertain_since = case when $8 then clock_timestamp() end,
                 trying_since = coalesce(m.trying_since, clock_timestamp()),
                 next_attempt_at = held.next, lease_until = null, unreleased_claims = 0
             from held
             where m.workspace_id = $1 and m.integration_id = $2 and m.member_id = $3
         )
         update reconciler.automation_tasks t
         set state = 'pending', attempts = t.attempts + case when held.running_job_id is null then 1 else 0 end,
             next_attempt_at = held.next, last_error = $7
         from held
         where t.id = $4 and t.workspace_id = held.workspace_id",
        task.key.workspace,
        task.key.integration,
        task.key.member,
        task.id,
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
/// A later request that marked the task meanwhile cuts it short.
pub async fn wait(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    after: Duration,
    why: &str,
    lost: Lost,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "-- wait
         with held as (
             select m.workspace_id,
                    clock_timestamp()
                    + case when t.superseded_by is not null and $10 then interval '0' else $6 end as next
             from reconciler.members m
             join reconciler.automation_tasks t on t.id = $4 and t.workspace_id = m.workspace_id
             where m.workspace_id = $1 and m.integration_id = $2 and m.member_id = $3 and m.ready_task_id = $4
               and m.lease_token = $5
             for no key update
         ), released as (
             update reconciler.members m
             set running_job_id = null, running_since = null,
                 uncertain_since = case when $8 then clock_timestamp() else m.uncertain_since end,
                 trying_since = m.trying_since + $6,
                 next_attempt_at = held.next, lease_until = null, unreleased_claims = 0
             from held
             where m.workspace_id = $1 and m.integration_id = $2 and m.member_id = $3
         )
         update reconciler.automation_tasks t
         set state = 'pending', attempts = t.attempts + case when $9 then 1 else 0 end,
             next_attempt_at = held.next, last_error = $7
         from held
         where t.id = $4 and t.workspace_id = held.workspace_id",
        task.key.workspace,
        task.key.integration,
        task.key.member,
        task.id,
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

/// Records that the app rejected the stored login: the task is due as soon as its integration is active, and an attempt
/// that failed for it is not counted.
pub async fn park(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    error: &str,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "-- park
         with held as (
             select workspace_id, running_job_id, clock_timestamp() as next
             from reconciler.members
             where workspace_id = $1 and integration_id = $2 and member_id = $3 and ready_task_id = $4
               and lease_token = $5
             for no key update
         ), released as (
             update reconciler.members m
             set running_job_id = null, running_since = null, uncertain_since = null,
                 next_attempt_at = held.next, lease_until = null, unreleased_claims = 0
             from held
             where m.workspace_id = $1 and m.integration_id = $2 and m.member_id = $3
         )
         update reconciler.automation_tasks t
         set state = 'pending',
             attempts = greatest(0, t.attempts - case when held.running_job_id is null then 0 else 1 end),
             next_attempt_at = held.next, last_error = $6
         from held
         where t.id = $4 and t.workspace_id = held.workspace_id",
        task.key.workspace,
        task.key.integration,
        task.key.member,
        task.id,
        task.lease.token,
        error,
    )
    .execute(connection)
    .await?;
    Ok(fenced(written.rows_affected()))
}

/// What the row says once it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedRow {
    /// Attempts, the last one included.
    pub attempts: u32,
    /// The later request that superseded it while it was worked on.
    pub superseded_by: Option<i64>,
}

/// Closes a request, and with it the turn of its member. `failed_attempt` counts an attempt that the backend refused before
/// it made a job.
pub async fn close(
    connection: &mut PgConnection,
    end: &End<'_>,
    failed_attempt: bool,
    watch_after: Option<Duration>,
) -> Result<Result<ClosedRow, LeaseLost>, StoreError> {
    let task = end.task;
    let known: Knowledge = [end].into_iter().collect();
    let closed = sqlx::query!(
        "-- close
         with held as (
             select workspace_id, running_job_id, trying_since
             from reconciler.members
             where workspace_id = $1 and integration_id = $2 and member_id = $3 and ready_task_id = $4
               and lease_token = $5
             for no key update
         ), ended as (
             update reconciler.members m
             set ready_task_id = null, trying_since = null, running_job_id = null, running_since = null,
                 uncertain_since = null, lease_until = null, unreleased_claims = 0, worked_at = clock_timestamp(),
                 effects_possible_until = greatest(m.effects_possible_until, clock_timestamp() + $9::interval),
                 removal_tried_until = case when $10 then greatest(m.removal_tried_until, clock_timestamp() + $9)
                                            when m.removal_tried_until < $12 then null
                                            else m.removal_tried_until end,
                 admission_tried_until = case when $11 then greatest(m.admission_tried_until, clock_timestamp() + $9)
                                              when m.admission_tried_until < $12 then null
                                              else m.admission_tried_until end,
                 removed_by_hand_at = case when m.removed_by_hand_at < $12 then null else m.removed_by_hand_at end,
                 admitted_by_hand_at = case when m.admitted_by_hand_at < $12 then null else m.admitted_by_hand_at end,
                 invite_task_id = case when (m.invite_requested_at, m.invite_task_id) > ($15, $4) then m.invite_task_id
                                       else coalesce($13, m.invite_task_id) end,
                 invite_requested_at = case when $13::bigint is null then m.invite_requested_at
                                            else greatest(m.invite_requested_at, $15) end,
                 role_task_id = case when (m.role_requested_at, m.role_task_id) > ($15, $4) then m.role_task_id
                                     else coalesce($14, m.role_task_id) end,
                 role_requested_at = case when $14::bigint is null then m.role_requested_at
                                          else greatest(m.role_requested_at, $15) end,
                 watch_task_id = case when $16::interval is null then m.watch_task_id else $4 end,
                 watch_operation = case when $16::interval is null then m.watch_operation
                                        when m.ready_is_removal then 'remove' else 'invite' end,
                 watch_since = case when $16::interval is null then m.watch_since else clock_timestamp() end,
                 watch_due_at = case when $16::interval is null then m.watch_due_at
                                     else clock_timestamp() + $16::interval end,
                 watch_checks = case when $16::interval is null then m.watch_checks else 0 end,
                 watch_asked_at = case when $16::interval is null then m.watch_asked_at end
             from held
             where m.workspace_id = $1 and m.integration_id = $2 and m.member_id = $3
         )
         update reconciler.automation_tasks t
         set state = $6, closed_at = clock_timestamp(), closed_reason = $7, trying_since = held.trying_since,
             attempts = t.attempts + case when $8 and held.running_job_id is null then 1 else 0 end,
             effects_possible_until = coalesce(clock_timestamp() + $9::interval, t.effects_possible_until)
         from held
         where t.id = $4 and t.workspace_id = held.workspace_id
         returning t.attempts, t.superseded_by",
        task.key.workspace,
        task.key.integration,
        task.key.member,
        task.id,
        task.lease.token,
        end.state.as_str(),
        end.reason,
        failed_attempt,
        known.effects_for[0] as _,
        known.removal_tried[0],
        known.admission_tried[0],
        known.proven_since[0],
        known.invites[0],
        known.roles[0],
        task.requested_at,
        watch_after.map(interval) as _,
    )
    .fetch_optional(connection)
    .await?;
    let closed = closed.map(|row| ClosedRow {
        attempts: u32::try_from(row.attempts).unwrap_or(0),
        superseded_by: row.superseded_by,
    });
    Ok(closed.ok_or(LeaseLost))
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
    /// The roles that were asked for.
    pub entitlements: Vec<String>,
}

/// Reads the names of a task; a claim does not carry them, since few tasks need them.
pub async fn face(
    connection: &mut PgConnection,
    workspace: &str,
    task: i64,
) -> Result<Face, StoreError> {
    let row = sqlx::query!(
        "-- face
         select integration_name, integration_kind, member_name, entitlements
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
        entitlements: row.entitlements,
    })
}

/// Escalates a task that has ended well, because it did not last; its trigger and attempts. `None` if it is gone, goes on
/// again, the member is no longer watched for it, or something else of the member goes on. What it tried counts from now on
/// as tried without success.
pub async fn escalate_again(
    connection: &mut PgConnection,
    key: &MemberKey,
    task: i64,
    reason: &str,
) -> Result<Option<(Trigger, u32)>, StoreError> {
    let row = sqlx::query!(
        "-- escalate_again
         with idle as (
             update reconciler.members m
             set removal_tried_until = case when m.watch_operation = 'remove'
                                            then greatest(m.removal_tried_until, m.effects_possible_until)
                                            else m.removal_tried_until end,
                 admission_tried_until = case when m.watch_operation <> 'remove'
                                              then greatest(m.admission_tried_until, m.effects_possible_until)
                                              else m.admission_tried_until end
             where m.workspace_id = $1 and m.integration_id = $2 and m.member_id = $3 and m.watch_task_id = $4
               and m.open_action_id is null and m.ready_task_id is null and m.blocked_task_ids = '{}'
             returning 1
         )
         update reconciler.automation_tasks t
         set state = 'escalated', closed_reason = $5, closed_at = clock_timestamp()
         from idle
         where t.id = $4 and t.workspace_id = $1 and t.state in ('succeeded', 'escalated')
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

/// Opens tasks again that people sent back to automation, with all their attempts, and each in its place among those who come
/// next for its member. Nothing later makes them pointless: that would have ended their actions. The caller holds the rows
/// of their members, and gives them their turn.
pub async fn reopen(
    connection: &mut PgConnection,
    tasks: &HashMap<i64, String>,
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    let (ids, reasons): (Vec<_>, Vec<_>) =
        tasks.iter().map(|(id, reason)| (*id, reason.clone())).unzip();
    sqlx::query!(
        "-- reopen_tasks
         with reopened as (
             update reconciler.automation_tasks t
             set state = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), trying_since = null,
                 closed_at = null, closed_reason = null, returned_at = clock_timestamp()
             from unnest($1::bigint[], $2::text[]) r (id, reason)
             cross join lateral (
                 select k.ctid as place from reconciler.automation_tasks k where k.id = r.id and k.state = 'escalated'
                 offset 0
             ) ended
             where t.ctid = ended.place
             returning t.id, t.workspace_id, t.integration_id, t.member_id, r.reason
         ), placed as (
             update reconciler.members m
             set blocked_task_ids = array(
                 select b.id
                 from unnest(m.blocked_task_ids || r.ids) b (id)
                 cross join lateral (
                     select t.requested_at from reconciler.automation_tasks t
                     where t.id = b.id and t.workspace_id = m.workspace_id
                     offset 0
                 ) t
                 order by t.requested_at, b.id)
             from (select workspace_id, integration_id, member_id, array_agg(id) as ids from reopened group by 1, 2, 3) r
             cross join lateral (
                 select k.ctid as place from reconciler.members k
                 where k.workspace_id = r.workspace_id and k.integration_id = r.integration_id
                   and k.member_id = r.member_id
                 offset 0
             ) held
             where m.ctid = held.place
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'task.returned', workspace_id, 'task', id::text, jsonb_build_object('reason', reason)
         from reopened",
        &ids,
        &reasons,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What the row says of an escalation.
pub fn closed_reason(reason: &EscalationReason, failure: &Failure) -> String {
    match &failure.code {
        Some(code) => format!("{}: {code}", reason.sentence()),
        None => reason.sentence().to_owned(),
    }
}
