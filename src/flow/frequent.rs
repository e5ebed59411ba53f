//! Writes the frequent outcomes, one or many in a transaction: successes, and jobs that are polled.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::outcome::Recorder;
use crate::database::PgConnection;
use crate::emit;
use crate::history::{self, Happened};
use crate::member::store::give_turn;
use crate::membership::Operation;
use crate::retry::record::{Breakers, EndState, GoesOn, Release, end, release};
use crate::retry::{ClaimedTask, TaskOutcome};
use crate::store::{StoreError, elapsed};
use crate::telemetry::metrics::{self, TaskEnd};

pub(super) fn is_frequent(next: &TaskOutcome) -> bool {
    matches!(next, TaskOutcome::Succeed { .. } | TaskOutcome::Watch { .. })
}

/// Writes frequent outcomes, and gives the turn to the next requests of the members. Returns the ids of the tasks that
/// were written. It leaves out tasks whose lease was lost, and tasks that this caller may not close ([`Breakers`]).
pub(super) async fn write(
    connection: &mut PgConnection,
    recorder: &Recorder,
    outcomes: &[(&ClaimedTask, &TaskOutcome)],
    breakers: Breakers,
) -> Result<HashSet<i64>, StoreError> {
    let mut written = succeed(connection, recorder, outcomes, breakers).await?;
    written.extend(watch(connection, outcomes).await?);
    Ok(written)
}

async fn succeed(
    connection: &mut PgConnection,
    recorder: &Recorder,
    outcomes: &[(&ClaimedTask, &TaskOutcome)],
    breakers: Breakers,
) -> Result<HashSet<i64>, StoreError> {
    let ends: Vec<_> = outcomes
        .iter()
        .filter_map(|(task, next)| match next {
            TaskOutcome::Succeed { reason } => {
                Some(recorder.ends(task, EndState::Succeeded, reason, false))
            }
            _ => None,
        })
        .collect();
    if ends.is_empty() {
        return Ok(HashSet::new());
    }
    let closed = end(connection, &ends, breakers).await?;
    give_turn(connection, &closed.blocked).await?;
    Ok(closed.tasks.into_keys().collect())
}

async fn watch(
    connection: &mut PgConnection,
    outcomes: &[(&ClaimedTask, &TaskOutcome)],
) -> Result<HashSet<i64>, StoreError> {
    let releases: Vec<_> = outcomes
        .iter()
        .filter_map(|(task, next)| match next {
            TaskOutcome::Watch { job, after, started, found_by_id } => {
                let goes_on = GoesOn::Watch { job, started: *started, found_by_id: *found_by_id };
                Some(Release { task, after: *after, goes_on })
            }
            _ => None,
        })
        .collect();
    if releases.is_empty() {
        return Ok(HashSet::new());
    }
    let held: HashSet<_> = release(connection, &releases).await?.into_iter().collect();
    let trail: Vec<_> = outcomes
        .iter()
        .filter(|(task, _)| held.contains(&task.id))
        .filter_map(|(task, next)| {
            let (what, detail) = trail_entry(task, next)?;
            Some(Happened { what, workspace: &task.key.workspace, task: task.id, detail })
        })
        .collect();
    history::append(connection, &trail).await?;
    Ok(held)
}

/// The trail entry of a job that is polled from now on. A success has its entry from the statement that closes it.
fn trail_entry(task: &ClaimedTask, next: &TaskOutcome) -> Option<(&'static str, Value)> {
    match next {
        TaskOutcome::Watch { job, started: true, .. } => {
            let detail = json!({"attempt": task.attempts + 1, "job_id": job});
            Some(("task.attempt_started", detail))
        }
        TaskOutcome::Watch { job, .. } if task.running.is_none() => {
            Some(("task.job_restarted", json!({"job_id": job})))
        }
        _ => None,
    }
}

/// Counts a success, and how long it took if it is a removal.
pub(super) fn count(task: &ClaimedTask, next: &TaskOutcome) {
    if !matches!(next, TaskOutcome::Succeed { .. }) {
        return;
    }
    metrics::task_ended(TaskEnd::Succeeded);
    if task.desired.operation == Operation::Remove {
        let took = elapsed(task.requested_at, task.claimed_at);
        metrics::removal_handled_after(took);
        metrics::removal_proven_after(took);
    }
}

pub(super) fn log(task: &ClaimedTask, next: &TaskOutcome) {
    match next {
        TaskOutcome::Succeed { reason } => emit!(
            TASK_SUCCEEDED,
            task.id = task.id,
            integration.id = task.key.integration,
            operation = task.desired.operation.as_str(),
            attempts = task.attempts,
            reason,
            "The task succeeded"
        ),
        TaskOutcome::Watch { job, started: true, .. } => emit!(
            TASK_ATTEMPT_STARTED,
            task.id = task.id,
            integration.id = task.key.integration,
            operation = task.desired.operation.as_str(),
            attempt = task.attempts + 1,
            job.id = job,
            "The backend runs a job"
        ),
        TaskOutcome::Watch { job, .. } if task.running.is_none() => emit!(
            TASK_JOB_RESTARTED,
            task.id = task.id,
            integration.id = task.key.integration,
            job.id = job,
            "The failed job runs again"
        ),
        _ => {}
    }
}
