//! Deadlines and reminders of integrations that are not active.

use crate::database::PgPool;
use crate::store::{StoreError, begin};

/// Extends the deadlines of at most `limit` unfinished actions by the time that their integration was not active;
/// returns whether there may be more. An action that a person has locked is left for the next round, and the record of
/// the inactive time is kept until then.
pub(in crate::upkeep) async fn extend_deadlines(
    pool: &PgPool,
    limit: i64,
) -> Result<bool, StoreError> {
    let mut tx = begin(pool).await?;
    let rows = sqlx::query!(
        r#"-- extend_deadlines
        with recovered as materialized (
            select workspace_id, integration_id, inactive_since, inactive_until
            from reconciler.integration_states
            where inactive_since is not null and inactive_until is not null
            order by inactive_since
        ), late as materialized (
            select r.workspace_id, r.integration_id, r.inactive_since, r.inactive_until, a.id
            from recovered r
            join reconciler.manual_actions a using (workspace_id, integration_id)
            where a.closed_at is null and a.operation <> 'reconnect' and a.opened_at < r.inactive_until
              and a.extended_until < r.inactive_until
            limit $1
        ), free as materialized (
            select a.id, a.workspace_id
            from late l
            join reconciler.manual_actions a using (id, workspace_id)
            for no key update of a skip locked
        ), extended as (
            update reconciler.manual_actions a
            set due_at = a.due_at + (l.inactive_until - greatest(l.inactive_since, a.opened_at, a.extended_until)),
                extended_until = l.inactive_until
            from late l
            join free using (id, workspace_id)
            where a.id = l.id and a.workspace_id = l.workspace_id
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
        select (select count(*) from extended) as "extended!""#,
        limit,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rows.extended > 0)
}

/// An integration that has not been active for long.
#[derive(Debug)]
pub(in crate::upkeep) struct Unavailable {
    pub(in crate::upkeep) workspace: String,
    pub(in crate::upkeep) integration: String,
    pub(in crate::upkeep) status: String,
    /// Why its breaker tripped, if it did.
    pub(in crate::upkeep) cause: Option<String>,
    pub(in crate::upkeep) seconds: i64,
    pub(in crate::upkeep) tasks: i64,
}

/// Integrations that have been inactive for `every_s`, and whose last reminder is at least as long ago. Tasks are
/// counted up to ten thousand.
pub(in crate::upkeep) async fn remind_of_unavailable(
    pool: &PgPool,
    every_s: u64,
) -> Result<Vec<Unavailable>, StoreError> {
    Ok(sqlx::query_as!(
        Unavailable,
        r#"-- remind_of_unavailable
        with unavailable as materialized (
            select workspace_id, integration_id,
                   reconciler.integration_status(s.paused_at, d.status) as status,
                   case when s.paused_at is null then d.status_cause end as cause
            from reconciler.integration_states d
            join reconciler.integration_settings s using (workspace_id, integration_id)
            where d.inactive_since is not null and (d.status <> 'active' or s.paused_at is not null)
              and greatest(d.inactive_since, d.status_reminded_at) <= now() - make_interval(secs => $1)
            order by d.inactive_since
            limit 100
            for no key update of d skip locked
        )
        update reconciler.integration_states d
        set status_reminded_at = clock_timestamp()
        from unavailable u
        where d.workspace_id = u.workspace_id and d.integration_id = u.integration_id
        returning d.workspace_id as workspace, d.integration_id as integration, u.status as "status!",
                  u.cause,
                  extract(epoch from now() - d.inactive_since)::bigint as "seconds!",
                  (select count(*) from (select from reconciler.members m
                                         where m.workspace_id = d.workspace_id and m.integration_id = d.integration_id
                                           and m.ready_task_id is not null and m.next_attempt_at <= 'infinity'
                                         limit 10000) ready) as "tasks!""#,
        every_s as f64,
    )
    .fetch_all(pool)
    .await?)
}
