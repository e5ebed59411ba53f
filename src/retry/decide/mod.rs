//! The decisions of a retry: pure functions of what is known, without clock, database or network.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{ClaimedTask, EscalationReason, RetryPolicy, TaskOutcome, Uncertainty, WaitCause};
use crate::backend::failure::FailureClass;
use crate::backend::{BackendError, Failure, Progress, Snapshot};
use crate::backoff;
use crate::breaker::HealthSignal;
use crate::catalogue;
use crate::membership::{Desired, Membership, Observation, Operation, SeenMember};
use crate::store::elapsed;

/// The backend does not know a job that it ran for us.
pub const JOB_UNKNOWN: &str = "JobUnknown";

/// The backend's job still runs after all the time that a job may take.
pub const JOB_NEVER_ENDED: &str = "JobNeverEnded";

const UNSETTLED: &str = "an attempt of unknown outcome may still take effect";

/// How long what was tried may change the app once its task ends now: no longer, if what came of it is known; `None` if
/// nothing was tried. Whoever comes next for the member waits for that: what was lost sight of has no order with what is
/// asked for now.
pub fn effects_for(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    now: DateTime<Utc>,
) -> Option<Duration> {
    lost_effects_for(policy, task, now).or_else(|| has_tried(task).then_some(Duration::ZERO))
}

/// The same of what was lost sight of.
fn lost_effects_for(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    now: DateTime<Utc>,
) -> Option<Duration> {
    if let Some((_, since)) = &task.running {
        let runs_on = policy.job.next_poll(elapsed(*since, now)).is_none();
        if runs_on || is_crash_loop(policy, task) {
            return Some(policy.settle()); // its job was not seen to end, or not looked at
        }
    }
    task.uncertain_since.map(|since| policy.settle().saturating_sub(elapsed(since, now)))
}

fn is_crash_loop(policy: &RetryPolicy, task: &ClaimedTask) -> bool {
    task.unreleased_claims > policy.max_unreleased_claims.saturating_mul(2)
}

/// What a look at the member leads to, before an operation is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum AfterRead {
    /// Ask the backend for the operation.
    Run,
    Record(TaskOutcome),
}

/// What to do with a task whose workers die even while they look: nothing is asked for it any more.
pub fn before_read(policy: &RetryPolicy, task: &ClaimedTask) -> Option<TaskOutcome> {
    is_crash_loop(policy, task).then(|| match task.is_called_off() {
        true => TaskOutcome::CallOff,
        false => escalate(EscalationReason::CrashLoop, &task.first_failure),
    })
}

/// What to do with a task that has no job in flight, after its member was looked at.
pub fn after_read(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    seen: &Observation,
    now: DateTime<Utc>,
) -> AfterRead {
    let unsettled = unsettled_for(policy, task, now);
    if task.is_called_off() {
        return AfterRead::Record(unsettled.map_or(TaskOutcome::CallOff, settle));
    }
    if *seen == Observation::AsDesired && !is_doubtful(task) {
        return AfterRead::Record(TaskOutcome::Succeed { reason: already(task) });
    }
    if task.unreleased_claims > policy.max_unreleased_claims {
        return AfterRead::Record(escalate(EscalationReason::CrashLoop, &task.first_failure));
    }
    if let Some(remaining) = unsettled {
        return AfterRead::Record(settle(remaining));
    }
    if elapsed(task.requested_at, now) > policy.remembers {
        return AfterRead::Record(escalate(EscalationReason::TooOld, &task.first_failure));
    }
    if let Some(next) = without_automation(task) {
        return AfterRead::Record(next);
    }
    if let Observation::Unmatched(_) = seen {
        return AfterRead::Record(escalate(EscalationReason::NotMatched, &task.first_failure));
    }
    if let Some(reason) = used_up(policy, task, now) {
        return AfterRead::Record(escalate(reason, &task.first_failure));
    }
    // The presence may be an attempt's, even of one that was called failed: asking again could invite twice.
    let lets_in = task.desired.operation != Operation::Remove;
    if *seen == Observation::AsDesired && lets_in && (has_tried(task) || task.tried_before) {
        return AfterRead::Record(escalate(EscalationReason::CannotTell, &task.first_failure));
    }
    if task.desired.operation == Operation::ChangeRole && *seen == Observation::Absent {
        return AfterRead::Record(after_failure(
            policy,
            task,
            Failure::ours("MemberNotInApp"),
            now,
        ));
    }
    AfterRead::Run
}

