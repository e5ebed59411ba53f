//! The SQL of the console's sessions. Only hashes of their secrets are stored.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

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

/// Somebody whom the issuer of OpenID Connect named.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Person {
    /// As rows and the trail name them.
    pub actor: String,
    /// As the issuer gave it at the last sign-in.
    pub email: String,
    pub signed_in_at: DateTime<Utc>,
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

/// Who signed in.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    pub actor: &'a str,
    pub email: Option<&'a str>,
    pub access: &'a Access,
}

/// Stores a session by the hash of its secret.
pub async fn insert(
    connection: &mut PgConnection,
    hash: &[u8],
    who: Signed<'_>,
    idle: Duration,
    longest: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- start_session
         insert into reconciler.sessions (hash, actor, email, role, workspaces, idle_until, expires_at)
         values ($1, $2, $3, $4, $5, now() + least($6::interval, $7), now() + $7::interval)",
        hash,
        who.actor,
        who.email,
        who.access.role.as_str(),
        who.access.workspaces.as_deref(),
        interval(idle),
        interval(longest),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the sessions of somebody that began with another access; without access all of them.
pub async fn end_outdated(
    connection: &mut PgConnection,
    actor: &str,
    access: Option<&Access>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- end_outdated_sessions
         update reconciler.sessions set ended_at = now()
         where actor = $1 and ended_at is null and expires_at > now()
           and (role is distinct from $2 or workspaces is distinct from $3)",
        actor,
        access.map(|access| access.role.as_str()),
        access.and_then(|access| access.workspaces.as_deref()),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that the issuer gave somebody no role when they came last.
pub async fn note_without_access(
    connection: &mut PgConnection,
    actor: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- note_without_access
         update reconciler.people set role = null where actor = $1",
        actor,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The session with this hash, if it has not ended, and neither has the token with which it began, if one did. It is
/// prolonged once a minute, so that a page that is asked for again and again does not write each time.
pub async fn find_valid(
    pool: &PgPool,
    hash: &[u8],
    idle: Duration,
) -> Result<Option<Found>, StoreError> {
    let row = sqlx::query!(
        r#"-- find_session
         with found as materialized (
             select s.id, s.actor, s.role, s.workspaces, s.last_seen_at from reconciler.sessions s
             left join reconciler.tokens t on s.actor = 'token:' || t.name
             where s.hash = $1 and s.ended_at is null and s.idle_until > now() and s.expires_at > now()
               and (starts_with(s.actor, 'oidc:') or t.revoked_at is null and t.expires_at > now())
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

/// Whether a session of a person whom the issuer named ended because its time was over, and was used until then.
pub async fn is_renewable(pool: &PgPool, hash: &[u8], idle: Duration) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- is_session_renewable
         select exists (
             select from reconciler.sessions
             where hash = $1 and starts_with(actor, 'oidc:') and ended_at is null and expires_at <= now()
               and last_seen_at > now() - $2::interval
         ) as "is_renewable!""#,
        hash,
        interval(idle),
    )
    .fetch_one(pool)
    .await?)
}

/// Notes that a sign-in was answered; returns whether it had not been before.
pub async fn use_sign_in(pool: &PgPool, hash: &[u8]) -> Result<bool, StoreError> {
    let noted = sqlx::query!(
        "-- use_sign_in
         insert into reconciler.used_sign_ins (hash) values ($1) on conflict do nothing",
        hash,
    )
    .execute(pool)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// The people of the issuer whom the user who asks may see, the last who signed in first.
pub async fn people(asks: impl PgExecutor<'_>) -> Result<Vec<Person>, StoreError> {
    Ok(sqlx::query_as!(
        Person,
        "-- list_people
         select actor, email as \"email!\", signed_in_at from reconciler.people
         where email is not null order by signed_in_at desc limit 1000",
    )
    .fetch_all(asks)
    .await?)
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

/// Deletes sessions that ended at least a day ago and sign-ins that were answered as long ago, the oldest first. The trail
/// keeps who had signed in.
pub async fn delete_old(connection: &mut PgConnection, limit: i64) -> Result<(), StoreError> {
    sqlx::query!(
        "-- delete_old_sessions
         with used as (
             delete from reconciler.used_sign_ins where hash in (
                 select hash from reconciler.used_sign_ins where used_at < now() - interval '1 day'
                 order by used_at limit $1)
         )
         delete from reconciler.sessions where id in (
             select id from reconciler.sessions where expires_at < now() - interval '1 day'
             order by expires_at limit $1)",
        limit,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets the emails of people who have not signed in for so many days, those of the longest first.
pub async fn forget_people(
    connection: &mut PgConnection,
    days: u32,
    limit: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- forget_people
         delete from reconciler.people where actor in (
             select actor from reconciler.people where signed_in_at < now() - make_interval(days => $1)
             order by signed_in_at limit $2)",
        i32::try_from(days).unwrap_or(i32::MAX),
        limit,
    )
    .execute(connection)
    .await?;
    Ok(())
}
