//! The SQL of tasks that a person cancelled.

use crate::database::PgConnection;
use crate::membership::{MemberKey, Operation};
use crate::store::StoreError;

/// A cancelled task that has not ended.
#[derive(Debug)]
pub struct Cancelled {
    pub task: i64,
    pub key: MemberKey,
    pub operation: Operation,
    /// Whether an attempt of it was made before its present turn.
    pub was_tried: bool,
    /// Whether intake has placed it among the requests of its member.
    pub has_place: bool,
    /// Whether intake holds it until a person decides. It is not placed meanwhile.
    pub is_held: bool,
}

/// Cancels a task in the name of a person. The database refuses if the task has ended or the reason is missing.
pub async fn request(
    connection: &mut PgConnection,
    task: i64,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- request_cancellation
         select reconciler.request_cancellation($1, $2)",
        task,
        reason
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Finds a task, unless it is gone or has ended.
pub async fn find(
    connection: &mut PgConnection,
    workspace: &str,
    task: i64,
) -> Result<Option<Cancelled>, StoreError> {
    let row = sqlx::query!(
        r#"-- find_cancelled
        select integration_id, member_id, operation, attempts > 0 or trying_since is not null as "was_tried!",
               ordered_at is not null as "has_place!",
               exists (select from reconciler.arrivals a
                       where a.task_id = t.id and a.workspace_id = t.workspace_id and a.held_reason is not null
                       offset 0) as "is_held!"
        from reconciler.automation_tasks t where id = $1 and workspace_id = $2 and closed_at is null"#,
        task,
        workspace,
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let bad = |source| StoreError::BadRow { table: "automation_tasks", id: task, source };
    Ok(Some(Cancelled {
        task,
        key: MemberKey {
            workspace: workspace.to_owned(),
            integration: row.integration_id,
            member: row.member_id,
        },
        operation: row.operation.parse().map_err(bad)?,
        was_tried: row.was_tried,
        has_place: row.has_place,
        is_held: row.is_held,
    }))
}

/// Closes a task that is not in flight, and records that in the trail.
pub async fn close(
    connection: &mut PgConnection,
    cancelled: &Cancelled,
    reason: &str,
    closed_reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- close_cancelled
         with closed as (
             update reconciler.automation_tasks t
             set state = 'cancelled', cancel_reason = $3, closed_reason = $4, closed_at = clock_timestamp(),
                 effects_possible_until = case when t.attempts > 0 or t.trying_since is not null
                                               then clock_timestamp() else t.effects_possible_until end
             where t.id = $1 and t.workspace_id = $2
             returning t.id, t.workspace_id
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'task.cancelled', workspace_id, 'task', id::text, jsonb_build_object('reason', $3::text) from closed",
        cancelled.task,
        cancelled.key.workspace,
        reason,
        closed_reason,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes the arrival of a held task. The caller must hold the lock that ordering needs, so that intake cannot place
/// the task at the same time.
pub async fn take_off(
    connection: &mut PgConnection,
    cancelled: &Cancelled,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- take_off_held
         delete from reconciler.arrivals where task_id = $1 and workspace_id = $2",
        cancelled.task,
        cancelled.key.workspace,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks a task that is in flight. Its worker closes it, whatever the status of the integration is.
pub async fn mark(
    connection: &mut PgConnection,
    cancelled: &Cancelled,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- mark_cancelled
         with ready as (
             update reconciler.members set ready_needs_no_automation = true
             where workspace_id = $2 and integration_id = $4 and member_id = $5 and ready_task_id = $1
         )
         update reconciler.automation_tasks
         set cancel_reason = $3, next_attempt_at = least(next_attempt_at, clock_timestamp())
         where id = $1 and workspace_id = $2",
        cancelled.task,
        cancelled.key.workspace,
        reason,
        cancelled.key.integration,
        cancelled.key.member,
    )
    .execute(connection)
    .await?;
    Ok(())
}
