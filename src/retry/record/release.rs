//! When requests that go on are due again, and what became of their attempts.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::database::PgConnection;
use crate::lease::{LeaseLost, fenced};
use crate::membership::MemberKeys;
use crate::retry::{ClaimedTask, Uncertainty, WaitCause};
use crate::store::{StoreError, interval};

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
            GoesOn::Wait { .. } => !self.task.is_abandoned(),
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
                                              and (select t.superseded_by is not null or t.cancel_reason is not null
                                                   from reconciler.automation_tasks t
                                                   where t.id = s.id and t.workspace_id = s.workspace_id)
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
