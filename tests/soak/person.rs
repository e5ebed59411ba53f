//! A person who works manual actions through plain SQL: mostly well, sometimes not.
//!
//! Whoever makes a change in the app holds the action's row meanwhile. So nobody makes a change after a later
//! intent ended its action, which no daemon could prevent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cerby_reconciler::catalogue;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{FromRow, PgConnection};
use testkit::simulator::Member;
use tokio::time::Instant;

use super::names;
use super::plan::Key;
use super::tally::Tally;
use super::world::World;

const TRY_EVERY: Duration = Duration::from_millis(100);
const REMEMBERS_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug, FromRow)]
struct Action {
    id: i64,
    status: String,
    operation: String,
    workspace_id: String,
    integration_id: String,
    application: String,
    member_id: String,
    entitlements: Vec<String>,
    reopened_count: i32,
}

/// What a person makes of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Makes the change and says done.
    Honest,
    /// Says done without it.
    Lies,
    /// Makes the change and says nothing for a while.
    Forgets,
    /// Says done too soon, and takes the word back: makes the change after that.
    Errs,
    /// Makes the change and says done, and takes the word back for a while.
    Doubts,
    /// Says that somebody is on it first.
    Claims,
    /// Says that it must not be done.
    Dismisses,
    /// Says that automation should try again.
    Returns,
}

pub(super) struct Person {
    pub(super) world: Arc<World>,
    pub(super) changes: Arc<Tally>,
    pub(super) seed: u64,
    pub(super) whims: StdRng,
    pub(super) meddles_until: Instant,
    pub(super) forgotten: BTreeMap<i64, Instant>,
    /// Words that are to be taken back, and when; then whatever else was said of the action is meant.
    pub(super) taken_back: BTreeMap<i64, Option<Instant>>,
}

impl Person {
    /// Works until it is dropped; a database that does not answer is tried again.
    pub(super) async fn work(mut self) {
        loop {
            // Whatever a restart of the database cut short is looked at anew.
            let _ = self.round().await;
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    async fn round(&mut self) -> sqlx::Result<()> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "select id from reconciler.manual_actions where status in ('open', 'in_progress')
             order by due_at, id limit 100",
        )
        .fetch_all(&self.world.operator)
        .await?;
        for id in ids {
            let rests = self.forgotten.get(&id).is_some_and(|at| at.elapsed() < REMEMBERS_AFTER);
            if !rests {
                self.handle(id).await?;
            }
        }
        self.take_back().await?;
        self.approve_held_reports().await?;
        self.meddle().await
    }

    /// Stops an integration now and then for a moment, or has it read.
    async fn meddle(&mut self) -> sqlx::Result<()> {
        let resumed = sqlx::query(
            "update reconciler.integrations set status = 'active'
             where status = 'paused' and status_since < now() - interval '1 s'",
        )
        .execute(&self.world.operator)
        .await?;
        (0..resumed.rows_affected()).for_each(|_| self.changes.count("resumes"));
        if Instant::now() > self.meddles_until {
            return Ok(());
        }
        let (change, statement) = match self.whims.random_range(0..100) {
            0..=2 => (
                "pauses",
                "update reconciler.integrations set status = 'paused', status_reason = 'soak'
                 where (workspace_id, integration_id) = ($1, $2) and status = 'active'",
            ),
            3..=4 => ("asks for snapshots", "select reconciler.request_snapshot($1, $2)"),
            _ => return Ok(()),
        };
        let app = &self.world.plan.apps[self.whims.random_range(0..self.world.plan.apps.len())];
        // An integration that no task has come for is not known yet.
        let done = sqlx::query(statement)
            .bind(&app.workspace)
            .bind(&app.id)
            .execute(&self.world.operator)
            .await;
        if done.is_ok_and(|done| done.rows_affected() > 0) {
            self.changes.count(change);
        }
        Ok(())
    }

    /// Takes back what was said too soon, unless it was judged meanwhile.
    async fn take_back(&mut self) -> sqlx::Result<()> {
        let is_due = |at: &Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        let due: Vec<_> =
            self.taken_back.iter().filter(|(_, at)| is_due(at)).map(|(id, _)| *id).collect();
        for id in due {
            let status = if self.whims.random_bool(0.5) { "open" } else { "in_progress" };
            let taken = sqlx::query(
                "update reconciler.manual_actions set status = $2 where id = $1 and status = 'done'",
            );
            let taken = taken.bind(id).bind(status).execute(&self.world.operator).await?;
            self.taken_back.insert(id, None);
            let is_taken = taken.rows_affected() > 0;
            self.changes.count(if is_taken { "words taken back" } else { "words judged before" });
        }
        Ok(())
    }

