//! What a person can do: read manual actions in plain SQL, change an app by hand, and say so.

use sqlx::{FromRow, PgPool};

use crate::simulator::{Member, Simulator};
use cerby_reconciler::catalogue;

/// A person with an operator's login and access to the apps.
#[derive(Clone, Copy)]
pub(super) struct Person<'a> {
    pub(super) pool: &'a PgPool,
    pub(super) apps: &'a Simulator,
}

#[derive(Debug, FromRow)]
pub(super) struct Action {
    pub(super) id: i64,
    pub(super) operation: String,
    pub(super) workspace_id: String,
    pub(super) integration_id: String,
    application: String,
    pub(super) member_id: String,
    member_email: String,
    member_username: Option<String>,
    entitlements: Vec<String>,
}

impl Action {
    pub(super) fn is_readable(&self) -> bool {
        catalogue::is_readable(&self.application)
    }
}

impl Person<'_> {
    /// The actions in this status, the most urgent first.
    pub(super) async fn actions(&self, status: &str) -> sqlx::Result<Vec<Action>> {
        sqlx::query_as(
            "select id, operation, workspace_id, integration_id, application, member_id, member_email,
                    member_username, entitlements
             from reconciler.manual_actions
             where status = $1
             order by due_at, id",
        )
        .bind(status)
        .fetch_all(self.pool)
        .await
    }

    /// Whether it was changed does not matter: the app is in the desired state afterwards.
    pub(super) fn change(&self, action: &Action) {
        let (workspace, integration) = (&action.workspace_id, &action.integration_id);
        let roles: Vec<&str> = action.entitlements.iter().map(String::as_str).collect();
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

    /// Returns whether the database accepted the claim.
    pub(super) async fn claim(&self, action: &Action) -> sqlx::Result<bool> {
        let claim = sqlx::query(
            "update reconciler.manual_actions set status = 'in_progress' where id = $1",
        );
        accepted(claim.bind(action.id).execute(self.pool).await.map(drop))
    }

    /// Returns whether the database accepted the statement.
    pub(super) async fn mark_done(&self, action: &Action) -> sqlx::Result<bool> {
        let done = sqlx::query(
            "update reconciler.manual_actions set status = 'done', note = $2 where id = $1",
        );
        let note = format!("{} made in the app", action.operation);
        accepted(done.bind(action.id).bind(note).execute(self.pool).await.map(drop))
    }
}

/// The database refuses what is no longer possible; that is no failure of the person.
fn accepted(outcome: sqlx::Result<()>) -> sqlx::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(sqlx::Error::Database(error)) if is_too_late(&*error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether somebody else was faster: the daemon, or a colleague.
fn is_too_late(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| ["P0403", "P0409", "P0410"].contains(&code.as_ref()))
}
