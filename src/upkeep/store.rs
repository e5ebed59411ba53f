//! The SQL of upkeep. Each statement works on a bounded number of rows, and does not wait for rows that are locked.

use std::time::Duration;

use crate::database::{PgConnection, PgPool};
use crate::membership::MemberKeys;
use crate::store::{StoreError, begin, interval};

/// Requests a sync for integrations with done actions and no sync to come; returns how many there were.
pub(super) async fn request_missing_syncs(
    connection: &mut PgConnection,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- request_missing_syncs
        with recursive every as (
            (select workspace_id, integration_id from reconciler.manual_actions
             where status = 'done' order by workspace_id, integration_id limit 1)
            union all
            select n.* from every
            cross join lateral (
                select a.workspace_id, a.integration_id from reconciler.manual_actions a
                where a.status = 'done'
                  and (a.workspace_id, a.integration_id) > (every.workspace_id, every.integration_id)
                order by a.workspace_id, a.integration_id
                limit 1) n
        ), missing as materialized (
            select e.* from every e
            where not exists (select from reconciler.syncs s
                              where s.workspace_id = e.workspace_id and s.integration_id = e.integration_id
                                and s.state = 'requested'
                              offset 0)
              and not exists (select from reconciler.syncs s
                              where s.workspace_id = e.workspace_id and s.integration_id = e.integration_id
                                and s.state in ('started', 'report_ready', 'held', 'applying')
                              offset 0)
              and not exists (select from reconciler.nudges n
                              where n.workspace_id = e.workspace_id and n.integration_id = e.integration_id)
            limit 100
        )
        select count(*) filter (where reconciler.request_sync(workspace_id, integration_id, clock_timestamp(), 'done'))
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
             select ctid as place from reconciler.syncs
             where state in ('started', 'report_ready', 'held', 'applying') -- as the index of them says it
               and state = 'held' and held_until <= now()
             limit 100
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
             select d.workspace_id, d.integration_id, d.next_snapshot_at, make_interval(secs => s.every_s) as every
             from (select ctid as place, workspace_id, integration_id from reconciler.integration_states
                   where coalesce(next_snapshot_at, '-infinity') <= now()
                   order by coalesce(next_snapshot_at, '-infinity')
                   offset 0) next
             cross join lateral (
                 select coalesce(s.snapshot_every_s, $1) as every_s from reconciler.integration_settings s
                 where s.workspace_id = next.workspace_id and s.integration_id = next.integration_id
                   and s.paused_at is null and s.application <> all ($2) and coalesce(s.snapshot_every_s, $1) > 0
                 offset 0
             ) s
             cross join lateral (
                 select * from reconciler.integration_states d
                 where d.ctid = next.place and d.status <> 'login_rejected'
                   and coalesce(d.next_snapshot_at, '-infinity') <= now()
                 for no key update skip locked
                 offset 0
             ) d
             limit $3
         ), planned as (
             update reconciler.integration_states d
             set next_snapshot_at = now() + due.every * case when due.next_snapshot_at is null then random()
                                                             else 0.9 + 0.2 * random() end
             from due
             where d.workspace_id = due.workspace_id and d.integration_id = due.integration_id
         )
         select reconciler.request_sync(workspace_id, integration_id, clock_timestamp(), 'period') from due
         where next_snapshot_at is not null
           and not exists (select from (
                               select s.state from reconciler.syncs s
                               where s.workspace_id = due.workspace_id and s.integration_id = due.integration_id
                                 and s.started_at > now() - due.every / 2
                               order by s.started_at
                               offset 0) s
                           where s.state = 'finished')",
        i32::try_from(every_s).unwrap_or(i32::MAX),
        &unreadable,
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Puts off the deadlines of at most `limit` unfinished actions by the time that their integration was not active;
/// returns whether there may be more. An action that a person has locked is left for the next round, and the record of
/// the inactive time is kept until then.
pub(super) async fn put_off_deadlines(pool: &PgPool, limit: i64) -> Result<bool, StoreError> {
    let mut tx = begin(pool).await?;
    let rows = sqlx::query!(
        r#"-- put_off_deadlines
        with recovered as materialized (
            select workspace_id, integration_id, inactive_since, inactive_until
            from reconciler.integration_states
            where inactive_since is not null and inactive_until is not null
            order by inactive_since
        ), late as materialized (
            select r.workspace_id, r.integration_id, a.id
            from recovered r
            cross join lateral (
                select * from reconciler.manual_actions a
                where a.workspace_id = r.workspace_id and a.integration_id = r.integration_id
                  and a.closed_at is null
                  and a.operation <> 'reconnect' and a.opened_at < r.inactive_until
                  and a.put_off_until < r.inactive_until
                offset 0
            ) a
            limit $1
        ), put_off as (
            update reconciler.manual_actions a
            set due_at = a.due_at + (r.inactive_until - greatest(r.inactive_since, a.opened_at, a.put_off_until)),
                put_off_until = r.inactive_until
            from recovered r
            join late l using (workspace_id, integration_id)
            cross join lateral (
                select f.ctid as place from reconciler.manual_actions f where f.id = l.id
                for no key update skip locked
                offset 0
            ) free
            where a.ctid = free.place
            returning 1
        ), settled as (
            update reconciler.integration_states d
            set inactive_since = null, inactive_until = null
            from recovered r
            where d.workspace_id = r.workspace_id and d.integration_id = r.integration_id
              and d.inactive_until = r.inactive_until
              and (select count(*) from late) < $1
              and not exists (select from late l
                              where l.workspace_id = r.workspace_id and l.integration_id = r.integration_id)
        )
        select (select count(*) from put_off) as "put_off!""#,
        limit,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rows.put_off > 0)
}

