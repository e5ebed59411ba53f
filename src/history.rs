//! The append-only trail: who did what to which row, in the transaction that did it.

use serde_json::Value;
use sqlx::PgConnection;

/// Appends what happened to a task. Actions, syncs and gates write their own lines by trigger.
pub async fn append(
    connection: &mut PgConnection,
    what: &str,
    workspace: &str,
    task: i64,
    detail: Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         values ($1, $2, 'task', $3, $4)",
        what,
        workspace,
        task.to_string(),
        detail,
    )
    .execute(connection)
    .await
    .map(drop)
}
