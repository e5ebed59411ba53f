//! The SQL of watches: the later checks of a member after a confirmed change, as columns of the member's row.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::database::PgConnection;
use crate::membership::{MemberKey, MemberKeys, Operation};
use crate::store::{StoreError, interval};

#[derive(Debug, Clone)]
pub struct Watch {
    /// The task whose change was confirmed.
    pub task: i64,
    pub operation: Operation,
    /// When the change was confirmed.
    pub since: DateTime<Utc>,
    /// How often the member was checked since then.
    pub checks: i32,
    pub due_at: DateTime<Utc>,
}

/// A watch to begin.
#[derive(Debug)]
pub struct Begun<'a> {
    pub key: &'a MemberKey,
    /// The task whose change was confirmed.
    pub task: i64,
    pub operation: Operation,
    pub first_check: Duration,
}

/// Begins watches. A new watch replaces the old watch of the same member. Each member may appear once.
pub async fn begin(connection: &mut PgConnection, begun: &[Begun<'_>]) -> Result<(), StoreError> {
    if begun.is_empty() {
        return Ok(());
    }
    let keys: MemberKeys = begun.iter().map(|begun| begun.key).collect();
    let tasks: Vec<_> = begun.iter().map(|begun| begun.task).collect();
    let operations: Vec<_> =
        begun.iter().map(|begun| begun.operation.as_str().to_owned()).collect();
    let waits: Vec<_> = begun.iter().map(|begun| interval(begun.first_check)).collect();
    sqlx::query!(
        "-- begin_watches
         update reconciler.members m
         set watch_task_id = b.task, watch_operation = b.operation, watch_since = clock_timestamp(), watch_checks = 0,
             watch_due_at = clock_timestamp() + b.first_check, watch_asked_at = null
         from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::interval[])
              b (workspace_id, integration_id, member_id, task, operation, first_check)
         where m.workspace_id = b.workspace_id and m.integration_id = b.integration_id and m.member_id = b.member_id",
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &tasks,
        &operations,
        &waits,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The next check of a watch.
#[derive(Debug)]
pub struct Moved<'a> {
    pub member: &'a str,
    pub watch: &'a Watch,
    /// How often the member was checked, and when the next check is due; `None` ends the watch.
    pub next: Option<(i32, DateTime<Utc>)>,
}

/// Sets the next checks of members of an integration. A watch that began again meanwhile is left alone.
pub async fn move_on(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    moved: &[Moved<'_>],
) -> Result<(), StoreError> {
    if moved.is_empty() {
        return Ok(());
    }
    let members: Vec<_> = moved.iter().map(|one| one.member.to_owned()).collect();
    let since: Vec<_> = moved.iter().map(|one| one.watch.since).collect();
    let checks: Vec<_> = moved.iter().map(|one| one.next.map_or(0, |next| next.0)).collect();
    let due: Vec<_> = moved.iter().map(|one| one.next.map(|next| next.1)).collect();
    sqlx::query!(
        "-- move_watches
         update reconciler.members m
         set watch_checks = w.checks, watch_due_at = w.due, watch_asked_at = null,
             watch_task_id = case when w.due is not null then m.watch_task_id end,
             watch_operation = case when w.due is not null then m.watch_operation end,
             watch_since = case when w.due is not null then m.watch_since end
         from (select * from unnest($3::text[], $4::timestamptz[], $5::integer[], $6::timestamptz[])
                             w (member_id, since, checks, due)
               order by member_id) w -- as everybody who locks several does
         cross join lateral (
             select k.ctid as place from reconciler.members k
             where k.workspace_id = $1 and k.integration_id = $2 and k.member_id = w.member_id
               and k.watch_since = w.since
             for no key update
             offset 0
         ) k
         where m.ctid = k.place",
        workspace,
        integration,
        &members,
        &since,
        &checks,
        &due as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}
