//! One claimed task, one step: read the member, start the operation or poll its job, and return what to record.
//!
//! An attempt costs four requests: read, start, poll, read. Before the first attempt there is one more, which polls the
//! failed job. A job that runs longer adds polls, and a removal may add pages of the member list.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::decide::{self, AfterRead, JOB_NEVER_ENDED, JOB_UNKNOWN};
use super::{ClaimedTask, RetryPolicy, TaskOutcome, Uncertainty, WaitCause};
use crate::backend::{BackendError, Client, Failure, Progress};
use crate::membership::{Observation, Operation};
use crate::store::elapsed;
use crate::worker::within;

/// Pages of an app's list that are read for one member at most. A longer list cannot prove that the member is gone.
const LIST_PAGES: u32 = 50;

/// Executes the steps of tasks.
#[derive(Debug)]
pub struct Steps {
    pub backend: Client,
    pub policy: RetryPolicy,
}

impl Steps {
    /// Executes one step of a task. Changes nothing in the database.
    pub async fn step(&self, task: &ClaimedTask) -> TaskOutcome {
        let (backend, policy) = (&self.backend, &self.policy);
        if let Some(next) = decide::before_read(policy, task) {
            return next;
        }
        match &task.running {
            Some((job, since)) => watch(backend, policy, task, job, *since).await,
            None => read_and_run(backend, policy, task).await,
        }
    }
}

async fn read_and_run(backend: &Client, policy: &RetryPolicy, task: &ClaimedTask) -> TaskOutcome {
    let seen = match read(backend, task).await {
        Ok(seen) => seen,
        Err(error) => {
            // The first failure may have any cause. A second request for each would double the cost of an outage.
            let otherwise =
                task.unanswered_since.is_some() && answers_otherwise(backend, task, &error).await;
            return decide::after_unanswered_read(policy, task, &error, otherwise, task.claimed_at);
        }
    };
    match decide::after_read(policy, task, &seen, task.claimed_at) {
        AfterRead::Record(next) => return next,
        AfterRead::Run => {}
    }
    let found_by_id = matches!(seen, Observation::StillThere(_));
    match restarted(backend, policy, task, found_by_id).await {
        Some(next) => next,
        None => run(backend, policy, task, found_by_id).await,
    }
}

/// Before the first attempt, the failed job itself may run again, by the backend's own retry or by hand. Then it is
/// polled, instead of starting another job beside it, and it does not count as an attempt.
async fn restarted(
    backend: &Client,
    policy: &RetryPolicy,
    task: &ClaimedTask,
    found_by_id: bool,
) -> Option<TaskOutcome> {
    let job = task.job.as_ref().filter(|_| task.attempts == 0)?;
    let now = task.claimed_at;
    match backend.job(&task.key.workspace, job).await {
        Ok(answer) if answer.progress == Progress::Running => Some(TaskOutcome::Watch {
            job: job.clone(),
            after: policy.job.next_poll(Duration::ZERO).unwrap_or_default(),
            started: false,
            found_by_id,
        }),
        Ok(_) | Err(BackendError::NotFound { .. } | BackendError::Refused { .. }) => None,
        // The answer is not a job, for as long as a job may take. Waiting longer brings no other answer.
        Err(BackendError::UnexpectedResponse(_))
            if policy.job.next_poll(elapsed(task.requested_at, now)).is_none() =>
        {
            None
        }
        Err(error) if !error.is_usable() && decide::is_job_unanswered(policy, task, now) => None,
        // The read was answered a moment ago.
        Err(error) => Some(decide::after_unanswered_read(policy, task, &error, true, now)),
    }
}

/// Whether the backend gives a usable answer about the app of a member about whom it gives none.
async fn answers_otherwise(backend: &Client, task: &ClaimedTask, error: &BackendError) -> bool {
    let (workspace, integration) = (&task.key.workspace, &task.key.integration);
    !error.is_connection_or_key()
        && !backend.is_down(workspace, integration)
        && backend.integration(workspace, integration).await.is_ok()
}

async fn run(
    backend: &Client,
    policy: &RetryPolicy,
    task: &ClaimedTask,
    found_by_id: bool,
) -> TaskOutcome {
    if task.lease.left() <= backend.request_timeout() {
        // An answer could come after the lease has ended. Hand the task back instead.
        return TaskOutcome::Wait {
            after: Duration::ZERO,
            why: "too little of the lease was left".to_owned(),
            lost: Uncertainty::Nothing,
            cause: WaitCause::Ourselves,
        };
    }
    let (key, desired) = (&task.key, &task.desired);
    let started = match desired.operation {
        Operation::Invite => backend.invite(key, &task.hub_role, &desired.entitlements).await,
        Operation::ChangeRole => backend.change_role(key, &desired.entitlements).await,
        Operation::Remove => backend.remove(key).await,
    };
    match started {
        Ok(job) => TaskOutcome::Watch {
            job,
            after: policy.job.next_poll(Duration::ZERO).unwrap_or_default(),
            started: true,
            found_by_id,
        },
        Err(error) => {
            // The read was answered a moment ago.
            let otherwise = !backend.is_down(&key.workspace, &key.integration);
            decide::after_unanswered_run(policy, task, &error, otherwise, task.claimed_at)
        }
    }
}

