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
use crate::telemetry::metrics::AttemptClass;

/// The failure code when the backend does not know a job that it ran for a task.
pub const JOB_UNKNOWN: &str = "JobUnknown";

/// The failure code when the job still runs after the longest time that a job may take.
pub const JOB_NEVER_ENDED: &str = "JobNeverEnded";

const UNSETTLED: &str = "an attempt of unknown outcome may still take effect";

/// How long the attempts of a task may still change the app if the task ends now. Zero if their outcome is known;
/// `None` if there was no attempt. The next request of the member has to wait that long, because a lost attempt could
/// otherwise take effect after it.
pub fn effects_for(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    now: DateTime<Utc>,
) -> Option<Duration> {
    lost_effects_for(policy, task, now).or_else(|| has_tried(task).then_some(Duration::ZERO))
}

/// The same, for attempts whose outcome is unknown.
fn lost_effects_for(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    now: DateTime<Utc>,
) -> Option<Duration> {
    if let Some((_, since)) = &task.running {
        let runs_on = policy.job.next_poll(elapsed(*since, now)).is_none();
        if runs_on || is_crash_loop(policy, task) {
            return Some(policy.settle()); // its job was not seen to end, or could not be polled
        }
    }
    task.uncertain_since.map(|since| policy.settle().saturating_sub(elapsed(since, now)))
}

fn is_crash_loop(policy: &RetryPolicy, task: &ClaimedTask) -> bool {
    task.unreleased_claims > policy.max_unreleased_claims.saturating_mul(2)
}

/// What follows from reading the member, before an operation is requested.
#[derive(Debug, Clone, PartialEq)]
pub enum AfterRead {
    Run,
    Record(TaskOutcome),
}

/// Escalates or ends a task whose workers crash even while they only read. No request is sent for it any more.
pub fn before_read(policy: &RetryPolicy, task: &ClaimedTask) -> Option<TaskOutcome> {
    is_crash_loop(policy, task).then(|| match task.is_abandoned() {
        true => TaskOutcome::Abandon,
        false => escalate(EscalationReason::CrashLoop, &task.first_failure),
    })
}

