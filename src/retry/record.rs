//! The SQL that records the result of a step for claimed requests, each under its lease: how they end, and when those
//! that go on are due again.
//!
//! Both statements take one request or many. Neither locks rows first, because PostgreSQL writes a row lock to the row
//! as it writes a change. The update itself compares the lease token. What the claim read ([`ClaimedTask`]) is still
//! true while the lease is held.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;

use super::{ClaimedTask, EscalationReason, Uncertainty, WaitCause};
use crate::backend::Failure;
use crate::database::PgConnection;
use crate::lease::{LeaseLost, fenced};
use crate::membership::{IntegrationKind, MemberKeys, Operation};
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

/// Why a request goes on, and what became of its attempt.
#[derive(Debug, Clone, Copy)]
pub enum GoesOn<'a> {
    Watch {
        job: &'a str,
        /// Whether the daemon started it just now, which counts as an attempt. A job that somebody else started does
        /// not count.
        started: bool,
        /// Whether the member was found by id before the job was started.
        found_by_id: bool,
    },
    Retry {
        error: &'a str,
        /// Which part of the attempt has an unknown outcome.
        lost: Uncertainty,
    },
    /// It is postponed. `trying_since` moves forward by the wait, and no attempt is used unless an answer was lost.
    Wait {
        why: &'a str,
        /// Which part of the attempt has an unknown outcome.
        lost: Uncertainty,
        cause: WaitCause,
    },
    /// The app rejected the stored login. The request is due as soon as the integration is active again, and the
    /// attempt that failed for this reason is not counted.
    Park { error: &'a str },
}

#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    pub task: &'a ClaimedTask,
    pub after: Duration,
    pub goes_on: GoesOn<'a>,
}

impl Release<'_> {
    fn job(&self) -> Option<String> {
        match self.goes_on {
            GoesOn::Watch { job, .. } => Some(job.to_owned()),
            GoesOn::Retry { .. } | GoesOn::Wait { .. } | GoesOn::Park { .. } => None,
        }
    }

    fn error(&self) -> Option<String> {
        match self.goes_on {
            GoesOn::Watch { .. } => None,
            GoesOn::Retry { error, .. } | GoesOn::Park { error } => Some(error.to_owned()),
            GoesOn::Wait { why, .. } => Some(why.to_owned()),
        }
    }

    /// How many attempts to add. The attempt of a job was counted when the job started.
    fn attempts(&self) -> i32 {
        let is_job_running = self.task.running.is_some();
        match self.goes_on {
            GoesOn::Watch { started, .. } => i32::from(started),
            GoesOn::Retry { .. } => i32::from(!is_job_running),
            GoesOn::Wait { lost, .. } => i32::from(lost == Uncertainty::Answer),
            GoesOn::Park { .. } => -i32::from(is_job_running),
        }
    }

    /// Whether the outcome of the attempt is unknown from now on; `None` leaves that as it is.
    fn is_uncertain(&self) -> Option<bool> {
        match self.goes_on {
            GoesOn::Watch { .. } | GoesOn::Park { .. } => Some(false),
            GoesOn::Retry { lost, .. } => Some(lost != Uncertainty::Nothing),
            GoesOn::Wait { lost, .. } => (lost != Uncertainty::Nothing).then_some(true),
        }
    }

    /// Whether the request is due at once, to be closed, if it was superseded or cancelled meanwhile.
    fn yields(&self) -> bool {
        match self.goes_on {
            GoesOn::Watch { .. } | GoesOn::Park { .. } => false,
            GoesOn::Retry { .. } => true,
            GoesOn::Wait { .. } => !self.task.is_called_off(),
        }
    }

    /// Since when the backend gives no usable answer about this member alone.
    fn unanswered_since(&self) -> Option<DateTime<Utc>> {
        let GoesOn::Wait { cause, .. } = self.goes_on else { return None };
        match cause {
            WaitCause::Member => self.task.unanswered_since.or(Some(self.task.claimed_at)),
            // The outage may be about this member or about all of them. The next answer shows which, and the time until
            // then does not count.
            WaitCause::Outage => Some(self.task.claimed_at + self.after),
            WaitCause::Ourselves | WaitCause::RateLimit { .. } => None,
        }
    }

    fn found_by_id(&self) -> bool {
        matches!(self.goes_on, GoesOn::Watch { found_by_id: true, .. })
    }

    /// Whether the request counts as tried from now on. For a request that only waits, `trying_since` moves forward
    /// instead.
    fn is_tried(&self) -> bool {
        matches!(self.goes_on, GoesOn::Watch { .. } | GoesOn::Retry { .. })
    }
}

pub async fn release_one(
    connection: &mut PgConnection,
    release: &Release<'_>,
) -> Result<Result<(), LeaseLost>, StoreError> {
    // Intake marks a superseded or cancelled task while it holds the lock of the member's row. The lock here waits for
    // that, so that the next statement sees the mark.
    let (key, lease) = (&release.task.key, &release.task.lease);
    let held = sqlx::query!(
        "-- hold_member
         select from reconciler.members
         where workspace_id = $1 and integration_id = $2 and member_id = $3 and lease_token = $4
         for no key update",
        key.workspace,
        key.integration,
        key.member,
        lease.token,
    )
    .execute(&mut *connection)
    .await?;
    if let Err(lost) = fenced(held.rows_affected()) {
        return Ok(Err(lost));
    }
    let released = self::release(connection, &[*release]).await?;
    Ok(fenced(released.len() as u64))
}

