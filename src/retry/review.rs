//! The SQL of what people read of automation tasks.

use chrono::{DateTime, Utc};

use crate::database::PgConnection;
use crate::store::StoreError;

/// One line of the list of unfinished tasks.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct TaskLine {
    pub id: i64,
    pub state: String,
    pub operation: String,
    pub workspace_id: String,
    pub integration_id: String,
    pub integration_name: String,
    pub member_id: String,
    pub member_email: String,
    pub attempts: i32,
    pub received_at: DateTime<Utc>,
    /// Why the task waits, until when, and who can change that.
    pub why: String,
}

/// Which unfinished tasks to list; `None` leaves all.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskFilter<'a> {
    pub workspace: Option<&'a str>,
    pub integration: Option<&'a str>,
    /// By id or email.
    pub member: Option<&'a str>,
    /// Only these, unless it is empty.
    pub ids: &'a [i64],
    /// Only tasks that come after this one in the list.
    pub after: Option<i64>,
    pub limit: u32,
}

/// Lists unfinished tasks, the oldest first.
pub async fn list(
    connection: &mut PgConnection,
    filter: TaskFilter<'_>,
) -> Result<Vec<TaskLine>, StoreError> {
    Ok(sqlx::query_as!(
        TaskLine,
        // The tasks are found by their places first, or every unfinished one would be read; and so is an email, which the
        // planner would otherwise look for in all tasks.
        r#"-- list_tasks
         with listed as materialized (
             select p.task_id, p.workspace_id from reconciler.task_places p
             where ($1::text is null or p.workspace_id = $1) and ($2::text is null or p.integration_id = $2)
               and ($3::text is null or p.member_id = $3
                    or lower($3) = (select lower(t.member_email) from reconciler.automation_tasks t
                                    where t.id = p.task_id and t.workspace_id = p.workspace_id))
               and ($4::bigint is null or p.task_id > $4)
               and (coalesce(cardinality($5::bigint[]), 0) = 0 or p.task_id = any ($5))
             order by p.task_id
             limit $6
         )
         select t.id, t.state, t.operation, t.workspace_id, t.integration_id, t.integration_name, t.member_id,
                t.member_email, t.attempts, t.received_at, coalesce(reconciler.why_waiting(t), '') as "why!"
         from listed l
         join reconciler.automation_tasks t on t.id = l.task_id and t.workspace_id = l.workspace_id
         order by t.id"#,
        filter.workspace,
        filter.integration,
        filter.member,
        filter.after,
        filter.ids,
        i64::from(filter.limit),
    )
    .fetch_all(connection)
    .await?)
}

/// Everything about one task, for people.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct TaskFacts {
    pub id: i64,
    pub state: String,
    pub operation: String,
    pub workspace_id: String,
    pub source_id: String,
    pub integration_id: String,
    pub integration_name: String,
    pub member_id: String,
    pub member_email: String,
    pub trigger: String,
    pub requested_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
    pub attempts: i32,
    pub failure_code: Option<String>,
    pub last_error: Option<String>,
    /// Why it waits, or why it ended.
    pub reason: String,
    pub closed_at: Option<DateTime<Utc>>,
    pub superseded_by: Option<i64>,
    /// The latest manual action of the task.
    pub action_id: Option<i64>,
}

pub async fn find(connection: &mut PgConnection, id: i64) -> Result<Option<TaskFacts>, StoreError> {
    Ok(sqlx::query_as!(
        TaskFacts,
        r#"-- find_task
         select t.id, t.state, t.operation, t.workspace_id, t.source_id, t.integration_id, t.integration_name,
                t.member_id, t.member_email, t.trigger, t.requested_at, t.received_at, t.attempts, t.failure_code,
                t.last_error, coalesce(t.closed_reason, reconciler.why_waiting(t), '') as "reason!", t.closed_at,
                t.superseded_by,
                (select max(a.id) from reconciler.manual_actions a
                 where a.task_id = t.id and a.workspace_id = t.workspace_id) as action_id
         from reconciler.automation_tasks t
         where t.id = $1"#,
        id,
    )
    .fetch_optional(connection)
    .await?)
}
