//! Applies what a snapshot shows to the actions, the login and the watched members. It works in transactions of a
//! bounded size. What is written before the last one rests on the same snapshot, and no other worker writes it again.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::judging::{self, ActionToJudge, VerdictToWrite, WrittenVerdict};
use super::sync_recorder::SyncRecorder;
use super::{Recorded, traces, watches};
use crate::backend::Snapshot;
use crate::database::PgConnection;
use crate::emit;
use crate::lease::LeaseLost;
use crate::manual_action::status::ActionStatus;
use crate::member;
use crate::membership::MemberKey;
use crate::store::{StoreError, begin, begin_briefly};
use crate::sync::report::KnownMember;
use crate::sync::report::classify;
use crate::sync::store::Doubt;
use crate::sync::verdict::{Judgement, Sightings, Verdict, judge};
use crate::sync::{self, ClaimedSync};
use crate::telemetry::metrics::{self, VerdictGiven};

/// The number of rows that one transaction changes.
const CHUNK: usize = 500;

/// A line to log after the commit of the transaction that it is about.
pub(super) enum LogLine {
    Verified(i64),
    NotNeeded(i64),
    Attested(i64),
    Contradicted { action: i64, observed: String, reopened: i32 },
    LoginRefused(i64),
    NotYet { action: i64, verdict: Verdict, observed: String, wait: Option<Duration> },
}

/// Judges every action that the snapshot can judge, ends the sync, and requests the next snapshot if one is needed.
pub(super) async fn settle(
    recorder: &SyncRecorder,
    sync: &ClaimedSync,
    snapshot: Snapshot,
) -> Recorded {
    let Some(started_at) = sync::store::started_at(&recorder.pool, sync).await? else {
        return Ok(Err(LeaseLost));
    };
    let known = sync::report::store::members(&recorder.pool, sync).await?;
    let intents: Vec<_> = known.iter().filter_map(|one| one.intent.clone()).collect();
    let snapshot = &snapshot;
    let found = classify(snapshot, &intents, sync.update.as_ref());
    let report = sync::report::stored(snapshot, &found, sync.update.as_ref());

    let sightings = &Sightings::new(snapshot);
    let last = i32::try_from(recorder.policy.sync.rereads_s.len()).unwrap_or(i32::MAX);
    let hash = report["snapshot"]["hash"].as_str();
    let judging = judge_actions(recorder, sync, started_at, hash, |action| {
        let judgement = judge(&action.desired, sightings, action.snapshots >= last);
        after_judgement(recorder, action, judgement)
    });
    let next = match judging.await? {
        Ok(next) => next,
        Err(lost) => return Ok(Err(lost)),
    };
    let settling = watches::Settling {
        policy: &recorder.policy,
        deadlines: &recorder.deadlines,
        library: &recorder.library,
        sync,
        sightings,
        started_at,
    };
    for chunk in known.chunks(CHUNK) {
        let mut tx = begin(&recorder.pool).await?;
        let watched = settling.settle(&mut tx, chunk).await?;
        observe(&mut tx, sync, sightings, chunk).await?;
        tx.commit().await?;
        watches::log_lines(sync, watched);
    }

    let mut tx = begin_briefly(&recorder.pool).await?;
    let finished = sync::store::finish(
        &mut tx,
        sync,
        sync::SyncEnd::Finished,
        "the app was read",
        Some(report),
    )
    .await?;
    if let Err(lost) = finished {
        return Ok(Err(lost));
    }
    let (login, is_locked) = judge_login(&mut tx, sync, Verdict::Confirmed, LOGIN_WORKS).await?;
    let locked = is_locked.then(|| recorder.policy.reread_after(0));
    if let Some(after) = next.into_iter().chain(locked).min() {
        sync::store::request(&mut tx, sync, after).await?;
    }
    // Last, because the integration's row is locked after all others.
    let doubt = sync::store::count_snapshot(&mut tx, sync, snapshot.is_complete()).await?;
    tx.commit().await?;
    log_doubt(recorder, sync, doubt);
    emit!(
        SYNC_FINISHED,
        sync.id = sync.id,
        integration.id = sync.integration,
        members = snapshot.members.len(),
        complete = snapshot.is_complete(),
        "The app was read"
    );
    log_verdicts(sync, login);
    Ok(Ok(()))
}

impl LogLine {
    fn verdict(&self) -> VerdictGiven {
        match self {
            Self::Verified(_) | Self::NotNeeded(_) => VerdictGiven::Confirmed,
            Self::Contradicted { .. } | Self::LoginRefused(_) => VerdictGiven::Contradicted,
            Self::Attested(_) | Self::NotYet { verdict: Verdict::Unverifiable, .. } => {
                VerdictGiven::Unverifiable
            }
            Self::NotYet { .. } => VerdictGiven::NotYet,
        }
    }

