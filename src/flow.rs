//! The arrows between the stages, each one transaction, and the two [`Stage`]s that bind them to the loop.
//!
//! ```text
//! retry ── escalate ──▶ manual action ── done (by trigger) ──▶ sync ── settle ──▶ manual action
//!   └───── succeed, supersede ──▶ the member's next task gets its turn
//! ```

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::backend::{Client, Failure, Reading};
use crate::config::{self, Config};
use crate::emit;
use crate::history;
use crate::lease::LeaseLost;
use crate::manual_action::{self, AppName, Opening, Person};
use crate::retry::{self, ClaimedTask, EscalationReason};
use crate::store::{DAEMON, StoreError, begin_as};
use crate::sync::verdict::{Verdict, judge};
use crate::sync::{self, ClaimedSync};
use crate::telemetry::chain;
use crate::worker::{Stage, within};

type Recorded = Result<Result<(), LeaseLost>, StoreError>;

/// The part of a lease that is left for recording.
const RECORDING: Duration = Duration::from_secs(2);

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
        retry::store::claim(
            &self.pool,
            i64::try_from(limit).unwrap_or(i64::MAX),
            self.lease,
        )
        .await
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
            Ok(Err(LeaseLost)) => emit!(
                LEASE_LOST,
                task.id = task.id,
                "the task was claimed again meanwhile"
            ),
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

/// An outcome that could not be written: the lease ends by itself and the next claim looks again.
fn not_recorded(what: &str, id: impl std::fmt::Display, error: &StoreError) {
    tracing::info!(error = %chain(error), "the outcome of {what} {id} was not recorded; its lease will end");
}

async fn record_task(stage: &RetryStage, task: &ClaimedTask, next: retry::Next) -> Recorded {
    match next {
        retry::Next::Succeed { reason } => succeed(stage, task, reason).await,
        retry::Next::Supersede => supersede(stage, task).await,
        retry::Next::Watch {
            job,
            after,
            started,
        } => watch_task(stage, task, &job, after, started).await,
        retry::Next::Retry {
            after,
            failure,
            lost,
        } => retry_task(stage, task, after, &failure, lost).await,
        retry::Next::Wait { after, why, lost } => {
            let mut tx = begin_as(&stage.pool, DAEMON).await?;
            let recorded = retry::store::wait(&mut tx, task, after, &why, lost).await?;
            if recorded.is_ok() {
                tx.commit().await?;
                emit!(
                    BACKEND_NO_ANSWER,
                    task.id = task.id,
                    integration.id = task.key.integration,
                    wait_s = after.as_secs_f64(),
                    error = why,
                    "waiting, which is not trying"
                );
            }
            Ok(recorded)
        }
        retry::Next::Escalate {
            reason,
            failure,
            after_attempt,
        } => escalate(stage, task, &reason, failure, after_attempt).await,
    }
}

async fn succeed(stage: &RetryStage, task: &ClaimedTask, reason: &'static str) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let recorded = retry::store::close(&mut tx, task, "succeeded", reason, false).await?;
    if recorded.is_ok() {
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
    }
    Ok(recorded)
}

async fn supersede(stage: &RetryStage, task: &ClaimedTask) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let reason = "a later intent won while this one was in flight";
    let recorded = retry::store::close(&mut tx, task, "superseded", reason, false).await?;
    if recorded.is_ok() {
        append(
            &mut tx,
            task,
            "task.superseded",
            json!({"superseded_by": task.superseded_by}),
        )
        .await?;
        retry::store::promote(&mut tx, &task.key).await?;
        tx.commit().await?;
        emit!(
            TASK_SUPERSEDED,
            task.id = task.id,
            superseded_by = task.superseded_by,
            "a later intent won"
        );
    }
    Ok(recorded)
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