/// What to do with a task that has no job in flight, after its member was read.
pub fn after_read(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    seen: &Observation,
    now: DateTime<Utc>,
) -> AfterRead {
    let unsettled = unsettled_for(policy, task, now);
    if task.is_abandoned() {
        return AfterRead::Record(unsettled.map_or(TaskOutcome::Abandon, settle));
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
    if elapsed(task.requested_at, now) > policy.retention {
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
    // The membership may come from an earlier attempt, even from one that was reported as failed. Asking again could
    // invite twice.
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

/// Whether an operation may have been requested from the app, including by a job that the backend itself ran again.
fn has_tried(task: &ClaimedTask) -> bool {
    task.attempts > 0 || task.trying_since.is_some() || task.uncertain_since.is_some()
}

/// Whether what the backend knows of the member may be out of date. The backend answers with what it learned last. A
/// person may have invited or removed the member by hand since then, or the app cannot be read at all. Then only a run
/// in the app itself is proof: a failed run may have taught the backend nothing.
pub fn is_doubtful(task: &ClaimedTask) -> bool {
    let is_removal = task.desired.operation == Operation::Remove;
    task.touched_by_hand || is_removal && !catalogue::is_readable(&task.application)
}

/// Whether the daemon believes, after a job ended, that the member is in the desired state. In doubt it believes that
/// only if the job itself reports that it made the change or found it made. If the member is not found by id and the
/// list proves nothing, it believes only a job that searched the app and did not find the member: a job that reports
/// success may have done nothing.
pub fn is_believed(task: &ClaimedTask, ended: &Progress, seen: &Observation) -> bool {
    match seen {
        Observation::AsDesired => reports_desired_state(task, ended) || !is_doubtful(task),
        Observation::NotFoundById => reports_already_so(task, ended),
        Observation::Absent
        | Observation::InvitationExpired
        | Observation::InvitationUnclear
        | Observation::StillThere(_)
        | Observation::OtherRoles(_)
        | Observation::Unmatched(_) => false,
    }
}

/// Whether a job reports that it made the change, or found it made.
pub fn reports_desired_state(task: &ClaimedTask, ended: &Progress) -> bool {
    *ended == Progress::Finished || reports_already_so(task, ended)
}

/// Whether a job reports that the change was already made.
fn reports_already_so(task: &ClaimedTask, ended: &Progress) -> bool {
    let Progress::Failed(failure) = ended else { return false };
    failure.class(task.desired.operation) == FailureClass::AlreadySo
}

/// What is observed of a member who is to be removed and was not found by id, after the list was read.
///
/// The same API lists people without an id, whom Cerby has not matched. So only the lookup by id and the list together
/// prove that a member is gone, and only if the list is complete and not suspected to be empty or cut by mistake.
/// Otherwise a run in the app has to show it.
pub fn observe_in_list(desired: &Desired, list: &Snapshot) -> Observation {
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

pub fn after_failure(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    failure: Failure,
    now: DateTime<Utc>,
) -> TaskOutcome {
    if task.is_abandoned() {
        return TaskOutcome::Abandon;
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

/// What to do when the outcome of a job is lost. The job may still take effect, so the task is neither repeated nor
/// closed at once. No second job is started beside a job that never ended: the task is escalated.
pub fn after_lost_job(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    failure: Failure,
    now: DateTime<Utc>,
) -> TaskOutcome {
    if task.is_abandoned() {
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
        // The task is escalated once the attempt has settled, unless it turns out to have worked.
        _ => unsettled(policy.settle(), Uncertainty::Job),
    }
}

/// What to do when a read-only call brought no usable answer. Nothing was tried. `answers_otherwise` says whether the
/// backend answered about the same app meanwhile: then only this member is affected, and the wait has a time limit.
pub fn after_unanswered_read(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    error: &BackendError,
    answers_otherwise: bool,
    now: DateTime<Utc>,
) -> TaskOutcome {
    match error {
        // The read asks for the integration before it reports a member as absent, so this 404 is about the integration.
        BackendError::NotFound { .. } => {
            if task.is_abandoned() {
                return TaskOutcome::Abandon;
            }
            escalate(EscalationReason::IntegrationGone, &task.first_failure)
        }
        BackendError::RateLimited { .. } => wait(policy, task, error, Uncertainty::Nothing),
        error if answers_otherwise => unanswered(policy, task, error, now),
        error => wait(policy, task, error, Uncertainty::Nothing),
    }
}

/// What to do when the backend gives no usable answer about this member alone.
fn unanswered(
    policy: &RetryPolicy,
    task: &ClaimedTask,
    error: &BackendError,
    now: DateTime<Utc>,
) -> TaskOutcome {
    let limits = policy.of(task.desired.operation);
    let so_far = task.unanswered_since.map_or(Duration::ZERO, |since| elapsed(since, now));
    if task.is_abandoned() {
        return unsettled_for(policy, task, now).map_or(TaskOutcome::Abandon, settle);
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

/// Whether the backend gave no usable answer about the member for as long as a job may take, while it answered about
/// others.
pub fn is_job_unanswered(policy: &RetryPolicy, task: &ClaimedTask, now: DateTime<Utc>) -> bool {
    let since = task.unanswered_since;
    since.is_some_and(|since| policy.job.next_poll(elapsed(since, now)).is_none())
}

/// What to do when the backend did not accept the operation, or its answer was lost. For `answers_otherwise` see
/// [`after_unanswered_read`].
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
        // The read found the integration a moment ago, so it is the member that is gone. The next attempt reads again.
        BackendError::NotFound { code } => after_failure(policy, task, Failure::ours(code), now),
        error if error.is_uncertain() => wait(policy, task, error, Uncertainty::Answer),
        // Surely nothing was changed in the app, so this does not count as an attempt.
        BackendError::KeyRejected { .. } | BackendError::Unavailable { .. }
            if answers_otherwise =>
        {
            unanswered(policy, task, error, now)
        }
        error => wait(policy, task, error, Uncertainty::Nothing),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// The time from `received_at` until the task is due; zero if it only has to be read.
    pub after: Duration,
    /// Whether automation cannot do it. It is escalated after a read, whatever the status of the integration is.
    pub needs_no_automation: bool,
}

/// How a new task begins: with a read at once, or with an attempt after the first delay.
pub fn first_due(policy: &RetryPolicy, arrival: &Arrival<'_>) -> Beginning {
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
    Beginning { after, needs_no_automation }
}

/// The properties of a new task that decide how it begins.
#[derive(Debug)]
pub struct Arrival<'a> {
    pub operation: Operation,
    pub application: &'a str,
    /// Whether automation can be retried: the task has a failed job, or its trigger is not a deprovisioning.
    pub has_automation: bool,
    pub failure: &'a Failure,
}

fn can_automate(application: &str, operation: Operation) -> bool {
    // The backend decides about an app that the catalogue does not know.
    catalogue::find(application).is_none_or(|app| match operation {
        Operation::Invite => app.can_invite,
        Operation::Remove => app.can_remove,
        Operation::ChangeRole => app.can_change_role,
    })
}

/// What is known before the first attempt: that automation cannot help, or only after a login is fixed.
fn without_automation(task: &ClaimedTask) -> Option<TaskOutcome> {
    let ask = |reason| Some(escalate(reason, &task.first_failure));
    if !can_automate(&task.application, task.desired.operation) {
        return ask(EscalationReason::NoAutomation);
    }
    if !task.has_automation {
        return ask(EscalationReason::Deprovisioned);
    }
    if task.attempts > 0 || task.returned {
        return None; // the failures of the daemon's own attempts were judged when they came
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
    let min_wait = error.retry_delay(&policy.retry);
    let usual = backoff::delay(policy.of(task.desired.operation), 0);
    let (cause, after) = match error {
        BackendError::RateLimited { .. } => {
            let longest = Duration::from_secs(policy.retry.max_retry_after_s);
            let asked = error.asked().map(|asked| asked.min(longest));
            (WaitCause::RateLimit { asked }, min_wait)
        }
        _ => (WaitCause::Outage, usual.max(min_wait)),
    };
    TaskOutcome::Wait { after, why: crate::telemetry::chain(error).to_string(), lost, cause }
}

/// When to poll a job again after the backend gave no usable answer about it. Until then the job counts as running.
pub fn next_poll_after(policy: &RetryPolicy, error: &BackendError) -> Duration {
    policy.job.longest_poll().max(error.retry_delay(&policy.retry))
}

/// What a step showed of the app itself. Jobs show something of the app; reading a member and a refused request do not.
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
        | TaskOutcome::Abandon => HealthSignal::Nothing,
    }
}

/// How the attempt ended that this step ended; `None` if it ended none. Each attempt ends once: one whose outcome was lost
/// does not end again when a later read shows that it worked.
pub fn ended_attempt(task: &ClaimedTask, next: &TaskOutcome) -> Option<AttemptClass> {
    let class = |failure: &Failure| match failure.class(task.desired.operation) {
        FailureClass::Transient | FailureClass::AlreadySo => AttemptClass::Transient,
        FailureClass::Credential(_) => AttemptClass::Login,
        FailureClass::Person(_) => AttemptClass::Person,
        FailureClass::NoAutomation => AttemptClass::NoAutomation,
    };
    let has_job = task.running.is_some();
    match next {
        TaskOutcome::Succeed { .. } => has_job.then_some(AttemptClass::Succeeded),
        TaskOutcome::Retry { lost, .. } | TaskOutcome::Wait { lost, .. }
            if *lost != Uncertainty::Nothing =>
        {
            Some(AttemptClass::Lost)
        }
        TaskOutcome::Escalate { reason: EscalationReason::JobNeverEnded, .. } => {
            Some(AttemptClass::Lost)
        }
        TaskOutcome::Retry { failure, .. }
        | TaskOutcome::Escalate { failure, after_attempt: true, .. } => Some(class(failure)),
        TaskOutcome::Park { .. } => has_job.then_some(AttemptClass::Login),
        TaskOutcome::Watch { .. }
        | TaskOutcome::Wait { .. }
        | TaskOutcome::Escalate { .. }
        | TaskOutcome::Abandon => None,
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