/// Whether anything was asked of the app that may have done it, also by a job that the backend ran again by itself.
fn has_tried(task: &ClaimedTask) -> bool {
    task.attempts > 0 || task.trying_since.is_some() || task.uncertain_since.is_some()
}

/// Whether what the backend knows may be older than the truth: it answers with what it learned last, and a person may
/// have invited or removed the member by hand since, or the app cannot be read at all. Then only a run in the app
/// itself counts: one that failed may have taught the backend nothing.
fn is_doubtful(task: &ClaimedTask) -> bool {
    let is_removal = task.desired.operation == Operation::Remove;
    task.touched_by_hand || is_removal && !catalogue::is_readable(&task.application)
}

/// Whether it is believed after a job ended that the member is as desired: where that is doubtful, only if the job itself says
/// that it made it so or found it so. Where the list cannot tell of somebody who is not found by id, only a job that looked for
/// them in the app and did not find them is believed: one that says it worked may have done nothing.
pub fn is_believed(task: &ClaimedTask, ended: &Progress, seen: &Observation) -> bool {
    match seen {
        Observation::AsDesired => says_as_desired(task, ended) || !is_doubtful(task),
        Observation::NotFoundById => found_so(task, ended),
        Observation::Absent
        | Observation::InvitationExpired
        | Observation::InvitationUnclear
        | Observation::StillThere(_)
        | Observation::OtherRoles(_)
        | Observation::Unmatched(_) => false,
    }
}

/// Whether a job says that it made it so, or found it so.
pub fn says_as_desired(task: &ClaimedTask, ended: &Progress) -> bool {
    *ended == Progress::Finished || found_so(task, ended)
}

/// Whether a job says that it found it so already.
fn found_so(task: &ClaimedTask, ended: &Progress) -> bool {
    let Progress::Failed(failure) = ended else { return false };
    failure.class(task.desired.operation) == FailureClass::AlreadySo
}

/// What is observed of a member who was not found by id and was to be removed, once the list was read.
///
/// The same API lists people without an id, whom Cerby has not matched: only the list and the id together say that
/// somebody is gone, and only a list that may not be empty or cut by mistake. Otherwise a run in the app has to tell.
pub fn by_list(desired: &Desired, list: &Snapshot) -> Observation {
    let identity = desired.identity();
    let keys = identity.keys();
    let about = |seen: &&SeenMember| keys.are_of(&seen.keys());
    let strongest = list.members.iter().filter(about).min_by_key(|seen| seen.membership);
    match strongest.map(|seen| (seen.membership, &seen.member)) {
        Some((Membership::InvitationExpired, _)) if list.is_complete() => Observation::AsDesired,
        None if list.is_complete() && !list.may_be_cut() => Observation::AsDesired,
        Some((standing, Some(_))) => Observation::StillThere(standing),
        Some((standing, None)) => Observation::Unmatched(standing),
        None => Observation::NotFoundById,
    }
}

