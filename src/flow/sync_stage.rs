//! What is recorded of a sync after a step, and what its reading means for the actions.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sqlx::{PgConnection, PgPool};

use super::{RECORDING, Recorded, not_recorded, watches};
use crate::backend::{Client, Reading};
use crate::config::{self, Config};
use crate::emit;
use crate::lease::LeaseLost;
use crate::membership::MemberKey;
use crate::store::{DAEMON, StoreError, answered, begin_as};
use crate::sync::report::classify;
use crate::sync::store::Doubt;
use crate::sync::verdict::{Verdict, judge};
use crate::sync::{self, ClaimedSync};
use crate::worker::{Stage, within};

/// Syncs with a step due.
pub struct SyncStage {
    /// The queue.
    pub pool: PgPool,
    /// The backend.
    pub backend: Client,
    /// Readings, jobs and the guard.
    pub policy: sync::Policy,
    /// When manual actions are due.
    pub deadlines: config::ManualAction,
    /// How long a claim is ours.
    pub lease: Duration,
    /// How long the database may take to answer.
    pub patience: Duration,
}

impl SyncStage {
    /// The stage as configured.
    pub fn new(config: &Config, pool: PgPool, backend: Client) -> Arc<Self> {
        Arc::new(Self {
            pool,
            backend,
            policy: sync::Policy::new(config),
            deadlines: config.manual_action.clone(),
            lease: Duration::from_secs(config.worker.sync_lease_s),
            patience: config.database.patience(),
        })
    }

    async fn step_and_record(&self, sync: &ClaimedSync) -> Recorded {
        if sync.state == sync::SyncState::Requested {
            let started = answered(self.patience, start_sync(self, sync)).await?;
            if started.is_err() {
                return Ok(Err(LeaseLost));
            }
        }
        let step = sync::step::Step {
            backend: &self.backend,
            policy: &self.policy,
            pool: &self.pool,
            sync,
        };
        let left = sync.lease.left().saturating_sub(RECORDING);
        let next = match within(left, step.run()).await {
            Some(next) => next?,
            None => sync::Next::Again {
                why: "the reading took longer than worker.sync_lease_s".to_owned(),
                waits: false,
                quiet: Duration::ZERO,
            },
        };
        answered(self.patience, record_sync(self, sync, next)).await
    }
}

impl Stage for SyncStage {
    type Claim = ClaimedSync;

    async fn claim(&self, limit: usize) -> Result<Vec<ClaimedSync>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        answered(self.patience, sync::store::claim(&self.pool, limit, self.lease)).await
    }

    async fn work(&self, sync: ClaimedSync) {
        match self.step_and_record(&sync).await {
            Ok(Ok(())) => {}
            Ok(Err(LeaseLost)) => {
                emit!(LEASE_LOST, sync.id = sync.id, "the sync was claimed again meanwhile")
            }
            Err(error) => not_recorded("sync", sync.id, &error),
        }
    }

    async fn hand_back(&self, syncs: Vec<ClaimedSync>) {
        let handed = answered(self.patience, sync::store::hand_back(&self.pool, &syncs));
        if let Err(error) = handed.await {
            not_recorded("syncs", syncs.len(), &error);
        }
    }

    fn span(&self, sync: &ClaimedSync) -> tracing::Span {
        tracing::info_span!("sync.step", sync.id = sync.id, integration.id = sync.integration)
    }
}

/// The reading must be younger than every deed it judges, so its start is written before it is asked for.
async fn start_sync(stage: &SyncStage, sync: &ClaimedSync) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let started = sync::store::start(&mut tx, sync).await?;
    if started.is_ok() {
        tx.commit().await?;
        emit!(SYNC_STARTED, sync.id = sync.id, integration.id = sync.integration,
              procedure = ?sync.procedure, "reading the app");
    }
    Ok(started)
}

