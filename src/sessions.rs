//! The SQL of the console's sessions. Only hashes of their secrets are stored.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::access::{Access, Role};
use crate::database::{PgConnection, PgPool};
use crate::store::{StoreError, interval};

/// One line of the list of sessions. Whoever has it cannot use the session.
#[derive(Debug)]
pub struct SessionLine {
    pub id: i64,
    pub actor: String,
    pub role: String,
    /// `None` for all.
    pub workspaces: Option<Vec<String>>,
    pub started_at: DateTime<Utc>,
    /// To the minute.
    pub last_seen_at: DateTime<Utc>,
    pub idle_until: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// A session that has not ended.
#[derive(Debug)]
pub struct Found {
    pub id: i64,
    pub actor: String,
    pub access: Access,
    /// The time of the query.
    pub now: DateTime<Utc>,
}

/// Stores a session by the hash of its secret.
pub async fn insert(
    connection: &mut PgConnection,
    hash: &[u8],
    actor: &str,
    access: &Access,
    idle: Duration,
    longest: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- start_session
         insert into reconciler.sessions (hash, actor, role, workspaces, idle_until, expires_at)
         values ($1, $2, $3, $4, now() + least($5::interval, $6), now() + $6::interval)",
        hash,
        actor,
        access.role.as_str(),
        access.workspaces.as_deref(),
        interval(idle),
        interval(longest),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The session with this hash, if it has not ended, and neither has the token with which it began. It is prolonged once
/// a minute, so that a page that is asked for again and again does not write each time.
pub async fn find_valid(
    pool: &PgPool,
    hash: &[u8],
    idle: Duration,
) -> Result<Option<Found>, StoreError> {
    let row = sqlx::query!(
        r#"-- find_session
         with found as materialized (
             select s.id, s.actor, s.role, s.workspaces, s.last_seen_at from reconciler.sessions s
             join reconciler.tokens t on s.actor = 'token:' || t.name
             where s.hash = $1 and s.ended_at is null and s.idle_until > now() and s.expires_at > now()
               and t.revoked_at is null and t.expires_at > now()
         ), seen as (
             update reconciler.sessions s
             set last_seen_at = now(), idle_until = least(now() + $2::interval, s.expires_at)
             from found f where s.id = f.id and f.last_seen_at < now() - interval '1 minute'
         )
         select id as "id!", actor as "actor!", role as "role!", workspaces, now() as "now!" from found"#,
        hash,
        interval(idle),
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let role: Role = row.role.parse().map_err(|source| StoreError::BadRow {
        table: "sessions",
        id: row.id,
        source,
    })?;
    let access = Access { role, workspaces: row.workspaces };
    Ok(Some(Found { id: row.id, actor: row.actor, access, now: row.now }))
}

/// Lists the sessions that have not ended and that the user who runs the transaction may see, the latest used first.
pub async fn list(connection: &mut PgConnection) -> Result<Vec<SessionLine>, StoreError> {
    Ok(sqlx::query_as!(
        SessionLine,
        "-- list_sessions
         select id, actor, role, workspaces, started_at, last_seen_at, idle_until, expires_at
         from reconciler.sessions where ended_at is null and idle_until > now() and expires_at > now()
         order by last_seen_at desc, id desc limit 200",
    )
    .fetch_all(connection)
    .await?)
}

/// Ends a session, in the name of the user who runs the transaction. Returns whether they may see one with this id.
pub async fn end(connection: &mut PgConnection, id: i64) -> Result<bool, StoreError> {
    let ended = sqlx::query!(
        "-- end_session
         update reconciler.sessions set ended_at = now() where id = $1",
        id,
    )
    .execute(connection)
    .await?;
    Ok(ended.rows_affected() == 1)
}

/// Deletes sessions that ended at least a day ago, the oldest first. The trail keeps who had signed in.
pub async fn delete_old(connection: &mut PgConnection, limit: i64) -> Result<(), StoreError> {
    sqlx::query!(
        "-- delete_old_sessions
         delete from reconciler.sessions where id in (
             select id from reconciler.sessions where expires_at < now() - interval '1 day'
             order by expires_at limit $1)",
        limit,
    )
    .execute(connection)
    .await?;
    Ok(())
}
