//! The SQL of what people read of syncs and do with them. The database decides who may decide what.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::HeldDecision;
use crate::database::PgConnection;
use crate::store::StoreError;

#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    pub workspace: Option<&'a str>,
    pub integration: Option<&'a str>,
    /// Only syncs that wait for a decision.
    pub held: bool,
    /// Only these, unless it is empty.
    pub ids: &'a [i64],
    /// Only syncs that come after this one in the list.
    pub after: Option<i64>,
    pub limit: u32,
}

/// One line of the list for operators.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SyncLine {
    pub id: i64,
    pub workspace_id: String,
    pub integration_id: String,
    pub integration_name: String,
    pub procedure: String,
    pub state: String,
    pub causes: Vec<String>,
    pub requested_at: DateTime<Utc>,
    pub next_step_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub finished_reason: Option<String>,
    pub held_reason: Option<String>,
    pub held_until: Option<DateTime<Utc>>,
    pub decision: Option<String>,
    pub last_error: Option<String>,
    pub snapshot: Option<Value>,
    pub counts: Option<Value>,
    /// Changes with every change of the sync.
    pub revision: i64,
}

pub async fn list(
    connection: &mut PgConnection,
    filter: Filter<'_>,
) -> Result<Vec<SyncLine>, StoreError> {
    Ok(sqlx::query_as!(
        SyncLine,
        r#"-- list_syncs
         select s.id, s.workspace_id, s.integration_id, i.name as "integration_name!", s.procedure, s.state, s.causes,
                s.requested_at, s.next_step_at, s.started_at, s.finished_at, s.finished_reason, s.held_reason,
                s.held_until, s.decision, s.last_error, s.report -> 'snapshot' as snapshot, s.report -> 'counts' as counts,
                s.xmin::text::bigint as "revision!"
         from reconciler.syncs s
         join reconciler.integrations i using (workspace_id, integration_id)
         where ($1::text is null or s.workspace_id = $1)
           and ($2::text is null or s.integration_id = $2)
           and (not $3 or s.state = 'held')
           and ($4::bigint is null or s.id < $4) and (coalesce(cardinality($5::bigint[]), 0) = 0 or s.id = any ($5))
         order by s.id desc
         limit $6"#,
        filter.workspace,
        filter.integration,
        filter.held,
        filter.after,
        filter.ids,
        i64::from(filter.limit),
    )
    .fetch_all(connection)
    .await?)
}

/// Everything about one sync, for people.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SyncFacts {
    pub id: i64,
    pub workspace_id: String,
    pub integration_id: String,
    pub integration_name: String,
    pub application: String,
    pub procedure: String,
    pub state: String,
    pub causes: Vec<String>,
    pub requested_at: DateTime<Utc>,
    pub next_step_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub running_job_id: Option<String>,
    pub running_since: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub finished_reason: Option<String>,
    pub failures: i32,
    pub last_error: Option<String>,
    pub held_reason: Option<String>,
    pub held_until: Option<DateTime<Utc>>,
    pub decision: Option<String>,
    pub decision_reason: Option<String>,
    pub decided_by: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    pub unexpected_removals: Option<i32>,
    pub report_id: Option<String>,
    pub report: Option<Value>,
    /// Changes with every change of the sync.
    pub revision: i64,
    /// The time of the query.
    pub now: DateTime<Utc>,
}

pub async fn find(connection: &mut PgConnection, id: i64) -> Result<Option<SyncFacts>, StoreError> {
    Ok(sqlx::query_as!(
        SyncFacts,
        r#"-- find_sync
           select s.id, s.workspace_id, s.integration_id, i.name as "integration_name!",
                  i.application as "application!", s.procedure,
                  s.state, s.causes, s.requested_at, s.next_step_at, s.started_at, s.running_job_id,
                  s.running_since, s.finished_at, s.finished_reason, s.failures, s.last_error, s.held_reason,
                  s.held_until, s.decision, s.decision_reason, s.decided_by, s.decided_at, s.unexpected_removals,
                  s.report_id, s.report, s.xmin::text::bigint as "revision!", clock_timestamp() as "now!"
           from reconciler.syncs s
           join reconciler.integrations i using (workspace_id, integration_id)
           where s.id = $1"#,
        id,
    )
    .fetch_optional(connection)
    .await?)
}

/// Locks a sync, and fails if it has another revision.
pub async fn expect(
    connection: &mut PgConnection,
    id: i64,
    revision: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- expect_sync
         select reconciler.expect_sync($1, $2)",
        id,
        revision
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Writes a person's decision on a held report. Returns whether there is such a sync.
pub async fn decide(
    connection: &mut PgConnection,
    id: i64,
    decision: HeldDecision,
    reason: &str,
) -> Result<bool, StoreError> {
    let written = sqlx::query!(
        "-- decide_on_sync
         update reconciler.syncs set decision = $2, decision_reason = $3 where id = $1",
        id,
        decision.as_str(),
        reason,
    )
    .execute(connection)
    .await?;
    Ok(written.rows_affected() > 0)
}

/// Requests a snapshot now, in the name of the user who runs the transaction. The daemon turns all such requests of an
/// integration into one.
pub async fn request(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- request_snapshot
         select reconciler.request_snapshot($1, $2)",
        workspace,
        integration
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// The running sync of an integration, for which a new request has to wait, and its state.
pub async fn active(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
) -> Result<Option<(i64, String)>, StoreError> {
    let row = sqlx::query!(
        "-- active_sync
         select id, state from reconciler.syncs
         where workspace_id = $1 and integration_id = $2
           and state in ('started', 'report_ready', 'held', 'applying')",
        workspace,
        integration,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.id, row.state)))
}
