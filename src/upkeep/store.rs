//! The SQL of upkeep. Row by row and by place, as all the daemon's SQL: its sessions plan without sorts and hashes, and a
//! join left to the planner could read a whole table for each row.

use sqlx::{PgConnection, PgPool};

use crate::store::{StoreError, begin};

/// Whether this transaction alone heals now.
pub(super) async fn is_ours(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended('reconciler.upkeep', 0)) as "ours!""#
    )
    .fetch_one(connection)
    .await?)
}

/// Members with a waiting task, no head and no unfinished action: nobody would ever promote them.
pub(super) async fn promote_stuck_members(
    connection: &mut PgConnection,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select count(*) filter (where reconciler.promote_waiting(k.workspace_id, k.integration_id, k.member_id))
                  as "promoted!"
           from (select w.*
                 from (select distinct workspace_id, integration_id, member_id
                       from reconciler.turns where turn = 'waiting'
                       offset 0) w
                 where not exists (select from reconciler.turns h
                                   where h.workspace_id = w.workspace_id
                                     and h.integration_id = w.integration_id
                                     and h.member_id = w.member_id and h.turn = 'head'
                                   offset 0)
                   and not exists (select from reconciler.manual_actions a
                                   where a.workspace_id = w.workspace_id
                                     and a.integration_id = w.integration_id
                                     and a.member_id = w.member_id
                                     and a.status in ('open', 'in_progress', 'done')
                                   offset 0)
                 limit 1000) k"#
    )
    .fetch_one(connection)
    .await?)
}

/// Integrations with done actions and no sync to come; how many such actions there were.
pub(super) async fn request_missing_syncs(
    connection: &mut PgConnection,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"with orphaned as materialized (
               select a.workspace_id, a.integration_id, count(*) as actions
               from reconciler.manual_actions a
               where a.status = 'done'
                 and not exists (select from reconciler.syncs s
                                 where s.workspace_id = a.workspace_id and s.integration_id = a.integration_id
                                   and s.state = 'requested'
                                 offset 0)
                 and not exists (select from reconciler.syncs s
                                 where s.workspace_id = a.workspace_id and s.integration_id = a.integration_id
                                   and s.state in ('started', 'report_ready', 'held', 'applying')
                                   and s.started_at > a.done_at
                                 offset 0)
               group by a.workspace_id, a.integration_id
               limit 1000
           ), requested as (
               select reconciler.request_sync(workspace_id, integration_id, clock_timestamp(), 'done') from orphaned
           )
           select coalesce(sum(actions), 0)::bigint as "actions!"
           from orphaned, (select count(*) from requested) done"#
    )
    .fetch_one(connection)
    .await?)
}

