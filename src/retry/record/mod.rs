//! The SQL that records the result of a step for claimed requests, each under its lease: how they end, and when those
//! that go on are due again.
//!
//! Both statements take one request or many. Neither locks rows first, because PostgreSQL writes a row lock to the row
//! as it writes a change. The update itself compares the lease token. What the claim read ([`ClaimedTask`]) is still
//! true while the lease is held.

mod names;
mod release;

pub use names::{DisplayNames, closed_reason, display_names};
pub use release::{GoesOn, Release, release, release_one};

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;

use super::ClaimedTask;
use crate::database::PgConnection;
use crate::lease::LeaseLost;
use crate::membership::{MemberKeys, Operation};
use crate::store::{StoreError, interval};

/// How a request ends, and what that changes for its member.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    pub task: &'a ClaimedTask,
    pub state: EndState,
    pub reason: &'a str,
    /// How long the attempts may still change the app from now on; `None` if there was no attempt.
    pub effects_for: Option<Duration>,
    /// Whether it ends after an attempt that the backend refused before it created a job. That counts as an attempt.
    pub failed_attempt: bool,
    /// The time until the first check, if the confirmed change is watched.
    pub watch_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndState {
    /// The member is in the desired state.
    Succeeded,
    Escalated,
    Superseded,
    /// A person decided that the task is not to be tried any more.
    Cancelled,
}

impl EndState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Escalated => "escalated",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Who moves the breakers of the integrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breakers {
    /// The caller, who holds their locks.
    Caller,
    /// Nobody. Requests that may move a breaker are left out. The row of a healthy app is read, but not locked or
    /// changed.
    Nobody,
}

/// What the end of requests changes, as parallel arrays. Rust decides the values, and the statement only writes them.
#[derive(Default)]
struct Columns {
    tasks: Vec<i64>,
    tokens: Vec<i64>,
    states: Vec<&'static str>,
    reasons: Vec<String>,
    /// Whether the job showed that the app works, which may move its breaker.
    shows_app_works: Vec<bool>,
    counts_attempt: Vec<bool>,
    trying_since: Vec<Option<DateTime<Utc>>>,
    watch_after: Vec<Option<PgInterval>>,
    effects_for: Vec<Option<PgInterval>>,
    /// Whether a removal was tried without success.
    removal_tried: Vec<bool>,
    /// Whether an invite or a change of role was tried without success.
    admission_tried: Vec<bool>,
    /// Since when an attempt proves what is in the app: older doubts are settled.
    proven_since: Vec<Option<DateTime<Utc>>>,
    /// The invite that took effect. If the member already has a later one, that one is kept.
    invites: Vec<Option<i64>>,
    roles: Vec<Option<i64>>,
    requested: Vec<DateTime<Utc>>,
    superseded_by: Vec<Option<i64>>,
}

impl<'a> FromIterator<&'a End<'a>> for Columns {
    fn from_iter<I: IntoIterator<Item = &'a End<'a>>>(ends: I) -> Self {
        let mut all = Self::default();
        for end in ends {
            all.push(end);
        }
        all
    }
}

impl Columns {
    fn push(&mut self, end: &End<'_>) {
        let End { task, state, effects_for, .. } = *end;
        let succeeded = state == EndState::Succeeded;
        let tried = effects_for.is_some() && !succeeded;
        let is_removal = task.desired.operation == Operation::Remove;
        let took_effect =
            |operation| (succeeded && task.desired.operation == operation).then_some(task.id);
        self.tasks.push(task.id);
        self.tokens.push(task.lease.token);
        self.states.push(state.as_str());
        self.reasons.push(end.reason.to_owned());
        self.shows_app_works.push(task.running.is_some());
        self.counts_attempt.push(end.failed_attempt && task.running.is_none());
        self.trying_since.push(task.trying_since);
        self.watch_after.push(end.watch_after.map(interval));
        self.effects_for.push(effects_for.map(interval));
        self.removal_tried.push(tried && is_removal);
        self.admission_tried.push(tried && !is_removal);
        self.proven_since.push(task.trying_since.filter(|_| succeeded && task.attempts > 0));
        self.invites.push(took_effect(Operation::Invite));
        self.roles.push(took_effect(Operation::ChangeRole));
        self.requested.push(task.requested_at);
        let is_superseded = state == EndState::Superseded;
        self.superseded_by.push(task.superseded_by.filter(|_| is_superseded));
    }
}

/// The row of a request after it was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedRow {
    /// Attempts, including the last one.
    pub attempts: u32,
    /// The later request that superseded it while it was in flight.
    pub superseded_by: Option<i64>,
    /// Whether a person cancelled it while it was in flight.
    pub is_cancelled: bool,
}

/// The requests that were closed, and the members of those that have blocked requests.
#[derive(Debug, Default)]
pub struct Closed {
    pub tasks: HashMap<i64, ClosedRow>,
    /// The members that have a blocked request.
    pub blocked: MemberKeys,
}

impl Closed {
    /// The row of a request that was to be closed.
    pub fn of(&self, task: &ClaimedTask) -> Result<ClosedRow, LeaseLost> {
        self.tasks.get(&task.id).copied().ok_or(LeaseLost)
    }
}