/// Ends the automatic path: the task closes and its manual action opens, or neither does.
async fn escalate(
    stage: &RetryStage,
    task: &ClaimedTask,
    reason: &EscalationReason,
    failure: Failure,
    after_attempt: bool,
) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    if retry::store::is_overtaken(&mut tx, task).await? {
        let recorded = look_again(&mut tx, task).await?;
        tx.commit().await?;
        return Ok(recorded);
    }
    let closed_reason = retry::store::closed_reason(reason, &failure);
    let recorded =
        retry::store::close(&mut tx, task, "escalated", &closed_reason, after_attempt).await?;
    if recorded.is_err() {
        return Ok(recorded);
    }
    let opening = opening(&mut tx, task, reason, failure).await?;
    let due_in = manual_action::due_in(&stage.deadlines, task.wanted.operation);
    let Some(action) = manual_action::store::open(&mut tx, &opening, task.attempts, due_in).await?
    else {
        // An unfinished action of this member is in the way: the task keeps its turn and asks again.
        tx.rollback().await?;
        let mut tx = begin_as(&stage.pool, DAEMON).await?;
        let why = "another manual action of this member is unfinished";
        let recorded = retry::store::wait(
            &mut tx,
            task,
            Duration::from_secs(60),
            why,
            retry::Lost::Nothing,
        )
        .await?;
        tx.commit().await?;
        return Ok(recorded);
    };
    append(
        &mut tx,
        task,
        "task.escalated",
        json!({"action_id": action, "reason": closed_reason}),
    )
    .await?;
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
        attempts = task.attempts,
        "a manual action is open"
    );
    Ok(Ok(()))
}

/// A later intent arrived while this task was worked on: nobody is to be asked for it any more. The next
/// claim sees the mark, and ends the task once nothing of it is on its way.
async fn look_again(connection: &mut sqlx::PgConnection, task: &ClaimedTask) -> Recorded {
    match &task.running {
        Some((job, _)) => retry::store::watch(connection, task, job, Duration::ZERO, false).await,
        None => {
            let why = "a later intent arrived meanwhile";
            let nothing = retry::Lost::Nothing;
            retry::store::wait(connection, task, Duration::ZERO, why, nothing).await
        }
    }
}

async fn opening(
    connection: &mut sqlx::PgConnection,
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
        app: AppName {
            name: face.integration_name,
            kind: face.kind,
        },
        person: Person {
            email: task.wanted.email.clone(),
            username: task.wanted.username.clone(),
            name: face.member_name,
        },
        entitlements: task.wanted.entitlements.iter().cloned().collect(),
    })
}

async fn append(
    connection: &mut sqlx::PgConnection,
    task: &ClaimedTask,
    what: &str,
    detail: Value,
) -> Result<(), StoreError> {
    Ok(history::append(connection, what, &task.key.workspace, task.id, detail).await?)
}

/// Syncs with a step due.
pub struct SyncStage {
    /// The queue.
    pub pool: PgPool,
    /// The backend.
    pub backend: Client,
    /// Readings, jobs and the guard.
    pub policy: sync::Policy,
    /// How long a claim is ours.
    pub lease: Duration,
}

impl SyncStage {
    /// The stage as configured.
    pub fn new(config: &Config, pool: PgPool, backend: Client) -> Arc<Self> {
        Arc::new(Self {
            pool,
            backend,
            policy: sync::Policy::new(config),
            lease: Duration::from_secs(config.worker.sync_lease_s),
        })
    }

    async fn step_and_record(&self, sync: &ClaimedSync) -> Recorded {
        if sync.state == sync::SyncState::Requested && start_sync(self, sync).await?.is_err() {
            return Ok(Err(LeaseLost));
        }
        let step = sync::step::Step {
            backend: &self.backend,
            policy: &self.policy,
            pool: &self.pool,
            sync,
        };
        let left = sync.lease.left().saturating_sub(RECORDING);
        let next = match within(left, step.run()).await {
            Some(next) => next?,
            None => sync::Next::Again {
                why: "the reading took longer than worker.sync_lease_s".to_owned(),
                waits: false,
            },
        };
        record_sync(self, sync, next).await
    }
}

impl Stage for SyncStage {
    type Claim = ClaimedSync;

    async fn claim(&self, limit: usize) -> Result<Vec<ClaimedSync>, StoreError> {
        sync::store::claim(
            &self.pool,
            i64::try_from(limit).unwrap_or(i64::MAX),
            self.lease,
        )
        .await
    }

    async fn work(&self, sync: ClaimedSync) {
        match self.step_and_record(&sync).await {
            Ok(Ok(())) => {}
            Ok(Err(LeaseLost)) => emit!(
                LEASE_LOST,
                sync.id = sync.id,
                "the sync was claimed again meanwhile"
            ),
            Err(error) => not_recorded("sync", sync.id, &error),
        }
    }