    /// Takes over how often the action was opened again, which the database counts.
    fn set_reopened(&mut self, written: &HashMap<i64, WrittenVerdict>) {
        if let Self::Contradicted { action, reopened, .. } = self {
            *reopened = written.get(action).map_or(*reopened, |one| one.reopened);
        }
    }
}

/// Counts how long people waited for verdicts, and how long removals took until they were proven.
fn count_times(
    actions: &[ActionToJudge],
    verdicts: &[VerdictToWrite],
    written: &HashMap<i64, WrittenVerdict>,
) {
    let done_for: HashMap<_, _> =
        actions.iter().filter_map(|action| Some((action.id, action.done_for?))).collect();
    for one in verdicts {
        if !matches!(one.verdict, Verdict::Confirmed | Verdict::Contradicted) {
            continue;
        }
        if let Some(waited) = done_for.get(&one.action) {
            metrics::judged_after(*waited);
        }
        if let Some(took) = written.get(&one.action).and_then(|one| one.removal_took) {
            metrics::removal_proven_after(took);
        }
    }
}

/// What follows from the judgement of one action: the verdict to write, and the line to log afterwards.
pub(super) type Written = Option<(VerdictToWrite, LogLine)>;

fn after_judgement(
    recorder: &SyncRecorder,
    action: &ActionToJudge,
    judgement: Judgement,
) -> Written {
    let Judgement { verdict, observed } = judgement;
    let is_done = action.status == ActionStatus::Done;
    let (status, line) = match (is_done, verdict) {
        (true, Verdict::Confirmed) => (ActionStatus::Verified, LogLine::Verified(action.id)),
        (false, Verdict::Confirmed) => (ActionStatus::NotNeeded, LogLine::NotNeeded(action.id)),
        (false, _) => return None,
        (true, Verdict::Contradicted) => {
            let observed = observed.clone();
            (ActionStatus::Open, LogLine::Contradicted { action: action.id, observed, reopened: 0 })
        }
        (true, Verdict::NotYet | Verdict::Unverifiable) => {
            let wait = Some(recorder.policy.reread_after(action.snapshots));
            let observed = observed.clone();
            (ActionStatus::Done, LogLine::NotYet { action: action.id, verdict, observed, wait })
        }
    };
    Some((VerdictToWrite { action: action.id, status, verdict, observed }, line))
}

/// Writes a verdict on every action that a snapshot started at `started_at` can judge, in transactions of a bounded
/// size. Returns when to read the app again. A member whose change is confirmed is watched. An action that a person has
/// locked waits for the next snapshot.
pub(super) async fn judge_actions(
    recorder: &SyncRecorder,
    sync: &ClaimedSync,
    started_at: DateTime<Utc>,
    snapshot_hash: Option<&str>,
    judge: impl Fn(&ActionToJudge) -> Written,
) -> Result<Result<Option<Duration>, LeaseLost>, StoreError> {
    let mut next: Option<Duration> = None;
    let mut after = 0;
    loop {
        let mut tx = begin(&recorder.pool).await?;
        if !sync::store::is_held(&mut tx, sync).await? {
            return Ok(Err(LeaseLost));
        }
        let chunk = judging::lock_actions(&mut tx, sync, started_at, after, CHUNK).await?;
        let Some(last) = chunk.last else { return Ok(Ok(next)) };
        after = last;
        let (verdicts, mut lines): (Vec<_>, Vec<_>) =
            chunk.actions.iter().filter_map(&judge).unzip();
        let written = judging::write_verdicts(&mut tx, sync, &verdicts, snapshot_hash).await?;
        for line in &mut lines {
            line.set_reopened(&written);
        }
        begin_watches(&mut tx, recorder, sync, &chunk.actions, &verdicts).await?;
        tx.commit().await?;
        count_times(&chunk.actions, &verdicts, &written);
        let waits = lines.iter().filter_map(|line| match line {
            LogLine::NotYet { wait, .. } => *wait,
            _ => None,
        });
        let locked = chunk.is_any_locked.then(|| recorder.policy.reread_after(0));
        next = next.into_iter().chain(waits).chain(locked).min();
        log_verdicts(sync, lines);
    }
}

async fn begin_watches(
    connection: &mut PgConnection,
    recorder: &SyncRecorder,
    sync: &ClaimedSync,
    actions: &[ActionToJudge],
    verdicts: &[VerdictToWrite],
) -> Result<(), StoreError> {
    let key = |action: &ActionToJudge| MemberKey {
        workspace: sync.workspace.clone(),
        integration: sync.integration.clone(),
        member: action.desired.member.clone(),
    };
    let confirmed = verdicts.iter().filter(|one| one.verdict == Verdict::Confirmed);
    let confirmed: std::collections::HashSet<_> = confirmed.map(|one| one.action).collect();
    let confirmed: Vec<_> = actions
        .iter()
        .filter(|action| confirmed.contains(&action.id))
        .map(|action| (key(action), action))
        .collect();
    let mut begun: Vec<_> = confirmed
        .iter()
        .filter_map(|(key, action)| {
            let operation = action.desired.operation;
            watches::begun(&recorder.policy, key, &sync.application, action.task, operation)
        })
        .collect();
    begun.sort_by_key(|one| one.key);
    member::watch::begin(connection, &begun).await
}

