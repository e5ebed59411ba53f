//! A scripted operator: reads manual actions with plain SQL, makes the change in the app, and marks the action done.
//!
//! Exactly once, it marks an action done without the change, and makes the change when the action opens again. Once, it
//! makes a change and does not mark the action done: the next snapshot of the app finds the change.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use sqlx::{FromRow, PgPool};

use crate::simulator::{Member, Simulator};
use cerby_reconciler::catalogue;

const TRY_EVERY: Duration = Duration::from_millis(200);
/// Of this many actions, one is claimed before it is worked on.
const CLAIMS_EVERY: i64 = 3;

/// If no snapshot finds the change in this time, the operator marks the action done after all.
const REMEMBERS_AFTER: Duration = Duration::from_secs(5);

/// What the operator has done so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Actions marked done without the change.
    pub(super) lies: u64,
    pub(super) done: u64,
    pub(super) approved: u64,
    /// Updates that the database refused because the action had ended meanwhile.
    pub(super) refused: u64,
}

/// A person with the operator's login and access to the apps.
pub(super) struct Operator<'a> {
    pool: &'a PgPool,
    apps: &'a Simulator,
    takes: Duration,
    lied_about: Option<i64>,
    forgot: Option<(i64, Instant)>,
    record: Record,
}

#[derive(Debug, FromRow)]
struct Action {
    id: i64,
    operation: String,
    workspace_id: String,
    integration_id: String,
    application: String,
    member_id: String,
    member_email: String,
    member_username: Option<String>,
    entitlements: Vec<String>,
}

impl Action {
    fn is_readable(&self) -> bool {
        catalogue::find(&self.application).is_none_or(|app| app.can_sync)
    }
}

impl<'a> Operator<'a> {
    /// An operator who takes this long for each action.
    pub(super) fn new(pool: &'a PgPool, apps: &'a Simulator, takes: Duration) -> Self {
        Self { pool, apps, takes, lied_about: None, forgot: None, record: Record::default() }
    }

    pub(super) fn into_record(self) -> Record {
        self.record
    }

    /// Works until the database does not answer.
    pub(super) async fn work(&mut self) -> sqlx::Result<Infallible> {
        loop {
            let actions = self.open_actions().await?;
            for (index, action) in actions.iter().enumerate() {
                if self.has_forgotten(action) {
                    continue;
                }
                tokio::time::sleep(self.takes).await;
                if self.may_forget(action, &actions[index + 1..]) {
                    self.change(action);
                    self.forgot = Some((action.id, Instant::now()));
                } else {
                    self.handle(action).await?;
                }
            }
            self.approve_held_reports().await?;
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    async fn open_actions(&self) -> sqlx::Result<Vec<Action>> {
        sqlx::query_as(
            "select id, operation, workspace_id, integration_id, application, member_id, member_email,
                    member_username, entitlements
             from reconciler.manual_actions
             where status = 'open'
             order by due_at, id
             limit 50",
        )
        .fetch_all(self.pool)
        .await
    }

    async fn handle(&mut self, action: &Action) -> sqlx::Result<()> {
        if action.id % CLAIMS_EVERY == 0 && !self.claim(action).await? {
            return Ok(());
        }
        let lies = self.may_lie_about(action);
        if !lies {
            self.change(action);
        }
        let said = self.mark_done(action).await?;
        if lies && said {
            self.lied_about = Some(action.id);
            self.record.lies += 1;
        }
        Ok(())
    }

    /// Only a lie that can be found out is useful: about a removal from an app that can be read.
    fn may_lie_about(&self, action: &Action) -> bool {
        let there =
            self.apps.member(&action.workspace_id, &action.integration_id, &action.member_id);
        self.lied_about.is_none()
            && action.operation == "remove"
            && action.is_readable()
            && there.is_some_and(|member| member.invitation.is_none())
    }

    /// Forgetting is harmless if a later action makes the daemon read the same app.
    fn may_forget(&self, action: &Action, later: &[Action]) -> bool {
        let same_app = |other: &Action| {
            (&other.workspace_id, &other.integration_id)
                == (&action.workspace_id, &action.integration_id)
        };
        self.forgot.is_none()
            && self.lied_about.is_some_and(|id| id != action.id)
            && action.is_readable()
            && later.iter().any(same_app)
    }

    fn has_forgotten(&self, action: &Action) -> bool {
        self.forgot.is_some_and(|(id, since)| id == action.id && since.elapsed() < REMEMBERS_AFTER)
    }

    fn change(&self, action: &Action) {
        let (workspace, integration) = (&action.workspace_id, &action.integration_id);
        let roles: Vec<&str> = action.entitlements.iter().map(String::as_str).collect();
        // Whether it changed anything does not matter: the app is in the desired state afterwards.
        match action.operation.as_str() {
            "reconnect" => {
                self.apps.person_mends_login(workspace, integration);
                true
            }
            "invite" => {
                let person = Member {
                    username: action.member_username.clone(),
                    ..Member::new(&action.member_id, &action.member_email).with(&roles)
                };
                self.apps.person_invites(workspace, integration, person)
            }
            "remove" => self.apps.person_removes(workspace, integration, &action.member_id),
            _ => self.apps.person_changes_role(workspace, integration, &action.member_id, &roles),
        };
    }

    async fn claim(&mut self, action: &Action) -> sqlx::Result<bool> {
        let claim = sqlx::query(
            "update reconciler.manual_actions set status = 'in_progress' where id = $1",
        );
        let claimed = claim.bind(action.id).execute(self.pool).await;
        self.accepted(claimed.map(|_| ()))
    }

    async fn mark_done(&mut self, action: &Action) -> sqlx::Result<bool> {
        let done = sqlx::query(
            "update reconciler.manual_actions set status = 'done', note = $2 where id = $1",
        );
        let note = format!("{} made in the app", action.operation);
        let said = done.bind(action.id).bind(note).execute(self.pool).await;
        let said = self.accepted(said.map(|_| ()))?;
        self.record.done += u64::from(said);
        Ok(said)
    }

    /// The database refuses what is no longer possible; that is no failure of the operator.
    fn accepted(&mut self, outcome: sqlx::Result<()>) -> sqlx::Result<bool> {
        match outcome {
            Ok(()) => Ok(true),
            Err(sqlx::Error::Database(error)) if is_too_late(&*error) => {
                self.record.refused += 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn approve_held_reports(&mut self) -> sqlx::Result<()> {
        let approved = sqlx::query(
            "update reconciler.syncs
             set decision = 'approved', decision_reason = 'these removals were made by hand'
             where state = 'held' and decision is null",
        )
        .execute(self.pool)
        .await?;
        self.record.approved += approved.rows_affected();
        Ok(())
    }
}

/// Whether somebody else was faster: the daemon, or a colleague.
fn is_too_late(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| ["P0403", "P0409", "P0410"].contains(&code.as_ref()))
}
