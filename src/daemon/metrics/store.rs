//! The SQL of the gauges. Each count has a limit, so that a backlog of any size costs no more than that.

use std::collections::HashMap;

use crate::database::{PgConnection, PgPool};
use crate::store::StoreError;
use crate::telemetry::metrics::{DatabaseState, IntegrationStatus, TaskPosition};

const COUNTED_UP_TO: i64 = 10_000;

/// Integrations that are searched for the task that has been due for longest, those first that may have it.
const SEARCHED_INTEGRATIONS: i64 = 1_000;

/// Arrivals that are searched for the oldest one that is not held.
const SEARCHED_ARRIVALS: i64 = 10_000;

pub(super) async fn read(pool: &PgPool) -> Result<DatabaseState, StoreError> {
    let mut connection = pool.acquire().await?;
    let mut state =
        DatabaseState { tasks: tasks(&mut connection).await?, ..DatabaseState::default() };
    oldest(&mut connection, &mut state).await?;
    actions(&mut connection, &mut state).await?;
    state.syncs = syncs(&mut connection).await?;
    state.integrations = integrations(&mut connection).await?;
    Ok(state)
}

async fn tasks(connection: &mut PgConnection) -> Result<HashMap<String, i64>, StoreError> {
    let row = sqlx::query!(
        r#"-- count_tasks
        select a.unordered as "unordered!", a.held as "held!", b.blocked as "blocked!", r.scheduled as "scheduled!",
               r.due as "due!", r.running as "running!"
        from (select count(*) filter (where not is_held) as unordered, count(*) filter (where is_held) as held
              from (select held_reason is not null as is_held from reconciler.arrivals
                    order by task_id limit $1) a) a
        cross join (select coalesce(sum(tasks), 0)::bigint as blocked
                    from (select cardinality(blocked_task_ids) as tasks from reconciler.members
                          where blocked_task_ids > '{}' limit $1) b) b
        cross join (select count(*) filter (where is_running) as running,
                           count(*) filter (where not is_running and is_due) as due,
                           count(*) filter (where not is_running and not is_due) as scheduled
                    from (select running_job_id is not null as is_running, next_attempt_at <= now() as is_due
                          from reconciler.members
                          where ready_task_id is not null and next_attempt_at <= 'infinity'
                          limit $1) r) r"#,
        COUNTED_UP_TO,
    )
    .fetch_one(connection)
    .await?;
    let counts = [
        (TaskPosition::Unordered, row.unordered),
        (TaskPosition::Held, row.held),
        (TaskPosition::Blocked, row.blocked),
        (TaskPosition::Scheduled, row.scheduled),
        (TaskPosition::Due, row.due),
        (TaskPosition::Running, row.running),
    ];
    Ok(counts.into_iter().map(|(position, tasks)| (position.to_string(), tasks)).collect())
}

/// An integration's `next_due_at` is at or before the time when its first task is due, so a search in its order finds
/// the oldest one.
async fn oldest(
    connection: &mut PgConnection,
    state: &mut DatabaseState,
) -> Result<(), StoreError> {
    let row = sqlx::query!(
        r#"-- oldest_waits
        select coalesce(extract(epoch from now() - (
                   select min(first.due_at)
                   from (select d.workspace_id, d.integration_id
                         from reconciler.integration_states d
                         cross join lateral (
                             select from reconciler.integration_settings s
                             where s.workspace_id = d.workspace_id and s.integration_id = d.integration_id
                               and s.paused_at is null
                             offset 0) s
                         where d.next_due_at <= now() and d.status = 'active'
                         order by d.next_due_at
                         limit $1) d
                   cross join (values (true), (false)) lane (is_removal)
                   cross join lateral (
                       select m.next_attempt_at as due_at
                       from reconciler.members m
                       where m.workspace_id = d.workspace_id and m.integration_id = d.integration_id
                         and m.ready_task_id is not null and m.ready_is_removal = lane.is_removal
                         and m.next_attempt_at <= now() and (m.lease_until is null or m.lease_until <= now())
                       order by m.next_attempt_at
                       limit 1) first)), 0)::float8 as "due!",
               coalesce(extract(epoch from now() - (
                   select t.received_at
                   from (select a.task_id, a.workspace_id
                         from (select task_id, workspace_id, held_reason from reconciler.arrivals
                               order by task_id limit $2) a
                         where a.held_reason is null
                         order by a.task_id
                         limit 1) a
                   join reconciler.automation_tasks t on t.id = a.task_id and t.workspace_id = a.workspace_id)),
                   0)::float8 as "unordered!",
               coalesce(extract(epoch from now() - (
                   select min(xact_start) from pg_stat_activity
                   where datname = current_database() and backend_type = 'client backend'
                     and pid <> pg_backend_pid())), 0)::float8 as "transaction!""#,
        SEARCHED_INTEGRATIONS,
        SEARCHED_ARRIVALS,
    )
    .fetch_one(connection)
    .await?;
    state.oldest_due_s = row.due.max(0.0);
    state.oldest_unordered_s = row.unordered.max(0.0);
    state.oldest_transaction_s = row.transaction.max(0.0);
    Ok(())
}

