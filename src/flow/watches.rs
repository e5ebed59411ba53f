//! Watches: members who are checked again after a confirmed change, and what follows if the change did not last.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{app_name, traces};
use crate::backend::Failure;
use crate::catalogue;
use crate::config;
use crate::database::PgConnection;
use crate::emit;
use crate::history::{self, Happened};
use crate::manual_action::instructions::Library;
use crate::manual_action::{self, Opening, Person};
use crate::member;
use crate::member::watch::{Begun, Moved, Watch, move_on};
use crate::membership::{MemberKey, Operation};
use crate::retry::{self, ClaimedTask};
use crate::store::StoreError;
use crate::sync::report::KnownMember;
use crate::sync::verdict::Sightings;
use crate::sync::watch::{WatchResult, after_snapshot};
use crate::sync::{self, ClaimedSync};

const CAME_BACK: &str =
    "they were removed, and are in the app again: if that is desired, dismiss this with a note";
const EXPIRED: &str = "the invitation expired before it was accepted";

/// The watch that a confirmed removal or invite begins, if the app can be read.
pub(super) fn begun<'a>(
    policy: &sync::SyncPolicy,
    key: &'a MemberKey,
    application: &str,
    task: i64,
    operation: Operation,
) -> Option<Begun<'a>> {
    let first_check = policy.next_watch(operation, 0)?;
    let is_watched = operation != Operation::ChangeRole && catalogue::is_readable(application);
    is_watched.then_some(Begun { key, task, operation, first_check })
}

/// The time until the first check of the watch that a task's success begins.
pub(super) fn after_success(policy: &sync::SyncPolicy, task: &ClaimedTask) -> Option<Duration> {
    let begun = begun(policy, &task.key, &task.application, task.id, task.desired.operation);
    begun.map(|begun| begun.first_check)
}

/// A line to log after the commit of the transaction that it is about.
pub(super) struct WatchLine {
    task: i64,
    asked: Option<AskedAgain>,
    outcome: WatchResult,
}

/// An action that was opened for a change that did not last.
struct AskedAgain {
    action: i64,
    operation: Operation,
    traceparent: Option<String>,
}

pub(super) struct Settling<'a> {
    pub(super) policy: &'a sync::SyncPolicy,
    pub(super) deadlines: &'a config::ManualAction,
    pub(super) library: &'a Library,
    pub(super) sync: &'a ClaimedSync,
    pub(super) sightings: &'a Sightings<'a>,
    pub(super) started_at: DateTime<Utc>,
}

