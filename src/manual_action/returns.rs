//! The SQL of sending actions back to automation. Who may and what follows is the database's own rule.

use sqlx::{PgConnection, PgPool};

use crate::membership::{MemberKey, Wanted};
use crate::store::StoreError;

/// An open action, as far as it would be sent back to automation.
#[derive(Debug)]
pub struct Returnable {
    /// The action.
    pub id: i64,
    /// Whom it is about.
    pub key: MemberKey,
    /// What would be asked for.
    pub wanted: Wanted,
    /// The role on a business hub that an invitation gives.
    pub hub_role: String,
    /// Why it came to people.
    pub failure_code: Option<String>,
}

struct ReturnableRow {
    id: i64,
    workspace_id: String,
    integration_id: String,
    member_id: String,
    member_email: String,
    member_username: Option<String>,
    operation: String,
    entitlements: Vec<String>,
    failure_code: Option<String>,
    hub_role: String,
}

impl TryFrom<ReturnableRow> for Returnable {
    type Error = StoreError;

    fn try_from(row: ReturnableRow) -> Result<Self, StoreError> {
        let bad = |source| StoreError::BadRow { table: "manual_actions", id: row.id, source };
        Ok(Self {
            id: row.id,
            wanted: Wanted {
                operation: row.operation.parse().map_err(bad)?,
                member: row.member_id.clone(),
                email: row.member_email,
                username: row.member_username,
                entitlements: row.entitlements.into_iter().collect(),
            },
            key: MemberKey {
                workspace: row.workspace_id,
                integration: row.integration_id,
                member: row.member_id,
            },
            hub_role: row.hub_role,
            failure_code: row.failure_code,
        })
    }
}

/// One action, if automation may have it again.
pub async fn returnable(pool: &PgPool, id: i64) -> Result<Option<Returnable>, StoreError> {
    sqlx::query_as!(
        ReturnableRow,
        "select a.id, a.workspace_id, a.integration_id, a.member_id, a.member_email, a.member_username, a.operation,
                a.entitlements, a.failure_code,
                coalesce(t.hub_role, 'account_collaborator') as \"hub_role!\"
         from reconciler.manual_actions a
         join reconciler.automation_tasks t on t.workspace_id = a.workspace_id and t.id = a.task_id
         where a.id = $1 and a.status in ('open', 'in_progress') and a.operation <> 'reconnect'",
        id,
    )
    .fetch_optional(pool)
    .await?
    .map(Returnable::try_from)
    .transpose()
}

/// The open actions of an integration that automation may have again, the canary first.
pub async fn returnables(
    pool: &PgPool,
    workspace: &str,
    integration: &str,
    failure_code: Option<&str>,
    operation: Option<&str>,
) -> Result<Vec<Returnable>, StoreError> {
    sqlx::query_as!(
        ReturnableRow,
        r#"select a.id as "id!", a.workspace_id as "workspace_id!", a.integration_id as "integration_id!",
                a.member_id as "member_id!", a.member_email as "member_email!", a.member_username,
                a.operation as "operation!", a.entitlements as "entitlements!", a.failure_code,
                coalesce(t.hub_role, 'account_collaborator') as "hub_role!"
         from reconciler.returnable_actions($1, $2, $3, $4) a
         join reconciler.automation_tasks t on t.workspace_id = a.workspace_id and t.id = a.task_id
         order by a.opened_at, a.id"#,
        workspace,
        integration,
        failure_code,
        operation,
    )
    .fetch_all(pool)
    .await?
    .into_iter()
    .map(Returnable::try_from)
    .collect()
}

/// Sends one action back to automation, in the name of whoever runs the transaction; whether there was such an action.
pub async fn give_back(
    connection: &mut PgConnection,
    id: i64,
    reason: &str,
) -> Result<bool, StoreError> {
    let written = sqlx::query!(
        "update reconciler.manual_actions set status = 'returned', note = $2 where id = $1",
        id,
        reason,
    )
    .execute(connection)
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Sends the open actions of an integration back to automation, one first; whether there were any.
pub async fn give_all_back(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    failure_code: Option<&str>,
    operation: Option<&str>,
    reason: &str,
) -> Result<bool, StoreError> {
    let id = sqlx::query_scalar!(
        "select reconciler.return_to_automation($1, $2, $3, $4, $5)",
        workspace,
        integration,
        failure_code,
        operation,
        reason,
    )
    .fetch_one(connection)
    .await?;
    Ok(id.is_some())
}

/// A return to automation whose canary has ended.
#[derive(Debug)]
pub struct DecidedReturn {
    /// Its id.
    pub id: i64,
    /// Of which integration.
    pub integration: String,
    /// `released` or `stopped`.
    pub decision: String,
    /// Actions that followed, or stay.
    pub actions: i32,
}

/// Decides one return whose canary has ended, if there is one.
pub async fn decide_return(
    connection: &mut PgConnection,
) -> Result<Option<DecidedReturn>, StoreError> {
    Ok(sqlx::query_as!(
        DecidedReturn,
        r#"select return_id as "id!", integration_id as "integration!", decision as "decision!",
                  actions as "actions!"
           from reconciler.decide_return()"#
    )
    .fetch_optional(connection)
    .await?)
}