    async fn handle(&mut self, id: i64) -> sqlx::Result<()> {
        let mut tx = self.world.operator.begin().await?;
        let action: Action = sqlx::query_as(
            "select id, status, operation, workspace_id, integration_id, application, member_id, entitlements,
                    reopened_count
             from reconciler.manual_actions where id = $1 for update",
        )
        .bind(id)
        .fetch_one(&mut *tx)
        .await?;
        if !["open", "in_progress"].contains(&action.status.as_str()) {
            self.changes.count("found it ended");
            return Ok(());
        }
        let mood = self.mood(&action);
        if matches!(mood, Mood::Honest | Mood::Doubts | Mood::Forgets) {
            self.change(&action);
        }
        let (status, change) = match mood {
            Mood::Honest => ("done", "done"),
            Mood::Lies => ("done", "lies"),
            Mood::Errs => ("done", "errors"),
            Mood::Doubts => ("done", "doubts"),
            Mood::Claims => ("in_progress", "claims"),
            Mood::Dismisses => ("dismissed", "dismissals"),
            Mood::Returns => ("returned", "returns"),
            Mood::Forgets => {
                self.forgotten.insert(action.id, Instant::now());
                self.changes.count("forgets to say so");
                return tx.rollback().await;
            }
        };
        set(&mut tx, action.id, status).await?;
        if matches!(mood, Mood::Errs | Mood::Doubts) {
            let after = Duration::from_millis(self.whims.random_range(0..1500));
            self.taken_back.insert(action.id, Some(Instant::now() + after));
        }
        tx.commit().await?;
        self.changes.count(change);
        Ok(())
    }

    /// The same each time an action is looked at in the same state.
    fn mood(&self, action: &Action) -> Mood {
        if action.operation == "reconnect" {
            return Mood::Honest;
        }
        if action.operation == "change_role" && self.member(action).is_none() {
            // Nobody whose role could be changed.
            return Mood::Dismisses;
        }
        let first_time = action.reopened_count == 0
            && !self.forgotten.contains_key(&action.id)
            && !self.taken_back.contains_key(&action.id);
        if !first_time || action.status == "in_progress" {
            return Mood::Honest;
        }
        let draw = self.seed ^ u64::try_from(action.id).unwrap();
        match StdRng::seed_from_u64(draw).random_range(0..100) {
            0..=5 => Mood::Dismisses,
            6..=20 => Mood::Claims,
            // Where nobody can read the app, a lie is never found out.
            21..=30 if is_readable(action) => Mood::Lies,
            31..=36 => Mood::Forgets,
            37..=52 => Mood::Returns,
            53..=60 if is_readable(action) => Mood::Errs,
            61..=66 => Mood::Doubts,
            _ => Mood::Honest,
        }
    }

    fn member(&self, action: &Action) -> Option<Member> {
        let Action { workspace_id, integration_id, member_id, .. } = action;
        self.world.apps.member(workspace_id, integration_id, member_id)
    }

    fn change(&self, action: &Action) {
        let (apps, workspace, integration) =
            (&self.world.apps, &action.workspace_id, &action.integration_id);
        let roles: Vec<&str> = action.entitlements.iter().map(String::as_str).collect();
        match action.operation.as_str() {
            "invite" if self.member(action).is_none() => {
                let key = Key {
                    workspace: workspace.clone(),
                    integration: integration.clone(),
                    member: action.member_id.clone(),
                };
                let person = names::listed(&key).with(&roles);
                // Whom somebody invites in the app itself, Cerby does not always match.
                let is_matched = action.id % 3 != 0;
                apps.person_invites(workspace, integration, Member { is_matched, ..person });
            }
            "remove" => {
                apps.person_removes(workspace, integration, &action.member_id);
            }
            "change_role" => {
                apps.person_changes_role(workspace, integration, &action.member_id, &roles);
            }
            // Whatever the automation of this app failed for is fixed.
            "reconnect" => self.world.let_automation_work(|key| {
                (&key.workspace, &key.integration) == (workspace, integration)
            }),
            _ => {}
        }
    }

    async fn approve_held_reports(&self) -> sqlx::Result<()> {
        let approved = sqlx::query(
            "update reconciler.syncs set decision = 'approved', decision_reason = 'made by hand'
             where state = 'held' and decision is null",
        )
        .execute(&self.world.operator)
        .await?;
        (0..approved.rows_affected()).for_each(|_| self.changes.count("approvals"));
        Ok(())
    }
}

fn is_readable(action: &Action) -> bool {
    catalogue::find(&action.application).is_none_or(|app| app.can_sync)
}

async fn set(connection: &mut PgConnection, action: i64, status: &str) -> sqlx::Result<()> {
    sqlx::query("update reconciler.manual_actions set status = $2, note = 'soak' where id = $1")
        .bind(action)
        .bind(status)
        .execute(connection)
        .await
        .map(drop)
}