/// Records requests that go on, and releases their leases. Returns the tasks that were written. Requests whose lease
/// was lost are left out.
pub async fn release(
    connection: &mut PgConnection,
    released: &[Release<'_>],
) -> Result<Vec<i64>, StoreError> {
    let keys: MemberKeys = released.iter().map(|one| &one.task.key).collect();
    let tasks: Vec<_> = released.iter().map(|one| one.task.id).collect();
    let tokens: Vec<_> = released.iter().map(|one| one.task.lease.token).collect();
    let waits: Vec<_> = released.iter().map(|one| interval(one.after)).collect();
    let jobs: Vec<_> = released.iter().map(Release::job).collect();
    let errors: Vec<_> = released.iter().map(Release::error).collect();
    let attempts: Vec<_> = released.iter().map(Release::attempts).collect();
    let uncertain: Vec<_> = released.iter().map(Release::is_uncertain).collect();
    let yields: Vec<_> = released.iter().map(Release::yields).collect();
    let tried: Vec<_> = released.iter().map(Release::is_tried).collect();
    let found: Vec<_> = released.iter().map(Release::found_by_id).collect();
    let unanswered: Vec<_> = released.iter().map(Release::unanswered_since).collect();
    let written = sqlx::query_scalar!(
        r#"-- release_requests
        with released as (
            update reconciler.members m
            set running_job_id = s.job, found_by_id = s.found_by_id,
                running_since = case when s.job is null then null
                                     when s.attempts > 0 or m.running_job_id is null then clock_timestamp()
                                     else m.running_since end,
                trying_since = case when s.is_tried then coalesce(m.trying_since, clock_timestamp())
                                    else m.trying_since + s.after end,
                uncertain_since = case s.is_uncertain when true then clock_timestamp() when false then null
                                                      else m.uncertain_since end,
                next_attempt_at = clock_timestamp()
                                  + case when s.yields
                                              and exists (select from reconciler.automation_tasks t
                                                          where t.id = s.id and t.workspace_id = s.workspace_id
                                                            and (t.superseded_by is not null
                                                                 or t.cancel_reason is not null))
                                         then interval '0' else s.after end,
                lease_until = null, unreleased_claims = 0
            from (select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::interval[],
                                       $7::text[], $8::text[], $9::integer[], $10::boolean[], $11::boolean[],
                                       $12::boolean[], $13::timestamptz[], $14::boolean[])
                           s (workspace_id, integration_id, member_id, id, token, after, job, error, attempts,
                              is_uncertain, yields, is_tried, unanswered_since, found_by_id)
                  order by workspace_id, integration_id, member_id) s
            where m.workspace_id = s.workspace_id and m.integration_id = s.integration_id
              and m.member_id = s.member_id and m.lease_token = s.token and m.ready_task_id = s.id
            returning s.id, m.workspace_id, m.next_attempt_at, s.job, s.error, s.attempts, s.unanswered_since
        )
        update reconciler.automation_tasks t
        set state = case when r.job is null then 'pending' else 'running' end,
            attempts = greatest(0, t.attempts + r.attempts), next_attempt_at = r.next_attempt_at,
            last_error = coalesce(r.error, t.last_error), unanswered_since = r.unanswered_since
        from released r
        where t.id = r.id and t.workspace_id = r.workspace_id
        returning t.id"#,
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &tasks,
        &tokens,
        &waits,
        &jobs as _,
        &errors as _,
        &attempts,
        &uncertain as _,
        &yields,
        &tried,
        &unanswered as _,
        &found,
    )
    .fetch_all(connection)
    .await?;
    Ok(written)
}

/// The names that people use for the app and the member of a task, and the texts for people.
#[derive(Debug)]
pub struct DisplayNames {
    pub integration_name: String,
    pub kind: IntegrationKind,
    /// The name of the app in the catalogue.
    pub application: String,
    pub member_name: Option<String>,
    pub entitlements: Vec<String>,
    /// The message of the failed job, for people.
    pub failure_message: Option<String>,
    /// The URL of the screenshot of the failure.
    pub failure_screenshot_url: Option<String>,
}

impl DisplayNames {
    /// Adds the texts for people to a failure if it is the failure that the task came with.
    pub fn in_words(&self, failure: Failure, task: &ClaimedTask) -> Failure {
        if failure != task.first_failure {
            return failure;
        }
        let (message, screenshot_url) =
            (self.failure_message.clone(), self.failure_screenshot_url.clone());
        Failure { message, screenshot_url, ..failure }
    }
}

/// Reads the names and texts of a task. A claim does not read them, because few tasks need them.
pub async fn display_names(
    connection: &mut PgConnection,
    workspace: &str,
    task: i64,
) -> Result<DisplayNames, StoreError> {
    let row = sqlx::query!(
        "-- display_names
         select integration_name, integration_kind, application, member_name, entitlements, failure_message, failure_screenshot_url
         from reconciler.automation_tasks where id = $1 and workspace_id = $2",
        task,
        workspace,
    )
    .fetch_one(connection)
    .await?;
    let bad = |source| StoreError::BadRow { table: "automation_tasks", id: task, source };
    Ok(DisplayNames {
        integration_name: row.integration_name,
        kind: row.integration_kind.parse().map_err(bad)?,
        application: row.application,
        member_name: row.member_name,
        entitlements: row.entitlements,
        failure_message: row.failure_message,
        failure_screenshot_url: row.failure_screenshot_url,
    })
}

/// The `closed_reason` of an escalated task.
pub fn closed_reason(reason: &EscalationReason, failure: &Failure) -> String {
    match &failure.code {
        Some(code) => format!("{}: {code}", reason.sentence()),
        None => reason.sentence().to_owned(),
    }
}