/// Writes the observed state of the members for whom the snapshot shows a change.
async fn observe(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    sightings: &Sightings<'_>,
    known: &[KnownMember],
) -> Result<(), StoreError> {
    let changed = known.iter().filter_map(|one| {
        let observed = sightings.observed(&one.identity)?;
        (one.observed.as_ref() != Some(&observed)).then(|| (one.identity.member.clone(), observed))
    });
    let changed: Vec<_> = changed.collect();
    member::store::observe(connection, &sync.workspace, &sync.integration, &changed).await
}

/// Logs once that an app could not be read well several times in a row, and once that it can be read again.
pub(super) fn log_doubt(recorder: &SyncRecorder, sync: &ClaimedSync, doubt: Doubt) {
    let enough = recorder.policy.sync.unverifiable_after;
    if doubt.before < enough && doubt.now >= enough {
        emit!(
            INTEGRATION_UNVERIFIABLE,
            workspace.id = sync.workspace,
            integration.id = sync.integration,
            snapshots = doubt.now,
            "Its snapshots fail or are incomplete"
        );
    } else if doubt.before >= enough && doubt.now == 0 {
        emit!(
            INTEGRATION_VERIFIABLE,
            workspace.id = sync.workspace,
            integration.id = sync.integration,
            "It was read completely again"
        );
    }
}

/// Logs a long wait. It is repeated with each further try, because the pauses are long by then.
pub(super) fn log_long_wait(sync: &ClaimedSync, waited: Duration, why: &str) {
    emit!(
        INTEGRATION_UNVERIFIABLE,
        workspace.id = sync.workspace,
        integration.id = sync.integration,
        waited_s = waited.as_secs(),
        cause = why,
        "Its sync waits for the backend"
    );
}

pub(super) const LOGIN_WORKS: &str = "the app was read with the stored login";

/// Judges the action that asks to fix the login, if there is one. A job that read the app proves the login; a rejected
/// login disproves it. The end of the action makes the integration active. Returns whether a person has the action
/// locked: then it waits for the next snapshot.
pub(super) async fn judge_login(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    verdict: Verdict,
    observed: &str,
) -> Result<(Vec<LogLine>, bool), StoreError> {
    let Some((action, is_done)) = judging::lock_reconnect(connection, sync).await? else {
        return Ok((Vec::new(), judging::is_reconnect_locked(connection, sync).await?));
    };
    let (status, said) = match (is_done, verdict) {
        (true, Verdict::Confirmed) => (ActionStatus::Verified, LogLine::Verified(action)),
        (false, Verdict::Confirmed) => (ActionStatus::NotNeeded, LogLine::NotNeeded(action)),
        (true, Verdict::Contradicted) => (ActionStatus::Open, LogLine::LoginRefused(action)),
        (true, _) => {
            let observed = observed.to_owned();
            (ActionStatus::Done, LogLine::NotYet { action, verdict, observed, wait: None })
        }
        (false, _) => return Ok((Vec::new(), false)),
    };
    let written = VerdictToWrite { action, status, verdict, observed: observed.to_owned() };
    judging::write_verdicts(connection, sync, &[written], None).await?;
    Ok((vec![said], false))
}

pub(super) fn log_verdicts(of: &ClaimedSync, said: Vec<LogLine>) {
    traces::verdicts(of, &said);
    let sync = of.id;
    for line in said {
        metrics::verdict_given(line.verdict());
        match line {
            LogLine::Verified(action) => {
                emit!(ACTION_VERIFIED, action.id = action, sync.id = sync, "Proven")
            }
            LogLine::NotNeeded(action) => {
                emit!(ACTION_NOT_NEEDED, action.id = action, sync.id = sync, "Found as desired");
            }
            LogLine::Attested(action) => {
                emit!(
                    ACTION_ATTESTED,
                    action.id = action,
                    sync.id = sync,
                    "Closed by a person's word"
                );
            }
            LogLine::Contradicted { action, observed, reopened } => emit!(
                ACTION_CONTRADICTED,
                action.id = action,
                sync.id = sync,
                observed,
                reopened_count = reopened,
                "Marked done, but the app shows otherwise"
            ),
            LogLine::LoginRefused(action) => emit!(
                ACTION_CONTRADICTED,
                action.id = action,
                sync.id = sync,
                observed = "the app still rejects the login",
                "Marked done, but the app shows otherwise"
            ),
            LogLine::NotYet { action, verdict, observed, wait } => emit!(
                ACTION_NOT_YET,
                action.id = action,
                sync.id = sync,
                verdict = verdict.as_str(),
                observed,
                wait_s = wait.map(|wait| wait.as_secs_f64()),
                "Not proven yet"
            ),
        }
    }
}
