//! The SQL of what people read of returns to automation.

use chrono::{DateTime, Utc};

use crate::database::PgConnection;
use crate::store::StoreError;

/// One return of several actions to automation, and where its canary stands.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct ReturnLine {
    pub id: i64,
    pub workspace_id: String,
    pub integration_id: String,
    pub integration_name: String,
    pub state: String,
    pub failure_code: Option<String>,
    pub operation: Option<String>,
    pub reason: String,
    pub requested_by: String,
    pub requested_at: DateTime<Utc>,
    pub decided_at: Option<DateTime<Utc>>,
    pub canary_task_id: i64,
    /// `None` once the task is deleted.
    pub canary_state: Option<String>,
    /// Why the canary waits, or why it ended.
    pub canary_reason: Option<String>,
    /// How many actions returned after the first canary.
    pub sent: i32,
    pub remaining_action_ids: Vec<i64>,
}

/// Which returns to list; `None` leaves all.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReturnFilter<'a> {
    pub id: Option<i64>,
    pub workspace: Option<&'a str>,
    pub integration: Option<&'a str>,
    /// Only returns that come after this one in the list.
    pub after: Option<i64>,
    pub limit: u32,
}

/// Lists returns, the newest first.
pub async fn list(
    connection: &mut PgConnection,
    filter: ReturnFilter<'_>,
) -> Result<Vec<ReturnLine>, StoreError> {
    Ok(sqlx::query_as!(
        ReturnLine,
        r#"-- list_returns
         select r.id, r.workspace_id, r.integration_id, i.name as "integration_name!", r.state, r.failure_code,
                r.operation, r.reason, r.requested_by, r.requested_at, r.decided_at, r.canary_task_id,
                t.state as "canary_state?", coalesce(t.closed_reason, reconciler.why_waiting(t)) as canary_reason,
                r.sent, r.remaining_action_ids
         from reconciler.returns r
         join reconciler.integrations i using (workspace_id, integration_id)
         left join reconciler.automation_tasks t on t.id = r.canary_task_id and t.workspace_id = r.workspace_id
         where ($1::bigint is null or r.id = $1) and ($2::text is null or r.workspace_id = $2)
           and ($3::text is null or r.integration_id = $3) and ($4::bigint is null or r.id < $4)
         order by r.id desc
         limit $5"#,
        filter.id,
        filter.workspace,
        filter.integration,
        filter.after,
        i64::from(filter.limit),
    )
    .fetch_all(connection)
    .await?)
}