impl Settling<'_> {
    /// Judges the watches of these members by the snapshot.
    pub(super) async fn settle(
        &self,
        connection: &mut PgConnection,
        known: &[KnownMember],
    ) -> Result<Vec<WatchLine>, StoreError> {
        let mut lines = Vec::new();
        let mut moved = Vec::new();
        for one in known {
            let Some(watch) = one.watch.as_ref().filter(|watch| watch.since < self.started_at)
            else {
                continue;
            };
            let moved_to = |next| Moved { member: &one.identity.member, watch, next };
            // A member whose removal was requested since is not invited again.
            if one.was_to_go {
                moved.push(moved_to(None));
                continue;
            }
            // Only a later request that took effect ends a watch. While a later request is unfinished, the watch is not
            // judged.
            if let Some(intent) = &one.intent
                && intent.task != watch.task
            {
                if one.took_effect {
                    moved.push(moved_to(None));
                }
                continue;
            }
            let sighting = self.sightings.of(&one.identity);
            let next = self.policy.next_watch(watch.operation, watch.checks + 1);
            let is_due = watch.due_at <= self.started_at;
            let outcome = after_snapshot(watch.operation, &sighting, is_due, next.is_none());
            match outcome {
                None => {}
                Some(WatchResult::CheckAgain) => {
                    let next = TimeDelta::from_std(next.unwrap_or_default()).unwrap_or_default();
                    moved.push(moved_to(Some((watch.checks + 1, watch.since + next))));
                }
                Some(WatchResult::Retry) => {
                    let soon = TimeDelta::from_std(self.policy.reread_after(1)).unwrap_or_default();
                    moved.push(moved_to(Some((watch.checks, self.sync.claimed_at + soon))));
                }
                Some(WatchResult::End) => moved.push(moved_to(None)),
                Some(outcome) => {
                    if let Some(line) = self.record(connection, one, watch, outcome).await? {
                        lines.push(line);
                        moved.push(moved_to(None));
                    }
                }
            }
        }
        let (workspace, integration) = (&self.sync.workspace, &self.sync.integration);
        move_on(connection, workspace, integration, &moved).await?;
        Ok(lines)
    }

    async fn record(
        &self,
        connection: &mut PgConnection,
        known: &KnownMember,
        watch: &Watch,
        outcome: WatchResult,
    ) -> Result<Option<WatchLine>, StoreError> {
        let (what, reason) = match outcome {
            WatchResult::Accepted => ("task.invitation_accepted", None),
            WatchResult::Vanished => ("task.invitation_vanished", None),
            WatchResult::Expired => ("task.invitation_expired", Some(EXPIRED)),
            WatchResult::Returned => ("task.member_returned", Some(CAME_BACK)),
            WatchResult::CheckAgain | WatchResult::Retry | WatchResult::End => return Ok(None),
        };
        let mut asked = None;
        if let Some(reason) = reason {
            asked = self.ask_again(connection, known, watch, reason).await?;
            if asked.is_none() {
                return Ok(None);
            }
        }
        let action = asked.as_ref().map(|asked| asked.action);
        let detail =
            json!({"sync_id": self.sync.id, "action_id": action, "confirmed_at": watch.since});
        let (workspace, task) = (&self.sync.workspace, watch.task);
        history::append(connection, &[Happened { what, workspace, task, detail }]).await?;
        Ok(Some(WatchLine { task: watch.task, asked, outcome }))
    }

    /// Opens an action for a change that did not last; `None` while another request or action of the member is
    /// unfinished.
    async fn ask_again(
        &self,
        connection: &mut PgConnection,
        known: &KnownMember,
        watch: &Watch,
        reason: &'static str,
    ) -> Result<Option<AskedAgain>, StoreError> {
        let identity = &known.identity;
        let key = MemberKey {
            workspace: self.sync.workspace.clone(),
            integration: self.sync.integration.clone(),
            member: identity.member.clone(),
        };
        let task = watch.task;
        let escalated = retry::again::escalate_again(connection, &key, task, reason).await?;
        let Some((trigger, attempts)) = escalated else { return Ok(None) };
        let names = retry::record::display_names(connection, &key.workspace, task).await?;
        let opening = Opening {
            task,
            key,
            operation: watch.operation,
            trigger,
            reason,
            failure: Failure::default(),
            app: app_name(&names),
            person: Person {
                email: identity.email.clone(),
                username: identity.username.clone(),
                name: names.member_name,
            },
            entitlements: names.entitlements,
        };
        let due_in = manual_action::due_in(self.deadlines, watch.operation);
        let library = self.library;
        let action =
            manual_action::store::open(connection, library, &opening, attempts, due_in).await?;
        let Some(action) = action else { return Ok(None) };
        member::store::open_action(connection, &opening.key, action).await?;
        Ok(Some(AskedAgain { action, operation: watch.operation, traceparent: names.traceparent }))
    }
}

pub(super) fn log_lines(sync: &ClaimedSync, lines: Vec<WatchLine>) {
    for WatchLine { task, asked, outcome } in lines {
        let action = asked.as_ref().map(|asked| asked.action);
        if let Some(AskedAgain { action, operation, traceparent }) = &asked {
            let traceparent = traceparent.as_deref();
            traces::opened(*action, task, &sync.integration, operation.as_str(), traceparent);
        }
        match outcome {
            WatchResult::Returned => emit!(
                MEMBER_RETURNED,
                task.id = task,
                action.id = action,
                workspace.id = sync.workspace,
                integration.id = sync.integration,
                "Somebody who was removed is in the app again"
            ),
            WatchResult::Expired => emit!(
                INVITATION_EXPIRED,
                task.id = task,
                action.id = action,
                workspace.id = sync.workspace,
                integration.id = sync.integration,
                "The invitation expired; another one is needed"
            ),
            WatchResult::Vanished => emit!(
                INVITATION_VANISHED,
                task.id = task,
                workspace.id = sync.workspace,
                integration.id = sync.integration,
                "The invitation is gone, and its member is not in the app"
            ),
            WatchResult::Accepted => emit!(
                INVITATION_ACCEPTED,
                task.id = task,
                integration.id = sync.integration,
                "The invited person is a member now"
            ),
            WatchResult::CheckAgain | WatchResult::Retry | WatchResult::End => {}
        }
    }
}
