//! Stage 1: what automation may still do for a failed task.
//!
//! This module owns the automation tasks that have their turn. It reads the member, asks the backend to run the
//! operation again, polls the job, and returns what to record. It does not know manual actions or syncs:
//! [`crate::flow`] decides where a task goes when automation ends.
//!
//! Invariant: while the outcome of an operation is unknown, the operation is not repeated before the member was read.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::backend::Failure;
use crate::backend::failure::Remedy;
use crate::config::{self, Backoff};
use crate::lease::Lease;
use crate::membership::{Desired, MemberKey, Operation, Trigger};

pub mod again;
pub mod cancel;
pub mod claim;
pub mod decide;
pub mod lanes;
pub mod record;
pub mod review;
pub mod step;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A task that has its turn, held under a lease.
#[derive(Debug, Clone)]
pub struct ClaimedTask {
    pub id: i64,
    pub lease: Lease,
    pub key: MemberKey,
    pub desired: Desired,
    /// The role on a business hub that an invitation gives.
    pub hub_role: String,
    /// The name of the app in the catalogue.
    pub application: String,
    pub trigger: Trigger,
    /// Whether automation can be retried: the task has a failed job, its trigger is not a deprovisioning, or a person
    /// returned it to automation.
    pub has_automation: bool,
    /// The backend's job that failed before the task came in.
    pub job: Option<String>,
    pub requested_at: DateTime<Utc>,
    /// Whether a person returned it to automation. Its first failure counts as fixed.
    pub returned: bool,
    /// Whether the integration's status changed since the task came in: a login that was rejected before may be fixed.
    pub reopened: bool,
    /// Whether it is the probe of an integration that is probing.
    pub is_probe: bool,
    /// Why automation failed before the task came in, without the texts for people.
    pub first_failure: Failure,
    /// Attempts that the daemon asked for.
    pub attempts: u32,
    /// When the attempts began, moved forward by the time of every wait; `None` until a job runs or an attempt has
    /// failed.
    pub trying_since: Option<DateTime<Utc>>,
    /// The backend's job in flight, and when it was started.
    pub running: Option<(String, DateTime<Utc>)>,
    /// Since when the outcome of an attempt is unknown.
    pub uncertain_since: Option<DateTime<Utc>>,
    /// Since when the backend gives no usable answer about this member while it answers about others.
    pub unanswered_since: Option<DateTime<Utc>>,
    /// The later request that superseded it while it was in flight.
    pub superseded_by: Option<i64>,
    /// Why a person cancelled it while it was in flight.
    pub cancel_reason: Option<String>,
    /// Whether the member was found by id before the running job was started. Only then does it prove something if the
    /// member is no longer found by id afterwards.
    pub found_by_id: bool,
    /// Claims in a row, this one included, that were not released.
    pub unreleased_claims: i32,
    /// The time of the claim, by the clock of the database.
    pub claimed_at: DateTime<Utc>,
    /// Whether a person may have made the opposite change by hand after the app was last read and after automation last
    /// worked on the member. What the backend knows of the member may be older than that change.
    pub touched_by_hand: bool,
    /// Whether a task that ended, or this one before it was returned, tried the same change for the member, and no
    /// snapshot has shown the result since. Only computed for a member who was touched by hand.
    pub tried_before: bool,
    /// When it was due, if the claim took the tasks of its integration in the order of their due times.
    pub taken_in_order: Option<DateTime<Utc>>,
    /// How long it was due, and its integration active, until this claim; `None` if its integration has a limit.
    pub pickup: Option<Duration>,
    /// The trace context of the transaction that inserted it, as the backend wrote it.
    pub traceparent: Option<String>,
}

impl ClaimedTask {
    /// Whether it was superseded or cancelled while it was in flight. It ends once none of its attempts can take effect
    /// any more.
    pub fn is_abandoned(&self) -> bool {
        self.superseded_by.is_some() || self.cancel_reason.is_some()
    }
}

/// The configured limits that the decisions need.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    retry: config::Retry,
    job: config::Job,
    max_unreleased_claims: i32,
    retention: Duration,
}

impl RetryPolicy {
    pub fn new(config: &config::Config) -> Self {
        Self {
            retry: config.retry.clone(),
            job: config.job.clone(),
            max_unreleased_claims: config.worker.max_unreleased_claims,
            retention: DAY.saturating_mul(config.retention.finished_tasks_days),
        }
    }