async fn record_sync(stage: &SyncStage, sync: &ClaimedSync, next: sync::Next) -> Recorded {
    match next {
        sync::Next::Watch { job, after, started, applies } => {
            let mut tx = begin_as(&stage.pool, DAEMON).await?;
            let recorded =
                sync::store::watch(&mut tx, sync, &job, after, started, applies.as_ref()).await?;
            tx.commit().await?;
            Ok(recorded)
        }
        sync::Next::Again { why, waits, quiet } => again(stage, sync, why, waits, quiet).await,
        sync::Next::Anew { why } => anew(stage, sync, why).await,
        sync::Next::Hold { update, known, intents, reason } => {
            let found = classify(&known, &intents, Some(&update));
            let report = sync::report::stored(&known, &found, Some(&update));
            hold(stage, sync, &update.id, &report, reason).await
        }
        sync::Next::Fail { reason } => fail(stage, sync, &reason, false).await,
        sync::Next::LoginRefused { code } => {
            fail(stage, sync, &format!("the app refuses the stored login: {code}"), true).await
        }
        sync::Next::Judge { reading } => settle(stage, sync, &reading).await,
        sync::Next::Attest => attest(stage, sync).await,
    }
}

/// The report waits for a person; its check has read the app, so the login works.
async fn hold(
    stage: &SyncStage,
    sync: &ClaimedSync,
    report_id: &str,
    report: &Value,
    reason: String,
) -> Recorded {
    let held = Duration::from_secs(stage.policy.guard.held_s);
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let held = sync::store::hold(&mut tx, sync, report_id, report, &reason, held).await?;
    if let Err(lost) = held {
        return Ok(Err(lost));
    }
    let login = judge_login(&mut tx, sync, Verdict::Confirmed, LOGIN_WORKS).await?;
    tx.commit().await?;
    say(sync.id, login);
    emit!(
        SYNC_HELD,
        sync.id = sync.id,
        integration.id = sync.integration,
        reason,
        "a person decides"
    );
    Ok(Ok(()))
}

async fn again(
    stage: &SyncStage,
    sync: &ClaimedSync,
    why: String,
    waits: bool,
    quiet: Duration,
) -> Recorded {
    let failures = sync.failures + 1;
    if !waits && failures >= stage.policy.sync.max_failures {
        return fail(stage, sync, &why, false).await;
    }
    let after = stage.policy.retry_after(sync.failures).max(quiet);
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let recorded = sync::store::again(&mut tx, sync, after, &why, !waits).await?;
    tx.commit().await?;
    if recorded.is_ok() {
        say_again(sync, failures, after, why);
    }
    Ok(recorded)
}

/// The backend is well, and the reading itself takes the time that a pause would: nobody waits for longer. An app that
/// never keeps still while it is read ends the sync.
async fn anew(stage: &SyncStage, sync: &ClaimedSync, why: String) -> Recorded {
    let failures = sync.failures + 1;
    if failures >= stage.policy.sync.max_failures {
        return fail(stage, sync, &why, false).await;
    }
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let recorded = sync::store::anew(&mut tx, sync, &why).await?;
    tx.commit().await?;
    if recorded.is_ok() {
        say_again(sync, failures, Duration::ZERO, why);
    }
    Ok(recorded)
}

fn say_again(sync: &ClaimedSync, failures: i32, after: Duration, why: String) {
    emit!(
        SYNC_STEP_FAILED,
        sync.id = sync.id,
        integration.id = sync.integration,
        failures,
        wait_s = after.as_secs_f64(),
        error = why,
        "reading again later"
    );
}

/// A sync without a reading proves nothing: its done actions stay done and are read again later.
async fn fail(
    stage: &SyncStage,
    sync: &ClaimedSync,
    reason: &str,
    login_refused: bool,
) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let started_at = match sync::store::finish(&mut tx, sync, "failed", reason, None).await? {
        Ok(started_at) => started_at,
        Err(lost) => return Ok(Err(lost)),
    };
    let seen = format!("the app could not be read: {reason}");
    let mut readings = None;
    for action in sync::store::lock_actions(&mut tx, sync, started_at).await? {
        if action.status == "done" {
            let verdict = Verdict::Unverifiable.as_str();
            sync::store::write_verdict(&mut tx, action.id, "done", verdict, &seen).await?;
            readings = Some(readings.unwrap_or(i32::MAX).min(action.readings));
        }
    }
    let verdict = if login_refused { Verdict::Contradicted } else { Verdict::Unverifiable };
    let login = judge_login(&mut tx, sync, verdict, &seen).await?;
    if login.iter().any(|line| matches!(line, Said::NotYet { .. })) {
        readings = Some(readings.unwrap_or(0));
    }
    if let Some(readings) = readings {
        sync::store::request(&mut tx, sync, stage.policy.reread_after(readings)).await?;
    }
    // What a person decided, or did not, says nothing of the app.
    let is_doubtful = sync.decision.is_none() && !login_refused;
    let doubt = match is_doubtful {
        true => Some(sync::store::count_doubtful(&mut tx, sync, true).await?),
        false => None,
    };
    tx.commit().await?;
    say(sync.id, login);
    if let Some(doubt) = doubt {
        say_doubt(stage, sync, doubt);
    }
    emit!(
        SYNC_FAILED,
        sync.id = sync.id,
        integration.id = sync.integration,
        reason,
        "the app could not be read"
    );
    Ok(Ok(()))
}