/// What to do after an attempt failed.
pub fn after_failure(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    failure: Failure,
    now: DateTime<Utc>,
) -> TaskOutcome {
    if task.is_called_off() {
        return TaskOutcome::CallOff;
    }
    let reason = match failure.class(task.desired.operation) {
        FailureClass::Credential(remedy) => return TaskOutcome::Park { failure, remedy },
        FailureClass::Person(_) => Some(EscalationReason::OnlyAPersonCan),
        FailureClass::NoAutomation => Some(EscalationReason::NoAutomation),
        FailureClass::Transient | FailureClass::AlreadySo => used_up(policy, task, now),
    };
    match reason {
        Some(reason) => TaskOutcome::Escalate { reason, failure, after_attempt: true },
        None => TaskOutcome::Retry {
            after: backoff::delay(policy.of(task.desired.operation), task.attempts),
            failure,
            lost: Uncertainty::Nothing,
        },
    }
}

/// What to do when a job was lost sight of: it may still take effect, so nothing is repeated or closed at once. Beside a
/// job that never ended, no other is started: a person is asked.
pub fn after_lost_job(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    failure: Failure,
    now: DateTime<Utc>,
) -> TaskOutcome {
    if task.is_called_off() {
        return unsettled(policy.settle(), Uncertainty::Job);
    }
    if failure.code.as_deref() == Some(JOB_NEVER_ENDED) {
        let reason = EscalationReason::JobNeverEnded;
        return TaskOutcome::Escalate { reason, failure, after_attempt: true };
    }
    match after_failure(policy, task, failure, now) {
        TaskOutcome::Retry { after, failure, .. } => {
            TaskOutcome::Retry { after, failure, lost: Uncertainty::Job }
        }
        // A person is asked once it has settled, unless it turns out to have worked.
        _ => unsettled(policy.settle(), Uncertainty::Job),
    }
}

/// What to do when a call that changes nothing brought no answer: nothing was tried. `answers_otherwise` tells whether the
/// backend was seen to answer about the same app meanwhile: then it is this member, and has an end.
pub fn after_unanswered_read(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    error: &BackendError,
    answers_otherwise: bool,
    now: DateTime<Utc>,
) -> TaskOutcome {
    match error {
        // The look asks for the integration before it says that a member is absent.
        BackendError::NotFound { .. } => {
            if task.is_called_off() {
                return TaskOutcome::CallOff;
            }
            escalate(EscalationReason::IntegrationGone, &task.first_failure)
        }
        BackendError::RateLimited { .. } => wait(policy, task, error, Uncertainty::Nothing),
        error if answers_otherwise => unanswered(policy, task, error, now),
        error => wait(policy, task, error, Uncertainty::Nothing),
    }
}

/// What to do with a member of whom the backend alone gives no usable answer.
fn unanswered(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    error: &BackendError,
    now: DateTime<Utc>,
) -> TaskOutcome {
    let limits = policy.of(task.desired.operation);
    let so_far = task.unanswered_since.map_or(Duration::ZERO, |since| elapsed(since, now));
    if task.is_called_off() {
        return unsettled_for(policy, task, now).map_or(TaskOutcome::CallOff, settle);
    }
    if so_far >= Duration::from_secs(limits.within_s) {
        let unsettled = unsettled_for(policy, task, now).map(settle);
        return unsettled
            .unwrap_or_else(|| escalate(EscalationReason::Unanswered, &task.first_failure));
    }
    let first = backoff::delay(limits, 0).max(error.retry_delay(&policy.retry));
    let longest = Duration::from_secs_f64(limits.max_s).max(first);
    TaskOutcome::Wait {
        after: (so_far / 2).clamp(first, longest),
        why: crate::telemetry::chain(error).to_string(),
        lost: Uncertainty::Nothing,
        cause: WaitCause::Member,
    }
}

/// Whether a member has been without a usable answer for as long as a job may take, while the backend answers otherwise.
pub fn is_job_unanswered(policy: &RetryPolicy, task: &ClaimedTask, now: DateTime<Utc>) -> bool {
    let since = task.unanswered_since;
    since.is_some_and(|since| policy.job.next_poll(elapsed(since, now)).is_none())
}