    async fn hand_back(&self, syncs: Vec<ClaimedSync>) {
        if let Err(error) = sync::store::hand_back(&self.pool, &syncs).await {
            not_recorded("syncs", syncs.len(), &error);
        }
    }

    fn span(&self, sync: &ClaimedSync) -> tracing::Span {
        tracing::info_span!(
            "sync.step",
            sync.id = sync.id,
            integration.id = sync.integration
        )
    }
}

/// The reading must be younger than every deed it judges, so its start is written before it is asked for.
async fn start_sync(stage: &SyncStage, sync: &ClaimedSync) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let started = sync::store::start(&mut tx, sync).await?;
    if started.is_ok() {
        tx.commit().await?;
        emit!(SYNC_STARTED, sync.id = sync.id, integration.id = sync.integration,
              procedure = ?sync.procedure, "reading the app");
    }
    Ok(started)
}

async fn record_sync(stage: &SyncStage, sync: &ClaimedSync, next: sync::Next) -> Recorded {
    match next {
        sync::Next::Watch {
            job,
            after,
            started,
            applies,
        } => {
            let mut tx = begin_as(&stage.pool, DAEMON).await?;
            let recorded =
                sync::store::watch(&mut tx, sync, &job, after, started, applies.as_ref()).await?;
            tx.commit().await?;
            Ok(recorded)
        }
        sync::Next::Again { why, waits } => again(stage, sync, why, waits).await,
        sync::Next::Hold { report, reason } => {
            let mut tx = begin_as(&stage.pool, DAEMON).await?;
            let recorded = sync::store::hold(&mut tx, sync, &report, &reason).await?;
            tx.commit().await?;
            if recorded.is_ok() {
                emit!(
                    SYNC_HELD,
                    sync.id = sync.id,
                    integration.id = sync.integration,
                    reason,
                    "a person decides"
                );
            }
            Ok(recorded)
        }
        sync::Next::Fail { reason } => fail(stage, sync, &reason).await,
        sync::Next::Judge { reading } => settle(stage, sync, &reading).await,
        sync::Next::Attest => attest(stage, sync).await,
    }
}

async fn again(stage: &SyncStage, sync: &ClaimedSync, why: String, waits: bool) -> Recorded {
    let failures = sync.failures + 1;
    if !waits && failures >= stage.policy.sync.max_failures {
        return fail(stage, sync, &why).await;
    }
    let after = stage.policy.retry_after(sync.failures);
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let recorded = sync::store::again(&mut tx, sync, after, &why, !waits).await?;
    tx.commit().await?;
    if recorded.is_ok() {
        emit!(
            SYNC_STEP_FAILED,
            sync.id = sync.id,
            integration.id = sync.integration,
            failures,
            wait_s = after.as_secs_f64(),
            error = why,
            "reading again later"
        );
    }
    Ok(recorded)
}

/// A sync without a reading proves nothing: its done actions stay done and are read again later.
async fn fail(stage: &SyncStage, sync: &ClaimedSync, reason: &str) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let started_at = match sync::store::finish(&mut tx, sync, "failed", reason, None).await? {
        Ok(started_at) => started_at,
        Err(lost) => return Ok(Err(lost)),
    };
    let seen = format!("the app could not be read: {reason}");
    let mut readings = None;
    for action in sync::store::lock_actions(&mut tx, sync, started_at).await? {
        if action.status == "done" {
            let verdict = Verdict::Unverifiable.as_str();
            sync::store::write_verdict(&mut tx, action.id, "done", verdict, &seen).await?;
            readings = Some(readings.unwrap_or(i32::MAX).min(action.readings));
        }
    }
    if let Some(readings) = readings {
        sync::store::request(&mut tx, sync, stage.policy.reread_after(readings)).await?;
    }
    tx.commit().await?;
    emit!(
        SYNC_FAILED,
        sync.id = sync.id,
        integration.id = sync.integration,
        reason,
        "the app could not be read"
    );
    Ok(Ok(()))
}

