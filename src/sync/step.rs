//! One claimed sync, one step: start, poll, report, apply or read, and return what to record.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::guard::{self, Facts, Removals, Ruling};
use super::report::KnownMember;
use super::report::LatestIntent;
use super::verdict::Sightings;
use super::{
    ClaimedSync, HeldDecision, Procedure, RunKind, SyncOutcome, SyncPolicy, SyncState, plausible,
};
use crate::backend::{BackendError, Client, Gap, Progress, Snapshot, UpdateReport};
use crate::catalogue;
use crate::database::PgPool;
use crate::lease::LeaseLost;
use crate::membership::{MemberKey, Membership};
use crate::store::{StoreError, elapsed};
use crate::telemetry::chain;

/// Servers report their time in whole seconds, and a request takes a while.
const CLOCK_STEP: Duration = Duration::from_secs(2);

/// After this many jobs in a row that seem to have begun too early, the age of a snapshot counts as unknown.
const JOBS_TOO_EARLY: i32 = 3;

/// The inputs of a step. No transaction is open across its HTTP calls.
pub struct Step<'a> {
    pub backend: &'a Client,
    pub policy: &'a SyncPolicy,
    /// For the facts about removals.
    pub pool: &'a PgPool,
    pub sync: &'a ClaimedSync,
}

