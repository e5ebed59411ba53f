//! The SQL of stored replies of the API: a request that is sent again with its key is answered as before.

use crate::database::{PgConnection, PgPool};
use crate::store::StoreError;

/// A reply as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: i32,
    pub content_type: Option<String>,
    pub etag: Option<String>,
    pub body: String,
}

/// What is stored of a request; without a reply while it runs.
#[derive(Debug)]
pub struct Stored {
    /// The hash of the request.
    pub request: Vec<u8>,
    pub reply: Option<Reply>,
}

/// Stores that a request runs, unless one of this key is stored. The request of a replica that has crashed does not run
/// any more, and a stored one is forgotten after a day. Returns whether it was stored.
pub async fn begin(
    pool: &PgPool,
    actor: &str,
    key: &str,
    request: &[u8],
) -> Result<bool, StoreError> {
    let begun = sqlx::query!(
        "-- begin_reply
         insert into reconciler.replies as r (actor, key, request) values ($1, $2, $3)
         on conflict (actor, key) do update
         set request = excluded.request, begun_at = now(), status = null, content_type = null, etag = null, body = null
         where r.begun_at < now() - interval '1 day' or r.status is null and r.begun_at < now() - interval '2 minutes'",
        actor,
        key,
        request,
    )
    .execute(pool)
    .await?;
    Ok(begun.rows_affected() == 1)
}

pub async fn find(pool: &PgPool, actor: &str, key: &str) -> Result<Option<Stored>, StoreError> {
    let row = sqlx::query!(
        "-- find_reply
         select request, status, content_type, etag, body from reconciler.replies where actor = $1 and key = $2",
        actor,
        key,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Stored {
        request: row.request,
        reply: row.status.zip(row.body).map(|(status, body)| Reply {
            status,
            content_type: row.content_type,
            etag: row.etag,
            body,
        }),
    }))
}

pub async fn store(pool: &PgPool, actor: &str, key: &str, reply: &Reply) -> Result<(), StoreError> {
    sqlx::query!(
        "-- store_reply
         update reconciler.replies set status = $3, content_type = $4, etag = $5, body = $6
         where actor = $1 and key = $2",
        actor,
        key,
        reply.status,
        reply.content_type,
        reply.etag,
        reply.body,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets a request that failed.
pub async fn forget(pool: &PgPool, actor: &str, key: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "-- forget_reply
         delete from reconciler.replies where actor = $1 and key = $2",
        actor,
        key,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Deletes replies that are older than a day, the oldest first; returns how many.
pub async fn delete_old(connection: &mut PgConnection, limit: i64) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "-- delete_old_replies
         delete from reconciler.replies where (actor, key) in (
             select actor, key from reconciler.replies where begun_at < now() - interval '1 day'
             order by begun_at limit $1)",
        limit,
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