/// Closes done actions of an app that cannot be read by the person's word.
async fn attest(stage: &SyncStage, sync: &ClaimedSync) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let reason = "the catalogue says that this app cannot be read";
    let started_at = match sync::store::finish(&mut tx, sync, "finished", reason, None).await? {
        Ok(started_at) => started_at,
        Err(lost) => return Ok(Err(lost)),
    };
    let mut attested = Vec::new();
    for action in sync::store::lock_actions(&mut tx, sync, started_at).await? {
        if action.status == "done" {
            let verdict = Verdict::Unverifiable.as_str();
            sync::store::write_verdict(&mut tx, action.id, "attested", verdict, reason).await?;
            attested.push(action.id);
        }
    }
    tx.commit().await?;
    for action in attested {
        emit!(
            ACTION_ATTESTED,
            action.id = action,
            sync.id = sync.id,
            "the person's word must do"
        );
    }
    Ok(Ok(()))
}

/// A line to log once the transaction that it speaks of is committed.
enum Said {
    Verified(i64),
    NotNeeded(i64),
    Contradicted {
        action: i64,
        seen: String,
        reopened: i32,
    },
    NotYet {
        action: i64,
        verdict: Verdict,
        seen: String,
        wait: Duration,
    },
}

/// Judges every action that the reading may speak of, ends the sync, and asks for the next reading if one is due.
async fn settle(stage: &SyncStage, sync: &ClaimedSync, reading: &Reading) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let proof = json!({
        "members": reading.members.len(), "pages": reading.pages, "total": reading.total, "gaps": reading.gaps,
    });
    let finished =
        sync::store::finish(&mut tx, sync, "finished", "the app was read", Some(proof)).await?;
    let started_at = match finished {
        Ok(started_at) => started_at,
        Err(lost) => return Ok(Err(lost)),
    };
    let last = i32::try_from(stage.policy.sync.rereads_s.len()).unwrap_or(i32::MAX);
    let mut said = Vec::new();
    let mut reread: Option<Duration> = None;
    for action in sync::store::lock_actions(&mut tx, sync, started_at).await? {
        let judgement = judge(&action.wanted, reading, action.readings >= last);
        let done = action.status == "done";
        let status = match (done, judgement.verdict) {
            (true, Verdict::Confirmed) => "verified",
            (true, Verdict::Contradicted) => "open",
            (true, Verdict::NotYet | Verdict::Unverifiable) => "done",
            (false, Verdict::Confirmed) => "not_needed",
            (false, _) => continue,
        };
        let verdict = judgement.verdict.as_str();
        sync::store::write_verdict(&mut tx, action.id, status, verdict, &judgement.seen).await?;
        said.push(match status {
            "verified" => Said::Verified(action.id),
            "not_needed" => Said::NotNeeded(action.id),
            "open" => Said::Contradicted {
                action: action.id,
                seen: judgement.seen,
                reopened: action.reopened + 1,
            },
            _ => {
                let wait = stage.policy.reread_after(action.readings);
                reread = Some(reread.map_or(wait, |earlier| earlier.min(wait)));
                Said::NotYet {
                    action: action.id,
                    verdict: judgement.verdict,
                    seen: judgement.seen,
                    wait,
                }
            }
        });
    }
    if let Some(after) = reread {
        sync::store::request(&mut tx, sync, after).await?;
    }
    tx.commit().await?;
    emit!(
        SYNC_FINISHED,
        sync.id = sync.id,
        integration.id = sync.integration,
        members = reading.members.len(),
        complete = reading.is_complete(),
        "the app was read"
    );
    say(sync.id, said);
    Ok(Ok(()))
}

fn say(sync: i64, said: Vec<Said>) {
    for line in said {
        match line {
            Said::Verified(action) => emit!(
                ACTION_VERIFIED,
                action.id = action,
                sync.id = sync,
                "proven"
            ),
            Said::NotNeeded(action) => {
                emit!(
                    ACTION_NOT_NEEDED,
                    action.id = action,
                    sync.id = sync,
                    "found as wanted already"
                );
            }
            Said::Contradicted {
                action,
                seen,
                reopened,
            } => emit!(
                ACTION_CONTRADICTED,
                action.id = action,
                sync.id = sync,
                seen,
                reopened_count = reopened,
                "called done, but the app shows otherwise"
            ),
            Said::NotYet {
                action,
                verdict,
                seen,
                wait,
            } => emit!(
                ACTION_NOT_YET,
                action.id = action,
                sync.id = sync,
                verdict = verdict.as_str(),
                seen,
                wait_s = wait.as_secs_f64(),
                "not proven yet"
            ),
        }
    }
}
