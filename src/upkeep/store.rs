//! The SQL of upkeep.

use sqlx::{PgConnection, PgPool};

use crate::store::StoreError;

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
           from (select distinct w.workspace_id, w.integration_id, w.member_id
                 from reconciler.automation_tasks w
                 where w.turn = 'waiting'
                   and not exists (select from reconciler.automation_tasks h
                                   where h.workspace_id = w.workspace_id
                                     and h.integration_id = w.integration_id
                                     and h.member_id = w.member_id and h.turn = 'head')
                   and not exists (select from reconciler.manual_actions a
                                   where a.workspace_id = w.workspace_id
                                     and a.integration_id = w.integration_id
                                     and a.member_id = w.member_id
                                     and a.status in ('open', 'in_progress', 'done'))
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
                                   and (s.state = 'requested'
                                        or s.state in ('started', 'report_ready', 'held', 'applying')
                                           and s.started_at > a.done_at))
               group by a.workspace_id, a.integration_id
               limit 1000
           ), requested as (
               select reconciler.request_sync(workspace_id, integration_id, clock_timestamp()) from orphaned
           )
           select coalesce(sum(actions), 0)::bigint as "actions!"
           from orphaned, (select count(*) from requested) done"#
    )
    .fetch_one(connection)
    .await?)
}

/// Deletes finished tasks older than `days`, at most `limit`. A task whose action is unfinished stays.
pub(super) async fn delete_finished_tasks(
    pool: &PgPool,
    days: i32,
    limit: i32,
) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "delete from reconciler.automation_tasks t
         using (select o.id, o.workspace_id from reconciler.automation_tasks o
                where o.turn is null and o.closed_at < now() - make_interval(days => $1)
                  and not exists (select from reconciler.manual_actions a
                                  where a.workspace_id = o.workspace_id and a.task_id = o.id
                                    and a.status in ('open', 'in_progress', 'done'))
                order by o.closed_at limit $2 for update skip locked) old
         where t.id = old.id and t.workspace_id = old.workspace_id",
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
