//! The stage of syncs: claims syncs with a step due, runs the step, and records its outcome.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;

use super::judging::{self, VerdictToWrite};
use super::settlement::{
    LOGIN_WORKS, LogLine, judge_actions, judge_login, log_doubt, log_long_wait, log_verdicts,
    settle,
};
use super::{Recorded, not_recorded};
use crate::backend::{Client, Opening, Scope};
use crate::config::{self, Config};
use crate::database::PgPool;
use crate::emit;
use crate::lease::LeaseLost;
use crate::manual_action::status::ActionStatus;
use crate::store::{StoreError, begin_briefly, elapsed, with_timeout};
use crate::sync::report::classify;
use crate::sync::store::Quota;
use crate::sync::verdict::Verdict;
use crate::sync::{self, ClaimedSync};
use crate::worker::{Stage, within};

/// A confirmation by a second person is applied when it comes. In case one was missed, the app is checked this often.
const CONFIRMATION_CHECK_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

pub struct SyncStage {
    pub pool: PgPool,
    pub backend: Client,
    pub policy: sync::SyncPolicy,
    pub deadlines: config::ManualAction,
    /// How long a claim lasts unless it is renewed.
    pub lease: Duration,
    /// How long one step may take.
    pub longest_step: Duration,
    /// How long the database may take to answer.
    pub query_timeout: Duration,
}

impl SyncStage {
    pub fn new(config: &Config, pool: PgPool, backend: Client) -> Arc<Self> {
        Arc::new(Self {
            pool,
            backend,
            policy: sync::SyncPolicy::new(config),
            deadlines: config.manual_action.clone(),
            lease: Duration::from_secs(config.worker.sync_lease_s),
            longest_step: Duration::from_secs(config.worker.sync_step_s),
            query_timeout: config.database.query_timeout(),
        })
    }

    /// Claims a sync for each workspace or app whose outage may be over, as is done for tasks.
    async fn claim_openings(
        &self,
        quota: &Quota,
        syncs: &mut Vec<ClaimedSync>,
    ) -> Result<(), StoreError> {
        for Opening { scope, .. } in self.backend.openings() {
            if usize::try_from(quota.syncs).is_ok_and(|most| syncs.len() >= most) {
                return Ok(());
            }
            let key = scope.key();
            let resting = quota.resting.iter().filter(|one| **one != key).cloned().collect();
            let quota = Quota { syncs: 1, resting, only: Some(key) };
            let claiming = sync::store::claim(&self.pool, &quota, self.lease);
            let claimed = with_timeout(self.query_timeout, claiming).await?;
            self.backend.let_through(&scope, claimed.len());
            syncs.extend(claimed);
        }
        Ok(())
    }

    /// Starts a requested sync, then runs a step of it.
    async fn start_and_step(
        &self,
        sync: &ClaimedSync,
    ) -> Result<Result<sync::SyncOutcome, LeaseLost>, StoreError> {
        if sync.state == sync::SyncState::Requested
            && let Err(lost) = with_timeout(self.query_timeout, start_sync(self, sync)).await?
        {
            return Ok(Err(lost));
        }
        let step = sync::step::Step {
            backend: &self.backend,
            policy: &self.policy,
            pool: &self.pool,
            sync,
        };
        match within(self.longest_step, self.run_and_renew(step)).await {
            Some(next) => next,
            None => Ok(Ok(sync::SyncOutcome::RetryLater {
                why: "the snapshot took longer than worker.sync_step_s".to_owned(),
                waits: false,
                min_wait: Duration::ZERO,
            })),
        }
    }

    /// Runs a step, and renews the lease meanwhile. Reading many thousands of members takes longer than another worker
    /// should wait for a sync whose worker died.
    async fn run_and_renew(
        &self,
        step: sync::step::Step<'_>,
    ) -> Result<Result<sync::SyncOutcome, LeaseLost>, StoreError> {
        let sync = step.sync;
        let mut run = pin!(step.run());
        loop {
            if let Some(next) = within(self.lease / 3, &mut run).await {
                return Ok(Ok(next?));
            }
            let renewing = sync::store::renew(&self.pool, sync, self.lease);
            if let Err(lost) = with_timeout(self.query_timeout, renewing).await? {
                return Ok(Err(lost));
            }
        }
    }
}

