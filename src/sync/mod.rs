//! Stage 3: prove it by reading the app again.
//!
//! Owns syncs: one snapshot of an integration's real members, by the procedure of its kind, the import of
//! what it found, and what it says of the done actions. Durable steps: whatever was reached is in the row,
//! and another worker goes on from there. It does not know tasks or retries.
//!
//! Invariant: a verdict rests on a snapshot that started after the change was called done.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::backend::{Snapshot, UpdateReport};
use crate::config;
use crate::lease::Lease;
use crate::membership::{Operation, words};

pub mod guard;
pub mod plausible;
pub mod report;
pub mod review;
pub mod step;
pub mod store;
pub mod verdict;
pub mod watch;

words! {
    /// How an integration is read.
    Procedure {
        /// Apps: a check for updates, its report, the apply of the report.
        CheckAndApply = "check_and_apply",
        /// Business hubs: a sync.
        Sync = "sync",
    }
}

words! {
    /// How far a sync is that has a step to make.
    SyncState {
        Requested = "requested",
        /// The backend was or is about to be asked to read the app.
        Started = "started",
        /// A person decided on the held report.
        ReportReady = "report_ready",
        /// The report is being applied.
        Applying = "applying",
    }
}

words! {
    /// How a sync ends.
    SyncEnd {
        Finished = "finished",
        /// It gave no snapshot.
        Failed = "failed",
    }
}

words! {
    /// What may be of unknown age.
    Former {
        /// A job that read the app.
        Job = "job",
        Report = "report",
    }
}

words! {
    /// A person's decision on a held report.
    HeldDecision {
        /// Apply exactly this report.
        Approved = "approved",
        Rejected = "rejected",
    }
}

/// A sync under a lease.
#[derive(Debug, Clone)]
pub struct ClaimedSync {
    pub id: i64,
    /// The right to write it.
    pub lease: Lease,
    pub workspace: String,
    /// The integration that is read.
    pub integration: String,
    /// The app, as the catalogue names it.
    pub application: String,
    /// How it is read.
    pub procedure: Procedure,
    /// How far it is.
    pub state: SyncState,
    /// The backend's job in flight, and since when.
    pub running: Option<(String, DateTime<Utc>)>,
    /// The report that is being applied or decided on.
    pub report: Option<String>,
    /// What that report says, while it is being applied.
    pub update: Option<UpdateReport>,
    /// What Cerby knew when the report was held, as a hash.
    pub held_hash: Option<String>,
    /// Until when a decision on the held report counts.
    pub held_until: Option<DateTime<Utc>>,
    /// When the snapshot began; `None` for a request.
    pub started_at: Option<DateTime<Utc>>,
    /// When it began, or when a person decided on its report, whichever is later.
    pub trying_since: Option<DateTime<Utc>>,
    /// The account that the automation logs in with, where people told.
    pub own_account: Option<String>,
    /// Whether a word closes an action only once a second person confirmed it, where the app cannot be read.
    pub four_eyes: bool,
    /// Roles that make an administrator, where people told.
    pub administrator_roles: Option<Vec<String>>,
    /// Failed steps in a row.
    pub failures: i32,
    /// The decision on a held report.
    pub decision: Option<HeldDecision>,
    /// Claims in a row, this one included, that ended without a word.
    pub unreleased_claims: i32,
    /// The database's time when it was claimed.
    pub claimed_at: DateTime<Utc>,
    /// Jobs and reports of unknown age that were there before: what follows them is younger than this sync.
    pub former: Vec<String>,
}

impl ClaimedSync {
    /// Whether something of unknown age is younger than the start of this sync: another one of its kind was there before it
    /// was asked for.
    pub fn is_successor(&self, kind: Former, id: &str) -> bool {
        let this = former(kind, id);
        let is_of_kind = |one: &String| one.split_whitespace().next() == Some(kind.as_str());
        self.former.iter().any(is_of_kind) && !self.former.contains(&this)
    }

    /// Whether something of unknown age was there before.
    pub fn is_former(&self, kind: Former, id: &str) -> bool {
        self.former.contains(&former(kind, id))
    }
}

/// Something of unknown age, as the row of a sync keeps it.
pub fn former(kind: Former, id: &str) -> String {
    format!("{kind} {id}")
}

