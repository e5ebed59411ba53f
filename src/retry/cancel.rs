//! The SQL of tasks that a person cancelled.

use crate::database::PgConnection;
use crate::membership::{MemberKey, Operation};
use crate::store::StoreError;

/// A cancelled task that has not ended.
#[derive(Debug)]
pub struct Cancelled {
    pub task: i64,
    /// Whom it is about.
    pub key: MemberKey,
    /// What was asked for.
    pub operation: Operation,
    /// Whether it was tried before its present turn.
    pub was_tried: bool,
    /// Whether it has its place among the requests of its member.
    pub has_place: bool,
    /// Whether it is held until a person decides, and so will have none.
    pub is_held: bool,
}

/// Asks for the end of a task, as a person; the database says no where it has ended, or where there is no reason.
pub async fn request(
    connection: &mut PgConnection,
    task: i64,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- cancel_task
         select reconciler.cancel_task($1, $2)",
        task,
        reason
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A task, unless it is gone or has ended.
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

/// Closes a task that is not in flight, in the trail too.
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

/// Takes a held task off those that have no place yet. Only for whoever may order: nobody else gives it a place meanwhile.
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

/// Marks a task that is in flight: its worker closes it, whatever the status of the integration.
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