impl Stage for SyncStage {
    type Claim = ClaimedSync;
    type Outcome = sync::SyncOutcome;

    async fn claim(&self, limit: usize) -> Result<Vec<ClaimedSync>, StoreError> {
        let resting = self.backend.resting();
        let quota = Quota {
            syncs: i64::try_from(limit).unwrap_or(i64::MAX),
            resting: resting.iter().map(Scope::key).collect(),
            only: None,
        };
        let claiming = sync::store::claim(&self.pool, &quota, self.lease);
        let mut syncs = with_timeout(self.query_timeout, claiming).await?;
        if !resting.is_empty() {
            self.claim_openings(&quota, &mut syncs).await?;
        }
        Ok(syncs)
    }

    async fn step(&self, sync: &ClaimedSync) -> Option<sync::SyncOutcome> {
        if self.backend.pauses(&sync.workspace, &sync.integration) {
            self.hand_back(vec![sync.clone()]).await;
            return None;
        }
        match self.start_and_step(sync).await {
            Ok(Ok(next)) => Some(next),
            Ok(Err(LeaseLost)) => {
                log_lost(sync);
                None
            }
            Err(error) => {
                not_recorded("sync", sync.id, &error);
                None
            }
        }
    }

    async fn record(&self, sync: ClaimedSync, next: sync::SyncOutcome) {
        match with_timeout(self.query_timeout, record_sync(self, &sync, next)).await {
            Ok(Ok(())) => {}
            Ok(Err(LeaseLost)) => log_lost(&sync),
            Err(error) => not_recorded("sync", sync.id, &error),
        }
    }

    async fn hand_back(&self, syncs: Vec<ClaimedSync>) {
        let handed = with_timeout(self.query_timeout, sync::store::hand_back(&self.pool, &syncs));
        if let Err(error) = handed.await {
            not_recorded("syncs", syncs.len(), &error);
        }
    }

    fn span(&self, sync: &ClaimedSync) -> tracing::Span {
        tracing::info_span!("sync.step", sync.id = sync.id, integration.id = sync.integration)
    }
}

fn log_lost(sync: &ClaimedSync) {
    emit!(LEASE_LOST, sync.id = sync.id, "The sync was claimed again meanwhile")
}

/// The snapshot must be younger than every change that it judges, so its start is written before the app is read.
async fn start_sync(stage: &SyncStage, sync: &ClaimedSync) -> Recorded {
    let mut tx = begin_briefly(&stage.pool).await?;
    let started = sync::store::start(&mut tx, sync).await?;
    if started.is_ok() {
        tx.commit().await?;
        emit!(
            SYNC_STARTED,
            sync.id = sync.id,
            integration.id = sync.integration,
            procedure = sync.procedure.as_str(),
            "Reading the app"
        );
    }
    Ok(started)
}

async fn record_sync(stage: &SyncStage, sync: &ClaimedSync, next: sync::SyncOutcome) -> Recorded {
    match next {
        sync::SyncOutcome::Watch { job, after, started, applies } => {
            let mut tx = begin_briefly(&stage.pool).await?;
            let recorded =
                sync::store::watch(&mut tx, sync, &job, after, started, applies.as_ref()).await?;
            tx.commit().await?;
            Ok(recorded)
        }
        sync::SyncOutcome::RetryLater { why, waits, min_wait } => {
            again(stage, sync, why, waits, min_wait, None).await
        }
        sync::SyncOutcome::Unknown { kind, id } => {
            let why = format!("nothing tells how old the backend's {kind} is; another one follows");
            again(stage, sync, why, false, Duration::ZERO, Some(sync::former(kind, &id))).await
        }
        sync::SyncOutcome::RestartNow { why } => anew(stage, sync, why).await,
        sync::SyncOutcome::Hold { update, known, intents, reason } => {
            let found = classify(&known, &intents, Some(&update));
            let report = sync::report::stored(&known, &found, Some(&update));
            hold(stage, sync, &update.id, &report, reason).await
        }
        sync::SyncOutcome::Fail { reason } => fail(stage, sync, &reason, false).await,
        sync::SyncOutcome::LoginRefused { code } => {
            fail(stage, sync, &format!("The app rejects the stored login: {code}"), true).await
        }
        sync::SyncOutcome::Judge { snapshot } => settle(stage, sync, snapshot).await,
        sync::SyncOutcome::Attest => attest(stage, sync).await,
    }
}

