//! The SQL of one action as people read it.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::instructions::StepPicture;
use crate::database::PgConnection;
use crate::store::StoreError;

/// Everything about one action, for people.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct ActionFacts {
    pub id: i64,
    pub status: String,
    pub operation: String,
    pub instructions: String,
    pub workspace_id: String,
    pub integration_id: String,
    pub integration_name: String,
    pub integration_kind: String,
    pub member_id: String,
    pub member_email: String,
    pub attempts: i32,
    pub reason: String,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    pub integration_status: String,
    pub opened_at: DateTime<Utc>,
    pub due_at: DateTime<Utc>,
    pub assignee: Option<String>,
    pub note: Option<String>,
    pub done_by: Option<String>,
    pub done_at: Option<DateTime<Utc>>,
    pub confirmed_by: Option<String>,
    pub verdict: Option<String>,
    pub verdict_at: Option<DateTime<Utc>>,
    pub observed: Option<String>,
    /// The sync that the latest verdict rests on.
    pub sync_id: Option<i64>,
    pub reopened_count: i32,
    pub task_id: i64,
    /// The text that the instructions were made of: a file of the folder, or the name of one that the program has.
    pub instructions_name: Option<String>,
    /// `folder` or `shipped`.
    pub instructions_source: Option<String>,
    /// A text that changes has another one.
    pub instructions_hash: Option<String>,
    /// A link to the app's admin page, if the text has one.
    pub admin_url: Option<String>,
    #[schema(value_type = Vec<StepPicture>)]
    pub pictures: Json<Vec<StepPicture>>,
    /// When somebody last reported that the app looks different from the instructions, who, and what has changed.
    pub screen_changed_at: Option<DateTime<Utc>>,
    pub screen_changed_by: Option<String>,
    pub screen_changed_note: Option<String>,
    /// Changes with every change of the action.
    pub revision: i64,
}

/// So much of a hash is enough to tell texts apart.
const SHORT_HASH: usize = "sha256:".len() + 12;

impl ActionFacts {
    /// The beginning of the hash of the instructions' text.
    pub fn short_hash(&self) -> Option<&str> {
        let hash = self.instructions_hash.as_deref()?;
        Some(hash.get(..SHORT_HASH).unwrap_or(hash))
    }
}

pub async fn find(
    connection: &mut PgConnection,
    id: i64,
) -> Result<Option<ActionFacts>, StoreError> {
    Ok(sqlx::query_as!(
        ActionFacts,
        r#"-- find_action
         select a.id, a.status, a.operation, a.instructions, a.workspace_id, a.integration_id, a.integration_name,
                a.integration_kind, a.member_id, a.member_email, a.attempts, a.reason, a.failure_code, a.failure_message,
                l.integration_status as "integration_status!", a.opened_at, l.due_at as "due_at!", a.assignee, a.note,
                a.done_by, a.done_at, a.confirmed_by, a.verdict, a.verdict_at, a.observed, a.sync_id, a.reopened_count,
                a.task_id, a.shown ->> 'template' as instructions_name, a.shown ->> 'source' as instructions_source,
                a.instructions_hash, a.shown ->> 'admin_url' as admin_url,
                coalesce(a.shown -> 'pictures', '[]') as "pictures!: Json<Vec<StepPicture>>",
                a.screen_changed_at, a.screen_changed_by, a.screen_changed_note, l.revision as "revision!"
         from reconciler.manual_actions a
         join reconciler.action_list l using (id, workspace_id)
         where a.id = $1"#,
        id,
    )
    .fetch_optional(connection)
    .await?)
}