    pub fn of(&self, operation: Operation) -> &Backoff {
        match operation {
            Operation::Invite => &self.retry.invite,
            Operation::ChangeRole => &self.retry.change_role,
            Operation::Remove => &self.retry.remove,
        }
    }

    fn settle(&self) -> Duration {
        Duration::from_secs(self.retry.settle_s)
    }
}

/// Why automation ends and the task is escalated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EscalationReason {
    AttemptsUsed,
    /// The time for automatic retries is over.
    TimeUsed,
    OnlyAPersonCan,
    /// The app has no automation for the operation.
    NoAutomation,
    /// The identity provider deprovisioned the member, and no automation is behind the task.
    Deprovisioned,
    IntegrationGone,
    /// The backend gave no usable answer about the member for the whole time that retries may take, while it answered
    /// about others.
    Unanswered,
    /// Workers that claimed the task ended without releasing it.
    CrashLoop,
    /// The backend's job never ended. A second job beside it could undo what comes later.
    JobNeverEnded,
    /// The member is in the app, but Cerby has not matched them, so no call can name them.
    NotMatched,
    /// An attempt may have worked, and what the backend knows of the member is older than a change by hand.
    CannotTell,
    /// It was requested before the retention window, so later requests may have been deleted.
    TooOld,
}

impl EscalationReason {
    /// The reason that the row gives to people.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::AttemptsUsed => "All automatic retries were used",
            Self::TimeUsed => "The time for automatic retries is over",
            Self::OnlyAPersonCan => "Needs a person",
            Self::NoAutomation => "This app cannot be automated for this operation",
            Self::Deprovisioned => {
                "Deprovisioned by the identity provider, with no automation behind it"
            }
            Self::IntegrationGone => "The backend no longer knows the integration",
            Self::Unanswered => "The backend gives no usable answer about this member",
            Self::CrashLoop => "The worker crashed repeatedly on this task",
            Self::JobNeverEnded => "The backend's job never ended, and may still take effect",
            Self::NotMatched => {
                "In the app, but not matched to the member in Cerby: automation cannot reach them"
            }
            Self::CannotTell => {
                "An attempt may have worked, and the member was changed by hand since the app was read"
            }
            Self::TooOld => {
                "The request predates the retention window; newer requests may be missing"
            }
        }
    }
}

/// What to record after one claim.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskOutcome {
    /// The member is in the desired state: close the task as succeeded.
    Succeed { reason: &'static str },
    /// A job runs at the backend: poll it again.
    Watch {
        job: String,
        after: Duration,
        /// Whether it was started just now, which counts as an attempt.
        started: bool,
        /// Whether the member was found by id before the job was started.
        found_by_id: bool,
    },
    /// The attempt failed, and another follows.
    Retry {
        after: Duration,
        failure: Failure,
        /// Whether the attempt may still take effect.
        lost: Uncertainty,
    },
    /// Postpone the task; this does not count as an attempt.
    Wait {
        after: Duration,
        why: String,
        /// Whether a request was sent that may still take effect.
        lost: Uncertainty,
        cause: WaitCause,
    },
    /// The app rejects the login that the backend has stored: all tasks of the integration are on hold until a person
    /// has fixed it.
    Park { failure: Failure, remedy: Remedy },
    /// Automation ends: open a manual action.
    Escalate {
        reason: EscalationReason,
        /// The last failure. If no attempt failed just now, the failure that the task came with.
        failure: Failure,
        /// Whether the last attempt failed just now, so that it has to be counted.
        after_attempt: bool,
    },
    /// The task was superseded or cancelled, and nothing of it is in flight any more.
    Abandon,
}

/// Why a task is postponed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCause {
    /// The daemon itself needs the time: an attempt has to settle, or a longer lease is needed.
    Ourselves,
    /// The backend limits the rate: all tasks of the integration are postponed.
    RateLimit {
        /// The wait that the backend asked for, if it named one.
        asked: Option<Duration>,
    },
    /// The backend gives no usable answer, and nothing shows that it would give one about another member.
    Outage,
    /// The backend gives no usable answer about this member alone. This wait has a time limit.
    Member,
}

/// What got lost and may therefore take effect unobserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncertainty {
    Nothing,
    /// The answer to the requested operation; it counts as an attempt.
    Answer,
    /// The job that was started; its attempt is already counted.
    Job,
}
