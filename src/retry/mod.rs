//! Stage 1: what automation may still do for a failed task.
//!
//! Owns automation tasks whose turn it is: looks at the member, asks the backend to run the operation
//! again, watches its job, and says what to record. It does not know manual actions or syncs; where a
//! task goes when automation ends is [`crate::flow`]'s business.
//!
//! Invariant: before an operation is repeated whose outcome nobody knows, the member is looked at.

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
pub mod record;
pub mod scan_starts;
pub mod step;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A task whose turn it is, held under a lease.
#[derive(Debug, Clone)]
pub struct ClaimedTask {
    pub id: i64,
    /// The right to write it.
    pub lease: Lease,
    /// Whom it is about.
    pub key: MemberKey,
    pub desired: Desired,
    /// The role on a business hub that an invitation gives.
    pub hub_role: String,
    /// The app, as the catalogue names it.
    pub application: String,
    /// Why it was requested.
    pub trigger: Trigger,
    /// Whether automation is behind it: a failed job, any trigger but a deprovisioning, or a person who sent it
    /// back to automation.
    pub has_automation: bool,
    /// The backend's job that failed before we saw the task.
    pub job: Option<String>,
    /// When it was requested.
    pub requested_at: DateTime<Utc>,
    /// Whether a person sent it back to automation: its first failure is fixed.
    pub returned: bool,
    /// Whether the integration's status changed since the task came: a login that was rejected before may be fixed.
    pub reopened: bool,
    /// Whether it is the one that tries while its integration is probing.
    pub is_probe: bool,
    /// Why automation failed before we saw it, without the words for people.
    pub first_failure: Failure,
    /// Attempts that we asked for.
    pub attempts: u32,
    /// When trying began, moved forward by every wait; `None` before the first look.
    pub trying_since: Option<DateTime<Utc>>,
    /// The backend's job in flight, and since when.
    pub running: Option<(String, DateTime<Utc>)>,
    /// Since when an attempt's outcome is unknown.
    pub uncertain_since: Option<DateTime<Utc>>,
    /// Since when the backend gives no usable answer about this member while it answers about others.
    pub unanswered_since: Option<DateTime<Utc>>,
    /// The later intent that made it pointless while it was in flight.
    pub superseded_by: Option<i64>,
    /// Why a person cancelled it while it was in flight.
    pub cancel_reason: Option<String>,
    /// Whether the member was found by id before the job was started that runs now: only then is it news if they are not
    /// any more.
    pub found_by_id: bool,
    /// Claims in a row, this one included, that ended without a word.
    pub unreleased_claims: i32,
    /// The database's time when it was claimed.
    pub claimed_at: DateTime<Utc>,
    /// Whether a person may have done the opposite by hand since the app was last read and automation last worked on
    /// the member: what the backend knows of them is older than that.
    pub touched_by_hand: bool,
    /// Whether the same was tried for the member before by a task that ended, itself before it was sent back included,
    /// and nothing has told since what came of it. Only asked of a member who was touched by hand.
    pub tried_before: bool,
    /// When it was due, if its claim took the tasks of its integration in the order of these times.
    pub taken_in_order: Option<DateTime<Utc>>,
}

impl ClaimedTask {
    /// Whether it was overtaken or cancelled while it was in flight: it ends once nothing of it is on its way.
    pub fn is_called_off(&self) -> bool {
        self.superseded_by.is_some() || self.cancel_reason.is_some()
    }
}

/// The numbers that decisions need.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    retry: config::Retry,
    job: config::Job,
    max_unreleased_claims: i32,
    remembers: Duration,
}

impl RetryPolicy {
    /// The policy as configured.
    pub fn new(config: &config::Config) -> Self {
        Self {
            retry: config.retry.clone(),
            job: config.job.clone(),
            max_unreleased_claims: config.worker.max_unreleased_claims,
            remembers: DAY.saturating_mul(config.retention.finished_tasks_days),
        }
    }

    /// Delays and limits of an operation.
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

/// Why automation ends and a person is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EscalationReason {
    /// All attempts were used.
    AttemptsUsed,
    /// Trying took as long as it may.
    TimeUsed,
    /// The failure is one that only a person can fix.
    OnlyAPersonCan,
    /// The app has no automation for the operation.
    NoAutomation,
    /// The identity provider deprovisioned the member, and no automation is behind that.
    Deprovisioned,
    /// The backend does not know the integration any more.
    IntegrationGone,
    /// The backend gave no usable answer about the member for as long as trying may take, and answers otherwise.
    Unanswered,
    /// Workers that took the task ended without a word.
    CrashLoop,
    /// The backend's job never ended, and another one beside it could undo what comes later.
    JobNeverEnded,
    /// The member is in the app, and Cerby has not matched them: no call can name them.
    NotMatched,
    /// An attempt may have worked, and what the backend knows of the member is older than a change by hand.
    CannotTell,
    /// It was requested so long ago that what came after it may be forgotten.
    TooOld,
}

impl EscalationReason {
    /// The reason in the row, for people.
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
    /// The member is as desired: close as succeeded.
    Succeed { reason: &'static str },
    /// A job runs at the backend: look at it again.
    Watch {
        job: String,
        after: Duration,
        /// Whether it was started just now, which is an attempt.
        started: bool,
        /// Whether the member was found by id before it was started.
        found_by_id: bool,
    },
    /// The attempt failed: another follows.
    Retry {
        after: Duration,
        failure: Failure,
        /// Whether the attempt may still take effect.
        lost: Uncertainty,
    },
    /// Not an attempt: wait and look again.
    Wait {
        after: Duration,
        why: String,
        /// Whether something was sent that may still take effect.
        lost: Uncertainty,
        cause: WaitCause,
    },
    /// The app rejects the login that the backend has stored: everything of the integration waits for a person.
    Park { failure: Failure, remedy: Remedy },
    /// Automation ends: open a manual action.
    Escalate {
        reason: EscalationReason,
        /// The last failure, if a failure ended it.
        failure: Failure,
        /// Whether the last attempt failed just now, which counts it.
        after_attempt: bool,
    },
    /// A later intent made it pointless, or a person cancelled it, and nothing is in flight any more.
    CallOff,
}

/// For what a task waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCause {
    /// For something of our own: an attempt to settle, or a longer lease.
    Ourselves,
    /// The backend limits the rate: everything of the integration waits, for as long as it asked if it did.
    RateLimit {
        /// The time it asked for.
        asked: Option<Duration>,
    },
    /// The backend gives no usable answer, and nothing says that it would give one about anything else.
    Outage,
    /// The backend gives no usable answer about this member alone: that has an end.
    Member,
}

/// What was lost sight of, and so may take effect without our knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncertainty {
    Nothing,
    /// The answer to the operation that was asked for; it counts as an attempt.
    Answer,
    /// The job that was started; its attempt is counted already.
    Job,
}