/// Closes requests and the turns of their members, and records successes in the trail. It leaves out requests whose
/// lease was lost, and requests that this caller may not close ([`Breakers`]).
pub async fn end(
    connection: &mut PgConnection,
    ends: &[End<'_>],
    breakers: Breakers,
) -> Result<Closed, StoreError> {
    let keys: MemberKeys = ends.iter().map(|end| &end.task.key).collect();
    let all: Columns = ends.iter().collect();
    let rows = sqlx::query!(
        r#"-- end_requests
        with ended as (
            update reconciler.members m
            set ready_task_id = null, trying_since = null, running_job_id = null, running_since = null,
                uncertain_since = null, lease_until = null, unreleased_claims = 0, worked_at = clock_timestamp(),
                effects_possible_until = greatest(m.effects_possible_until, clock_timestamp() + s.effects_for),
                removed_by_hand_at = case when m.removed_by_hand_at < s.proven_since then null
                                          else m.removed_by_hand_at end,
                admitted_by_hand_at = case when m.admitted_by_hand_at < s.proven_since then null
                                           else m.admitted_by_hand_at end,
                removal_tried_until = case when s.removal_tried
                                           then greatest(m.removal_tried_until, clock_timestamp() + s.effects_for)
                                           when m.removal_tried_until < s.proven_since then null
                                           else m.removal_tried_until end,
                admission_tried_until = case when s.admission_tried
                                             then greatest(m.admission_tried_until, clock_timestamp() + s.effects_for)
                                             when m.admission_tried_until < s.proven_since then null
                                             else m.admission_tried_until end,
                invite_task_id = case when (m.invite_requested_at, m.invite_task_id) > (s.requested_at, s.id)
                                      then m.invite_task_id
                                      else coalesce(s.invite, m.invite_task_id) end,
                invite_requested_at = case when s.invite is null then m.invite_requested_at
                                           else greatest(m.invite_requested_at, s.requested_at) end,
                role_task_id = case when (m.role_requested_at, m.role_task_id) > (s.requested_at, s.id)
                                    then m.role_task_id
                                    else coalesce(s.role, m.role_task_id) end,
                role_requested_at = case when s.role is null then m.role_requested_at
                                         else greatest(m.role_requested_at, s.requested_at) end,
                desired_task_id = case when s.state = 'cancelled' and m.desired_task_id = s.id then null
                                       else m.desired_task_id end,
                watch_task_id = case when s.watch_after is null then m.watch_task_id else s.id end,
                watch_operation = case when s.watch_after is null then m.watch_operation
                                       when m.ready_is_removal then 'remove' else 'invite' end,
                watch_since = case when s.watch_after is null then m.watch_since else clock_timestamp() end,
                watch_due_at = case when s.watch_after is null then m.watch_due_at
                                    else clock_timestamp() + s.watch_after end,
                watch_checks = case when s.watch_after is null then m.watch_checks else 0 end,
                watch_asked_at = case when s.watch_after is null then m.watch_asked_at end
            from (select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[],
                                       $7::text[], $8::boolean[], $9::boolean[], $10::timestamptz[], $11::interval[],
                                       $12::interval[], $13::boolean[], $14::boolean[], $15::timestamptz[],
                                       $16::bigint[], $17::bigint[], $18::timestamptz[], $20::bigint[])
                           s (workspace_id, integration_id, member_id, id, token, state, reason, shows_app_works,
                              counts_attempt, trying_since, watch_after, effects_for, removal_tried, admission_tried,
                              proven_since, invite, role, requested_at, superseded_by)
                  order by workspace_id, integration_id, member_id) s -- as everybody who locks several does
            where m.workspace_id = s.workspace_id and m.integration_id = s.integration_id
              and m.member_id = s.member_id and m.lease_token = s.token and m.ready_task_id = s.id
              and not ($19 and exists (
                  select from reconciler.integration_states d
                  where d.workspace_id = s.workspace_id and d.integration_id = s.integration_id
                    and (d.probe_task_id = s.id or d.ramp_limit is not null
                         or s.shows_app_works and (d.consecutive_failures > 0 or d.consecutive_trips > 0))))
            returning m.workspace_id, m.integration_id, m.member_id, m.blocked_task_ids <> '{}' as has_blocked,
                      s.id, s.state, s.reason, s.counts_attempt, s.trying_since, s.effects_for, s.superseded_by
        ), recorded as (
            insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
            select 'task.succeeded', e.workspace_id, 'task', e.id::text, jsonb_build_object('reason', e.reason)
            from ended e
            where e.state = 'succeeded'
        )
        update reconciler.automation_tasks t
        set state = e.state, closed_at = clock_timestamp(), closed_reason = e.reason, trying_since = e.trying_since,
            attempts = t.attempts + case when e.counts_attempt then 1 else 0 end,
            superseded_by = coalesce(t.superseded_by, e.superseded_by),
            effects_possible_until = coalesce(clock_timestamp() + e.effects_for, t.effects_possible_until)
        from ended e
        where t.id = e.id and t.workspace_id = e.workspace_id
        returning t.id, t.workspace_id, t.integration_id, t.member_id, e.has_blocked as "has_blocked!", t.attempts,
                  t.superseded_by, t.cancel_reason is not null as "is_cancelled!""#,
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &all.tasks,
        &all.tokens,
        &all.states as _,
        &all.reasons,
        &all.shows_app_works,
        &all.counts_attempt,
        &all.trying_since as _,
        &all.watch_after as _,
        &all.effects_for as _,
        &all.removal_tried,
        &all.admission_tried,
        &all.proven_since as _,
        &all.invites as _,
        &all.roles as _,
        &all.requested,
        breakers == Breakers::Nobody,
        &all.superseded_by as _,
    )
    .fetch_all(connection)
    .await?;
    let mut closed = Closed::default();
    for row in rows {
        let attempts = u32::try_from(row.attempts).unwrap_or(0);
        let (superseded_by, is_cancelled) = (row.superseded_by, row.is_cancelled);
        closed.tasks.insert(row.id, ClosedRow { attempts, superseded_by, is_cancelled });
        if row.has_blocked {
            closed.blocked.push(row.workspace_id, row.integration_id, row.member_id);
        }
    }
    Ok(closed)
}
