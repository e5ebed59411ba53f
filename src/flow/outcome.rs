//! Records the outcome of one step of a task, and moves the task on. Each outcome is one transaction.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Recorded, app_name, cancellation, frequent, not_recorded, traces, watches};
use crate::backend::Failure;
use crate::backend::failure::Remedy;
use crate::breaker::{self, Attempt, Cause, HealthSignal, Move};
use crate::config::{self, Config};
use crate::database::{PgConnection, PgPool, Transaction};
use crate::emit;
use crate::history::{self, Happened};
use crate::lease::{LeaseLost, fenced};
use crate::manual_action::instructions::Library;
use crate::manual_action::{self, Opening, Person, Reconnect};
use crate::member::store::{give_turn, open_action};
use crate::membership::{MemberKey, Operation};
use crate::retry::decide::effects_for;
use crate::retry::record::{Breakers, ClosedRow, End, EndState, GoesOn, Release, end, release_one};
use crate::retry::{self, ClaimedTask, EscalationReason};
use crate::store::{StoreError, begin, elapsed};
use crate::sync;
use crate::telemetry::metrics::{self, TaskEnd};

#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) pool: PgPool,
    pub(super) breaker: breaker::BreakerPolicy,
    pub(super) retries: retry::RetryPolicy,
    pub(super) deadlines: config::ManualAction,
    pub(super) library: Arc<Library>,
    pub(super) syncs: sync::SyncPolicy,
}

impl Recorder {
    pub(super) fn new(config: &Config, library: Arc<Library>, pool: PgPool) -> Self {
        Self {
            pool,
            breaker: breaker::BreakerPolicy::new(config),
            retries: retry::RetryPolicy::new(config),
            deadlines: config.manual_action.clone(),
            library,
            syncs: sync::SyncPolicy::new(config),
        }
    }

    /// Records the outcome of a step.
    pub(super) async fn record(&self, task: &ClaimedTask, next: retry::TaskOutcome) -> Recorded {
        let outcome = Outcome { recorder: self, task, signal: retry::decide::signal(task, &next) };
        match next {
            retry::TaskOutcome::Succeed { .. } | retry::TaskOutcome::Watch { .. } => {
                outcome.write_frequent(&next).await
            }
            retry::TaskOutcome::Abandon => outcome.abandon().await,
            retry::TaskOutcome::Retry { after, failure, lost } => {
                outcome.retry(after, &failure, lost).await
            }
            retry::TaskOutcome::Wait { after, why, lost, cause } => {
                outcome.wait(after, why, lost, cause).await
            }
            retry::TaskOutcome::Park { failure, remedy } => outcome.park(failure, remedy).await,
            retry::TaskOutcome::Escalate { reason, failure, after_attempt } => {
                outcome.escalate(&reason, failure, after_attempt).await
            }
        }
    }

    /// How a task ends, and what that changes for its member.
    pub(super) fn ends<'a>(
        &self,
        task: &'a ClaimedTask,
        state: EndState,
        reason: &'a str,
        failed_attempt: bool,
    ) -> End<'a> {
        let effects_for = effects_for(&self.retries, task, task.claimed_at);
        let watch_after = match state {
            EndState::Succeeded => watches::after_success(&self.syncs, task),
            EndState::Escalated | EndState::Superseded | EndState::Cancelled => None,
        };
        End { task, state, reason, effects_for, failed_attempt, watch_after }
    }

    /// Decides returns after a task that a person returned to automation has ended: it may have been a canary.
    pub(super) async fn decide_returns(&self, task: &ClaimedTask) {
        if task.returned
            && let Err(error) = Box::pin(super::returns::decide(&self.pool)).await
        {
            not_recorded("returns", task.id, &error);
        }
    }
}

/// One step of a task to be recorded, with what it showed of the app.
struct Outcome<'a> {
    recorder: &'a Recorder,
    task: &'a ClaimedTask,
    signal: HealthSignal,
}

