//! One claimed task, one step: look, run or watch, and say what to record. At most four requests an
//! attempt, and one more before the first.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::decide::{self, AfterRead, JOB_NEVER_ENDED, JOB_UNKNOWN};
use super::{ClaimedTask, RetryPolicy, TaskOutcome, Uncertainty, WaitCause};
use crate::backend::{BackendError, Client, Failure, Progress};
use crate::membership::{Observation, Operation};
use crate::store::elapsed;
use crate::worker::within;

/// Pages of an app's list that are read for one member at most: a longer list cannot tell that somebody is gone.
const LIST_PAGES: u32 = 50;

/// What works on a task for one step. Benchmarks measure the queue with steps of their own.
pub trait Steps: Send + Sync + 'static {
    /// Works on a task for one step. Changes nothing in the database.
    fn step(&self, task: &ClaimedTask) -> impl Future<Output = TaskOutcome> + Send;

    /// What the backend gives no usable answer for; `None` if nothing ever is.
    fn client(&self) -> Option<&Client>;
}

/// Steps by the backend's automation.
#[derive(Debug)]
pub struct ByBackend {
    pub backend: Client,
    pub policy: RetryPolicy,
}

impl Steps for ByBackend {
    async fn step(&self, task: &ClaimedTask) -> TaskOutcome {
        let (backend, policy) = (&self.backend, &self.policy);
        if let Some(next) = decide::before_read(policy, task) {
            return next;
        }
        match &task.running {
            Some((job, since)) => watch(backend, policy, task, job, *since).await,
            None => look_and_run(backend, policy, task).await,
        }
    }

    fn client(&self) -> Option<&Client> {
        Some(&self.backend)
    }
}

async fn look_and_run(backend: &Client, policy: &RetryPolicy, task: &ClaimedTask) -> TaskOutcome {
    let seen = match read(backend, task).await {
        Ok(seen) => seen,
        Err(error) => {
            // A first time may be anything; asking more would double what an outage costs.
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

/// Before the first attempt: the failed job itself may run again, by the backend's own retry or by hand. Then it is
/// watched instead of starting another beside it, and is no attempt of ours.
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
        // An answer that is none, for as long as a job may take: waiting brings no other.
        Err(BackendError::UnexpectedResponse(_))
            if policy.job.next_poll(elapsed(task.requested_at, now)).is_none() =>
        {
            None
        }
        Err(error) if !error.is_usable() && decide::is_job_unanswered(policy, task, now) => None,
        // The look was answered a moment ago.
        Err(error) => Some(decide::after_unanswered_read(policy, task, &error, true, now)),
    }
}

/// Whether the backend gives a usable answer about the app of a member of whom it gives none.
async fn answers_otherwise(backend: &Client, task: &ClaimedTask, error: &BackendError) -> bool {
    let (workspace, integration) = (&task.key.workspace, &task.key.integration);
    !error.is_of_the_way()
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
        // An answer could come after the lease: hand the task back instead.
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
            // The look was answered a moment ago.
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
        // No usable answer for as long as a job may take: it is lost sight of, and nobody says that it runs on. Whether
        // the backend answers otherwise shows the look.
        Err(error) if is_about_it(&error) && policy.job.next_poll(age).is_none() => {
            Progress::Failed(Failure::ours(JOB_UNKNOWN))
        }
        Err(error) => return still(decide::next_look_after(policy, &error)),
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
    let seen = match decide::says_as_desired(task, &ended) && found_by_id {
        true => read_by_id(backend, task).await,
        false => read(backend, task).await,
    };
    match seen {
        Ok(seen) if !task.is_called_off() && decide::is_believed(task, &ended, &seen) => {
            TaskOutcome::Succeed { reason: "Confirmed in the app after an attempt" }
        }
        Ok(_) | Err(BackendError::NotFound { .. }) if lost => {
            decide::after_lost_job(policy, task, failure, task.claimed_at)
        }
        Ok(_) | Err(BackendError::NotFound { .. }) => {
            decide::after_failure(policy, task, failure, task.claimed_at)
        }
        // Looked at again without its job, the member's integration is on hold, and somebody is told.
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
        Err(error) => still(decide::next_look_after(policy, &error)),
    }
}

/// Whether an error may be about what was asked for, and stay for ever.
fn is_about_it(error: &BackendError) -> bool {
    !matches!(error, BackendError::Unreachable(_))
}

/// Looks at a member. Whoever is to be removed and is not found by id is looked for in the list as well.
async fn read(backend: &Client, task: &ClaimedTask) -> Result<Observation, BackendError> {
    let seen = backend.member(&task.key).await?;
    if seen.is_some() || task.desired.operation != Operation::Remove {
        return Ok(task.desired.compare(seen.as_ref()));
    }
    let (workspace, integration) = (&task.key.workspace, &task.key.integration);
    // As long as one more request can be answered within the lease.
    let budget =
        task.lease.left().saturating_sub(backend.request_timeout() + Duration::from_secs(1));
    let reading = backend.first_members(workspace, integration, LIST_PAGES);
    match within(budget, reading).await {
        Some(list) => Ok(decide::by_list(&task.desired, &list?)),
        None => Ok(Observation::NotFoundById),
    }
}

async fn read_by_id(backend: &Client, task: &ClaimedTask) -> Result<Observation, BackendError> {
    let seen = backend.member(&task.key).await?;
    Ok(task.desired.compare(seen.as_ref()))
}