impl Step<'_> {
    pub async fn run(&self) -> Result<SyncOutcome, StoreError> {
        if self.sync.decision == Some(HeldDecision::Rejected) {
            return Ok(fails("a person rejected the report"));
        }
        if self.sync.unreleased_claims > self.policy.max_unreleased_claims {
            return Ok(fails("workers that took this sync died"));
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

    async fn start(&self) -> SyncOutcome {
        if !catalogue::is_readable(&self.sync.application) {
            return SyncOutcome::Attest;
        }
        let (workspace, integration) = (&self.sync.workspace, &self.sync.integration);
        let started = match self.sync.procedure {
            Procedure::CheckAndApply => self.backend.start_check(workspace, integration).await,
            Procedure::Sync => self.backend.start_sync(workspace, integration).await,
        };
        match started {
            Ok(job) => {
                SyncOutcome::Watch { job, after: self.poll_first(), started: true, applies: None }
            }
            Err(error) => self.failed(&error).await,
        }
    }

    async fn watch(&self, job: &str, since: DateTime<Utc>) -> Result<SyncOutcome, StoreError> {
        let age = elapsed(since, self.sync.claimed_at);
        let asked = Instant::now();
        match self.backend.job(&self.sync.workspace, job).await {
            Ok(answer) => match answer.progress {
                Progress::Running => Ok(match self.policy.next_poll(age) {
                    Some(after) => self.still(job, after),
                    None => again("the backend's job never ended"),
                }),
                Progress::Failed(failure) if failure.refuses_login() => {
                    Ok(SyncOutcome::LoginRefused { code: failure.code.unwrap_or_default() })
                }
                Progress::Failed(failure) => {
                    let code = failure.code.unwrap_or_else(|| "no code".to_owned());
                    Ok(again(&format!("the backend's job failed: {}", code)))
                }
                Progress::Finished => match self.age_of_job(job, answer.age, asked.elapsed()) {
                    Age::Younger => self.after_job().await,
                    Age::Older => Ok(self.of_unknown_age()),
                    Age::Unknown if self.sync.is_earlier_run(RunKind::Job, job) => {
                        Ok(self.of_unknown_age())
                    }
                    Age::Unknown => Ok(unknown(RunKind::Job, job)),
                },
            },
            Err(BackendError::NotFound { .. }) => Ok(again("the backend no longer knows its job")),
            // The answer is not a job, for as long as a job may take. Waiting longer brings no other answer.
            Err(error @ (BackendError::UnexpectedResponse(_) | BackendError::Refused { .. }))
                if self.policy.next_poll(age).is_none() =>
            {
                Ok(again(&chain(&error).to_string()))
            }
            // The rate was limited for longer than a job may take. What the job read is lost, and the sync waits; that
            // wait has its own limit.
            Err(error @ BackendError::RateLimited { .. })
                if self.policy.next_poll(age).is_none() =>
            {
                Ok(self.failed(&error).await)
            }
            // The same for a job about which alone the backend gives no usable answer, while it answers about the app.
            Err(error)
                if self.policy.next_poll(age).is_none() && self.answers_otherwise(&error).await =>
            {
                Ok(again(&chain(&error).to_string()))
            }
            // The job is still in flight as far as known. It stays so until the backend answers about it.
            Err(error) => {
                let min_wait = error.retry_delay(&self.policy.retry);
                Ok(self.still(job, self.policy.job.longest_poll().max(min_wait)))
            }
        }
    }

    /// Whether a job that read the app began after this sync asked for it. A backend may answer with a job that was
    /// already running, and what such a job read proves nothing of a later change.
    fn age_of_job(&self, job: &str, age: Option<Duration>, asking: Duration) -> Age {
        if self.sync.state != SyncState::Started {
            return Age::Younger; // it applies a report whose age was checked
        }
        self.compared(age, asking, RunKind::Job, job)
    }

    /// Compares with the time when this sync asked. Each age is measured by the clock that wrote it. If the age is
    /// unknown, a thing that follows another of its kind is younger.
    fn compared(&self, age: Option<Duration>, asking: Duration, kind: RunKind, id: &str) -> Age {
        let ours = self.sync.started_at.map(|at| elapsed(at, self.sync.claimed_at) + asking);
        match (age, ours) {
            (Some(age), Some(ours)) if age > ours + CLOCK_STEP => Age::Older,
            (None, _) if !self.sync.is_successor(kind, id) => Age::Unknown,
            _ => Age::Younger,
        }
    }

    /// A job that was already running ends, and another begins. If this happens again and again, the reported times are
    /// wrong. Then the age of a snapshot is unknown, and it proves nothing.
    fn of_unknown_age(&self) -> SyncOutcome {
        let why = "the backend's job seems to have begun before it was asked for";
        match self.sync.failures + 1 < JOBS_TOO_EARLY {
            true => again(why),
            false => fails(&format!("{why}, again and again: the age of what it read is unknown")),
        }
    }

    /// Whether the backend gives a usable answer about the app, although it gave none to the request.
    async fn answers_otherwise(&self, error: &BackendError) -> bool {
        let (workspace, integration) = (&self.sync.workspace, &self.sync.integration);
        !error.is_usable()
            && !error.is_connection_or_key()
            && !self.backend.is_down(workspace, integration)
            && self.backend.integration(workspace, integration).await.is_ok()
    }

    async fn after_job(&self) -> Result<SyncOutcome, StoreError> {
        match (self.sync.procedure, self.sync.state) {
            (Procedure::CheckAndApply, SyncState::Started) => self.report().await,
            (Procedure::CheckAndApply, _) | (Procedure::Sync, _) => self.read().await,
        }
    }

    async fn report(&self) -> Result<SyncOutcome, StoreError> {
        let approved = self.is_approved();
        if approved && self.sync.held_until.is_some_and(|until| until < self.sync.claimed_at) {
            return Ok(fails("the approval has expired"));
        }
        let asked = Instant::now();
        let found = match self.backend.report(&self.sync.workspace, &self.sync.integration).await {
            Ok(found) => found,
            Err(error) => return Ok(self.failed(&error).await),
        };
        match found {
            Some((update, _)) if approved && self.sync.report.as_ref() != Some(&update.id) => {
                Ok(fails("the approved report was replaced by another"))
            }
            Some((update, age)) if !update.applied && !is_empty(&update) => {
                match self.compared(age, asked.elapsed(), RunKind::Report, &update.id) {
                    // The backend makes no other report, so a person decides.
                    Age::Unknown
                        if !approved && !self.sync.is_earlier_run(RunKind::Report, &update.id) =>
                    {
                        Ok(unknown(RunKind::Report, &update.id))
                    }
                    compared => self.guarded(update, age, compared).await,
                }
            }
            None if approved => Ok(fails("the approved report is gone")),
            _ => self.read().await,
        }
    }

    fn is_approved(&self) -> bool {
        self.sync.decision == Some(HeldDecision::Approved)
    }

    /// Asks the guard. It must know whom an apply would remove, so what Cerby knows is read first.
    async fn guarded(
        &self,
        update: UpdateReport,
        age: Option<Duration>,
        compared: Age,
    ) -> Result<SyncOutcome, StoreError> {
        let (workspace, integration) = (&self.sync.workspace, &self.sync.integration);
        let mut facts = self.facts(&update, age, compared);
        let (mut known, mut intents) = (Snapshot::default(), Vec::new());
        if facts.removed > 0 || !update.changed_members.is_empty() {
            known = match self.backend.members(workspace, integration).await {
                Ok(known) => known,
                Err(error) => return Ok(self.failed(&error).await),
            };
            intents = super::report::store::intents(self.pool, self.sync).await?;
            facts.unexpected_before =
                guard::store::unexpected_in_24_h(self.pool, workspace, integration).await?;
            facts = self.removals(&update, &known, &intents).judge(facts);
        }
        let is_held_one = |hash: &String| *hash == super::report::hash(&known.members);
        if facts.approved && !self.sync.held_hash.as_ref().is_some_and(is_held_one) {
            return Ok(fails("what Cerby knows changed after the report was held"));
        }
        let max_age = Duration::from_secs(self.policy.sync.report_max_age_s);
        match guard::rule(&self.policy.guard, max_age, &facts) {
            Ruling::Apply => self.apply(update, facts.unexpected).await,
            Ruling::Hold(reason) => Ok(SyncOutcome::Hold { update, known, intents, reason }),
            Ruling::Refuse(reason) if facts.approved => Ok(SyncOutcome::Fail { reason }),
            Ruling::Refuse(reason) => Ok(again(&reason)),
        }
    }

    fn facts(&self, update: &UpdateReport, age: Option<Duration>, compared: Age) -> Facts {
        Facts {
            // A report that followed one of unknown age is at most as old as this sync.
            age: age.or((compared == Age::Younger).then_some(Duration::ZERO)),
            is_older_than_question: compared == Age::Older,
            read_of_total: update.members_read.zip(update.members_total),
            removed: guard::count(update.removed_members.len()),
            approved: self.is_approved(),
            ..Facts::default()
        }
    }

    fn removals<'a>(
        &'a self,
        update: &'a UpdateReport,
        known: &'a Snapshot,
        intents: &'a [LatestIntent],
    ) -> Removals<'a> {
        let configured = &self.policy.guard.administrator_roles;
        Removals {
            update,
            known,
            intents,
            started_at: self.sync.started_at.unwrap_or(self.sync.claimed_at),
            own_account: self.sync.own_account.as_deref(),
            administrator_roles: self.sync.administrator_roles.as_ref().unwrap_or(configured),
        }
    }

    /// Applies a report. The guard counts the removals first, so that it remembers them even if the answer is lost.
    async fn apply(
        &self,
        report: UpdateReport,
        unexpected: u32,
    ) -> Result<SyncOutcome, StoreError> {
        // The answer must come within the lease, however long the steps before took.
        if super::store::renew(self.pool, self.sync, self.policy.lease).await?.is_err() {
            return Ok(waits("the sync was claimed again before the apply"));
        }
        let unexpected = i64::from(unexpected);
        if self.count_unexpected(unexpected).await?.is_err() {
            return Ok(waits("the sync was claimed again before the apply"));
        }
        let (workspace, integration) = (&self.sync.workspace, &self.sync.integration);
        let error = match self.backend.apply_report(workspace, integration, &report.id).await {
            Ok(job) => {
                return Ok(SyncOutcome::Watch {
                    job,
                    after: self.poll_first(),
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
                fails("the app changed after the approved report")
            }
            BackendError::Refused { status: 409, .. } => {
                SyncOutcome::RestartNow { why: "the app changed after the report".to_owned() }
            }
            error => self.failed(&error).await,
        })
    }

    async fn count_unexpected(&self, change: i64) -> Result<Result<(), LeaseLost>, StoreError> {
        match change {
            0 => Ok(Ok(())),
            _ => guard::store::count_unexpected(self.pool, self.sync, change).await,
        }
    }

    async fn read(&self) -> Result<SyncOutcome, StoreError> {
        let (workspace, integration) = (&self.sync.workspace, &self.sync.integration);
        let mut snapshot = match self.backend.members(workspace, integration).await {
            Ok(snapshot) => snapshot,
            Err(error) => return Ok(self.failed(&error).await),
        };
        match self.doubts(&snapshot).await? {
            Ok(gap) => snapshot.gaps.extend(gap),
            Err(error) => return Ok(self.failed(&error).await),
        }
        Ok(SyncOutcome::Judge { snapshot })
    }

    /// The gap of a complete list that shows that people are gone and is not believed yet.
    async fn doubts(
        &self,
        snapshot: &Snapshot,
    ) -> Result<Result<Option<Gap>, BackendError>, StoreError> {
        if !snapshot.is_complete() {
            return Ok(Ok(None));
        }
        let known = super::report::store::members(self.pool, self.sync).await?;
        let sightings = Sightings::new(snapshot);
        let missing = plausible::newly_missing(&sightings, &known);
        match self.finds_any(&missing).await {
            Ok(true) if snapshot.members.is_empty() => return Ok(Ok(Some(Gap::Empty))),
            Ok(true) => return Ok(Ok(Some(Gap::Shrunk))),
            Ok(false) => {}
            Err(error) => return Ok(Err(error)),
        }
        let past = super::report::store::past(self.pool, self.sync).await?;
        let guard = &self.policy.guard;
        let (few, most_percent) = (guard.max_unexpected_removals, guard.max_unexpected_percent);
        let doubt = plausible::doubt(snapshot, &sightings, &past, &known, most_percent);
        let Some(doubt) = doubt else { return Ok(Ok(None)) };
        let mut asked_for = plausible::to_ask_for(&sightings, &known);
        if !plausible::is_believed(&doubt, &past, &asked_for, few, self.sync.claimed_at) {
            return Ok(Ok(Some(doubt.gap)));
        }
        // Those who are missing for the first time were looked up just now.
        asked_for.retain(|one| !missing.iter().any(|asked| std::ptr::eq(*asked, *one)));
        Ok(self.finds_any(&asked_for).await.map(|found| found.then_some(doubt.gap)))
    }

    /// Whether the backend finds any of these members when they are looked up one by one.
    async fn finds_any(&self, members: &[&KnownMember]) -> Result<bool, BackendError> {
        for one in members {
            let key = MemberKey {
                workspace: self.sync.workspace.clone(),
                integration: self.sync.integration.clone(),
                member: one.identity.member.clone(),
            };
            let found = self.backend.member(&key).await?;
            if found.is_some_and(|found| found.membership != Membership::InvitationExpired) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The outcome of a failed request. A sync fails if the integration is gone. It waits for a backend that does not
    /// answer, unless the backend answers about the same app otherwise.
    async fn failed(&self, error: &BackendError) -> SyncOutcome {
        let is_failure = match error {
            BackendError::NotFound { .. } => {
                return fails("the backend does not know the integration");
            }
            BackendError::Refused { .. }
            | BackendError::UnexpectedResponse(_)
            | BackendError::ServerError { .. } => true,
            error => self.answers_otherwise(error).await,
        };
        let min_wait = error.retry_delay(&self.policy.retry);
        SyncOutcome::RetryLater { why: chain(error).to_string(), waits: !is_failure, min_wait }
    }

    fn still(&self, job: &str, after: Duration) -> SyncOutcome {
        SyncOutcome::Watch { job: job.to_owned(), after, started: false, applies: None }
    }

    fn poll_first(&self) -> Duration {
        self.policy.next_poll(Duration::ZERO).unwrap_or_default()
    }
}

/// Whether the backend made something after this sync asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Younger,
    /// It existed before this sync asked.
    Older,
    Unknown,
}

fn unknown(kind: RunKind, id: &str) -> SyncOutcome {
    SyncOutcome::Unknown { kind, id: id.to_owned() }
}

fn is_empty(report: &UpdateReport) -> bool {
    report.new_members.is_empty()
        && report.removed_members.is_empty()
        && report.changed_members.is_empty()
}

fn again(why: &str) -> SyncOutcome {
    SyncOutcome::RetryLater { why: why.to_owned(), waits: false, min_wait: Duration::ZERO }
}

fn waits(why: &str) -> SyncOutcome {
    SyncOutcome::RetryLater { why: why.to_owned(), waits: true, min_wait: Duration::ZERO }
}

fn fails(why: &str) -> SyncOutcome {
    SyncOutcome::Fail { reason: why.to_owned() }
}
