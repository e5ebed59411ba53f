//! The append-only trail: who did what to which row. Lines are written in the transaction that makes the change.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::database::{PgConnection, PgPool};
use crate::store::StoreError;

#[derive(Debug)]
pub struct Happened<'a> {
    pub what: &'a str,
    pub workspace: &'a str,
    pub task: i64,
    pub detail: Value,
}

/// Appends what happened to tasks. Actions, syncs and integrations write their own lines by trigger.
pub async fn append(
    connection: &mut PgConnection,
    lines: &[Happened<'_>],
) -> Result<(), sqlx::Error> {
    if lines.is_empty() {
        return Ok(());
    }
    let whats: Vec<_> = lines.iter().map(|line| line.what.to_owned()).collect();
    let workspaces: Vec<_> = lines.iter().map(|line| line.workspace.to_owned()).collect();
    let tasks: Vec<_> = lines.iter().map(|line| line.task).collect();
    let details: Vec<_> = lines.iter().map(|line| line.detail.clone()).collect();
    sqlx::query!(
        "-- append_events
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select l.what, l.workspace_id, 'task', l.task::text, l.detail
         from unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[]) l (what, workspace_id, task, detail)",
        &whats,
        &workspaces,
        &tasks,
        &details,
    )
    .execute(connection)
    .await
    .map(drop)
}

#[derive(Debug)]
pub struct TrailLine {
    pub at: DateTime<Utc>,
    pub actor: String,
    pub what: String,
}

/// The lines of these rows of a workspace, by subject and id, oldest first; at most 200.
pub async fn trail(
    pool: &PgPool,
    workspace: &str,
    rows: &[(&str, i64)],
) -> Result<Vec<TrailLine>, StoreError> {
    let subjects: Vec<_> = rows.iter().map(|(subject, _)| (*subject).to_owned()).collect();
    let ids: Vec<_> = rows.iter().map(|(_, id)| id.to_string()).collect();
    Ok(sqlx::query_as!(
        TrailLine,
        "-- trail
         select e.at, e.actor, e.what
         from unnest($2::text[], $3::text[]) r (subject, id)
         join reconciler.events e on e.workspace_id = $1 and e.subject = r.subject and e.subject_id = r.id
         order by e.id limit 200",
        workspace,
        &subjects,
        &ids,
    )
    .fetch_all(pool)
    .await?)
}