async fn actions(
    connection: &mut PgConnection,
    state: &mut DatabaseState,
) -> Result<(), StoreError> {
    let rows = sqlx::query!(
        r#"-- count_actions
        select operation as "operation!", sum(unfinished)::bigint as "unfinished!", sum(overdue)::bigint as "overdue!"
        from (select operation, 1 as unfinished, 0 as overdue
              from (select operation from reconciler.manual_actions where closed_at is null limit $1) a
              union all
              select operation, 0, 1
              from (select a as action from reconciler.manual_actions a
                    where a.closed_at is null and a.due_at < now()
                    order by a.due_at
                    limit $1) late
              cross join lateral (select (late.action).operation, (late.action).workspace_id,
                                         (late.action).integration_id) a
              left join reconciler.integration_states d
                     on d.workspace_id = a.workspace_id and d.integration_id = a.integration_id
              where reconciler.due_time(late.action, d) < now()) counted
        group by operation"#,
        COUNTED_UP_TO,
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        state.overdue_actions.insert(row.operation.clone(), row.overdue);
        state.actions.insert(row.operation, row.unfinished);
    }
    Ok(())
}

/// An integration has at most two unfinished syncs.
async fn syncs(connection: &mut PgConnection) -> Result<HashMap<String, i64>, StoreError> {
    let rows = sqlx::query!(
        r#"-- count_syncs
        select 'requested' as "state!", count(*) as "syncs!" from reconciler.syncs where state = 'requested'
        union all
        select state, count(*) from reconciler.syncs
        where state in ('started', 'report_ready', 'held', 'applying')
        group by state"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.state, row.syncs)).collect())
}

/// All but those that are inactive are active.
async fn integrations(connection: &mut PgConnection) -> Result<HashMap<String, i64>, StoreError> {
    let all = sqlx::query_scalar!(
        r#"-- count_integrations
        select count(*) as "all!" from (select from reconciler.integration_states limit $1) d"#,
        COUNTED_UP_TO,
    )
    .fetch_one(&mut *connection)
    .await?;
    let rows = sqlx::query!(
        r#"-- count_inactive_integrations
        select reconciler.integration_status(s.paused_at, d.status) as "status!", count(*) as "integrations!"
        from (select workspace_id, integration_id, status from reconciler.integration_states
              where inactive_since is not null limit $1) d
        cross join lateral (
            select paused_at from reconciler.integration_settings s
            where s.workspace_id = d.workspace_id and s.integration_id = d.integration_id
            offset 0) s
        group by 1"#,
        COUNTED_UP_TO,
    )
    .fetch_all(connection)
    .await?;
    let mut counts: HashMap<_, _> =
        rows.into_iter().map(|row| (row.status, row.integrations)).collect();
    let seen: i64 = counts.values().sum();
    *counts.entry(IntegrationStatus::Active.to_string()).or_default() += (all - seen).max(0);
    Ok(counts)
}