/// An integration that has not been active for long.
#[derive(Debug)]
pub(super) struct Unavailable {
    pub(super) workspace: String,
    pub(super) integration: String,
    pub(super) status: String,
    /// Why its breaker tripped, if it did.
    pub(super) cause: Option<String>,
    pub(super) seconds: i64,
    pub(super) tasks: i64,
}

/// Integrations that have been inactive for `every_s`, and whose last reminder is at least as long ago. Tasks are
/// counted up to ten thousand.
pub(super) async fn remind_of_unavailable(
    pool: &PgPool,
    every_s: u64,
) -> Result<Vec<Unavailable>, StoreError> {
    Ok(sqlx::query_as!(
        Unavailable,
        r#"-- remind_of_unavailable
        with unavailable as materialized (
            select d.place, case when s.paused_at is null then d.status else 'paused' end as status,
                   case when s.paused_at is null then d.status_cause end as cause
            from (select ctid as place, workspace_id, integration_id from reconciler.integration_states
                  where inactive_since is not null
                  order by inactive_since
                  offset 0) inactive
            cross join lateral (
                select s.paused_at from reconciler.integration_settings s
                where s.workspace_id = inactive.workspace_id and s.integration_id = inactive.integration_id
                offset 0
            ) s
            cross join lateral (
                select d.ctid as place, d.status, d.status_cause from reconciler.integration_states d
                where d.ctid = inactive.place and (d.status <> 'active' or s.paused_at is not null)
                  and greatest(d.inactive_since, d.status_reminded_at) <= now() - make_interval(secs => $1)
                for no key update skip locked
                offset 0
            ) d
            limit 100
        )
        update reconciler.integration_states d
        set status_reminded_at = clock_timestamp()
        from unavailable u
        where d.ctid = u.place
        returning d.workspace_id as workspace, d.integration_id as integration, u.status as "status!",
                  u.cause,
                  extract(epoch from now() - d.inactive_since)::bigint as "seconds!",
                  (select count(*) from (select from reconciler.members m
                                         where m.workspace_id = d.workspace_id and m.integration_id = d.integration_id
                                           and m.ready_task_id is not null and m.next_attempt_at is not null
                                         limit 10000) ready) as "tasks!""#,
        every_s as f64,
    )
    .fetch_all(pool)
    .await?)
}

