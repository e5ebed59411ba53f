//! The SQL of bearer tokens. Only their hashes are stored.

use chrono::{DateTime, Utc};

use crate::access::{Access, Role};
use crate::database::{PgConnection, PgPool};
use crate::store::StoreError;

/// One line of the list of tokens. Whoever has it cannot use the token.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct TokenLine {
    pub name: String,
    pub role: String,
    /// `None` for all.
    pub workspaces: Option<Vec<String>>,
    pub expires_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    /// To the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoked_by: Option<String>,
}

/// Stores a token by its hash, in the name of the user who runs the transaction.
pub async fn insert(
    connection: &mut PgConnection,
    name: &str,
    access: &Access,
    hash: &[u8],
    valid_days: u32,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- create_token
         insert into reconciler.tokens (name, role, workspaces, hash, expires_at)
         values ($1, $2, $3, $4, now() + make_interval(days => $5))",
        name,
        access.role.as_str(),
        access.workspaces.as_deref(),
        hash,
        i32::try_from(valid_days).unwrap_or(i32::MAX),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Lists all tokens, those that end first at the top.
pub async fn list(connection: &mut PgConnection) -> Result<Vec<TokenLine>, StoreError> {
    Ok(sqlx::query_as!(
        TokenLine,
        "-- list_tokens
         select name, role, workspaces, expires_at, created_at, created_by, last_used_at, revoked_at, revoked_by
         from reconciler.tokens order by revoked_at is not null, expires_at, name",
    )
    .fetch_all(connection)
    .await?)
}

/// Whether any token is valid now.
pub async fn is_any_valid(pool: &PgPool) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- is_any_token_valid
         select exists (select from reconciler.tokens where revoked_at is null and expires_at > now()) as "is_any!""#,
    )
    .fetch_one(pool)
    .await?)
}

/// Ends a token, in the name of the user who runs the transaction. Returns whether there is one.
pub async fn revoke(connection: &mut PgConnection, name: &str) -> Result<bool, StoreError> {
    let revoked = sqlx::query!(
        "-- revoke_token
         update reconciler.tokens set revoked_at = now() where name = $1",
        name,
    )
    .execute(connection)
    .await?;
    Ok(revoked.rows_affected() == 1)
}

/// The name and the access of the token with this hash, if it is valid now. When it was used is written once a minute.
pub async fn find_valid(
    pool: &PgPool,
    hash: &[u8],
) -> Result<Option<(String, Access)>, StoreError> {
    let row = sqlx::query!(
        r#"-- find_token
         with found as materialized (
             select name, role, workspaces, last_used_at from reconciler.tokens
             where hash = $1 and revoked_at is null and expires_at > now()
         ), used as (
             update reconciler.tokens t set last_used_at = now() from found f
             where t.name = f.name and (f.last_used_at is null or f.last_used_at < now() - interval '1 minute')
         )
         select name as "name!", role as "role!", workspaces from found"#,
        hash,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let role: Role =
        row.role.parse().map_err(|source| StoreError::BadRow { table: "tokens", id: 0, source })?;
    Ok(Some((row.name, Access { role, workspaces: row.workspaces })))
}