async fn watch(
    backend: &Client,
    policy: &RetryPolicy,
    task: &ClaimedTask,
    job: &str,
    since: DateTime<Utc>,
) -> TaskOutcome {
    let age = elapsed(since, task.claimed_at);
    let found_by_id = task.found_by_id;
    let still =
        |after| TaskOutcome::Watch { job: job.to_owned(), after, started: false, found_by_id };
    let ended = match backend.job(&task.key.workspace, job).await {
        Ok(answer) => answer.progress,
        Err(BackendError::NotFound { .. }) => Progress::Failed(Failure::ours(JOB_UNKNOWN)),
        // There was no usable answer for as long as a job may take. The outcome of the job is lost, and nothing says
        // that it still runs. The following read shows whether the backend answers about others.
        Err(error) if is_about_it(&error) && policy.job.next_poll(age).is_none() => {
            Progress::Failed(Failure::ours(JOB_UNKNOWN))
        }
        Err(error) => return still(decide::next_poll_after(policy, &error)),
    };
    let (failure, lost) = match &ended {
        Progress::Running => match policy.job.next_poll(age) {
            Some(after) => return still(after),
            None => (Failure::ours(JOB_NEVER_ENDED), true),
        },
        Progress::Finished => (Failure::ours("FinishedWithoutEffect"), false),
        Progress::Failed(failure) => {
            (failure.clone(), failure.code.as_deref() == Some(JOB_UNKNOWN))
        }
    };
    // Who was found by id and is not any more is gone, if the job says so. In doubt the list is searched, too: a person
    // may have invited the member again by hand, whom Cerby then knows without an id.
    let is_enough =
        found_by_id && decide::reports_desired_state(task, &ended) && !decide::is_doubtful(task);
    let seen = match is_enough {
        true => read_by_id(backend, task).await,
        false => read(backend, task).await,
    };
    match seen {
        Ok(seen) if !task.is_abandoned() && decide::is_believed(task, &ended, &seen) => {
            TaskOutcome::Succeed { reason: "Confirmed in the app after an attempt" }
        }
        Ok(_) | Err(BackendError::NotFound { .. }) if lost => {
            decide::after_lost_job(policy, task, failure, task.claimed_at)
        }
        Ok(_) | Err(BackendError::NotFound { .. }) => {
            decide::after_failure(policy, task, failure, task.claimed_at)
        }
        // The job was polled for as long as it may take. The task goes on without it, so that the next read puts the
        // integration on hold for the rate limit and logs that.
        Err(BackendError::RateLimited { .. }) if policy.job.next_poll(age).is_none() => {
            decide::after_lost_job(policy, task, failure, task.claimed_at)
        }
        Err(error)
            if policy.job.next_poll(age).is_none()
                && is_about_it(&error)
                && answers_otherwise(backend, task, &error).await =>
        {
            decide::after_lost_job(policy, task, failure, task.claimed_at)
        }
        Err(error) => still(decide::next_poll_after(policy, &error)),
    }
}

/// Whether an error may be about the requested object itself, and so may last for ever.
fn is_about_it(error: &BackendError) -> bool {
    !matches!(error, BackendError::Unreachable(_))
}

/// Reads a member. A member who is to be removed and is not found by id is searched in the list as well.
async fn read(backend: &Client, task: &ClaimedTask) -> Result<Observation, BackendError> {
    let seen = backend.member(&task.key).await?;
    if seen.is_some() || task.desired.operation != Operation::Remove {
        return Ok(task.desired.compare(seen.as_ref()));
    }
    let (workspace, integration) = (&task.key.workspace, &task.key.integration);
    // The budget leaves enough of the lease for the answer to one more request.
    let budget =
        task.lease.left().saturating_sub(backend.request_timeout() + Duration::from_secs(1));
    let reading = backend.first_members(workspace, integration, LIST_PAGES);
    match within(budget, reading).await {
        Some(list) => Ok(decide::observe_in_list(&task.desired, &list?)),
        None => Ok(Observation::NotFoundById),
    }
}

async fn read_by_id(backend: &Client, task: &ClaimedTask) -> Result<Observation, BackendError> {
    let seen = backend.member(&task.key).await?;
    Ok(task.desired.compare(seen.as_ref()))
}