/// What one step of a sweep did.
#[derive(Debug)]
pub(super) struct Swept {
    pub(super) deleted: i64,
    /// The last row that was scanned, if old rows may follow.
    pub(super) up_to: Option<i64>,
}

/// Of the `limit` tasks after `after`, deletes those that ended `days` ago. Tasks are scanned in the order in which
/// they arrived, because they end in about that order. A task that a watch or an unfinished action still refers to is
/// kept.
pub(super) async fn delete_finished_tasks(
    connection: &mut PgConnection,
    days: i32,
    limit: i32,
    after: i64,
) -> Result<Swept, StoreError> {
    sqlx::query_as!(
        Swept,
        r#"-- delete_finished_tasks
        with next as materialized (
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
                  and not exists (select from reconciler.members m
                                  where m.workspace_id = o.workspace_id and m.integration_id = o.integration_id
                                    and m.member_id = o.member_id and m.watch_task_id = o.id
                                  offset 0)
                  and not exists (select from (
                                      select a.closed_at from reconciler.manual_actions a
                                      where a.workspace_id = o.workspace_id and a.task_id = o.id
                                      offset 0) a
                                  where a.closed_at is null)
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
    .fetch_one(connection)
    .await
    .map_err(StoreError::from)
}

/// The last member that a sweep scanned.
#[derive(Debug, Default, Clone)]
pub(super) struct MemberCursor {
    pub(super) workspace: String,
    pub(super) integration: String,
    pub(super) member: String,
}

/// What a step of a sweep through the members found.
#[derive(Debug, Default)]
pub(super) struct SweptMembers {
    /// The last one, if others may follow.
    pub(super) up_to: Option<MemberCursor>,
    /// Members with a blocked request although nothing is in front of it.
    pub(super) stuck: MemberKeys,
    pub(super) forgotten: u64,
}

/// Scans the `limit` members after `after`. Finds those that nothing would set going again. Deletes those for whom
/// nothing was requested, tried or done by hand for `days`, except members whose removal is desired and whom the last
/// snapshot still showed.
pub(super) async fn sweep_members(
    connection: &mut PgConnection,
    days: i32,
    limit: i64,
    after: &MemberCursor,
) -> Result<SweptMembers, StoreError> {
    let rows = sqlx::query!(
        r#"-- sweep_members
        with next as materialized (
            select ctid as place, workspace_id, integration_id, member_id,
                   ready_task_id is null and open_action_id is null and blocked_task_ids <> '{}' as is_stuck,
                   ready_task_id is null and open_action_id is null and blocked_task_ids = '{}'
                   and watch_due_at is null
                   and greatest(worked_at, desired_requested_at, effects_possible_until, removed_by_hand_at,
                                admitted_by_hand_at, removal_tried_until, admission_tried_until)
                       < now() - make_interval(days => $1)
                   and coalesce(desired_operation <> 'remove' or observed_membership = 'absent', true) as is_idle
            from reconciler.members
            where (workspace_id, integration_id, member_id) > ($3, $4, $5)
            order by workspace_id, integration_id, member_id
            limit $2
        ), forgotten as (
            delete from reconciler.members m
            using (select f.place from next
                   cross join lateral (select m.ctid as place from reconciler.members m
                                       where m.ctid = next.place and next.is_idle and m.ready_task_id is null
                                       for update skip locked
                                       offset 0) f) f
            where m.ctid = f.place
            returning 1
        )
        select workspace_id, integration_id, member_id, is_stuck as "is_stuck!",
               (select count(*) from forgotten) as "forgotten!"
        from next
        order by workspace_id, integration_id, member_id"#,
        days,
        limit,
        after.workspace,
        after.integration,
        after.member,
    )
    .fetch_all(connection)
    .await?;
    let mut swept = SweptMembers::default();
    let is_more = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= limit;
    for row in rows {
        swept.forgotten = u64::try_from(row.forgotten).unwrap_or(0);
        if is_more {
            swept.up_to = Some(MemberCursor {
                workspace: row.workspace_id.clone(),
                integration: row.integration_id.clone(),
                member: row.member_id.clone(),
            });
        }
        if row.is_stuck {
            swept.stuck.push(row.workspace_id, row.integration_id, row.member_id);
        }
    }
    Ok(swept)
}

/// Of syncs that ended `days` ago, at most `limit`: deletes those that read nothing, and reduces the others to what
/// verdicts rest on, without personal data. Returns how many there were.
pub(super) async fn reduce_finished_syncs(
    connection: &mut PgConnection,
    days: i32,
    limit: i32,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- reduce_finished_syncs
         with old as materialized (
             select ctid as place, state from reconciler.syncs
             where finished_at is not null and not is_reduced and finished_at < now() - make_interval(days => $1)
             order by finished_at limit $2
             for update skip locked
         ), gone as (
             delete from reconciler.syncs s using old where s.ctid = old.place and old.state = 'failed'
         ), reduced as (
             update reconciler.syncs s set is_reduced = true, report = s.report - 'update' - 'differences'
             from old where s.ctid = old.place and old.state <> 'failed'
             returning s.id, s.workspace_id
         ), recorded as (
             insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
             select 'workspace.reports_reduced', workspace_id, 'workspace', workspace_id,
                    jsonb_build_object('rows', count(*), 'ids', jsonb_agg(id order by id))
             from reduced group by workspace_id
         )
         select count(*) as "old!" from old"#,
        days,
        i64::from(limit),
    )
    .fetch_one(connection)
    .await?)
}

