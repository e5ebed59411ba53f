//! The SQL of what people read of automation tasks.

use chrono::{DateTime, Utc};

use crate::database::PgPool;
use crate::store::StoreError;

/// One line of the list of unfinished tasks.
#[derive(Debug, serde::Serialize)]
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
pub async fn list(pool: &PgPool, filter: TaskFilter<'_>) -> Result<Vec<TaskLine>, StoreError> {
    Ok(sqlx::query_as!(
        TaskLine,
        r#"-- list_tasks
         select id as "id!", state as "state!", operation as "operation!", workspace_id as "workspace_id!",
                integration_id as "integration_id!", app as "integration_name!", member_id as "member_id!",
                member_email as "member_email!", attempts as "attempts!", received_at as "received_at!",
                coalesce(why, '') as "why!"
         from reconciler.why_waiting
         where ($1::text is null or workspace_id = $1) and ($2::text is null or integration_id = $2)
           and ($3::text is null or member_id = $3 or lower(member_email) = lower($3))
           and ($4::bigint is null or id > $4) and (coalesce(cardinality($5::bigint[]), 0) = 0 or id = any ($5))
         order by id
         limit $6"#,
        filter.workspace,
        filter.integration,
        filter.member,
        filter.after,
        filter.ids,
        i64::from(filter.limit),
    )
    .fetch_all(pool)
    .await?)
}

/// Everything about one task, for people.
#[derive(Debug, serde::Serialize)]
pub struct TaskCard {
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

pub async fn find(pool: &PgPool, id: i64) -> Result<Option<TaskCard>, StoreError> {
    Ok(sqlx::query_as!(
        TaskCard,
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
    .fetch_optional(pool)
    .await?)
}