impl Outcome<'_> {
    async fn begin(&self) -> Result<Transaction, StoreError> {
        Ok(begin(&self.recorder.pool).await?)
    }

    /// Moves the integration's breaker by what the step showed, and commits everything together.
    async fn commit(&self, mut tx: Transaction) -> Result<(), StoreError> {
        let moved = self.move_breaker(&mut tx).await?;
        tx.commit().await?;
        if let Some(moved) = moved {
            log_moved(&self.task.key, moved);
        }
        Ok(())
    }

    async fn move_breaker(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<Move>, StoreError> {
        let (task, signal) = (self.task, self.signal);
        if matches!(signal, HealthSignal::Nothing | HealthSignal::Runs) && !task.is_probe {
            return Ok(None);
        }
        let began = task.running.as_ref().map_or(task.claimed_at, |(_, since)| *since);
        let attempt = Attempt { task: task.id, began, signal };
        let Some(breaker) = breaker::store::lock(connection, &task.key, &attempt).await? else {
            return Ok(None);
        };
        let moved = breaker::decide::after(&self.recorder.breaker, &breaker, &attempt);
        if let Some(moved) = moved {
            breaker::store::write(connection, &task.key, moved).await?;
        }
        Ok(moved)
    }

    async fn append(
        &self,
        tx: &mut Transaction,
        what: &str,
        detail: Value,
    ) -> Result<(), StoreError> {
        let (workspace, task) = (&self.task.key.workspace, self.task.id);
        Ok(history::append(tx, &[Happened { what, workspace, task, detail }]).await?)
    }

    async fn close(
        &self,
        tx: &mut Transaction,
        state: EndState,
        reason: &str,
        failed_attempt: bool,
    ) -> Result<Result<ClosedRow, LeaseLost>, StoreError> {
        let end_of_it = self.recorder.ends(self.task, state, reason, failed_attempt);
        Ok(end(tx, &[end_of_it], Breakers::Caller).await?.of(self.task))
    }

    async fn release(
        &self,
        tx: &mut Transaction,
        after: Duration,
        goes_on: GoesOn<'_>,
    ) -> Result<Result<(), LeaseLost>, StoreError> {
        release_one(tx, &Release { task: self.task, after, goes_on }).await
    }

    /// Records a success or a polled job by itself, as `batch` records many.
    async fn write_frequent(&self, next: &retry::TaskOutcome) -> Recorded {
        let task = self.task;
        let mut tx = self.begin().await?;
        let written =
            frequent::write(&mut tx, self.recorder, &[(task, next)], Breakers::Caller).await?;
        if let Err(lost) = fenced(written.len() as u64) {
            return Ok(Err(lost));
        }
        self.commit(tx).await?;
        frequent::log(task, next);
        frequent::count(task, next);
        if let retry::TaskOutcome::Succeed { .. } = next {
            self.recorder.decide_returns(task).await;
        }
        Ok(Ok(()))
    }

    async fn abandon(&self) -> Recorded {
        match &self.task.cancel_reason {
            Some(reason) if self.task.superseded_by.is_none() => self.cancel(reason).await,
            _ => self.supersede().await,
        }
    }

    async fn cancel(&self, why: &str) -> Recorded {
        let task = self.task;
        let mut tx = self.begin().await?;
        let reason = cancellation::closed_reason(why);
        if let Err(lost) = self.close(&mut tx, EndState::Cancelled, &reason, false).await? {
            return Ok(Err(lost));
        }
        self.append(&mut tx, "task.cancelled", json!({"reason": why})).await?;
        give_turn(&mut tx, &[&task.key].into_iter().collect()).await?;
        self.commit(tx).await?;
        cancellation::log_ended(task.id, &task.key.integration);
        self.recorder.decide_returns(task).await;
        Ok(Ok(()))
    }

    async fn supersede(&self) -> Recorded {
        let task = self.task;
        let mut tx = self.begin().await?;
        let by = task.superseded_by.map(|by| format!(" (task {by})")).unwrap_or_default();
        let reason = format!("Replaced by a newer request while it had its turn{by}");
        let closed = match self.close(&mut tx, EndState::Superseded, &reason, false).await? {
            Ok(closed) => closed,
            Err(lost) => return Ok(Err(lost)),
        };
        let detail = json!({"superseded_by": closed.superseded_by});
        self.append(&mut tx, "task.superseded", detail).await?;
        give_turn(&mut tx, &[&task.key].into_iter().collect()).await?;
        self.commit(tx).await?;
        metrics::task_ended(TaskEnd::Superseded);
        emit!(
            TASK_SUPERSEDED,
            task.id = task.id,
            superseded_by = closed.superseded_by,
            "Replaced by a newer request"
        );
        self.recorder.decide_returns(task).await;
        Ok(Ok(()))
    }

    async fn retry(
        &self,
        after: Duration,
        failure: &Failure,
        lost: retry::Uncertainty,
    ) -> Recorded {
        let task = self.task;
        let code = failure.code.as_deref().unwrap_or("no code");
        let mut tx = self.begin().await?;
        let goes_on = GoesOn::Retry { error: code, lost };
        if let Err(lost) = self.release(&mut tx, after, goes_on).await? {
            return Ok(Err(lost));
        }
        let detail = json!({"failure_code": code, "retry_in_s": after.as_secs_f64()});
        self.append(&mut tx, "task.attempt_failed", detail).await?;
        self.commit(tx).await?;
        emit!(
            TASK_RETRY_SCHEDULED,
            task.id = task.id,
            integration.id = task.key.integration,
            attempt = task.attempts,
            failure.code = code,
            wait_s = after.as_secs_f64(),
            "The attempt failed; another follows"
        );
        Ok(Ok(()))
    }

    async fn wait(
        &self,
        after: Duration,
        why: String,
        lost: retry::Uncertainty,
        cause: retry::WaitCause,
    ) -> Recorded {
        let mut tx = self.begin().await?;
        let goes_on = GoesOn::Wait { why: &why, lost, cause };
        if let Err(lost) = self.release(&mut tx, after, goes_on).await? {
            return Ok(Err(lost));
        }
        if lost != retry::Uncertainty::Nothing {
            let detail = json!({"lost": format!("{lost:?}").to_lowercase(), "reason": why});
            self.append(&mut tx, "task.lost_sight_of", detail).await?;
        }
        self.commit(tx).await?;
        self.log_waiting(after, &why);
        Ok(Ok(()))
    }

    fn log_waiting(&self, after: Duration, reason: &str) {
        emit!(
            TASK_POSTPONED,
            task.id = self.task.id,
            integration.id = self.task.key.integration,
            wait_s = after.as_secs_f64(),
            reason,
            "Postponed; this does not count as an attempt"
        );
    }

    /// The app rejects the stored login. The task keeps its turn and its attempts, and the integration stops. One
    /// action asks a person once, for all tasks of the integration.
    async fn park(&self, failure: Failure, remedy: Remedy) -> Recorded {
        let task = self.task;
        let code = failure.code.clone().unwrap_or_else(|| "no code".to_owned());
        let mut tx = self.begin().await?;
        let goes_on = GoesOn::Park { error: &code };
        if let Err(lost) = self.release(&mut tx, Duration::ZERO, goes_on).await? {
            return Ok(Err(lost));
        }
        self.append(&mut tx, "task.parked", json!({"failure_code": code})).await?;
        let (workspace, integration) = (&task.key.workspace, &task.key.integration);
        let known = breaker::store::reconnect_action(&mut tx, workspace, integration).await?;
        let mut opened = None;
        if known.is_none() {
            let names = retry::record::display_names(&mut tx, workspace, task.id).await?;
            let failure = names.in_words(failure, task);
            let app = app_name(&names);
            let reconnect = Reconnect {
                task: task.id,
                workspace: workspace.clone(),
                integration: integration.clone(),
                app,
                failure,
                remedy,
            };
            let due_in = Duration::from_secs(self.recorder.deadlines.due_reconnect_s);
            let library = &self.recorder.library;
            opened =
                manual_action::store::open_reconnect(&mut tx, library, &reconnect, due_in).await?;
        }
        let reason = format!("The app rejects the stored login: {code}");
        if let Some(action) = known.or(opened) {
            breaker::store::reject_login(&mut tx, &task.key, &reason, action).await?;
        }
        self.commit(tx).await?;
        if let Some(action) = opened {
            self.trace_opened(action, "reconnect");
            emit!(
                INTEGRATION_LOGIN_REJECTED,
                workspace.id = workspace,
                integration.id = task.key.integration,
                action.id = action,
                failure.code = code,
                "The app rejects the stored login; tasks are on hold until a person fixes it"
            );
        }
        self.log_waiting(Duration::ZERO, &reason);
        Ok(Ok(()))
    }

    /// Ends the automatic path: either the task closes and its manual action opens, or neither happens. If the task was
    /// superseded or cancelled while it was in flight, no action is opened.
    async fn escalate(
        &self,
        reason: &EscalationReason,
        failure: Failure,
        after_attempt: bool,
    ) -> Recorded {
        let task = self.task;
        let mut tx = self.begin().await?;
        let why = retry::record::closed_reason(reason, &failure);
        let closed = match self.close(&mut tx, EndState::Escalated, &why, after_attempt).await? {
            Ok(closed) => closed,
            Err(lost) => return Ok(Err(lost)),
        };
        if closed.superseded_by.is_some() || closed.is_cancelled {
            tx.rollback().await?;
            return self.release_abandoned().await;
        }
        let opening = opening(&mut tx, task, reason, failure).await?;
        let due_in = manual_action::due_in(&self.recorder.deadlines, task.desired.operation);
        let library = &self.recorder.library;
        let opened =
            manual_action::store::open(&mut tx, library, &opening, closed.attempts, due_in).await?;
        let Some(action) = opened else {
            tx.rollback().await?;
            return self.wait_for_the_other_action().await;
        };
        open_action(&mut tx, &task.key, action).await?;
        let detail = json!({"action_id": action, "reason": why});
        self.append(&mut tx, "task.escalated", detail).await?;
        self.commit(tx).await?;
        metrics::task_ended(TaskEnd::Escalated);
        if task.desired.operation == Operation::Remove {
            metrics::removal_handled_after(elapsed(task.requested_at, task.claimed_at));
        }
        self.trace_opened(action, task.desired.operation.as_str());
        emit!(
            TASK_ESCALATED,
            task.id = task.id,
            action.id = action,
            workspace.id = task.key.workspace,
            integration.id = task.key.integration,
            operation = task.desired.operation.as_str(),
            reason = reason.sentence(),
            failure.code = opening.failure.code,
            attempts = closed.attempts,
            "A manual action is open"
        );
        self.recorder.decide_returns(task).await;
        Ok(Ok(()))
    }

    fn trace_opened(&self, action: i64, operation: &'static str) {
        let (task, traceparent) = (self.task, self.task.traceparent.as_deref());
        traces::opened(action, task.id, &task.key.integration, operation, traceparent);
    }

    /// The task was superseded or cancelled while it was in flight, so no person is asked to do it. The next claim sees
    /// the mark, and ends the task once none of its attempts is in flight.
    async fn release_abandoned(&self) -> Recorded {
        match &self.task.running {
            Some((job, _)) => {
                let (job, found_by_id) = (job.clone(), self.task.found_by_id);
                let after = Duration::ZERO;
                let next = retry::TaskOutcome::Watch { job, after, started: false, found_by_id };
                self.write_frequent(&next).await
            }
            None => {
                let why = "it was called off meanwhile".to_owned();
                self.wait(
                    Duration::ZERO,
                    why,
                    retry::Uncertainty::Nothing,
                    retry::WaitCause::Ourselves,
                )
                .await
            }
        }
    }

    /// The member has another unfinished action. The task keeps its turn and tries again later.
    async fn wait_for_the_other_action(&self) -> Recorded {
        let why = "another manual action of this member is unfinished".to_owned();
        self.wait(
            Duration::from_secs(60),
            why,
            retry::Uncertainty::Nothing,
            retry::WaitCause::Ourselves,
        )
        .await
    }
}

