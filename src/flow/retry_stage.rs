//! What is recorded of a task after a step, and where it goes from there.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::{RECORDING, Recorded, not_recorded};
use crate::backend::{Client, Failure};
use crate::config::{self, Config};
use crate::emit;
use crate::history;
use crate::lease::LeaseLost;
use crate::manual_action::{self, AppName, Opening, Person};
use crate::retry::{self, ClaimedTask, EscalationReason};
use crate::store::{DAEMON, StoreError, begin_as};
use crate::worker::{Stage, within};

/// Tasks whose turn it is.
pub struct RetryStage {
    /// The queue.
    pub pool: PgPool,
    /// The backend.
    pub backend: Client,
    /// Delays and limits.
    pub policy: retry::Policy,
    /// When manual actions are due.
    pub deadlines: config::ManualAction,
    /// How long a claim is ours.
    pub lease: Duration,
}

impl RetryStage {
    /// The stage as configured.
    pub fn new(config: &Config, pool: PgPool, backend: Client) -> Arc<Self> {
        Arc::new(Self {
            pool,
            backend,
            policy: retry::Policy::new(config),
            deadlines: config.manual_action.clone(),
            lease: config.worker.lease(),
        })
    }
}

impl Stage for RetryStage {
    type Claim = ClaimedTask;

    async fn claim(&self, limit: usize) -> Result<Vec<ClaimedTask>, StoreError> {
        retry::store::claim(&self.pool, i64::try_from(limit).unwrap_or(i64::MAX), self.lease).await
    }

    async fn work(&self, task: ClaimedTask) {
        let left = task.lease.left().saturating_sub(RECORDING);
        let step = retry::step::step(&self.backend, &self.policy, &task);
        // Out of time, nothing is recorded: the next claim knows that the outcome is unknown.
        let Some(next) = within(left, step).await else {
            return;
        };
        match record_task(self, &task, next).await {
            Ok(Ok(())) => {}
            Ok(Err(LeaseLost)) => {
                emit!(LEASE_LOST, task.id = task.id, "the task was claimed again meanwhile")
            }
            Err(error) => not_recorded("task", task.id, &error),
        }
    }

    async fn hand_back(&self, tasks: Vec<ClaimedTask>) {
        if let Err(error) = retry::store::hand_back(&self.pool, &tasks).await {
            not_recorded("tasks", tasks.len(), &error);
        }
    }

    fn span(&self, task: &ClaimedTask) -> tracing::Span {
        tracing::info_span!(
            "retry.step",
            task.id = task.id,
            task.attempts = task.attempts,
            integration.id = task.key.integration
        )
    }
}

async fn record_task(stage: &RetryStage, task: &ClaimedTask, next: retry::Next) -> Recorded {
    match next {
        retry::Next::Succeed { reason } => succeed(stage, task, reason).await,
        retry::Next::Supersede => supersede(stage, task).await,
        retry::Next::Watch { job, after, started } => {
            watch_task(stage, task, &job, after, started).await
        }
        retry::Next::Retry { after, failure, lost } => {
            retry_task(stage, task, after, &failure, lost).await
        }
        retry::Next::Wait { after, why, lost } => wait(stage, task, after, why, lost).await,
        retry::Next::Escalate { reason, failure, after_attempt } => {
            escalate(stage, task, &reason, failure, after_attempt).await
        }
    }
}

async fn succeed(stage: &RetryStage, task: &ClaimedTask, reason: &'static str) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    if let Err(lost) = retry::store::close(&mut tx, task, "succeeded", reason, false).await? {
        return Ok(Err(lost));
    }
    append(&mut tx, task, "task.succeeded", json!({"reason": reason})).await?;
    retry::store::promote(&mut tx, &task.key).await?;
    tx.commit().await?;
    emit!(
        TASK_SUCCEEDED,
        task.id = task.id,
        integration.id = task.key.integration,
        operation = task.wanted.operation.as_str(),
        attempts = task.attempts,
        reason,
        "task succeeded"
    );
    Ok(Ok(()))
}

async fn supersede(stage: &RetryStage, task: &ClaimedTask) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let reason = "a later intent won while this one was in flight";
    let closed = match retry::store::close(&mut tx, task, "superseded", reason, false).await? {
        Ok(closed) => closed,
        Err(lost) => return Ok(Err(lost)),
    };
    append(&mut tx, task, "task.superseded", json!({"superseded_by": closed.superseded_by}))
        .await?;
    retry::store::promote(&mut tx, &task.key).await?;
    tx.commit().await?;
    emit!(
        TASK_SUPERSEDED,
        task.id = task.id,
        superseded_by = closed.superseded_by,
        "a later intent won"
    );
    Ok(Ok(()))
}

async fn watch_task(
    stage: &RetryStage,
    task: &ClaimedTask,
    job: &str,
    after: Duration,
    started: bool,
) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let recorded = retry::store::watch(&mut tx, task, job, after, started).await?;
    if recorded.is_ok() {
        if started {
            let attempt = task.attempts + 1;
            append(
                &mut tx,
                task,
                "task.attempt_started",
                json!({"attempt": attempt, "job_id": job}),
            )
            .await?;
            emit!(
                TASK_ATTEMPT_STARTED,
                task.id = task.id,
                integration.id = task.key.integration,
                operation = task.wanted.operation.as_str(),
                attempt,
                job.id = job,
                "the backend runs a job"
            );
        }
        tx.commit().await?;
    }
    Ok(recorded)
}

