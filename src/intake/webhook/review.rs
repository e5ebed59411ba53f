//! The SQL of what people read and do about events that are not resolved. The database decides who may do what.

use chrono::{DateTime, Utc};

use crate::database::PgConnection;
use crate::store::StoreError;

/// An event of a webhook whose job could not be made into tasks yet.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct WebhookLine {
    pub event_id: String,
    pub event_type: String,
    pub job_id: String,
    /// Why there are no tasks, as of the latest attempt.
    pub problem: String,
    pub attempts: i32,
    /// When the job is read again; null once the event was given up.
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub occurred_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
    /// When it was given up.
    pub ended_at: Option<DateTime<Utc>>,
    pub workspace_id: String,
}

/// Which events to list; `None` leaves all.
#[derive(Debug, Clone, Copy, Default)]
pub struct WebhookFilter<'a> {
    pub workspace: Option<&'a str>,
    /// Only events that come after this one in the list: its workspace and its id.
    pub after: Option<(&'a str, &'a str)>,
    pub limit: u32,
}

/// Lists events that are not resolved, by workspace and id.
pub async fn list(
    connection: &mut PgConnection,
    filter: WebhookFilter<'_>,
) -> Result<Vec<WebhookLine>, StoreError> {
    Ok(sqlx::query_as!(
        WebhookLine,
        r#"-- list_webhooks
         select event_id as "event_id!", event_type as "event_type!", job_id as "job_id!", problem as "problem!",
                attempts as "attempts!", next_attempt_at, occurred_at as "occurred_at!", received_at as "received_at!",
                ended_at, workspace_id as "workspace_id!"
         from reconciler.unresolved_webhook_events
         where ($1::text is null or workspace_id = $1)
           and ($2::text is null or (workspace_id, event_id) > ($2, $3))
         order by workspace_id, event_id
         limit $4"#,
        filter.workspace,
        filter.after.map(|(workspace, _)| workspace),
        filter.after.map(|(_, event)| event),
        i64::from(filter.limit),
    )
    .fetch_all(connection)
    .await?)
}

/// Ends an event, in the name of the user who runs the transaction.
pub async fn dismiss(
    connection: &mut PgConnection,
    workspace: &str,
    event: &str,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- dismiss_webhook
         select reconciler.dismiss_webhook_event($1, $2, $3)",
        workspace,
        event,
        reason
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}
