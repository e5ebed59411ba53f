//! Stage 3: prove a change by reading the app again.
//!
//! This module owns syncs. A sync takes one snapshot of an integration's real members, by the procedure of its kind,
//! imports what it found, and judges the done actions. Its steps are durable: the progress is in the row, and another
//! worker goes on from there. The module does not know tasks or retries.
//!
//! Invariant: a verdict rests on a snapshot that started after the change was marked done.

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
    Procedure {
        /// Apps: a check for updates, its report, and the apply of the report.
        CheckAndApply = "check_and_apply",
        Sync = "sync",
    }
}

words! {
    /// How far a sync is that has a step due.
    SyncState {
        Requested = "requested",
        /// The backend was asked to read the app, or is about to be asked.
        Started = "started",
        /// A person decided on the held report.
        ReportReady = "report_ready",
        Applying = "applying",
    }
}

words! {
    SyncEnd {
        Finished = "finished",
        Failed = "failed",
    }
}

words! {
    /// What the backend may have made at an unknown time.
    RunKind {
        /// A job that read the app.
        Job = "job",
        Report = "report",
    }
}

words! {
    HeldDecision {
        /// Apply exactly this report.
        Approved = "approved",
        Rejected = "rejected",
    }
}

/// A sync that is claimed under a lease.
#[derive(Debug, Clone)]
pub struct ClaimedSync {
    pub id: i64,
    pub lease: Lease,
    pub workspace: String,
    pub integration: String,
    /// The name of the app in the catalogue.
    pub application: String,
    pub procedure: Procedure,
    pub state: SyncState,
    /// The backend's job in flight, and when it was started.
    pub running: Option<(String, DateTime<Utc>)>,
    /// The id of the report that is being applied or decided on.
    pub report: Option<String>,
    /// The content of that report, while it is being applied.
    pub update: Option<UpdateReport>,
    /// The hash of what Cerby knew when the report was held.
    pub held_hash: Option<String>,
    /// Until when a decision on the held report is valid.
    pub held_until: Option<DateTime<Utc>>,
    /// When the snapshot began; `None` for a request.
    pub started_at: Option<DateTime<Utc>>,
    /// When the snapshot began, or when a person decided on its report, whichever is later.
    pub trying_since: Option<DateTime<Utc>>,
    /// The account with which the automation logs in, if people set it.
    pub own_account: Option<String>,
    /// Whether, where the app cannot be read, a person's word closes an action only after a second person confirmed it.
    pub four_eyes: bool,
    /// When people last made this less strict. Actions that were opened before still need the second person.
    pub loosened_at: Option<DateTime<Utc>>,
    /// The roles that make an administrator, if people set them.
    pub administrator_roles: Option<Vec<String>>,
    pub failures: i32,
    pub decision: Option<HeldDecision>,
    /// Claims in a row, this one included, that were not released.
    pub unreleased_claims: i32,
    /// The time of the claim, by the clock of the database.
    pub claimed_at: DateTime<Utc>,
    /// Jobs and reports of unknown age that already existed. What follows them is younger than this sync.
    pub earlier_runs: Vec<String>,
    /// The trace contexts of the tasks behind unfinished actions, by the actions' ids; only while traces are on.
    pub traceparents: Vec<(i64, String)>,
}

impl ClaimedSync {
    /// Whether something of unknown age is younger than the start of this sync. It is, if something else of its kind
    /// already existed before this sync asked.
    pub fn is_successor(&self, kind: RunKind, id: &str) -> bool {
        let this = earlier_run(kind, id);
        let is_of_kind = |one: &String| one.split_whitespace().next() == Some(kind.as_str());
        self.earlier_runs.iter().any(is_of_kind) && !self.earlier_runs.contains(&this)
    }

    /// Whether something of unknown age already existed before.
    pub fn is_earlier_run(&self, kind: RunKind, id: &str) -> bool {
        self.earlier_runs.contains(&earlier_run(kind, id))
    }
}

/// A thing of unknown age, as the row of a sync stores it.
pub fn earlier_run(kind: RunKind, id: &str) -> String {
    format!("{kind} {id}")
}

/// The configured limits that the decisions need.
#[derive(Debug, Clone)]
pub struct SyncPolicy {
    /// Snapshots, failures and the age of reports.
    pub sync: config::Sync,
    /// How often jobs are polled, and for how long.
    pub job: config::Job,
    /// What an apply may remove.
    pub guard: config::Guard,
    /// How long to wait for a backend that limits the rate or fails.
    pub retry: config::Retry,
    /// For how long the claim of a sync is renewed.
    lease: Duration,
    max_unreleased_claims: i32,
}

impl SyncPolicy {
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

    /// The next pause of a sync that has already waited this long for the backend. Such waits do not count as failures,
    /// but the pauses grow all the same.
    pub fn wait_after(&self, waited: Duration) -> Duration {
        let first = Duration::from_secs(self.sync.retry_first_s);
        (waited / 2).clamp(first, Duration::from_secs(self.sync.retry_max_s).max(first))
    }

    /// Whether a sync has waited for at least the longest pause. Such a wait is logged.
    pub fn is_long_wait(&self, waited: Duration) -> bool {
        waited >= Duration::from_secs(self.sync.retry_max_s)
    }

    /// The time until a sync's job that has run for `age` is polled again; `None` when the daemon gives it up.
    pub fn next_poll(&self, age: Duration) -> Option<Duration> {
        self.job.poll_delay(age, self.sync.poll_first_s, 0.125)
    }

    /// The time from a confirmed change to the next check of a member who was checked `looks` times since; `None` after
    /// the last check.
    pub fn next_watch(&self, operation: Operation, looks: i32) -> Option<Duration> {
        let list = match operation {
            Operation::Remove => &self.sync.removal_checks_s,
            Operation::Invite | Operation::ChangeRole => &self.sync.invitation_checks_s,
        };
        list.get(usize::try_from(looks).ok()?).copied().map(Duration::from_secs)
    }

    /// The time until the app is read again after `snapshots` snapshots without proof.
    pub fn reread_after(&self, snapshots: i32) -> Duration {
        let list = &self.sync.rereads_s;
        let index = usize::try_from(snapshots).unwrap_or(0).min(list.len() - 1);
        Duration::from_secs(list[index])
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum SyncOutcome {
    /// A job runs at the backend: poll it again.
    Watch {
        job: String,
        after: Duration,
        started: bool,
        /// The report that the job applies; `None` if the job reads the app.
        applies: Option<UpdateReport>,
    },
    /// The step failed: take the snapshot again later, from the start.
    RetryLater {
        why: String,
        /// Whether the sync only waited, for the backend or after a lost lease. That is no failure of the sync.
        waits: bool,
        /// The shortest wait that the backend asked for.
        min_wait: Duration,
    },
    /// The age of something that the backend made is unknown: take the snapshot again later, and trust what follows.
    Unknown {
        kind: RunKind,
        id: String,
    },
    /// The app changed while it was read: take the snapshot again at once.
    RestartNow {
        why: String,
    },
    Hold {
        update: UpdateReport,
        /// What Cerby knew before the apply.
        known: Snapshot,
        /// The desired state of the members.
        intents: Vec<report::LatestIntent>,
        reason: String,
    },
    /// The app rejected the stored login: the sync ends without a snapshot.
    LoginRefused {
        code: String,
    },
    Fail {
        reason: String,
    },
    Judge {
        snapshot: Snapshot,
    },
    /// The app cannot be read at all: only a person's word can close its actions.
    Attest,
}
