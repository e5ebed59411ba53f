//! The names and texts of a task that only people need.

use crate::backend::Failure;
use crate::database::PgConnection;
use crate::membership::IntegrationKind;
use crate::retry::{ClaimedTask, EscalationReason};
use crate::store::StoreError;

/// The names that people use for the app and the member of a task, and the texts for people.
#[derive(Debug)]
pub struct DisplayNames {
    pub integration_name: String,
    pub kind: IntegrationKind,
    /// The name of the app in the catalogue.
    pub application: String,
    pub member_name: Option<String>,
    pub entitlements: Vec<String>,
    /// The message of the failed job, for people.
    pub failure_message: Option<String>,
    /// The URL of the screenshot of the failure.
    pub failure_screenshot_url: Option<String>,
    /// The trace context of the transaction that inserted the task.
    pub traceparent: Option<String>,
}

impl DisplayNames {
    /// Adds the texts for people to a failure if it is the failure that the task came with.
    pub fn in_words(&self, failure: Failure, task: &ClaimedTask) -> Failure {
        if failure != task.first_failure {
            return failure;
        }
        let (message, screenshot_url) =
            (self.failure_message.clone(), self.failure_screenshot_url.clone());
        Failure { message, screenshot_url, ..failure }
    }
}

/// Reads the names and texts of a task. A claim does not read them, because few tasks need them.
pub async fn display_names(
    connection: &mut PgConnection,
    workspace: &str,
    task: i64,
) -> Result<DisplayNames, StoreError> {
    let row = sqlx::query!(
        "-- display_names
         select integration_name, integration_kind, application, member_name, entitlements, failure_message, failure_screenshot_url,
                traceparent
         from reconciler.automation_tasks where id = $1 and workspace_id = $2",
        task,
        workspace,
    )
    .fetch_one(connection)
    .await?;
    let bad = |source| StoreError::BadRow { table: "automation_tasks", id: task, source };
    Ok(DisplayNames {
        integration_name: row.integration_name,
        kind: row.integration_kind.parse().map_err(bad)?,
        application: row.application,
        member_name: row.member_name,
        entitlements: row.entitlements,
        failure_message: row.failure_message,
        failure_screenshot_url: row.failure_screenshot_url,
        traceparent: row.traceparent,
    })
}

/// The `closed_reason` of an escalated task.
pub fn closed_reason(reason: &EscalationReason, failure: &Failure) -> String {
    match &failure.code {
        Some(code) => format!("{}: {code}", reason.sentence()),
        None => reason.sentence().to_owned(),
    }
}