/// What to do when the backend did not accept the operation, or its answer was lost. `answers_otherwise` as for a look.
pub fn after_unanswered_run(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    error: &BackendError,
    answers_otherwise: bool,
    now: DateTime<Utc>,
) -> TaskOutcome {
    match error {
        BackendError::Refused { status: 409, code } => {
            after_failure(policy, task, Failure::ours(code), now)
        }
        BackendError::Refused { code, .. } => {
            let failure = Failure { can_retry: Some(false), ..Failure::ours(code) };
            after_failure(policy, task, failure, now)
        }
        // The look found the integration a moment ago, so it is the member that went: look again.
        BackendError::NotFound { code } => after_failure(policy, task, Failure::ours(code), now),
        error if error.is_uncertain() => wait(policy, task, error, Uncertainty::Answer),
        // Surely nothing happened, and so no attempt ends it.
        BackendError::KeyRejected { .. } | BackendError::Unavailable { .. }
            if answers_otherwise =>
        {
            unanswered(policy, task, error, now)
        }
        error => wait(policy, task, error, Uncertainty::Nothing),
    }
}

/// How a new task begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begins {
    /// The time until it is due, from when it was received: none if only a read is needed.
    pub after: Duration,
    /// Whether automation cannot do it: after a look, a person is asked, whatever the status of the integration.
    pub needs_no_automation: bool,
}

/// How a new task begins: with a look at once, or with an attempt after the first delay.
pub fn begins(policy: &RetryPolicy, arrival: &Arrival<'_>) -> Begins {
    let class = arrival.failure.class(arrival.operation);
    let needs_no_automation = !arrival.has_automation
        || !can_automate(arrival.application, arrival.operation)
        || matches!(class, FailureClass::Person(_) | FailureClass::NoAutomation);
    let after = match class {
        FailureClass::Transient if !needs_no_automation => {
            backoff::delay(policy.of(arrival.operation), 0)
        }
        FailureClass::Transient
        | FailureClass::Credential(_)
        | FailureClass::Person(_)
        | FailureClass::NoAutomation
        | FailureClass::AlreadySo => Duration::ZERO,
    };
    Begins { after, needs_no_automation }
}

/// A new task, as far as its beginning depends on it.
#[derive(Debug)]
pub struct Arrival<'a> {
    pub operation: Operation,
    pub application: &'a str,
    /// Whether automation is behind it: a failed job, or any trigger but a deprovisioning.
    pub has_automation: bool,
    pub failure: &'a Failure,
}

fn can_automate(application: &str, operation: Operation) -> bool {
    // An app that the catalogue does not know is the backend's to judge.
    catalogue::find(application).is_none_or(|app| match operation {
        Operation::Invite => app.can_invite,
        Operation::Remove => app.can_remove,
        Operation::ChangeRole => app.can_change_role,
    })
}

/// What is known before the first attempt: that automation cannot help, or only once a login is fixed.
fn without_automation(task: &ClaimedTask) -> Option<TaskOutcome> {
    let ask = |reason| Some(escalate(reason, &task.first_failure));
    if !can_automate(&task.application, task.desired.operation) {
        return ask(EscalationReason::NoAutomation);
    }
    if !task.has_automation {
        return ask(EscalationReason::Deprovisioned);
    }
    if task.attempts > 0 || task.returned {
        return None; // a failure of our own attempts was judged when it came
    }
    match task.first_failure.class(task.desired.operation) {
        FailureClass::Credential(_) if task.reopened => None,
        FailureClass::Credential(remedy) => {
            Some(TaskOutcome::Park { failure: task.first_failure.clone(), remedy })
        }
        FailureClass::Person(_) => ask(EscalationReason::OnlyAPersonCan),
        FailureClass::NoAutomation => ask(EscalationReason::NoAutomation),
        FailureClass::Transient | FailureClass::AlreadySo => None,
    }
}