/// Deletes at most `limit` reduced syncs that ended `days` ago. They are kept as long as the trail.
pub(super) async fn delete_reduced_syncs(
    connection: &mut PgConnection,
    days: i32,
    limit: i32,
) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "-- delete_reduced_syncs
         delete from reconciler.syncs s
         using (select ctid as place from reconciler.syncs
                where is_reduced and finished_at < now() - make_interval(days => $1)
                order by finished_at limit $2 for update skip locked) old
         where s.ctid = old.place",
        days,
        i64::from(limit),
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Deletes lines of the trail older than `days`, at most `limit`.
pub(super) async fn delete_old_events(
    pool: &PgPool,
    days: i32,
    limit: i32,
) -> Result<i64, StoreError> {
    let mut tx = begin(pool).await?;
    let deleted = sqlx::query_scalar!(
        r#"-- delete_old_events
        select reconciler.delete_old_events(make_interval(days => $1), $2) as "deleted!""#,
        days,
        limit,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(deleted)
}

/// Deletes manual actions that ended more than `days` ago, at most `limit`.
pub(super) async fn delete_ended_actions(
    pool: &PgPool,
    days: i32,
    limit: i32,
) -> Result<i64, StoreError> {
    let mut tx = begin(pool).await?;
    let deleted = sqlx::query_scalar!(
        r#"-- delete_ended_actions
        select reconciler.delete_ended_actions(make_interval(days => $1), $2) as "deleted!""#,
        days,
        limit,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(deleted)
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
            select m.ctid as place, m.workspace_id, m.integration_id, m.watch_due_at
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
                            and s.paused_at is null and d.status <> 'login_rejected'
                          offset 0)
            group by workspace_id, integration_id
            order by min(watch_due_at)
            limit $1
        ), free as materialized (
            select f.place
            from due join integrations using (workspace_id, integration_id)
            cross join lateral (select m.ctid as place from reconciler.members m where m.ctid = due.place
                                for no key update skip locked offset 0) f
        ), asked as (
            update reconciler.members m set watch_asked_at = now() from free where m.ctid = free.place
        )
        select count(*) filter (where reconciler.request_sync(workspace_id, integration_id, clock_timestamp(), 'watch'))
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