/// The numbers that decisions need.
#[derive(Debug, Clone)]
pub struct SyncPolicy {
    /// Snapshots, failures and the age of reports.
    pub sync: config::Sync,
    /// How jobs are watched.
    pub job: config::Job,
    /// What an apply may remove.
    pub guard: config::Guard,
    /// How long a backend is left alone that asks for it.
    pub retry: config::Retry,
    /// How long a claim of a sync is renewed for.
    lease: Duration,
    max_unreleased_claims: i32,
}

impl SyncPolicy {
    /// The policy as configured.
    pub fn new(config: &config::Config) -> Self {
        Self {
            sync: config.sync.clone(),
            job: config.job.clone(),
            guard: config.guard.clone(),
            retry: config.retry.clone(),
            lease: Duration::from_secs(config.worker.sync_lease_s),
            max_unreleased_claims: config.worker.max_unreleased_claims,
        }
    }

    /// The delay before a failed step is tried again.
    pub fn retry_after(&self, failures: i32) -> Duration {
        let doubled = 2_u64.saturating_pow(u32::try_from(failures).unwrap_or(0).min(32));
        Duration::from_secs(
            self.sync.retry_first_s.saturating_mul(doubled).min(self.sync.retry_max_s),
        )
    }

    /// How long a sync waits for the backend that has waited for so long: what failed is not counted, and the pauses grow
    /// all the same.
    pub fn wait_after(&self, waited: Duration) -> Duration {
        let first = Duration::from_secs(self.sync.retry_first_s);
        (waited / 2).clamp(first, Duration::from_secs(self.sync.retry_max_s).max(first))
    }

    /// Whether a sync has waited for longer than the longest pause: then somebody is told.
    pub fn is_long_wait(&self, waited: Duration) -> bool {
        waited >= Duration::from_secs(self.sync.retry_max_s)
    }

    /// When a sync's job is looked at again that has run for `age`; `None` when it is given up.
    pub fn next_poll(&self, age: Duration) -> Option<Duration> {
        self.job.look_after(age, self.sync.poll_first_s, 0.125)
    }

    /// When somebody is looked at again who was looked at `looks` times after a confirmed change, counted from that;
    /// `None` after the last.
    pub fn next_watch(&self, operation: Operation, looks: i32) -> Option<Duration> {
        let list = match operation {
            Operation::Remove => &self.sync.removal_checks_s,
            Operation::Invite | Operation::ChangeRole => &self.sync.invitation_checks_s,
        };
        list.get(usize::try_from(looks).ok()?).copied().map(Duration::from_secs)
    }

    /// When the app is read again after `snapshots` snapshots without a proof.
    pub fn reread_after(&self, snapshots: i32) -> Duration {
        let list = &self.sync.rereads_s;
        let index = usize::try_from(snapshots).unwrap_or(0).min(list.len() - 1);
        Duration::from_secs(list[index])
    }
}

/// What to record after one step.
#[derive(Debug, Clone, PartialEq)]
pub enum SyncOutcome {
    /// A job runs at the backend: look at it again.
    Watch {
        job: String,
        after: Duration,
        /// Whether it was started just now.
        started: bool,
        /// The report whose apply it is; a snapshot otherwise.
        applies: Option<UpdateReport>,
    },
    /// The step failed: begin the snapshot anew later.
    RetryLater {
        why: String,
        /// Whether the backend itself did not answer, which is no failure of this sync.
        waits: bool,
        /// How long the backend asked to be left alone.
        quiet: Duration,
    },
    /// Nobody knows how old something is that the backend made: begin the snapshot anew later, and believe what follows.
    Unknown { kind: Former, id: String },
    /// The app changed while it was read: begin the snapshot anew at once.
    RestartNow { why: String },
    /// The report waits for a person.
    Hold {
        update: UpdateReport,
        /// What Cerby knew before the apply.
        known: Snapshot,
        /// What is desired of the members.
        intents: Vec<report::LatestIntent>,
        reason: String,
    },
    /// The app refused the login that the backend has stored: the sync ends without a snapshot.
    LoginRefused { code: String },
    /// The sync ends without a snapshot.
    Fail { reason: String },
    /// The app was read.
    Judge { snapshot: Snapshot },
    /// The app cannot be read at all: people's word must do.
    Attest,
}