fn used_up(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    now: DateTime<Utc>,
) -> Option<EscalationReason> {
    let limits = policy.of(task.desired.operation);
    if task.attempts >= limits.attempts {
        return Some(EscalationReason::AttemptsUsed);
    }
    let tried = task.trying_since.map_or(Duration::ZERO, |since| elapsed(since, now));
    (tried >= Duration::from_secs(limits.within_s)).then_some(EscalationReason::TimeUsed)
}

/// How much longer an attempt of unknown outcome may still take effect.
fn unsettled_for(policy: &RetryPolicy, task: &ClaimedTask, now: DateTime<Utc>) -> Option<Duration> {
    let since = task.uncertain_since?;
    policy.settle().checked_sub(elapsed(since, now)).filter(|left| !left.is_zero())
}

fn settle(after: Duration) -> TaskOutcome {
    unsettled(after, Uncertainty::Nothing)
}

fn unsettled(after: Duration, lost: Uncertainty) -> TaskOutcome {
    TaskOutcome::Wait { after, why: UNSETTLED.to_owned(), lost, cause: WaitCause::Ourselves }
}

fn wait(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    error: &BackendError,
    lost: Uncertainty,
) -> TaskOutcome {
    let quiet = error.retry_delay(&policy.retry);
    let usual = backoff::delay(policy.of(task.desired.operation), 0);
    let (cause, after) = match error {
        BackendError::RateLimited { .. } => {
            let longest = Duration::from_secs(policy.retry.max_retry_after_s);
            let asked = error.asked().map(|asked| asked.min(longest));
            (WaitCause::RateLimit { asked }, quiet)
        }
        _ => (WaitCause::Outage, usual.max(quiet)),
    };
    TaskOutcome::Wait { after, why: crate::telemetry::chain(error).to_string(), lost, cause }
}

/// When a job is looked at again that the backend would not speak of: it is what we know, and it stays.
pub fn next_look_after(policy: &RetryPolicy, error: &BackendError) -> Duration {
    policy.job.longest_poll().max(error.retry_delay(&policy.retry))
}

/// What a step showed of the app itself. Jobs speak of the app; a look and a refused request do not.
pub fn signal(task: &ClaimedTask, next: &TaskOutcome) -> HealthSignal {
    let class = |failure: &Failure| failure.class(task.desired.operation);
    match next {
        TaskOutcome::Wait { cause: WaitCause::RateLimit { asked }, .. } => {
            HealthSignal::LimitsRate(*asked)
        }
        TaskOutcome::Watch { .. } => HealthSignal::Runs,
        TaskOutcome::Succeed { .. } if task.running.is_none() => HealthSignal::Answers,
        _ if task.running.is_none() => HealthSignal::Nothing,
        TaskOutcome::Succeed { .. } => HealthSignal::Works,
        TaskOutcome::Retry { failure, .. }
        | TaskOutcome::Escalate { failure, after_attempt: true, .. } => match class(failure) {
            FailureClass::Transient if failure.code.as_deref() == Some(JOB_UNKNOWN) => {
                HealthSignal::Nothing
            }
            FailureClass::Transient => HealthSignal::Fails,
            FailureClass::Credential(_)
            | FailureClass::Person(_)
            | FailureClass::NoAutomation
            | FailureClass::AlreadySo => HealthSignal::Works,
        },
        TaskOutcome::Wait { .. }
        | TaskOutcome::Park { .. }
        | TaskOutcome::Escalate { .. }
        | TaskOutcome::CallOff => HealthSignal::Nothing,
    }
}

fn escalate(reason: EscalationReason, failure: &Failure) -> TaskOutcome {
    TaskOutcome::Escalate { reason, failure: failure.clone(), after_attempt: false }
}

fn already(task: &ClaimedTask) -> &'static str {
    match (task.attempts, task.desired.operation) {
        (0, Operation::Invite) => "Already a member or invited",
        (0, Operation::Remove) => "Already gone",
        (0, Operation::ChangeRole) => "Already has the roles",
        (_, _) => "Confirmed in the app after an attempt",
    }
}

#[cfg(test)]
pub(super) mod tests;
