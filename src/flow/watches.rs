//! Members who are looked at again after a confirmed change, and what follows when it did not last.

use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgConnection;

use crate::backend::{Failure, Snapshot};
use crate::catalogue;
use crate::config;
use crate::emit;
use crate::history::{self, Happened};
use crate::manual_action::{self, AppName, Opening, Person};
use crate::membership::{MemberKey, Operation};
use crate::retry::{self, ClaimedTask};
use crate::store::StoreError;
use crate::sync::report::Intent;
use crate::sync::verdict::Sighting;
use crate::sync::watch::store::{Begun, Watch};
use crate::sync::watch::{Outcome, after_snapshot, store};
use crate::sync::{self, ClaimedSync};

const CAME_BACK: &str =
    "they were removed, and are in the app again: if that is wanted, dismiss this with a note";
const EXPIRED: &str = "the invitation expired before it was accepted";

/// The watch that a confirmed removal or invitation begins, where the app can be read.
pub(super) fn begun<'a>(
    policy: &sync::Policy,
    key: &'a MemberKey,
    application: &str,
    task: i64,
    operation: Operation,
) -> Option<Begun<'a>> {
    let first_look = policy.next_watch(operation, 0)?;
    let is_watched = operation != Operation::ChangeRole && catalogue::is_readable(application);
    is_watched.then_some(Begun { key, task, operation, first_look })
}

/// The watch that a task's success begins.
pub(super) fn after_success<'a>(policy: &sync::Policy, task: &'a ClaimedTask) -> Option<Begun<'a>> {
    begun(policy, &task.key, &task.application, task.id, task.wanted.operation)
}

/// A line to log once the transaction that it speaks of is committed.
pub(super) struct Said {
    task: i64,
    action: Option<i64>,
    outcome: Outcome,
}

/// What settling watches needs to know.
pub(super) struct Settling<'a> {
    pub(super) policy: &'a sync::Policy,
    pub(super) deadlines: &'a config::ManualAction,
    pub(super) sync: &'a ClaimedSync,
    pub(super) snapshot: &'a Snapshot,
    pub(super) intents: &'a [Intent],
}

impl Settling<'_> {
    /// Judges the integration's watches by the snapshot.
    pub(super) async fn settle(
        &self,
        connection: &mut PgConnection,
        watches: Vec<Watch>,
    ) -> Result<Vec<Said>, StoreError> {
        let mut said = Vec::new();
        for watch in watches {
            // Whoever is wanted otherwise by now is no surprise.
            let Some(intent) = self.intents.iter().find(|intent| intent.task == watch.task) else {
                store::end(connection, &watch).await?;
                continue;
            };
            let sighting = Sighting::of(&intent.wanted, self.snapshot);
            let next = self.policy.next_watch(watch.operation, watch.looks + 1);
            let Some(outcome) =
                after_snapshot(watch.operation, &sighting, watch.is_due, next.is_none())
            else {
                continue;
            };
            if let Some(line) = self.record(connection, &watch, intent, outcome).await? {
                said.push(line);
            }
        }
        Ok(said)
    }

    async fn record(
        &self,
        connection: &mut PgConnection,
        watch: &Watch,
        intent: &Intent,
        outcome: Outcome,
    ) -> Result<Option<Said>, StoreError> {
        let (what, reason) = match outcome {
            Outcome::Look => {
                let next = self.policy.next_watch(watch.operation, watch.looks + 1);
                let due =
                    watch.since + TimeDelta::from_std(next.unwrap_or_default()).unwrap_or_default();
                store::look_again(connection, watch, watch.looks + 1, due).await?;
                return Ok(None);
            }
            Outcome::Retry => {
                let soon = TimeDelta::from_std(self.policy.reread_after(1)).unwrap_or_default();
                store::look_again(connection, watch, watch.looks, self.sync.claimed_at + soon)
                    .await?;
                return Ok(None);
            }
            Outcome::End => {
                store::end(connection, watch).await?;
                return Ok(None);
            }
            Outcome::Accepted => ("task.invitation_accepted", None),
            Outcome::Vanished => ("task.invitation_vanished", None),
            Outcome::Expired => ("task.invitation_expired", Some(EXPIRED)),
            Outcome::Returned => ("task.member_returned", Some(CAME_BACK)),
        };
        let mut action = None;
        if let Some(reason) = reason {
            action = self.ask_again(connection, watch, intent, reason).await?;
            if action.is_none() {
                return Ok(None);
            }
        }
        store::end(connection, watch).await?;
        let detail =
            json!({"sync_id": self.sync.id, "action_id": action, "confirmed_at": watch.since});
        let (workspace, task) = (&watch.key.workspace, watch.task);
        history::append(connection, &[Happened { what, workspace, task, detail }]).await?;
        Ok(Some(Said { task: watch.task, action, outcome }))
    }

    /// Opens an action for what did not last; `None` while another action of the member is unfinished.
    async fn ask_again(
        &self,
        connection: &mut PgConnection,
        watch: &Watch,
        intent: &Intent,
        reason: &'static str,
    ) -> Result<Option<i64>, StoreError> {
        let (key, task) = (&watch.key, watch.task);
        let escalated = retry::store::escalate_again(connection, key, task, reason).await?;
        let Some((trigger, attempts)) = escalated else { return Ok(None) };
        let face = retry::store::face(connection, &key.workspace, task).await?;
        let wanted = &intent.wanted;
        let opening = Opening {
            task,
            key: key.clone(),
            operation: wanted.operation,
            trigger,
            reason,
            failure: Failure::default(),
            app: AppName { name: face.integration_name, kind: face.kind },
            person: Person {
                email: wanted.email.clone(),
                username: wanted.username.clone(),
                name: face.member_name,
            },
            entitlements: wanted.entitlements.iter().cloned().collect(),
        };
        let due_in = manual_action::due_in(self.deadlines, wanted.operation);
        manual_action::store::open(connection, &opening, attempts, due_in).await
    }
}

pub(super) fn say(sync: &ClaimedSync, lines: Vec<Said>) {
    for Said { task, action, outcome } in lines {
        match outcome {
            Outcome::Returned => emit!(
                MEMBER_RETURNED,
                task.id = task,
                action.id = action,
                workspace.id = sync.workspace,
                integration.id = sync.integration,
                "Somebody who was removed is in the app again"
            ),
            Outcome::Expired => emit!(
                INVITATION_EXPIRED,
                task.id = task,
                action.id = action,
                workspace.id = sync.workspace,
                integration.id = sync.integration,
                "The invitation expired; another one is needed"
            ),
            Outcome::Vanished => emit!(
                INVITATION_VANISHED,
                task.id = task,
                workspace.id = sync.workspace,
                integration.id = sync.integration,
                "The invitation is gone, and its member is not in the app"
            ),
            Outcome::Accepted => emit!(
                INVITATION_ACCEPTED,
                task.id = task,
                integration.id = sync.integration,
                "The invited person is a member now"
            ),
            Outcome::Look | Outcome::Retry | Outcome::End => {}
        }
    }
}
