//! The append-only trail: who did what to which row. Lines are written in the transaction that makes the change.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::database::{PgConnection, PgPool};
use crate::membership::words;
use crate::store::StoreError;

#[derive(Debug)]
pub struct Happened<'a> {
    pub what: &'a str,
    pub workspace: &'a str,
    pub task: i64,
    pub detail: Value,
}

/// Appends what happened to tasks. Actions, syncs and integrations write their own lines by trigger.
pub async fn append(
    connection: &mut PgConnection,
    lines: &[Happened<'_>],
) -> Result<(), sqlx::Error> {
    if lines.is_empty() {
        return Ok(());
    }
    let whats: Vec<_> = lines.iter().map(|line| line.what.to_owned()).collect();
    let workspaces: Vec<_> = lines.iter().map(|line| line.workspace.to_owned()).collect();
    let tasks: Vec<_> = lines.iter().map(|line| line.task).collect();
    let details: Vec<_> = lines.iter().map(|line| line.detail.clone()).collect();
    sqlx::query!(
        "-- append_events
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select l.what, l.workspace_id, 'task', l.task::text, l.detail
         from unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[]) l (what, workspace_id, task, detail)",
        &whats,
        &workspaces,
        &tasks,
        &details,
    )
    .execute(connection)
    .await
    .map(drop)
}

#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct TrailLine {
    pub at: DateTime<Utc>,
    pub actor: String,
    pub what: String,
    pub detail: Value,
}

/// One line of the list of the trail.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct EventLine {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub what: String,
    pub workspace_id: String,
    pub subject: String,
    pub subject_id: String,
    pub detail: Value,
}

words! {
    Subject {
        Task = "task",
        Action = "action",
        Sync = "sync",
        Integration = "integration",
        Workspace = "workspace",
        Token = "token",
        Login = "login",
        Session = "session",
        Webhook = "webhook",
    }
}

/// Which lines to list; `None` leaves all.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventFilter<'a> {
    /// Of one row: what it is, and its id.
    pub row: Option<(Subject, &'a str)>,
    pub workspace: Option<&'a str>,
    /// Only lines that come after this one in the list.
    pub after: Option<i64>,
    pub limit: u32,
}

/// Lists lines of the trail, the newest first.
pub async fn list(
    connection: &mut PgConnection,
    filter: EventFilter<'_>,
) -> Result<Vec<EventLine>, StoreError> {
    Ok(sqlx::query_as!(
        EventLine,
        r#"-- list_events
         select id, at, actor, what, workspace_id, subject, subject_id, detail
         from reconciler.events
         where ($1::text is null or subject = $1) and ($2::text is null or subject_id = $2)
           and ($3::text is null or workspace_id = $3) and ($4::bigint is null or id < $4)
         order by id desc
         limit $5"#,
        filter.row.map(|(subject, _)| subject.as_str()),
        filter.row.map(|(_, id)| id),
        filter.workspace,
        filter.after,
        i64::from(filter.limit),
    )
    .fetch_all(connection)
    .await?)
}

/// The trail at one moment.
#[derive(Debug)]
pub struct Horizon {
    /// The id of the latest line that is visible, 0 without one.
    pub latest: i64,
    /// The transactions that may have written lines which are not visible yet.
    pub writers: Vec<String>,
}

/// Whoever writes to the trail holds a lock on it until the transaction ends. The locks are read after the latest line,
/// so whoever was given a lower id has ended or is among them.
pub async fn horizon(pool: &PgPool) -> Result<Horizon, StoreError> {
    let row = sqlx::query!(
        r#"-- trail_horizon
         with latest as materialized (select coalesce(max(id), 0) as id from reconciler.events)
         select latest.id as "latest!",
                array(select distinct l.virtualtransaction from pg_locks l
                      where l.relation = 'reconciler.events'::regclass and l.mode = 'RowExclusiveLock'
                        and l.database = (select oid from pg_database where datname = current_database())
                        and latest.id >= 0) as "writers!: Vec<String>"
         from latest"#,
    )
    .fetch_one(pool)
    .await?;
    Ok(Horizon { latest: row.latest, writers: row.writers })
}

/// Whether one of these transactions has not ended.
pub async fn is_any_open(pool: &PgPool, transactions: &[String]) -> Result<bool, StoreError> {
    if transactions.is_empty() {
        return Ok(false);
    }
    Ok(sqlx::query_scalar!(
        r#"-- open_writers
         select exists (select from pg_locks l
                        where l.relation = 'reconciler.events'::regclass and l.mode = 'RowExclusiveLock'
                          and l.virtualtransaction = any ($1)) as "is_open!""#,
        transactions,
    )
    .fetch_one(pool)
    .await?)
}

/// The lines after one, up to another, in the order of their ids.
pub async fn between(
    connection: &mut PgConnection,
    after: i64,
    up_to: i64,
    limit: i64,
) -> Result<Vec<EventLine>, StoreError> {
    Ok(sqlx::query_as!(
        EventLine,
        "-- follow_events
         select id, at, actor, what, workspace_id, subject, subject_id, detail
         from reconciler.events where id > $1 and id <= $2 order by id limit $3",
        after,
        up_to,
        limit,
    )
    .fetch_all(connection)
    .await?)
}

/// The lines of these rows of a workspace, by subject and id, oldest first; at most 200.
pub async fn trail(
    connection: &mut PgConnection,
    workspace: &str,
    rows: &[(&str, i64)],
) -> Result<Vec<TrailLine>, StoreError> {
    let subjects: Vec<_> = rows.iter().map(|(subject, _)| (*subject).to_owned()).collect();
    let ids: Vec<_> = rows.iter().map(|(_, id)| id.to_string()).collect();
    Ok(sqlx::query_as!(
        TrailLine,
        "-- trail
         select e.at, e.actor, e.what, e.detail
         from unnest($2::text[], $3::text[]) r (subject, id)
         join reconciler.events e on e.workspace_id = $1 and e.subject = r.subject and e.subject_id = r.id
         order by e.id limit 200",
        workspace,
        &subjects,
        &ids,
    )
    .fetch_all(connection)
    .await?)
}
