//! What a reading means for the actions, the login and the members who are watched.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::sync_stage::SyncStage;
use super::{Recorded, watches};
use crate::backend::Reading;
use crate::emit;
use crate::membership::MemberKey;
use crate::store::{StoreError, begin};
use crate::sync::report::classify;
use crate::sync::store::Doubt;
use crate::sync::verdict::{Judgement, Verdict, judge};
use crate::sync::{self, ClaimedSync};

/// A line to log once the transaction that it speaks of is committed.
pub(super) enum Said {
    Verified(i64),
    NotNeeded(i64),
    Contradicted { action: i64, seen: String, reopened: i32 },
    LoginRefused(i64),
    NotYet { action: i64, verdict: Verdict, seen: String, wait: Option<Duration> },
}

/// Judges every action that the reading may speak of, ends the sync, and asks for the next reading if one is due.
pub(super) async fn settle(stage: &SyncStage, sync: &ClaimedSync, reading: Reading) -> Recorded {
    let mut tx = begin(&stage.pool).await?;
    let (workspace, integration) = (&sync.workspace, &sync.integration);
    let intents = sync::report::store::intents(&mut *tx, workspace, integration).await?;
    let before = sync::report::store::members_before(&mut tx, sync).await?;
    let reading = &sync::report::plausible(reading, before, &intents);
    let found = classify(reading, &intents, sync.update.as_ref());
    let report = sync::report::stored(reading, &found, sync.update.as_ref());
    let finished =
        sync::store::finish(&mut tx, sync, "finished", "the app was read", Some(report)).await?;
    let started_at = match finished {
        Ok(started_at) => started_at,
        Err(lost) => return Ok(Err(lost)),
    };
    let said = judge_actions(&mut tx, stage, sync, reading, started_at).await?;
    let waits = said.iter().filter_map(|line| match line {
        Said::NotYet { wait, .. } => *wait,
        _ => None,
    });
    if let Some(after) = waits.min() {
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
    let login = judge_login(&mut tx, sync, Verdict::Confirmed, LOGIN_WORKS).await?;
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
    say(sync.id, login);
    watches::say(sync, watched);
    Ok(Ok(()))
}

/// Gives every action that the reading may speak of its verdict; whoever is proven to be in or out is watched.
async fn judge_actions(
    connection: &mut PgConnection,
    stage: &SyncStage,
    sync: &ClaimedSync,
    reading: &Reading,
    started_at: DateTime<Utc>,
) -> Result<Vec<Said>, StoreError> {
    let last = i32::try_from(stage.policy.sync.rereads_s.len()).unwrap_or(i32::MAX);
    let mut said = Vec::new();
    for action in sync::store::lock_actions(connection, sync, started_at).await? {
        let Judgement { verdict, seen } = judge(&action.wanted, reading, action.readings >= last);
        let (status, line) = match (action.status == "done", verdict) {
            (true, Verdict::Confirmed) => ("verified", Said::Verified(action.id)),
            (false, Verdict::Confirmed) => ("not_needed", Said::NotNeeded(action.id)),
            (false, _) => continue,
            (true, Verdict::Contradicted) => {
                let (seen, reopened) = (seen.clone(), action.reopened + 1);
                ("open", Said::Contradicted { action: action.id, seen, reopened })
            }
            (true, Verdict::NotYet | Verdict::Unverifiable) => {
                let wait = Some(stage.policy.reread_after(action.readings));
                ("done", Said::NotYet { action: action.id, verdict, seen: seen.clone(), wait })
            }
        };
        sync::store::write_verdict(connection, action.id, status, verdict.as_str(), &seen).await?;
        if verdict == Verdict::Confirmed {
            let (workspace, integration) = (sync.workspace.clone(), sync.integration.clone());
            let member = action.wanted.member.clone();
            let key = MemberKey { workspace, integration, member };
            let (application, operation) = (&sync.application, action.wanted.operation);
            let begun = watches::begun(&stage.policy, &key, application, action.task, operation);
            sync::watch::store::begin(connection, begun.as_slice()).await?;
        }
        said.push(line);
    }
    Ok(said)
}

/// Somebody is told once when an app cannot be read well several times in a row, and when it can again.
pub(super) fn say_doubt(stage: &SyncStage, sync: &ClaimedSync, doubt: Doubt) {
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

pub(super) const LOGIN_WORKS: &str = "the app was read with the stored login";

/// Judges the action that asks to mend the login, if there is one: a job that read the app proves the login, and one
/// that was refused disproves it. Ending the action opens the gate, by trigger.
pub(super) async fn judge_login(
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

pub(super) fn say(sync: i64, said: Vec<Said>) {
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