/// Closes done actions of an app that cannot be read by the person's word.
async fn attest(stage: &SyncStage, sync: &ClaimedSync) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let reason = "the catalogue says that this app cannot be read";
    let started_at = match sync::store::finish(&mut tx, sync, "finished", reason, None).await? {
        Ok(started_at) => started_at,
        Err(lost) => return Ok(Err(lost)),
    };
    let mut attested = Vec::new();
    for action in sync::store::lock_actions(&mut tx, sync, started_at).await? {
        if action.status == "done" {
            let verdict = Verdict::Unverifiable.as_str();
            sync::store::write_verdict(&mut tx, action.id, "attested", verdict, reason).await?;
            attested.push(action.id);
        }
    }
    if let Some((action, true)) = sync::store::lock_reconnect(&mut tx, sync).await? {
        let verdict = Verdict::Unverifiable.as_str();
        sync::store::write_verdict(&mut tx, action, "attested", verdict, reason).await?;
        attested.push(action);
    }
    tx.commit().await?;
    for action in attested {
        emit!(ACTION_ATTESTED, action.id = action, sync.id = sync.id, "the person's word must do");
    }
    Ok(Ok(()))
}

/// A line to log once the transaction that it speaks of is committed.
enum Said {
    Verified(i64),
    NotNeeded(i64),
    Contradicted { action: i64, seen: String, reopened: i32 },
    LoginRefused(i64),
    NotYet { action: i64, verdict: Verdict, seen: String, wait: Option<Duration> },
}

/// Judges every action that the reading may speak of, ends the sync, and asks for the next reading if one is due.
async fn settle(stage: &SyncStage, sync: &ClaimedSync, reading: &Reading) -> Recorded {
    let mut tx = begin_as(&stage.pool, DAEMON).await?;
    let (workspace, integration) = (&sync.workspace, &sync.integration);
    let intents = sync::store::intents(&mut *tx, workspace, integration).await?;
    let found = classify(reading, &intents, sync.update.as_ref());
    let report = sync::report::stored(reading, &found, sync.update.as_ref());
    let finished =
        sync::store::finish(&mut tx, sync, "finished", "the app was read", Some(report)).await?;
    let started_at = match finished {
        Ok(started_at) => started_at,
        Err(lost) => return Ok(Err(lost)),
    };
    let last = i32::try_from(stage.policy.sync.rereads_s.len()).unwrap_or(i32::MAX);
    let mut said = Vec::new();
    let mut reread: Option<Duration> = None;
    for action in sync::store::lock_actions(&mut tx, sync, started_at).await? {
        let judgement = judge(&action.wanted, reading, action.readings >= last);
        let done = action.status == "done";
        let status = match (done, judgement.verdict) {
            (true, Verdict::Confirmed) => "verified",
            (true, Verdict::Contradicted) => "open",
            (true, Verdict::NotYet | Verdict::Unverifiable) => "done",
            (false, Verdict::Confirmed) => "not_needed",
            (false, _) => continue,
        };
        let verdict = judgement.verdict.as_str();
        sync::store::write_verdict(&mut tx, action.id, status, verdict, &judgement.seen).await?;
        if judgement.verdict == Verdict::Confirmed {
            let (application, operation) = (&sync.application, action.wanted.operation);
            let key = MemberKey {
                workspace: workspace.clone(),
                integration: integration.clone(),
                member: action.wanted.member.clone(),
            };
            watches::begin(&mut tx, &stage.policy, &key, application, action.task, operation)
                .await?;
        }
        said.push(match status {
            "verified" => Said::Verified(action.id),
            "not_needed" => Said::NotNeeded(action.id),
            "open" => Said::Contradicted {
                action: action.id,
                seen: judgement.seen,
                reopened: action.reopened + 1,
            },
            _ => {
                let wait = stage.policy.reread_after(action.readings);
                reread = Some(reread.map_or(wait, |earlier| earlier.min(wait)));
                Said::NotYet {
                    action: action.id,
                    verdict: judgement.verdict,
                    seen: judgement.seen,
                    wait: Some(wait),
                }
            }
        });
    }
    if let Some(after) = reread {
        sync::store::request(&mut tx, sync, after).await?;
    }
    let settling = watches::Settling {
        policy: &stage.policy,
        deadlines: &stage.deadlines,
        sync,
        reading,
        intents: &intents,
    };
    let watched =
        sync::watch::store::of_integration(&mut tx, workspace, integration, started_at).await?;
    let watched = settling.settle(&mut tx, watched).await?;
    // Last: it may open the gate, and the integration's row is locked after all others.
    said.extend(judge_login(&mut tx, sync, Verdict::Confirmed, LOGIN_WORKS).await?);
    let doubt = sync::store::count_doubtful(&mut tx, sync, !reading.is_complete()).await?;
    tx.commit().await?;
    say_doubt(stage, sync, doubt);
    emit!(
        SYNC_FINISHED,
        sync.id = sync.id,
        integration.id = sync.integration,
        members = reading.members.len(),
        complete = reading.is_complete(),
        "the app was read"
    );
    say(sync.id, said);
    watches::say(sync, watched);
    Ok(Ok(()))
}

