//! The SQL of reports that an app looks different from its instructions.

use chrono::{DateTime, Utc};

use crate::database::PgConnection;
use crate::store::{MOST_COUNTED, StoreError};

/// A text of instructions of which people reported that the app looks different.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct ChangedScreen {
    /// The text: a file of the folder, or the name of one that the program has.
    pub instructions: Option<String>,
    /// `folder` or `shipped`.
    pub source: Option<String>,
    pub application: String,
    pub operation: String,
    /// A text that changes has another one, and is counted anew.
    pub instructions_hash: Option<String>,
    /// The number of actions on which somebody reported it.
    pub reports: i64,
    /// The number of actions with these instructions. At most 1000 are counted.
    pub used: i64,
    pub last_reported_at: DateTime<Utc>,
    /// What has changed, in the latest words.
    pub last_note: Option<String>,
}

/// So many texts are listed at most.
const MOST_LISTED: i64 = 200;

/// Texts that people reported, those first that most did; `None` for all workspaces.
pub async fn list(
    connection: &mut PgConnection,
    workspace: Option<&str>,
) -> Result<Vec<ChangedScreen>, StoreError> {
    Ok(sqlx::query_as!(
        ChangedScreen,
        r#"-- list_changed_screens
         with reported as materialized (
             select instructions, source, application, operation, instructions_hash, sum(reports)::bigint as reports,
                    max(last_reported_at) as last_reported_at,
                    (array_agg(last_note order by last_reported_at desc) filter (where last_note is not null))[1]
                        as last_note
             from reconciler.changed_screens
             where $1::text is null or workspace_id = $1
             group by instructions, source, application, operation, instructions_hash
             order by reports desc, last_reported_at desc
             limit $2
         )
         select r.instructions, r.source, r.application as "application!", r.operation as "operation!",
                r.instructions_hash, r.reports as "reports!", u.used as "used!",
                r.last_reported_at as "last_reported_at!", r.last_note
         from reported r
         cross join lateral (
             select count(*) as used
             from (select from reconciler.manual_actions a
                   where a.instructions_hash = r.instructions_hash and a.application = r.application
                     and ($1::text is null or a.workspace_id = $1)
                   limit $3) a) u
         order by r.reports desc, r.last_reported_at desc"#,
        workspace,
        MOST_LISTED,
        MOST_COUNTED,
    )
    .fetch_all(connection)
    .await?)
}

/// Reports that the app looks different from the instructions of an action, in the name of the user who runs the
/// transaction.
pub async fn report(
    connection: &mut PgConnection,
    id: i64,
    note: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- report_screen
         select reconciler.report_screen($1, $2)",
        id,
        note
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}
