//! The spans of the flow: which step or happening each is about, and how it ended.

use super::settlement::LogLine;
use crate::manual_action::status::ActionStatus;
use crate::retry::{ClaimedTask, TaskOutcome, Uncertainty};
use crate::sync::verdict::Verdict;
use crate::sync::{ClaimedSync, SyncOutcome};
use crate::telemetry::traces::{self, Span, of_row};

pub(super) fn attempt(task: &ClaimedTask) -> Span {
    if !traces::are_on() {
        return Span::default();
    }
    let is_running = task.running.is_some();
    // A job that runs again without us is polled before the first attempt is counted.
    let number = if is_running { task.attempts.max(1) } else { task.attempts + 1 };
    let is_first = number == 1 && !is_running && task.trying_since.is_none();
    traces::Attempt {
        task: task.id,
        workspace: &task.key.workspace,
        integration: &task.key.integration,
        operation: task.desired.operation.as_str(),
        number,
        row: of_row(task.id, task.traceparent.as_deref(), is_first),
    }
    .begin()
}

/// Says how the step of a task ended. Of a failure it tells only the code.
pub(super) fn attempt_ended(next: &TaskOutcome) {
    let (outcome, failure) = match next {
        TaskOutcome::Succeed { .. } => ("succeeded", None),
        TaskOutcome::Watch { started: true, .. } => ("started", None),
        TaskOutcome::Watch { .. } => ("running", None),
        TaskOutcome::Retry { failure, lost, .. } => match lost {
            Uncertainty::Nothing => ("failed", Some(failure)),
            Uncertainty::Answer | Uncertainty::Job => ("unknown", Some(failure)),
        },
        TaskOutcome::Wait { .. } => ("postponed", None),
        TaskOutcome::Park { failure, .. } => ("login_rejected", Some(failure)),
        TaskOutcome::Escalate { failure, after_attempt, .. } => {
            ("escalated", after_attempt.then_some(failure))
        }
        TaskOutcome::Abandon => ("abandoned", None),
    };
    let code = failure.map(|failure| failure.code.as_deref().unwrap_or("no code"));
    traces::conclude(outcome, code);
}

/// The task of a batch, as a link of it.
pub(super) fn batch<'a>(tasks: impl ExactSizeIterator<Item = &'a ClaimedTask>) -> Span {
    if !traces::are_on() {
        return Span::default();
    }
    Span::batch(tasks.map(|task| of_row(task.id, task.traceparent.as_deref(), false)))
}

/// A manual action was opened for a task.
pub(super) fn opened(
    action: i64,
    task: i64,
    integration: &str,
    operation: &'static str,
    traceparent: Option<&str>,
) {
    if traces::are_on() {
        let row = of_row(task, traceparent, false);
        traces::Action { action, task, integration, operation, row }.record();
    }
}

pub(super) fn sync(sync: &ClaimedSync) -> Span {
    if !traces::are_on() {
        return Span::default();
    }
    let rows = sync.traceparents.iter();
    traces::Sync {
        sync: sync.id,
        workspace: &sync.workspace,
        integration: &sync.integration,
        procedure: sync.procedure.as_str(),
        rows: rows.filter_map(|(_, text)| of_row(0, Some(text), false)).collect(),
    }
    .begin()
}

/// Says how the step of a sync ended.
pub(super) fn sync_ended(next: &SyncOutcome) {
    let (outcome, error) = match next {
        SyncOutcome::Watch { started: true, .. } => ("started", None),
        SyncOutcome::Watch { .. } => ("running", None),
        SyncOutcome::RetryLater { waits: true, .. } => ("postponed", None),
        SyncOutcome::RetryLater { .. }
        | SyncOutcome::Unknown { .. }
        | SyncOutcome::RestartNow { .. } => ("failed", Some("step_failed")),
        SyncOutcome::Hold { .. } => ("held", None),
        SyncOutcome::Fail { .. } => ("ended", Some("sync_failed")),
        SyncOutcome::LoginRefused { .. } => ("ended", Some("login_rejected")),
        SyncOutcome::Judge { .. } => ("judged", None),
        SyncOutcome::Attest => ("attested", None),
    };
    traces::conclude(outcome, error);
}

/// The verdicts that a sync has written.
pub(super) fn verdicts(sync: &ClaimedSync, lines: &[LogLine]) {
    if !traces::are_on() {
        return;
    }
    for line in lines {
        let (action, verdict, status) = match line {
            LogLine::Verified(id) => (*id, Verdict::Confirmed, ActionStatus::Verified),
            LogLine::NotNeeded(id) => (*id, Verdict::Confirmed, ActionStatus::NotNeeded),
            LogLine::Attested(id) => (*id, Verdict::Unverifiable, ActionStatus::Attested),
            LogLine::LoginRefused(id) | LogLine::Contradicted { action: id, .. } => {
                (*id, Verdict::Contradicted, ActionStatus::Open)
            }
            LogLine::NotYet { action, verdict, .. } => (*action, *verdict, ActionStatus::Done),
        };
        let text = sync.traceparents.iter().find(|(of, _)| *of == action).map(|(_, text)| text);
        traces::Verdict {
            action,
            sync: sync.id,
            verdict: verdict.as_str(),
            status: status.as_str(),
            row: of_row(0, text.map(String::as_str), false),
        }
        .record();
    }
}
