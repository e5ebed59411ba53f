//! The SQL of upkeep. Each statement works on a bounded number of rows, and does not wait for rows that are locked.

mod deadlines;
mod retention;

pub(in crate::upkeep) use deadlines::{extend_deadlines, remind_of_unavailable};
pub(in crate::upkeep) use retention::{
    MemberCursor, delete_ended_actions, delete_finished_tasks, delete_old_events,
    delete_old_figures, delete_reduced_syncs, reduce_finished_syncs, sweep_members,
};

use std::time::Duration;

use crate::database::{PgConnection, PgPool};
use crate::store::{StoreError, begin, interval};

/// Requests a sync for integrations with done actions and no sync to come; returns how many there were.
pub(super) async fn request_missing_syncs(
    connection: &mut PgConnection,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- request_missing_syncs
        with recursive every as (
            (select workspace_id, integration_id from reconciler.manual_actions
             where status = 'done' and integration_id >= '' -- as the index says it
             order by workspace_id, integration_id limit 1)
            union all
            select n.* from every
            cross join lateral (
                select a.workspace_id, a.integration_id from reconciler.manual_actions a
                where a.status = 'done' and a.integration_id >= ''
                  and (a.workspace_id, a.integration_id) > (every.workspace_id, every.integration_id)
                order by a.workspace_id, a.integration_id
                limit 1) n
        ), missing as materialized (
            select e.* from every e
            where not exists (select from reconciler.syncs s
                              where s.workspace_id = e.workspace_id and s.integration_id = e.integration_id
                                and s.state = 'requested')
              and not exists (select from reconciler.syncs s
                              where s.workspace_id = e.workspace_id and s.integration_id = e.integration_id
                                and s.state in ('started', 'report_ready', 'held', 'applying'))
              and not exists (select from reconciler.nudges n
                              where n.workspace_id = e.workspace_id and n.integration_id = e.integration_id)
            limit 100
        )
        select count(*) filter (where reconciler.schedule_sync(workspace_id, integration_id, clock_timestamp(), 'done'))
               as "requested!"
        from missing"#
    )
    .fetch_one(connection)
    .await?)
}

/// Ends held syncs that nobody decided on in time, and requests new snapshots of their apps.
pub(super) async fn end_undecided_syncs(pool: &PgPool) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    sqlx::query!(
        "-- end_undecided_syncs
         with undecided as materialized (
             select id, workspace_id from reconciler.syncs
             where state in ('started', 'report_ready', 'held', 'applying') -- as the index of them says it
               and state = 'held' and held_until <= now()
             limit 100
             for no key update skip locked
         ), ended as (
             update reconciler.syncs s
             set state = 'failed', finished_at = clock_timestamp(), finished_reason = 'nobody decided in time'
             from undecided
             where s.id = undecided.id and s.workspace_id = undecided.workspace_id
             returning s.workspace_id, s.integration_id
         )
         select reconciler.schedule_sync(workspace_id, integration_id, clock_timestamp(), 'recheck') from ended"
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Requests snapshots of integrations that were not read for `every_s` for any other reason, unless people set another
/// interval. New integrations begin at a random time, so that the snapshots are spread.
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
        "-- request_periodic_snapshots
         with due as materialized (
             select d.workspace_id, d.integration_id, d.next_snapshot_at,
                    make_interval(secs => coalesce(s.snapshot_every_s, $1)) as every
             from reconciler.integration_states d
             join reconciler.integration_settings s using (workspace_id, integration_id)
             where coalesce(d.next_snapshot_at, '-infinity') <= now() and d.status <> 'login_rejected'
               and s.paused_at is null and s.application <> all ($2) and coalesce(s.snapshot_every_s, $1) > 0
             order by coalesce(d.next_snapshot_at, '-infinity')
             limit $3
             for no key update of d skip locked
         ), planned as (
             update reconciler.integration_states d
             set next_snapshot_at = now() + due.every * case when due.next_snapshot_at is null then random()
                                                             else 0.9 + 0.2 * random() end
             from due
             where d.workspace_id = due.workspace_id and d.integration_id = due.integration_id
         )
         select reconciler.schedule_sync(workspace_id, integration_id, clock_timestamp(), 'period') from due
         where next_snapshot_at is not null
           and not exists (select from reconciler.syncs s
                           where s.workspace_id = due.workspace_id and s.integration_id = due.integration_id
                             and s.started_at > now() - due.every / 2 and s.state = 'finished')",
        i32::try_from(every_s).unwrap_or(i32::MAX),
        &unreadable,
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Requests snapshots of the integrations whose members are due for a check; returns how many. A member's check is
/// requested again after `again_after`, until one snapshot has shown the member.
pub(super) async fn request_watch_snapshots(
    pool: &PgPool,
    limit: i64,
    again_after: Duration,
) -> Result<i64, StoreError> {
    let mut tx = begin(pool).await?;
    let requested = sqlx::query_scalar!(
        r#"-- request_watch_snapshots
        with due as materialized (
            select m.workspace_id, m.integration_id, m.member_id, m.watch_due_at
            from reconciler.members m
            where m.watch_due_at <= now() and (m.watch_asked_at is null or m.watch_asked_at < now() - $2::interval)
            order by m.watch_due_at
            limit 10000
        ), integrations as materialized (
            select workspace_id, integration_id
            from due w
            where exists (select from reconciler.integration_settings s
                          join reconciler.integration_states d using (workspace_id, integration_id)
                          where s.workspace_id = w.workspace_id and s.integration_id = w.integration_id
                            and s.paused_at is null and d.status <> 'login_rejected')
            group by workspace_id, integration_id
            order by min(watch_due_at)
            limit $1
        ), free as materialized (
            select m.workspace_id, m.integration_id, m.member_id
            from due
            join integrations using (workspace_id, integration_id)
            join reconciler.members m using (workspace_id, integration_id, member_id)
            for no key update of m skip locked
        ), asked as (
            update reconciler.members m set watch_asked_at = now()
            from free
            where m.workspace_id = free.workspace_id and m.integration_id = free.integration_id
              and m.member_id = free.member_id
        )
        select count(*) filter (where reconciler.schedule_sync(workspace_id, integration_id, clock_timestamp(), 'watch'))
               as "requested!"
        from integrations"#,
        limit,
        interval(again_after),
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(requested)
}
