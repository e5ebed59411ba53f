//! One claimed task, one step: look, run or watch, and say what to record. At most four requests an attempt.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::decide::{self, AfterLook, elapsed};
use super::{ClaimedTask, Lost, Next, Policy};
use crate::backend::{BackendError, Client, Failure, Progress};
use crate::membership::{Observation, Operation};

/// Works on a task for one step. Changes nothing in the database.
pub async fn step(backend: &Client, policy: &Policy, task: &ClaimedTask) -> Next {
    if let Some(next) = decide::before_look(policy, task) {
        return next;
    }
    match &task.running {
        Some((job, since)) => watch(backend, policy, task, job, *since).await,
        None => look_and_run(backend, policy, task).await,
    }
}

async fn look_and_run(backend: &Client, policy: &Policy, task: &ClaimedTask) -> Next {
    let seen = match look(backend, task).await {
        Ok(seen) => seen,
        Err(error) => return decide::after_unanswered_look(policy, task, &error),
    };
    match decide::after_look(policy, task, &seen, task.claimed_at) {
        AfterLook::Record(next) => next,
        AfterLook::Run => run(backend, policy, task).await,
    }
}

async fn run(backend: &Client, policy: &Policy, task: &ClaimedTask) -> Next {
    if task.lease.left() <= backend.request_timeout() {
        // An answer could come after the lease: hand the task back instead.
        return Next::Wait {
            after: Duration::ZERO,
            why: "too little of the lease was left".to_owned(),
            lost: Lost::Nothing,
        };
    }
    let (key, wanted) = (&task.key, &task.wanted);
    let started = match wanted.operation {
        Operation::Invite => {
            let hub_role = task.hub_role.as_deref().unwrap_or("account_collaborator");
            backend.invite(key, hub_role, &wanted.entitlements).await
        }
        Operation::ChangeRole => backend.change_role(key, &wanted.entitlements).await,
        Operation::Remove => backend.remove(key).await,
    };
    match started {
        Ok(job) => Next::Watch {
            job,
            after: decide::next_look(policy, Duration::ZERO).unwrap_or_default(),
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
        Err(BackendError::NotFound { .. }) => Progress::Failed(Failure::ours("JobUnknown")),
        // The job is what we know; it stays until the backend speaks of it.
        Err(_) => return still(policy.longest_look()),
    };
    let (failure, lost) = match &ended {
        Progress::Running => match decide::next_look(policy, age) {
            Some(after) => return still(after),
            None => (Failure::ours("JobNeverEnded"), true),
        },
        Progress::Finished => (Failure::ours("FinishedWithoutEffect"), false),
        Progress::Failed(failure) => {
            (failure.clone(), failure.code.as_deref() == Some("JobUnknown"))
        }
    };
    match look(backend, task).await {
        Ok(Observation::AsWanted)
            if task.superseded_by.is_none() && decide::is_believed(task, &ended) =>
        {
            Next::Succeed { reason: "seen as wanted after an attempt" }
        }
        Ok(_) | Err(BackendError::NotFound { .. }) if lost => {
            decide::after_lost_job(policy, task, failure, task.claimed_at)
        }
        Ok(_) | Err(BackendError::NotFound { .. }) => {
            decide::after_failure(policy, task, failure, task.claimed_at)
        }
        Err(_) => still(policy.longest_look()),
    }
}

async fn look(backend: &Client, task: &ClaimedTask) -> Result<Observation, BackendError> {
    let seen = backend.member(&task.key).await?;
    Ok(task.wanted.compare(seen.as_ref()))
}