/// Somebody is told once when an app cannot be read well several times in a row, and when it can again.
fn say_doubt(stage: &SyncStage, sync: &ClaimedSync, doubt: Doubt) {
    let enough = stage.policy.sync.doubtful_after;
    if doubt.before < enough && doubt.now >= enough {
        emit!(
            INTEGRATION_DOUBTFUL,
            workspace.id = sync.workspace,
            integration.id = sync.integration,
            readings = doubt.now,
            "its readings fail or are incomplete"
        );
    } else if doubt.before >= enough && doubt.now == 0 {
        emit!(
            INTEGRATION_READABLE,
            workspace.id = sync.workspace,
            integration.id = sync.integration,
            "it was read completely again"
        );
    }
}

const LOGIN_WORKS: &str = "the app was read with the stored login";

/// Judges the action that asks to mend the login, if there is one: a job that read the app proves the login, and one
/// that was refused disproves it. Ending the action opens the gate, by trigger.
async fn judge_login(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    verdict: Verdict,
    seen: &str,
) -> Result<Vec<Said>, StoreError> {
    let Some((action, done)) = sync::store::lock_reconnect(connection, sync).await? else {
        return Ok(Vec::new());
    };
    let (status, said) = match (done, verdict) {
        (true, Verdict::Confirmed) => ("verified", Said::Verified(action)),
        (false, Verdict::Confirmed) => ("not_needed", Said::NotNeeded(action)),
        (true, Verdict::Contradicted) => ("open", Said::LoginRefused(action)),
        (true, _) => ("done", Said::NotYet { action, verdict, seen: seen.to_owned(), wait: None }),
        (false, _) => return Ok(Vec::new()),
    };
    sync::store::write_verdict(connection, action, status, verdict.as_str(), seen).await?;
    Ok(vec![said])
}

fn say(sync: i64, said: Vec<Said>) {
    for line in said {
        match line {
            Said::Verified(action) => {
                emit!(ACTION_VERIFIED, action.id = action, sync.id = sync, "proven")
            }
            Said::NotNeeded(action) => {
                emit!(
                    ACTION_NOT_NEEDED,
                    action.id = action,
                    sync.id = sync,
                    "found as wanted already"
                );
            }
            Said::Contradicted { action, seen, reopened } => emit!(
                ACTION_CONTRADICTED,
                action.id = action,
                sync.id = sync,
                seen,
                reopened_count = reopened,
                "called done, but the app shows otherwise"
            ),
            Said::LoginRefused(action) => emit!(
                ACTION_CONTRADICTED,
                action.id = action,
                sync.id = sync,
                seen = "the app still refuses the login",
                "called done, but the app shows otherwise"
            ),
            Said::NotYet { action, verdict, seen, wait } => emit!(
                ACTION_NOT_YET,
                action.id = action,
                sync.id = sync,
                verdict = verdict.as_str(),
                seen,
                wait_s = wait.map(|wait| wait.as_secs_f64()),
                "not proven yet"
            ),
        }
    }
}
