//! A job: its work, its end and its result.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::fate::{Operation, Outcome};
use super::site::Snapshot;
use super::world::{Member, Place};

/// The effect of a job when it ends.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Change { operation: Operation, changes: Vec<(Member, Outcome)> },
    Sync { snapshot: Snapshot, outcome: Outcome },
    Check { snapshot: Snapshot, outcome: Outcome },
    Apply { report: String, outcome: Outcome },
}

impl Work {
    /// The published name of this kind of work, or our own.
    pub(super) fn workflow(&self) -> &'static str {
        match self {
            Self::Change { operation: Operation::Invite, .. } => "provide_access",
            Self::Change { operation: Operation::Remove, .. } => "revoke_access",
            Self::Change { operation: Operation::ChangeRole, .. } => "update_access",
            Self::Sync { .. } | Self::Check { .. } => "get_business",
            Self::Apply { .. } => "apply_update_report",
        }
    }

    pub(super) fn never_ends(&self) -> bool {
        match self {
            Self::Change { changes, .. } => {
                changes.iter().any(|(_, outcome)| *outcome == Outcome::NeverEnds)
            }
            Self::Sync { outcome, .. }
            | Self::Check { outcome, .. }
            | Self::Apply { outcome, .. } => *outcome == Outcome::NeverEnds,
        }
    }

    /// Whether it reads the members of the app: a sync of a hub, a check of an app.
    pub(super) fn is_snapshot(&self) -> bool {
        matches!(self, Self::Sync { .. } | Self::Check { .. })
    }

    /// Drops what the job read, which is not needed after its end.
    pub(super) fn forget_snapshot(&mut self) {
        if let Self::Sync { snapshot, .. } | Self::Check { snapshot, .. } = self {
            snapshot.clear();
        }
    }

    /// The ids of the members whom it changes.
    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        let changes = match self {
            Self::Change { changes, .. } => changes.as_slice(),
            _ => &[],
        };
        changes.iter().map(|(member, _)| member.id.as_str())
    }
}

/// Why a job ended in error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobError {
    pub(super) code: String,
    pub(super) can_retry: bool,
    pub(super) user_required: bool,
}

impl JobError {
    /// The error of an attempt with this outcome, if it is one.
    pub(super) fn of(outcome: &Outcome) -> Option<Self> {
        let Outcome::Fails { code, lasting, .. } = outcome else {
            return None;
        };
        Some(Self { code: code.clone(), can_retry: !lasting, user_required: *lasting })
    }

    /// The app refused, and would refuse again.
    pub(super) fn refused(code: &str) -> Self {
        Self { code: code.to_owned(), can_retry: false, user_required: false }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) work: Work,
    pub(super) created: Instant,
    pub(super) created_at: DateTime<Utc>,
    pub(super) takes: Duration,
    /// Whether its timestamps lack a zone.
    pub(super) naive: bool,
    /// Whether somebody started it again by hand.
    pub(super) is_restarted: bool,
    /// The status that it reports before it ends, instead of the usual ones.
    pub(super) unended_status: Option<String>,
    /// Whether it counts towards the jobs that a client runs at once.
    pub(super) is_counted: bool,
    /// Present once it ended.
    pub(super) end: Option<Result<(), JobError>>,
}

impl Job {
    pub(super) fn status(&self, now: Instant) -> &str {
        let age = now.saturating_duration_since(self.created);
        match (&self.end, &self.unended_status) {
            (Some(Ok(())), _) => "finished",
            (Some(Err(_)), _) => "error",
            (None, Some(word)) => word,
            (None, None) => self.usual_status(age),
        }
    }

    fn usual_status(&self, age: Duration) -> &'static str {
        if age * 10 < self.takes {
            return if self.is_restarted { "retrying" } else { "created" };
        }
        if age * 4 < self.takes { "started" } else { "running" }
    }

    pub(super) fn updated_at(&self) -> DateTime<Utc> {
        match self.end {
            Some(_) => self.created_at + TimeDelta::from_std(self.takes).unwrap_or_default(),
            None => self.created_at,
        }
    }
}