fn log_moved(key: &MemberKey, moved: Move) {
    let (workspace, integration) = (&key.workspace, &key.integration);
    match moved {
        Move::Trip { cause: Cause::Failures, wait, trips } => emit!(
            INTEGRATION_TRIPPED,
            workspace.id = workspace,
            integration.id = integration,
            wait_s = wait.as_secs_f64(),
            consecutive_trips = trips,
            "The app's automation failed several times in a row; tasks are on hold"
        ),
        Move::Trip { cause: Cause::RateLimit, wait, .. } => emit!(
            INTEGRATION_RATE_LIMITED,
            workspace.id = workspace,
            integration.id = integration,
            wait_s = wait.as_secs_f64(),
            "The backend limits the rate; tasks are on hold"
        ),
        Move::Recover => emit!(
            INTEGRATION_RECOVERED,
            workspace.id = workspace,
            integration.id = integration,
            "The app works again; its tasks ramp up"
        ),
        Move::Count | Move::Forget { .. } | Move::Raise(_) | Move::Await(_) | Move::NextProbe => {}
    }
}

async fn opening(
    connection: &mut PgConnection,
    task: &ClaimedTask,
    reason: &EscalationReason,
    failure: Failure,
) -> Result<Opening, StoreError> {
    let names = retry::record::display_names(connection, &task.key.workspace, task.id).await?;
    Ok(Opening {
        task: task.id,
        key: task.key.clone(),
        operation: task.desired.operation,
        trigger: task.trigger,
        reason: reason.sentence(),
        failure: names.in_words(failure, task),
        app: app_name(&names),
        person: Person {
            email: task.desired.email.clone(),
            username: task.desired.username.clone(),
            name: names.member_name,
        },
        entitlements: task.desired.entitlements.iter().cloned().collect(),
    })
}
