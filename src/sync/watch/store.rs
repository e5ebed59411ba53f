//! The SQL of watches.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::membership::{MemberKey, MemberKeys, Operation};
use crate::store::{StoreError, interval};

/// Somebody who is watched.
#[derive(Debug)]
pub struct Watch {
    /// The task whose change was confirmed.
    pub task: i64,
    /// Whom it is about.
    pub key: MemberKey,
    /// What was confirmed.
    pub operation: Operation,
    /// When it was confirmed.
    pub since: DateTime<Utc>,
    /// How often they were looked at since.
    pub looks: i32,
    /// Whether it was time for a look when the snapshot began.
    pub is_due: bool,
}

/// Somebody to watch from now on.
#[derive(Debug)]
pub struct Begun<'a> {
    /// Whom it is about.
    pub key: &'a MemberKey,
    /// The task whose change was confirmed.
    pub task: i64,
    /// What was confirmed.
    pub operation: Operation,
    /// The time until the first look.
    pub first_look: Duration,
}

/// Begins to watch members, each in place of what they were watched for before. A member stands in it once.
pub async fn begin(connection: &mut PgConnection, begun: &[Begun<'_>]) -> Result<(), StoreError> {
    if begun.is_empty() {
        return Ok(());
    }
    let keys: MemberKeys = begun.iter().map(|begun| begun.key).collect();
    let tasks: Vec<_> = begun.iter().map(|begun| begun.task).collect();
    let operations: Vec<_> =
        begun.iter().map(|begun| begun.operation.as_str().to_owned()).collect();
    let looks: Vec<_> = begun.iter().map(|begun| interval(begun.first_look)).collect();
    sqlx::query!(
        "insert into reconciler.member_watches
             (workspace_id, integration_id, member_id, task_id, operation, due_at)
         select workspace_id, integration_id, member_id, task_id, operation, clock_timestamp() + first_look
         from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::interval[])
              b (workspace_id, integration_id, member_id, task_id, operation, first_look)
         order by workspace_id, integration_id, member_id -- as everybody who locks several does
         on conflict (workspace_id, integration_id, member_id) do update
         set task_id = excluded.task_id, operation = excluded.operation, since = excluded.since,
             looks = 0, due_at = excluded.due_at, asked_at = null",
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &tasks,
        &operations,
        &looks,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The watches of an integration that a snapshot started at `started_at` may speak of.
pub async fn of_integration(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    started_at: DateTime<Utc>,
) -> Result<Vec<Watch>, StoreError> {
    let rows = sqlx::query!(
        r#"select task_id, member_id, operation, since, looks, due_at <= $3 as "is_due!"
           from reconciler.member_watches
           where workspace_id = $1 and integration_id = $2 and since < $3
           order by member_id"#,
        workspace,
        integration,
        started_at,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let operation = row.operation.parse().map_err(|source| StoreError::BadRow {
                table: "member_watches",
                id: row.task_id,
                source,
            })?;
            Ok(Watch {
                task: row.task_id,
                key: MemberKey {
                    workspace: workspace.to_owned(),
                    integration: integration.to_owned(),
                    member: row.member_id,
                },
                operation,
                since: row.since,
                looks: row.looks,
                is_due: row.is_due,
            })
        })
        .collect()
}

/// Sets the next look, `after` the confirmed change; one that began anew meanwhile is left alone.
pub async fn look_again(
    connection: &mut PgConnection,
    watch: &Watch,
    looks: i32,
    due_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update reconciler.member_watches set looks = $5, due_at = $6, asked_at = null
         where workspace_id = $1 and integration_id = $2 and member_id = $3 and since = $4",
        watch.key.workspace,
        watch.key.integration,
        watch.key.member,
        watch.since,
        looks,
        due_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends a watch, unless it began anew meanwhile.
pub async fn end(connection: &mut PgConnection, watch: &Watch) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from reconciler.member_watches
         where workspace_id = $1 and integration_id = $2 and member_id = $3 and since = $4",
        watch.key.workspace,
        watch.key.integration,
        watch.key.member,
        watch.since,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Asks for snapshots of integrations with a look due, once an hour until one has spoken; how many.
pub async fn request_snapshots(pool: &PgPool, limit: i64) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"with looks as materialized (
               select w.ctid as place, w.workspace_id, w.integration_id, w.due_at,
                      w.asked_at is null or w.asked_at < now() - interval '1 hour' as is_unasked
               from reconciler.member_watches w
               where w.due_at <= now()
               order by w.due_at
           ), due as materialized (
               select workspace_id, integration_id
               from looks w
               where exists (select from reconciler.integrations i
                             where i.workspace_id = w.workspace_id and i.integration_id = w.integration_id
                               and i.status not in ('paused', 'login_rejected')
                             offset 0)
               group by workspace_id, integration_id
               having bool_or(is_unasked)
               order by min(due_at) filter (where is_unasked)
               limit $1
           ), asked as (
               update reconciler.member_watches w set asked_at = now()
               from looks join due using (workspace_id, integration_id)
               where w.ctid = looks.place
           ), requested as (
               select reconciler.request_sync(workspace_id, integration_id, clock_timestamp(), 'watch') from due
           )
           select count(*) as "requested!" from requested"#,
        limit,
    )
    .fetch_one(pool)
    .await?)
}
