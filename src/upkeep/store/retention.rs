//! Deletes and reduces what is older than it has to be kept.

use crate::database::{PgConnection, PgPool};
use crate::membership::MemberKeys;
use crate::store::{StoreError, begin};

/// What one step of a sweep did.
#[derive(Debug)]
pub(in crate::upkeep) struct Swept {
    pub(in crate::upkeep) deleted: i64,
    /// The last row that was scanned, if old rows may follow.
    pub(in crate::upkeep) up_to: Option<i64>,
}

/// Of the `limit` tasks after `after`, deletes those that ended `days` ago. Tasks are scanned in the order in which
/// they arrived, because they end in about that order. A task that a watch or an unfinished action still refers to is
/// kept.
pub(in crate::upkeep) async fn delete_finished_tasks(
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
            select o.id, o.workspace_id
            from next
            join reconciler.automation_tasks o using (id, workspace_id)
            where o.closed_at < now() - make_interval(days => $1)
              and not exists (select from reconciler.members m
                              where m.workspace_id = o.workspace_id and m.integration_id = o.integration_id
                                and m.member_id = o.member_id and m.watch_task_id = o.id)
              and not exists (select from reconciler.manual_actions a
                              where a.workspace_id = o.workspace_id and a.task_id = o.id and a.closed_at is null)
            for update of o skip locked
        ), deleted as (
            delete from reconciler.automation_tasks t
            using old
            where t.id = old.id and t.workspace_id = old.workspace_id
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
pub(in crate::upkeep) struct MemberCursor {
    pub(in crate::upkeep) workspace: String,
    pub(in crate::upkeep) integration: String,
    pub(in crate::upkeep) member: String,
}

/// What a step of a sweep through the members found.
#[derive(Debug, Default)]
pub(in crate::upkeep) struct SweptMembers {
    /// The last one, if others may follow.
    pub(in crate::upkeep) up_to: Option<MemberCursor>,
    /// Members with a blocked request although nothing is in front of it.
    pub(in crate::upkeep) stuck: MemberKeys,
    pub(in crate::upkeep) forgotten: u64,
}

/// Scans the `limit` members after `after`. Finds those that nothing would set going again. Deletes those for whom
/// nothing was requested, tried or done by hand for `days`, except members whose removal is desired and whom the last
/// snapshot still showed.
pub(in crate::upkeep) async fn sweep_members(
    connection: &mut PgConnection,
    days: i32,
    limit: i64,
    after: &MemberCursor,
) -> Result<SweptMembers, StoreError> {
    let rows = sqlx::query!(
        r#"-- sweep_members
        with next as materialized (
            select workspace_id, integration_id, member_id,
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
            using (select m.workspace_id, m.integration_id, m.member_id
                   from next
                   join reconciler.members m using (workspace_id, integration_id, member_id)
                   where next.is_idle and m.ready_task_id is null
                   for update of m skip locked) f
            where m.workspace_id = f.workspace_id and m.integration_id = f.integration_id and m.member_id = f.member_id
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
pub(in crate::upkeep) async fn reduce_finished_syncs(
    connection: &mut PgConnection,
    days: i32,
    limit: i32,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- reduce_finished_syncs
         with old as materialized (
             select id, workspace_id, state from reconciler.syncs
             where finished_at is not null and not is_reduced and finished_at < now() - make_interval(days => $1)
             order by finished_at limit $2
             for update skip locked
         ), gone as (
             delete from reconciler.syncs s using old
             where s.id = old.id and s.workspace_id = old.workspace_id and old.state = 'failed'
         ), reduced as (
             update reconciler.syncs s set is_reduced = true, report = s.report - 'update' - 'differences'
             from old
             where s.id = old.id and s.workspace_id = old.workspace_id and old.state <> 'failed'
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
pub(in crate::upkeep) async fn delete_reduced_syncs(
    connection: &mut PgConnection,
    days: i32,
    limit: i32,
) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "-- delete_reduced_syncs
         delete from reconciler.syncs s
         using (select id, workspace_id from reconciler.syncs
                where is_reduced and finished_at < now() - make_interval(days => $1)
                order by finished_at limit $2 for update skip locked) old
         where s.id = old.id and s.workspace_id = old.workspace_id",
        days,
        i64::from(limit),
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Deletes lines of the trail older than `days`, at most `limit`.
pub(in crate::upkeep) async fn delete_old_events(
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
pub(in crate::upkeep) async fn delete_ended_actions(
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

/// Deletes the figures of actions that ended more than `days` ago and have been deleted, at most `limit`. They are kept as
/// long as the trail.
pub(in crate::upkeep) async fn delete_old_figures(
    connection: &mut PgConnection,
    days: i32,
    limit: i32,
) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "-- delete_old_figures
         delete from reconciler.action_figures f
         using (select ctid as place from reconciler.action_figures
                where is_deleted and closed_at < now() - make_interval(days => $1)
                order by closed_at limit $2 for update skip locked) old
         where f.ctid = old.place",
        days,
        i64::from(limit),
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