/// Holds the report until a person decides. The check has read the app, so the login works.
async fn hold(
    stage: &SyncStage,
    sync: &ClaimedSync,
    report_id: &str,
    report: &Value,
    reason: String,
) -> Recorded {
    let held = Duration::from_secs(stage.policy.guard.held_s);
    let mut tx = begin_briefly(&stage.pool).await?;
    let held = sync::store::hold(&mut tx, sync, report_id, report, &reason, held).await?;
    if let Err(lost) = held {
        return Ok(Err(lost));
    }
    let (login, _) = judge_login(&mut tx, sync, Verdict::Confirmed, LOGIN_WORKS).await?;
    tx.commit().await?;
    log_verdicts(sync.id, login);
    emit!(
        SYNC_HELD,
        sync.id = sync.id,
        integration.id = sync.integration,
        reason,
        "The report is held until a person decides"
    );
    Ok(Ok(()))
}

async fn again(
    stage: &SyncStage,
    sync: &ClaimedSync,
    why: String,
    waits: bool,
    min_wait: Duration,
    former: Option<String>,
) -> Recorded {
    let failures = sync.failures + 1;
    if !waits && failures >= stage.policy.sync.max_failures {
        return fail(stage, sync, &why, false).await;
    }
    let since = sync.trying_since.filter(|_| waits);
    let waited = since.map(|since| elapsed(since, sync.claimed_at));
    let after = match waited {
        Some(waited) => stage.policy.wait_after(waited),
        None => stage.policy.retry_after(sync.failures),
    };
    let after = after.max(min_wait);
    // An outage is logged elsewhere already.
    let is_down = stage.backend.is_down(&sync.workspace, &sync.integration);
    let waited = waited.filter(|waited| stage.policy.is_long_wait(*waited) && !is_down);
    let mut tx = begin_briefly(&stage.pool).await?;
    let recorded = sync::store::again(&mut tx, sync, after, &why, !waits, former).await?;
    if recorded.is_ok() && waited.is_some() {
        let enough = stage.policy.sync.unverifiable_after;
        sync::store::mark_unverifiable(&mut tx, sync, enough).await?;
    }
    tx.commit().await?;
    if recorded.is_ok() {
        if let Some(waited) = waited {
            log_long_wait(sync, waited, &why);
        }
        log_again(sync, failures, after, why);
    }
    Ok(recorded)
}

/// Restarts a sync at once. The backend works, and the snapshot itself takes as long as a pause would. A sync ends if
/// the app keeps changing while it is read.
async fn anew(stage: &SyncStage, sync: &ClaimedSync, why: String) -> Recorded {
    let failures = sync.failures + 1;
    if failures >= stage.policy.sync.max_failures {
        return fail(stage, sync, &why, false).await;
    }
    let mut tx = begin_briefly(&stage.pool).await?;
    let recorded = sync::store::restart(&mut tx, sync, &why).await?;
    tx.commit().await?;
    if recorded.is_ok() {
        log_again(sync, failures, Duration::ZERO, why);
    }
    Ok(recorded)
}

fn log_again(sync: &ClaimedSync, failures: i32, after: Duration, why: String) {
    emit!(
        SYNC_STEP_FAILED,
        sync.id = sync.id,
        integration.id = sync.integration,
        failures,
        wait_s = after.as_secs_f64(),
        error = why,
        "The step failed; the app is read again later"
    );
}