/// Ends held syncs that nobody decided on in time, and has the apps read anew.
pub(super) async fn end_undecided_syncs(pool: &PgPool) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    sqlx::query!(
        "with undecided as materialized (
             select ctid as place from reconciler.syncs
             where state in ('started', 'report_ready', 'held', 'applying') -- as the index of them says it
               and state = 'held' and held_until <= now()
             for no key update skip locked
         ), ended as (
             update reconciler.syncs s
             set state = 'failed', finished_at = clock_timestamp(), finished_reason = 'nobody decided in time'
             from undecided
             where s.ctid = undecided.place
             returning s.workspace_id, s.integration_id
         )
         select reconciler.request_sync(workspace_id, integration_id, clock_timestamp(), 'again') from ended"
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Asks for snapshots of integrations that nothing else has read for `every_s`, where people said nothing else. New
/// ones begin at a random time, so that the snapshots spread.
pub(super) async fn request_periodic_snapshots(
    pool: &PgPool,
    every_s: u64,
    limit: i64,
) -> Result<(), StoreError> {
    let unreadable: Vec<_> = crate::catalogue::all()
        .iter()
        .filter(|app| !app.can_sync)
        .map(|app| app.application.clone())
        .collect();
    let mut tx = begin(pool).await?;
    sqlx::query!(
        "with due as materialized (
             select workspace_id, integration_id, next_snapshot_at,
                    make_interval(secs => coalesce(snapshot_every_s, $1)) as every
             from reconciler.integrations
             where coalesce(snapshot_every_s, $1) > 0 and (next_snapshot_at is null or next_snapshot_at <= now())
               and status not in ('paused', 'login_rejected') and application <> all ($2)
             order by next_snapshot_at nulls first
             limit $3
             for no key update skip locked
         ), planned as (
             update reconciler.integrations i
             set next_snapshot_at = now() + due.every * case when due.next_snapshot_at is null then random()
                                                            else 0.9 + 0.2 * random() end
             from due
             where i.workspace_id = due.workspace_id and i.integration_id = due.integration_id
         )
         select reconciler.request_sync(workspace_id, integration_id, clock_timestamp(), 'period') from due
         where next_snapshot_at is not null
           and not exists (select from reconciler.syncs s
                           where s.workspace_id = due.workspace_id and s.integration_id = due.integration_id
                             and s.state = 'finished' and s.started_at > now() - due.every / 2
                           offset 0)",
        i32::try_from(every_s).unwrap_or(i32::MAX),
        &unreadable,
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Puts off the deadlines of unfinished actions by the time that their integration was inactive. Actions before
/// integrations, as everybody else locks them.
pub(super) async fn put_off_deadlines(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query!(
        "with opened as materialized (
             select workspace_id, integration_id, inactive_since, inactive_until from reconciler.integrations
             where inactive_until is not null
         ), known as materialized (
             select a.id, o.inactive_until - greatest(o.inactive_since, a.opened_at) as inactive
             from opened o
             cross join lateral (
                 select * from reconciler.manual_actions a
                 where a.workspace_id = o.workspace_id and a.integration_id = o.integration_id
                   and a.status in ('open', 'in_progress', 'done')
                 offset 0
             ) a
             where a.operation <> 'reconnect' and a.opened_at < o.inactive_until
             order by a.id
         ), late as materialized (
             select a.place, known.inactive
             from known
             cross join lateral (
                 select a.ctid as place, a.status from reconciler.manual_actions a where a.id = known.id
                 for no key update
                 offset 0
             ) a
             where a.status in ('open', 'in_progress', 'done')
         ), put_off as (
             update reconciler.manual_actions a set due_at = a.due_at + l.inactive
             from late l
             where a.ctid = l.place
             returning 1
         )
         update reconciler.integrations i set inactive_since = null, inactive_until = null
         from opened o, (select count(*) from put_off) first
         where i.workspace_id = o.workspace_id and i.integration_id = o.integration_id
           and i.inactive_until = o.inactive_until"
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// An integration that has been inactive for long.
#[derive(Debug)]
pub(super) struct InactiveIntegration {
    pub(super) workspace: String,
    pub(super) integration: String,
    pub(super) status: String,
    pub(super) seconds: i64,
    pub(super) tasks: i64,
}

/// Integrations that have been inactive for `every_s` since they became so or were last reported.
pub(super) async fn remind_of_inactive_integrations(
    pool: &PgPool,
    every_s: u64,
) -> Result<Vec<InactiveIntegration>, StoreError> {
    Ok(sqlx::query_as!(
        InactiveIntegration,
        r#"with inactive as materialized (
               select s.ctid as place from reconciler.integrations s
               where s.status <> 'active'
                 and greatest(s.inactive_since, s.status_reminded_at) <= now() - make_interval(secs => $1)
               for no key update skip locked
           )
           update reconciler.integrations i
           set status_reminded_at = clock_timestamp()
           from inactive
           where i.ctid = inactive.place
           returning i.workspace_id as workspace, i.integration_id as integration, i.status,
                     extract(epoch from now() - i.inactive_since)::bigint as "seconds!",
                     (select count(*) from reconciler.turns t
                      where t.workspace_id = i.workspace_id and t.integration_id = i.integration_id
                        and t.turn = 'head' and t.next_attempt_at is not null)
                     + (select count(*) from reconciler.turns t
                        where t.workspace_id = i.workspace_id and t.integration_id = i.integration_id
                          and t.turn = 'waiting') as "tasks!""#,
        every_s as f64,
    )
    .fetch_all(pool)
    .await?)
}

/// What one step of a sweep through the tasks did.
#[derive(Debug)]
pub(super) struct Swept {
    pub(super) deleted: i64,
    /// The last task that was looked at; none once all that are old enough were.
    pub(super) up_to: Option<i64>,
}

/// Deletes finished tasks older than `days` among the next `limit` after a task. No index says when a task ended, or
/// every end would write it: ids tell the order in which tasks came, and the oldest come first. A task whose action is
/// unfinished stays, and so does one of a member who is watched.
pub(super) async fn delete_finished_tasks(
    pool: &PgPool,
    days: i32,
    limit: i32,
    after: i64,
) -> Result<Swept, StoreError> {
    sqlx::query_as!(
        Swept,
        r#"with next as materialized (
               select id, workspace_id, received_at from reconciler.automation_tasks
               where id > $3
               order by id
               limit $2
           ), old as materialized (
               select o.place
               from next
               cross join lateral (
                   select o.ctid as place
                   from reconciler.automation_tasks o
                   where o.id = next.id and o.workspace_id = next.workspace_id
                     and o.closed_at < now() - make_interval(days => $1)
                     and not exists (select from reconciler.member_watches w
                                     where w.workspace_id = o.workspace_id and w.integration_id = o.integration_id
                                       and w.member_id = o.member_id
                                     offset 0)
                     and not exists (select from reconciler.manual_actions a
                                     where a.workspace_id = o.workspace_id and a.task_id = o.id
                                       and a.status in ('open', 'in_progress', 'done')
                                     offset 0)
                   for update of o skip locked
                   offset 0
               ) o
           ), deleted as (
               delete from reconciler.automation_tasks t
               using old
               where t.ctid = old.place
               returning t.id
           )
           select (select count(*) from deleted) as "deleted!",
                  case when count(*) = $2 and min(received_at) < now() - make_interval(days => $1)
                       then max(id) end as up_to
           from next"#,
        days,
        i64::from(limit),
        after,
    )
    .fetch_one(pool)
    .await
    .map_err(StoreError::from)
}

/// Deletes syncs that ended `days` ago, at most `limit`.
pub(super) async fn delete_finished_syncs(
    pool: &PgPool,
    days: i32,
    limit: i32,
) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "delete from reconciler.syncs s
         using (select ctid as place from reconciler.syncs
                where finished_at < now() - make_interval(days => $1)
                order by finished_at limit $2 for update skip locked) old
         where s.ctid = old.place",
        days,
        i64::from(limit),
    )
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}

/// Deletes lines of the trail older than `days`, at most `limit`.
pub(super) async fn delete_old_events(
    pool: &PgPool,
    days: i32,
    limit: i32,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select reconciler.delete_old_events(make_interval(days => $1), $2) as "deleted!""#,
        days,
        limit,
    )
    .fetch_one(pool)
    .await?)
}
