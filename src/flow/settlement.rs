//! What a snapshot means for the actions, the login and the members who are watched.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::sync_stage::SyncStage;
use super::{Recorded, watches};
use crate::backend::Snapshot;
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
    Contradicted { action: i64, observed: String, reopened: i32 },
    LoginRefused(i64),
    NotYet { action: i64, verdict: Verdict, observed: String, wait: Option<Duration> },
}

/// Judges every action that the snapshot may speak of, ends the sync, and asks for the next snapshot if one is due.
pub(super) async fn settle(stage: &SyncStage, sync: &ClaimedSync, snapshot: Snapshot) -> Recorded {
    let mut tx = begin(&stage.pool).await?;
    let (workspace, integration) = (&sync.workspace, &sync.integration);
    let intents = sync::report::store::intents(&mut *tx, workspace, integration).await?;
    let before = sync::report::store::members_before(&mut tx, sync).await?;
    let snapshot = &sync::report::plausible(snapshot, before, &intents);
    let found = classify(snapshot, &intents, sync.update.as_ref());
    let report = sync::report::stored(snapshot, &found, sync.update.as_ref());
    let finished =
        sync::store::finish(&mut tx, sync, "finished", "the app was read", Some(report)).await?;
    let started_at = match finished {
        Ok(started_at) => started_at,
        Err(lost) => return Ok(Err(lost)),
    };
    let said = judge_actions(&mut tx, stage, sync, snapshot, started_at).await?;
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
        snapshot,
        intents: &intents,
    };
    let watched =
        sync::watch::store::of_integration(&mut tx, workspace, integration, started_at).await?;
    let watched = settling.settle(&mut tx, watched).await?;
    // Last: it may make the integration active, and the integration's row is locked after all others.
    let login = judge_login(&mut tx, sync, Verdict::Confirmed, LOGIN_WORKS).await?;
    let doubt = sync::store::count_doubtful(&mut tx, sync, !snapshot.is_complete()).await?;
    tx.commit().await?;
    say_doubt(stage, sync, doubt);
    emit!(
        SYNC_FINISHED,
        sync.id = sync.id,
        integration.id = sync.integration,
        members = snapshot.members.len(),
        complete = snapshot.is_complete(),
        "The app was read"
    );
    say(sync.id, said);
    say(sync.id, login);
    watches::say(sync, watched);
    Ok(Ok(()))
}

/// Gives every action that the snapshot may speak of its verdict; whoever is proven to be in or out is watched.
async fn judge_actions(
    connection: &mut PgConnection,
    stage: &SyncStage,
    sync: &ClaimedSync,
    snapshot: &Snapshot,
    started_at: DateTime<Utc>,
) -> Result<Vec<Said>, StoreError> {
    let last = i32::try_from(stage.policy.sync.rereads_s.len()).unwrap_or(i32::MAX);
    let mut said = Vec::new();
    for action in sync::store::lock_actions(connection, sync, started_at).await? {
        let Judgement { verdict, observed } =
            judge(&action.wanted, snapshot, action.snapshots >= last);
        let (status, line) = match (action.status == "done", verdict) {
            (true, Verdict::Confirmed) => ("verified", Said::Verified(action.id)),
            (false, Verdict::Confirmed) => ("not_needed", Said::NotNeeded(action.id)),
            (false, _) => continue,
            (true, Verdict::Contradicted) => {
                let (observed, reopened) = (observed.clone(), action.reopened + 1);
                ("open", Said::Contradicted { action: action.id, observed, reopened })
            }
            (true, Verdict::NotYet | Verdict::Unverifiable) => {
                let wait = Some(stage.policy.reread_after(action.snapshots));
                (
                    "done",
                    Said::NotYet { action: action.id, verdict, observed: observed.clone(), wait },
                )
            }
        };
        sync::store::write_verdict(connection, action.id, status, verdict.as_str(), &observed)
            .await?;
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
    let enough = stage.policy.sync.unverifiable_after;
    if doubt.before < enough && doubt.now >= enough {
        emit!(
            INTEGRATION_UNVERIFIABLE,
            workspace.id = sync.workspace,
            integration.id = sync.integration,
            snapshots = doubt.now,
            "Snapshots of the app fail or are incomplete"
        );
    } else if doubt.before >= enough && doubt.now == 0 {
        emit!(
            INTEGRATION_VERIFIABLE,
            workspace.id = sync.workspace,
            integration.id = sync.integration,
            "The app was read completely again"
        );
    }
}

pub(super) const LOGIN_WORKS: &str = "The app was read with the stored login";

/// Judges the action that asks to fix the login, if there is one: a job that read the app proves the login, and one
/// that was refused disproves it. Ending the action makes the integration active, by trigger.
pub(super) async fn judge_login(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    verdict: Verdict,
    observed: &str,
) -> Result<Vec<Said>, StoreError> {
    let Some((action, done)) = sync::store::lock_reconnect(connection, sync).await? else {
        return Ok(Vec::new());
    };
    let (status, said) = match (done, verdict) {
        (true, Verdict::Confirmed) => ("verified", Said::Verified(action)),
        (false, Verdict::Confirmed) => ("not_needed", Said::NotNeeded(action)),
        (true, Verdict::Contradicted) => ("open", Said::LoginRefused(action)),
        (true, _) => {
            ("done", Said::NotYet { action, verdict, observed: observed.to_owned(), wait: None })
        }
        (false, _) => return Ok(Vec::new()),
    };
    sync::store::write_verdict(connection, action, status, verdict.as_str(), observed).await?;
    Ok(vec![said])
}

pub(super) fn say(sync: i64, said: Vec<Said>) {
    for line in said {
        match line {
            Said::Verified(action) => {
                emit!(ACTION_VERIFIED, action.id = action, sync.id = sync, "Confirmed in the app")
            }
            Said::NotNeeded(action) => {
                emit!(
                    ACTION_NOT_NEEDED,
                    action.id = action,
                    sync.id = sync,
                    "Found in the desired state already"
                );
            }
            Said::Contradicted { action, observed, reopened } => emit!(
                ACTION_CONTRADICTED,
                action.id = action,
                sync.id = sync,
                observed,
                reopened_count = reopened,
                "Marked done, but the app shows otherwise"
            ),
            Said::LoginRefused(action) => emit!(
                ACTION_CONTRADICTED,
                action.id = action,
                sync.id = sync,
                observed = "The app still rejects the login",
                "Marked done, but the app shows otherwise"
            ),
            Said::NotYet { action, verdict, observed, wait } => emit!(
                ACTION_NOT_YET,
                action.id = action,
                sync.id = sync,
                verdict = verdict.as_str(),
                observed,
                wait_s = wait.map(|wait| wait.as_secs_f64()),
                "Not confirmed yet"
            ),
        }
    }
}