async fn retry_task(
    stage: &RetryStage,
    task: &ClaimedTask,
    after: Duration,
    failure: &Failure,
    lost: retry::Lost,
) -> Recorded {
    let code = failure.code.as_deref().unwrap_or("no code");
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let recorded = retry::store::retry(&mut tx, task, after, code, lost).await?;
    if recorded.is_ok() {
        let detail = json!({"failure_code": code, "retry_in_s": after.as_secs_f64()});
        append(&mut tx, task, "task.attempt_failed", detail).await?;
        tx.commit().await?;
        emit!(
            TASK_RETRY_SCHEDULED,
            task.id = task.id,
            integration.id = task.key.integration,
            attempt = task.attempts,
            failure.code = code,
            wait_s = after.as_secs_f64(),
            "attempt failed, another follows"
        );
    }
    Ok(recorded)
}

/// Ends the automatic path: the task closes and its manual action opens, or neither does. Nobody is asked for
/// what a later intent superseded while the task was worked on.
async fn escalate(
    stage: &RetryStage,
    task: &ClaimedTask,
    reason: &EscalationReason,
    failure: Failure,
    after_attempt: bool,
) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let why = retry::store::closed_reason(reason, &failure);
    let closed = match retry::store::close(&mut tx, task, "escalated", &why, after_attempt).await? {
        Ok(closed) => closed,
        Err(lost) => return Ok(Err(lost)),
    };
    if closed.superseded_by.is_some() {
        tx.rollback().await?;
        return look_again(stage, task).await;
    }
    let opening = opening(&mut tx, task, reason, failure).await?;
    let due_in = manual_action::due_in(&stage.deadlines, task.wanted.operation);
    let opened = manual_action::store::open(&mut tx, &opening, closed.attempts, due_in).await?;
    let Some(action) = opened else {
        tx.rollback().await?;
        return wait_for_the_other_action(stage, task).await;
    };
    append(&mut tx, task, "task.escalated", json!({"action_id": action, "reason": why})).await?;
    tx.commit().await?;
    emit!(
        TASK_ESCALATED,
        task.id = task.id,
        action.id = action,
        workspace.id = task.key.workspace,
        integration.id = task.key.integration,
        operation = task.wanted.operation.as_str(),
        reason = reason.sentence(),
        failure.code = opening.failure.code,
        attempts = closed.attempts,
        "a manual action is open"
    );
    Ok(Ok(()))
}

/// A later intent arrived while this task was worked on: nobody is to be asked for it any more. The next claim
/// sees the mark, and ends the task once nothing of it is on its way.
async fn look_again(stage: &RetryStage, task: &ClaimedTask) -> Recorded {
    match &task.running {
        Some((job, _)) => watch_task(stage, task, job, Duration::ZERO, false).await,
        None => {
            let why = "a later intent arrived meanwhile".to_owned();
            wait(stage, task, Duration::ZERO, why, retry::Lost::Nothing).await
        }
    }
}

/// An unfinished action of this member is in the way: the task keeps its turn and asks again.
async fn wait_for_the_other_action(stage: &RetryStage, task: &ClaimedTask) -> Recorded {
    let why = "another manual action of this member is unfinished".to_owned();
    wait(stage, task, Duration::from_secs(60), why, retry::Lost::Nothing).await
}

async fn wait(
    stage: &RetryStage,
    task: &ClaimedTask,
    after: Duration,
    why: String,
    lost: retry::Lost,
) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let recorded = retry::store::wait(&mut tx, task, after, &why, lost).await?;
    if recorded.is_ok() && lost != retry::Lost::Nothing {
        let detail = json!({"lost": format!("{lost:?}").to_lowercase(), "reason": why});
        append(&mut tx, task, "task.lost_sight_of", detail).await?;
    }
    tx.commit().await?;
    if recorded.is_ok() {
        emit!(
            TASK_WAITING,
            task.id = task.id,
            integration.id = task.key.integration,
            wait_s = after.as_secs_f64(),
            reason = why,
            "waiting, which is not trying"
        );
    }
    Ok(recorded)
}

async fn opening(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    reason: &EscalationReason,
    failure: Failure,
) -> Result<Opening, StoreError> {
    let face = retry::store::face(connection, task).await?;
    Ok(Opening {
        task: task.id,
        key: task.key.clone(),
        operation: task.wanted.operation,
        trigger: task.trigger,
        reason: reason.sentence(),
        failure,
        app: AppName { name: face.integration_name, kind: face.kind },
        person: Person {
            email: task.wanted.email.clone(),
            username: task.wanted.username.clone(),
            name: face.member_name,
        },
        entitlements: task.wanted.entitlements.iter().cloned().collect(),
    })
}

async fn append(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    what: &str,
    detail: Value,
) -> Result<(), StoreError> {
    Ok(history::append(connection, what, &task.key.workspace, task.id, detail).await?)
}
