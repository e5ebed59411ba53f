//! One claimed sync, one step: start, watch, report, apply or read, and say what to record.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::guard::{self, Facts, Ruling};
use super::store::RemovalFacts;
use super::{ClaimedSync, HeldDecision, Next, Policy, Procedure, SyncState};
use crate::backend::{BackendError, Client, Progress, UpdateReport};
use crate::catalogue;
use crate::lease::LeaseLost;
use crate::store::StoreError;
use crate::telemetry::chain;

/// What a step may ask the database; no transaction is open across its HTTP calls.
pub struct Step<'a> {
    /// The backend.
    pub backend: &'a Client,
    /// The numbers.
    pub policy: &'a Policy,
    /// The pool, for facts about removals.
    pub pool: &'a sqlx::PgPool,
    /// The sync.
    pub sync: &'a ClaimedSync,
}

impl Step<'_> {
    /// Works on the sync for one step.
    pub async fn run(&self) -> Result<Next, StoreError> {
        if self.sync.decision == Some(HeldDecision::Rejected) {
            return Ok(Next::Fail { reason: "a person rejected the report".to_owned() });
        }
        if self.sync.unreleased_claims > self.policy.max_unreleased_claims {
            return Ok(Next::Fail { reason: "workers that took this sync died".to_owned() });
        }
        match (self.sync.state, &self.sync.running) {
            (SyncState::ReportReady, _) => self.report().await,
            (SyncState::Started | SyncState::Applying, Some((job, since))) => {
                self.watch(job, *since).await
            }
            (SyncState::Requested | SyncState::Started | SyncState::Applying, _) => {
                Ok(self.start().await)
            }
        }
    }

    async fn start(&self) -> Next {
        if catalogue::find(&self.sync.application).is_some_and(|app| !app.can_sync) {
            return Next::Attest;
        }
        let (workspace, integration) = (&self.sync.workspace, &self.sync.integration);
        let started = match self.sync.procedure {
            Procedure::CheckAndApply => self.backend.start_check(workspace, integration).await,
            Procedure::Sync => self.backend.start_sync(workspace, integration).await,
        };
        match started {
            Ok(job) => Next::Watch { job, after: self.first_look(), started: true, applies: None },
            Err(error) => self.failed(&error),
        }
    }

    async fn watch(&self, job: &str, since: DateTime<Utc>) -> Result<Next, StoreError> {
        let age = (self.sync.claimed_at - since).to_std().unwrap_or_default();
        match self.backend.job(&self.sync.workspace, job).await {
            Ok(answer) => match answer.progress {
                Progress::Running => Ok(match self.policy.job.next_look(age) {
                    Some(after) => self.still(job, after),
                    None => again("the backend's job never ended"),
                }),
                Progress::Failed(failure) if failure.refuses_login() => {
                    Ok(Next::LoginRefused { code: failure.code.unwrap_or_default() })
                }
                Progress::Failed(failure) => {
                    let code = failure.code.unwrap_or_else(|| "no code".to_owned());
                    Ok(again(&format!("the backend's job failed: {}", code)))
                }
                Progress::Finished => self.after_job().await,
            },
            Err(BackendError::NotFound { .. }) => {
                Ok(again("the backend does not know its job any more"))
            }
            // An answer that is none, for as long as a job may take: waiting brings no other.
            Err(error @ (BackendError::Nonsense(_) | BackendError::Refused { .. }))
                if self.policy.job.next_look(age).is_none() =>
            {
                Ok(again(&chain(&error).to_string()))
            }
            // The job is what we know; it stays until the backend speaks of it.
            Err(error) => {
                let quiet = error.quiet(&self.policy.retry);
                Ok(self.still(job, self.policy.job.longest_look().max(quiet)))
            }
        }
    }

    async fn after_job(&self) -> Result<Next, StoreError> {
        match (self.sync.procedure, self.sync.state) {
            (Procedure::CheckAndApply, SyncState::Started) => self.report().await,
            _ => Ok(self.read().await),
        }
    }

    async fn report(&self) -> Result<Next, StoreError> {
        let found = match self.backend.report(&self.sync.workspace, &self.sync.integration).await {
            Ok(found) => found,
            Err(error) => return Ok(self.failed(&error)),
        };
        let approved = self.is_approved();
        match found {
            Some(report) if approved && self.sync.report.as_ref() != Some(&report.id) => {
                Ok(Next::Fail { reason: "the approved report was replaced by another".to_owned() })
            }
            Some(report) if !report.applied => self.guarded(report, approved).await,
            None if approved => Ok(Next::Fail { reason: "the approved report is gone".to_owned() }),
            _ => Ok(self.read().await),
        }
    }

    fn is_approved(&self) -> bool {
        self.sync.decision == Some(HeldDecision::Approved)
    }

    async fn guarded(&self, report: UpdateReport, approved: bool) -> Result<Next, StoreError> {
        if is_empty(&report) {
            return Ok(self.read().await);
        }
        let known =
            super::store::removal_facts(self.pool, self.sync, &report.removed_members).await?;
        let facts = facts(self.sync, &report, &known, approved);
        let max_age = Duration::from_secs(self.policy.sync.report_max_age_s);
        match guard::rule(&self.policy.guard, max_age, &facts) {
            Ruling::Apply => self.apply(report, facts.unexpected).await,
            Ruling::Hold(reason) => Ok(Next::Hold { report, reason }),
            Ruling::Refuse(reason) if approved => Ok(Next::Fail { reason }),
            Ruling::Refuse(reason) => Ok(again(&reason)),
        }
    }

    /// Whatever becomes of the answer, the guard remembers what it let pass.
    async fn apply(&self, report: UpdateReport, unexpected: u32) -> Result<Next, StoreError> {
        if self.sync.lease.left() <= self.backend.request_timeout() {
            return Ok(waits("too little of the lease was left to apply"));
        }
        let unexpected = i64::from(unexpected);
        if self.count_unexpected(unexpected).await?.is_err() {
            return Ok(waits("the sync was claimed again before the apply"));
        }
        let (workspace, integration) = (&self.sync.workspace, &self.sync.integration);
        let error = match self.backend.apply_report(workspace, integration, &report.id).await {
            Ok(job) => {
                return Ok(Next::Watch {
                    job,
                    after: self.first_look(),
                    started: true,
                    applies: Some(report),
                });
            }
            Err(error) => error,
        };
        if !error.is_uncertain() && self.count_unexpected(-unexpected).await?.is_err() {
            return Ok(waits("the sync was claimed again after the apply"));
        }
        Ok(match error {
            BackendError::Refused { status: 409, .. } if self.is_approved() => {
                Next::Fail { reason: "the app changed after the approved report".to_owned() }
            }
            BackendError::Refused { status: 409, .. } => again("the app changed after the report"),
            error => self.failed(&error),
        })
    }

    async fn count_unexpected(&self, change: i64) -> Result<Result<(), LeaseLost>, StoreError> {
        match change {
            0 => Ok(Ok(())),
            _ => super::store::count_unexpected(self.pool, self.sync, change).await,
        }
    }

    async fn read(&self) -> Next {
        match self.backend.members(&self.sync.workspace, &self.sync.integration).await {
            Ok(reading) => Next::Judge { reading },
            Err(error) => self.failed(&error),
        }
    }

    /// An integration that is gone cannot be read; a backend that does not answer is waited for.
    fn failed(&self, error: &BackendError) -> Next {
        let answered = match error {
            BackendError::NotFound { .. } => {
                let reason = "the backend does not know the integration".to_owned();
                return Next::Fail { reason };
            }
            BackendError::Refused { .. }
            | BackendError::Nonsense(_)
            | BackendError::Broken { .. } => true,
            _ => false,
        };
        let quiet = error.quiet(&self.policy.retry);
        Next::Again { why: chain(error).to_string(), waits: !answered, quiet }
    }

    fn still(&self, job: &str, after: Duration) -> Next {
        Next::Watch { job: job.to_owned(), after, started: false, applies: None }
    }

    fn first_look(&self) -> Duration {
        Duration::from_secs_f64(self.policy.job.first_look_s)
    }
}

fn facts(sync: &ClaimedSync, report: &UpdateReport, known: &RemovalFacts, approved: bool) -> Facts {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let removed = count(report.removed_members.len());
    Facts {
        // One made a moment ahead of our clock is new.
        age: report.created_at.map(|made| (sync.claimed_at - made).to_std().unwrap_or_default()),
        read_of_total: report.members_read.zip(report.members_total),
        removed,
        unexpected: removed.saturating_sub(known.expected),
        unexpected_before: known.unexpected_in_24_h,
        approved,
    }
}

fn is_empty(report: &UpdateReport) -> bool {
    report.new_members.is_empty()
        && report.removed_members.is_empty()
        && report.changed_members.is_empty()
}

fn again(why: &str) -> Next {
    Next::Again { why: why.to_owned(), waits: false, quiet: Duration::ZERO }
}

fn waits(why: &str) -> Next {
    Next::Again { why: why.to_owned(), waits: true, quiet: Duration::ZERO }
}
