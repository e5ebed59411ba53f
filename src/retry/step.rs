//! One claimed task, one step: look, run or watch, and say what to record. At most four requests an
//! attempt, and one more before the first.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::decide::{self, AfterLook, JOB_UNKNOWN};
use super::{ClaimedTask, Lost, Next, Policy};
use crate::backend::{BackendError, Client, Failure, Progress};
use crate::membership::{Observation, Operation};
use crate::store::elapsed;

/// What works on a task for one step. Benchmarks measure the queue with steps of their own.
pub trait Steps: Send + Sync + 'static {
    /// Works on a task for one step. Changes nothing in the database.
    fn step(&self, task: &ClaimedTask) -> impl Future<Output = Next> + Send;

    /// Workspaces for which no step is worth beginning now.
    fn silent_workspaces(&self) -> Vec<String>;
}

/// Steps by the backend's automation.
#[derive(Debug)]
pub struct ByBackend {
    /// The backend.
    pub backend: Client,
    /// Delays and limits.
    pub policy: Policy,
}

impl Steps for ByBackend {
    async fn step(&self, task: &ClaimedTask) -> Next {
        let (backend, policy) = (&self.backend, &self.policy);
        if let Some(next) = decide::before_look(policy, task) {
            return next;
        }
        match &task.running {
            Some((job, since)) => watch(backend, policy, task, job, *since).await,
            None => look_and_run(backend, policy, task).await,
        }
    }

    fn silent_workspaces(&self) -> Vec<String> {
        self.backend.silent_workspaces()
    }
}

async fn look_and_run(backend: &Client, policy: &Policy, task: &ClaimedTask) -> Next {
    let seen = match look(backend, task).await {
        Ok(seen) => seen,
        Err(error) => return decide::after_unanswered_look(policy, task, &error),
    };
    match decide::after_look(policy, task, &seen, task.claimed_at) {
        AfterLook::Record(next) => return next,
        AfterLook::Run => {}
    }
    match restarted(backend, policy, task).await {
        Some(next) => next,
        None => run(backend, policy, task).await,
    }
}

/// Before the first attempt: the failed job itself may run again, by the backend's own retry or by hand. Then it is
/// watched instead of starting another beside it, and is no attempt of ours.
async fn restarted(backend: &Client, policy: &Policy, task: &ClaimedTask) -> Option<Next> {
    let job = task.job.as_ref().filter(|_| task.attempts == 0)?;
    match backend.job(&task.key.workspace, job).await {
        Ok(answer) if answer.progress == Progress::Running => Some(Next::Watch {
            job: job.clone(),
            after: policy.job.next_look(Duration::ZERO).unwrap_or_default(),
            started: false,
        }),
        Ok(_) | Err(BackendError::NotFound { .. } | BackendError::Refused { .. }) => None,
        // An answer that is none, for as long as a job may take: waiting brings no other.
        Err(BackendError::Nonsense(_))
            if policy.job.next_look(elapsed(task.requested_at, task.claimed_at)).is_none() =>
        {
            None
        }
        Err(error) => Some(decide::after_unanswered_look(policy, task, &error)),
    }
}

async fn run(backend: &Client, policy: &Policy, task: &ClaimedTask) -> Next {
    if task.lease.left() <= backend.request_timeout() {
        // An answer could come after the lease: hand the task back instead.
        return Next::Wait {
            after: Duration::ZERO,
            why: "too little of the lease was left".to_owned(),
            lost: Lost::Nothing,
            limits_rate: false,
        };
    }
    let (key, wanted) = (&task.key, &task.wanted);
    let started = match wanted.operation {
        Operation::Invite => backend.invite(key, &task.hub_role, &wanted.entitlements).await,
        Operation::ChangeRole => backend.change_role(key, &wanted.entitlements).await,
        Operation::Remove => backend.remove(key).await,
    };
    match started {
        Ok(job) => Next::Watch {
            job,
            after: policy.job.next_look(Duration::ZERO).unwrap_or_default(),
            started: true,
        },
        Err(error) => decide::after_unanswered_run(policy, task, &error, task.claimed_at),
    }
}

async fn watch(
    backend: &Client,
    policy: &Policy,
    task: &ClaimedTask,
    job: &str,
    since: DateTime<Utc>,
) -> Next {
    let age = elapsed(since, task.claimed_at);
    let still = |after| Next::Watch { job: job.to_owned(), after, started: false };
    let ended = match backend.job(&task.key.workspace, job).await {
        Ok(answer) => answer.progress,
        Err(BackendError::NotFound { .. }) => Progress::Failed(Failure::ours(JOB_UNKNOWN)),
        // An answer that is none, for as long as a job may take: waiting brings no other.
        Err(BackendError::Nonsense(_) | BackendError::Refused { .. })
            if policy.job.next_look(age).is_none() =>
        {
            Progress::Running
        }
        Err(error) => return still(decide::next_look_after(policy, &error)),
    };
    let (failure, lost) = match &ended {
        Progress::Running => match policy.job.next_look(age) {
            Some(after) => return still(after),
            None => (Failure::ours("JobNeverEnded"), true),
        },
        Progress::Finished => (Failure::ours("FinishedWithoutEffect"), false),
        Progress::Failed(failure) => {
            (failure.clone(), failure.code.as_deref() == Some(JOB_UNKNOWN))
        }
    };
    match look(backend, task).await {
        Ok(Observation::AsWanted) if !task.is_called_off() && decide::is_believed(task, &ended) => {
            Next::Succeed { reason: "Confirmed in the app after an attempt" }
        }
        Ok(_) | Err(BackendError::NotFound { .. }) if lost => {
            decide::after_lost_job(policy, task, failure, task.claimed_at)
        }
        Ok(_) | Err(BackendError::NotFound { .. }) => {
            decide::after_failure(policy, task, failure, task.claimed_at)
        }
        Err(error) => still(decide::next_look_after(policy, &error)),
    }
}

async fn look(backend: &Client, task: &ClaimedTask) -> Result<Observation, BackendError> {
    let seen = backend.member(&task.key).await?;
    Ok(task.wanted.compare(seen.as_ref()))
}