/// Fails a sync. Without a snapshot it proves nothing: its done actions stay done, and the app is read again later.
async fn fail(
    stage: &SyncStage,
    sync: &ClaimedSync,
    reason: &str,
    login_refused: bool,
) -> Recorded {
    let Some(started_at) = sync::store::started_at(&stage.pool, sync).await? else {
        return Ok(Err(LeaseLost));
    };
    let observed = format!("The app could not be read: {reason}");
    let judging = judge_actions(stage, sync, started_at, None, |action| {
        let verdict = Verdict::Unverifiable;
        let written = VerdictToWrite {
            action: action.id,
            status: ActionStatus::Done,
            verdict,
            observed: observed.clone(),
        };
        let wait = Some(stage.policy.reread_after(action.snapshots));
        let line = LogLine::NotYet { action: action.id, verdict, observed: observed.clone(), wait };
        (action.status == ActionStatus::Done).then_some((written, line))
    });
    let next = match judging.await? {
        Ok(next) => next,
        Err(lost) => return Ok(Err(lost)),
    };
    let mut tx = begin_briefly(&stage.pool).await?;
    if let Err(lost) =
        sync::store::finish(&mut tx, sync, sync::SyncEnd::Failed, reason, None).await?
    {
        return Ok(Err(lost));
    }
    let verdict = if login_refused { Verdict::Contradicted } else { Verdict::Unverifiable };
    let (login, is_locked) = judge_login(&mut tx, sync, verdict, &observed).await?;
    let is_not_yet = login.iter().any(|line| matches!(line, LogLine::NotYet { .. }));
    let of_login = (is_not_yet || is_locked).then(|| stage.policy.reread_after(0));
    if let Some(after) = next.into_iter().chain(of_login).min() {
        sync::store::request(&mut tx, sync, after).await?;
    }
    // A person's decision, or a missing one, shows nothing of the app.
    let doubt = match sync.decision.is_none() && !login_refused {
        true => Some(sync::store::count_unverifiable(&mut tx, sync, true).await?),
        false => None,
    };
    tx.commit().await?;
    log_verdicts(sync.id, login);
    if let Some(doubt) = doubt {
        log_doubt(stage, sync, doubt);
    }
    emit!(
        SYNC_FAILED,
        sync.id = sync.id,
        integration.id = sync.integration,
        reason,
        "The app could not be read"
    );
    Ok(Ok(()))
}

/// Closes done actions of an app that cannot be read by the person's word. The word must be old enough that the person
/// could have withdrawn a mistake, and confirmed if a second person is required. A word for a login closes its action
/// at once, because the next task shows whether the login works.
async fn attest(stage: &SyncStage, sync: &ClaimedSync) -> Recorded {
    let Some(started_at) = sync::store::started_at(&stage.pool, sync).await? else {
        return Ok(Err(LeaseLost));
    };
    let reason = "The catalogue says that this app cannot be read";
    let attested = |action| VerdictToWrite {
        action,
        status: ActionStatus::Attested,
        verdict: Verdict::Unverifiable,
        observed: reason.to_owned(),
    };
    let attest_after = Duration::from_secs(stage.deadlines.attest_after_s);
    let said_before = started_at - TimeDelta::from_std(attest_after).unwrap_or_default();
    let judging = judge_actions(stage, sync, said_before, None, |action| {
        let is_enough = !sync.four_eyes || action.is_confirmed;
        (action.status == ActionStatus::Done && is_enough)
            .then(|| (attested(action.id), LogLine::Attested(action.id)))
    });
    let locked = match judging.await? {
        Ok(locked) => locked,
        Err(lost) => return Ok(Err(lost)),
    };
    let mut tx = begin_briefly(&stage.pool).await?;
    if let Err(lost) =
        sync::store::finish(&mut tx, sync, sync::SyncEnd::Finished, reason, None).await?
    {
        return Ok(Err(lost));
    }
    let mut login = Vec::new();
    if let Some((action, true)) = judging::lock_reconnect(&mut tx, sync).await? {
        judging::write_verdicts(&mut tx, sync, &[attested(action)], None).await?;
        login.push(LogLine::Attested(action));
    }
    let is_locked = judging::is_reconnect_locked(&mut tx, sync).await?;
    let locked = locked.or_else(|| is_locked.then(|| stage.policy.reread_after(0)));
    let waiting = judging::next_attestation(&mut tx, sync, attest_after).await?;
    let unconfirmed = waiting.any_unconfirmed.then_some(CONFIRMATION_CHECK_INTERVAL);
    if let Some(after) = [locked.or(waiting.next), unconfirmed].into_iter().flatten().min() {
        sync::store::request(&mut tx, sync, after).await?;
    }
    tx.commit().await?;
    log_verdicts(sync.id, login);
    Ok(Ok(()))
}
