//! Records the outcome of one step of a sync, in transactions of a bounded size, fenced by its lease.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;

use super::Recorded;
use super::judging::{self, VerdictToWrite};
use super::settlement::{
    LOGIN_WORKS, LogLine, judge_actions, judge_login, log_doubt, log_long_wait, log_verdicts,
    settle,
};
use super::sync_recorder::SyncRecorder;
use crate::emit;
use crate::lease::LeaseLost;
use crate::manual_action::status::ActionStatus;
use crate::store::{begin_briefly, elapsed};
use crate::sync::report::classify;
use crate::sync::verdict::Verdict;
use crate::sync::{self, ClaimedSync};

/// A confirmation by a second person is applied when it comes. In case one was missed, the app is checked this often.
const CONFIRMATION_CHECK_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The snapshot must be younger than every change that it judges, so its start is written before the app is read.
pub(super) async fn start_sync(recorder: &SyncRecorder, sync: &ClaimedSync) -> Recorded {
    let mut tx = begin_briefly(&recorder.pool).await?;
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

pub(super) async fn record_sync(
    recorder: &SyncRecorder,
    sync: &ClaimedSync,
    next: sync::SyncOutcome,
) -> Recorded {
    match next {
        sync::SyncOutcome::Watch { job, after, started, applies } => {
            let mut tx = begin_briefly(&recorder.pool).await?;
            let recorded =
                sync::store::watch(&mut tx, sync, &job, after, started, applies.as_ref()).await?;
            tx.commit().await?;
            Ok(recorded)
        }
        sync::SyncOutcome::RetryLater { why, waits, min_wait } => {
            read_again(recorder, sync, why, waits, min_wait, None).await
        }
        sync::SyncOutcome::Unknown { kind, id } => {
            let why = format!("nothing tells how old the backend's {kind} is; another one follows");
            read_again(
                recorder,
                sync,
                why,
                false,
                Duration::ZERO,
                Some(sync::earlier_run(kind, &id)),
            )
            .await
        }
        sync::SyncOutcome::RestartNow { why } => anew(recorder, sync, why).await,
        sync::SyncOutcome::Hold { update, known, intents, reason } => {
            let found = classify(&known, &intents, Some(&update));
            let report = sync::report::stored(&known, &found, Some(&update));
            hold(recorder, sync, &update.id, &report, reason).await
        }
        sync::SyncOutcome::Fail { reason } => fail(recorder, sync, &reason, false).await,
        sync::SyncOutcome::LoginRefused { code } => {
            fail(recorder, sync, &format!("The app rejects the stored login: {code}"), true).await
        }
        sync::SyncOutcome::Judge { snapshot } => settle(recorder, sync, snapshot).await,
        sync::SyncOutcome::Attest => attest(recorder, sync).await,
    }
}

/// Holds the report until a person decides. The check has read the app, so the login works.
async fn hold(
    recorder: &SyncRecorder,
    sync: &ClaimedSync,
    report_id: &str,
    report: &Value,
    reason: String,
) -> Recorded {
    let held = Duration::from_secs(recorder.policy.guard.held_s);
    let mut tx = begin_briefly(&recorder.pool).await?;
    let held = sync::store::hold(&mut tx, sync, report_id, report, &reason, held).await?;
    if let Err(lost) = held {
        return Ok(Err(lost));
    }
    let (login, _) = judge_login(&mut tx, sync, Verdict::Confirmed, LOGIN_WORKS).await?;
    tx.commit().await?;
    log_verdicts(sync, login);
    emit!(
        SYNC_HELD,
        sync.id = sync.id,
        integration.id = sync.integration,
        reason,
        "The report is held until a person decides"
    );
    Ok(Ok(()))
}

async fn read_again(
    recorder: &SyncRecorder,
    sync: &ClaimedSync,
    why: String,
    waits: bool,
    min_wait: Duration,
    earlier_run: Option<String>,
) -> Recorded {
    let failures = sync.failures + 1;
    if !waits && failures >= recorder.policy.sync.max_failures {
        return fail(recorder, sync, &why, false).await;
    }
    let since = sync.trying_since.filter(|_| waits);
    let waited = since.map(|since| elapsed(since, sync.claimed_at));
    let after = match waited {
        Some(waited) => recorder.policy.wait_after(waited),
        None => recorder.policy.retry_after(sync.failures),
    };
    let after = after.max(min_wait);
    // An outage is logged elsewhere already.
    let is_down = recorder.backend.is_down(&sync.workspace, &sync.integration);
    let waited = waited.filter(|waited| recorder.policy.is_long_wait(*waited) && !is_down);
    let mut tx = begin_briefly(&recorder.pool).await?;
    let recorded = sync::store::read_again(&mut tx, sync, after, &why, !waits, earlier_run).await?;
    if recorded.is_ok() && waited.is_some() {
        let enough = recorder.policy.sync.unverifiable_after;
        sync::store::mark_unverifiable(&mut tx, sync, enough).await?;
    }
    tx.commit().await?;
    if recorded.is_ok() {
        if let Some(waited) = waited {
            log_long_wait(sync, waited, &why);
        }
        log_read_again(sync, failures, after, why);
    }
    Ok(recorded)
}

/// Restarts a sync at once. The backend works, and the snapshot itself takes as long as a pause would. A sync ends if
/// the app keeps changing while it is read.
async fn anew(recorder: &SyncRecorder, sync: &ClaimedSync, why: String) -> Recorded {
    let failures = sync.failures + 1;
    if failures >= recorder.policy.sync.max_failures {
        return fail(recorder, sync, &why, false).await;
    }
    let mut tx = begin_briefly(&recorder.pool).await?;
    let recorded = sync::store::restart(&mut tx, sync, &why).await?;
    tx.commit().await?;
    if recorded.is_ok() {
        log_read_again(sync, failures, Duration::ZERO, why);
    }
    Ok(recorded)
}

fn log_read_again(sync: &ClaimedSync, failures: i32, after: Duration, why: String) {
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
    recorder: &SyncRecorder,
    sync: &ClaimedSync,
    reason: &str,
    login_refused: bool,
) -> Recorded {
    let Some(started_at) = sync::store::started_at(&recorder.pool, sync).await? else {
        return Ok(Err(LeaseLost));
    };
    let observed = format!("The app could not be read: {reason}");
    let judging = judge_actions(recorder, sync, started_at, None, |action| {
        let verdict = Verdict::Unverifiable;
        let written = VerdictToWrite {
            action: action.id,
            status: ActionStatus::Done,
            verdict,
            observed: observed.clone(),
        };
        let wait = Some(recorder.policy.reread_after(action.snapshots));
        let line = LogLine::NotYet { action: action.id, verdict, observed: observed.clone(), wait };
        (action.status == ActionStatus::Done).then_some((written, line))
    });
    let next = match judging.await? {
        Ok(next) => next,
        Err(lost) => return Ok(Err(lost)),
    };
    let mut tx = begin_briefly(&recorder.pool).await?;
    if let Err(lost) =
        sync::store::finish(&mut tx, sync, sync::SyncEnd::Failed, reason, None).await?
    {
        return Ok(Err(lost));
    }
    let verdict = if login_refused { Verdict::Contradicted } else { Verdict::Unverifiable };
    let (login, is_locked) = judge_login(&mut tx, sync, verdict, &observed).await?;
    let is_not_yet = login.iter().any(|line| matches!(line, LogLine::NotYet { .. }));
    let of_login = (is_not_yet || is_locked).then(|| recorder.policy.reread_after(0));
    if let Some(after) = next.into_iter().chain(of_login).min() {
        sync::store::request(&mut tx, sync, after).await?;
    }
    // A person's decision, or a missing one, shows nothing of the app.
    let doubt = match sync.decision.is_none() && !login_refused {
        true => Some(sync::store::count_unverifiable(&mut tx, sync, true).await?),
        false => None,
    };
    tx.commit().await?;
    log_verdicts(sync, login);
    if let Some(doubt) = doubt {
        log_doubt(recorder, sync, doubt);
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
async fn attest(recorder: &SyncRecorder, sync: &ClaimedSync) -> Recorded {
    let Some(started_at) = sync::store::started_at(&recorder.pool, sync).await? else {
        return Ok(Err(LeaseLost));
    };
    let reason = "The catalogue says that this app cannot be read";
    let attested = |action| VerdictToWrite {
        action,
        status: ActionStatus::Attested,
        verdict: Verdict::Unverifiable,
        observed: reason.to_owned(),
    };
    let attest_after = Duration::from_secs(recorder.deadlines.attest_after_s);
    let said_before = started_at - TimeDelta::from_std(attest_after).unwrap_or_default();
    let judging = judge_actions(recorder, sync, said_before, None, |action| {
        (action.status == ActionStatus::Done && !action.needs_second_person)
            .then(|| (attested(action.id), LogLine::Attested(action.id)))
    });
    let locked = match judging.await? {
        Ok(locked) => locked,
        Err(lost) => return Ok(Err(lost)),
    };
    let mut tx = begin_briefly(&recorder.pool).await?;
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
    let locked = locked.or_else(|| is_locked.then(|| recorder.policy.reread_after(0)));
    let waiting = judging::next_attestation(&mut tx, sync, attest_after).await?;
    let unconfirmed = waiting.any_unconfirmed.then_some(CONFIRMATION_CHECK_INTERVAL);
    if let Some(after) = [locked.or(waiting.next), unconfirmed].into_iter().flatten().min() {
        sync::store::request(&mut tx, sync, after).await?;
    }
    tx.commit().await?;
    log_verdicts(sync, login);
    Ok(Ok(()))
}
