//! The SQL of intake: which rows came in, what is known of their members' requests, and where the rows are placed.

mod integrations;
mod placing;
mod requests;

pub(in crate::intake) use integrations::{
    Introduced, Misfit, hold, introduce_integrations, misfits,
};
pub(in crate::intake) use placing::{
    First, Placed, close_succeeded, close_superseded, mark_superseded, place, place_first,
    step_back,
};
pub(in crate::intake) use requests::{Known, OpenAction, actions, requests};

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::backend::Failure;
use crate::database::PgConnection;
use crate::membership::{MemberKey, Operation, Trigger, UnknownWord};
use crate::store::{StoreError, interval};

/// A new row, with the columns that intake needs.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) id: i64,
    pub(super) key: MemberKey,
    pub(super) operation: Operation,
    pub(super) application: String,
    pub(super) has_automation: bool,
    pub(super) failure: Failure,
    pub(super) requested_at: DateTime<Utc>,
    /// Whether automation did it elsewhere. Nothing has to be tried.
    pub(super) has_succeeded: bool,
    /// Whether its integration is known with the same name, kind and application.
    pub(super) is_introduced: bool,
    /// Whether its member has a row.
    pub(super) is_known: bool,
}

/// A row that cannot be read, and the reason.
pub(super) type Unreadable = (i64, UnknownWord);

/// The oldest unordered rows after this id, whatever their workspace.
pub(super) async fn oldest(
    connection: &mut PgConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        "-- oldest_arrivals
         select task_id from reconciler.arrivals
         where task_id > $1 and not_before <= now()
         order by task_id
         limit $2",
        after,
        limit,
    )
    .fetch_all(connection)
    .await?)
}

/// Unordered rows: an equal share of each workspace, with removals first.
pub(super) async fn shared_out(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- arrivals_shared_out
        with recursive every as (
            (select workspace_id from reconciler.arrivals where workspace_id > '' order by workspace_id limit 1)
            union all
            select (select a.workspace_id from reconciler.arrivals a where a.workspace_id > every.workspace_id
                    order by a.workspace_id limit 1)
            from every where every.workspace_id is not null
        ), workspaces as materialized (
            select workspace_id, ceil($1::bigint::numeric / count(*) over ())::bigint as share
            from every where workspace_id is not null
        )
        select a.task_id
        from workspaces w
        cross join lateral (
            select task_id from reconciler.arrivals a
            where a.workspace_id = w.workspace_id and a.not_before <= now()
            order by not a.is_removal, a.task_id
            limit w.share
        ) a"#,
        limit,
    )
    .fetch_all(connection)
    .await?)
}

/// Reads these rows. Returns those that cannot be read separately.
pub(super) async fn read(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<(Vec<Arrived>, Vec<Unreadable>), StoreError> {
    let rows = sqlx::query!(
        r#"-- read_arrivals
        select t.id, t.workspace_id, t.integration_id, t.member_id, t.operation, t.application, t.trigger, t.job_id,
               t.failure_code, t.can_retry, t.user_required, t.outcome,
               case when isfinite(t.requested_at) then t.requested_at end as requested_at,
               exists (select from reconciler.integration_settings i
                       where i.workspace_id = t.workspace_id and i.integration_id = t.integration_id
                         and (i.name, i.kind, i.application)
                             = (t.integration_name, t.integration_kind, t.application)
                       offset 0) as "is_introduced!",
               exists (select from reconciler.members m
                       where m.workspace_id = t.workspace_id and m.integration_id = t.integration_id
                         and m.member_id = t.member_id
                       offset 0) as "is_known!"
        from unnest($1::bigint[]) a (id)
        cross join lateral (
            select * from reconciler.automation_tasks t where t.id = a.id
            offset 0
        ) t"#,
        ids,
    )
    .fetch_all(connection)
    .await?;
    let (mut arrived, mut unreadable) = (Vec::new(), Vec::new());
    for row in rows {
        let time =
            row.requested_at.ok_or_else(|| UnknownWord::new("time of a request", "infinity"));
        let words = (row.operation.parse(), row.trigger.parse::<Trigger>(), time);
        let (operation, trigger, requested_at) = match words {
            (Ok(operation), Ok(trigger), Ok(requested_at)) => (operation, trigger, requested_at),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                unreadable.push((row.id, error));
                continue;
            }
        };
        arrived.push(Arrived {
            id: row.id,
            operation,
            application: row.application,
            has_automation: trigger.has_job(row.job_id.as_deref()),
            failure: Failure {
                code: row.failure_code,
                can_retry: row.can_retry,
                user_required: row.user_required,
                ..Failure::default()
            },
            requested_at,
            has_succeeded: row.outcome == "succeeded",
            is_introduced: row.is_introduced,
            is_known: row.is_known,
            key: MemberKey {
                workspace: row.workspace_id,
                integration: row.integration_id,
                member: row.member_id,
            },
        });
    }
    Ok((arrived, unreadable))
}

/// The rows among these that are still unordered.
pub(super) async fn still_arrived(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- still_arrived
        select p.task as "task!"
        from unnest($1::bigint[]) p (task)
        cross join lateral (select from reconciler.arrivals a where a.task_id = p.task offset 0) a"#,
        tasks,
    )
    .fetch_all(connection)
    .await?)
}

/// Deletes the arrivals of rows that are placed.
pub(super) async fn take_off(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- take_off_arrivals
         delete from reconciler.arrivals a
         using unnest($1::bigint[]) p (task)
         where a.ctid = (select b.ctid from reconciler.arrivals b where b.task_id = p.task)",
        tasks,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Postpones rows to a later batch, each time for longer, so that many of them do not delay the rows behind them.
pub(super) async fn quarantine(
    connection: &mut PgConnection,
    tasks: &[i64],
    wait: Duration,
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- quarantine_arrivals
         update reconciler.arrivals a
         set not_before = clock_timestamp() + $2::interval * (1 << least(a.quarantined, 3)), quarantined = a.quarantined + 1
         from unnest($1::bigint[]) p (task)
         where a.ctid = (select b.ctid from reconciler.arrivals b where b.task_id = p.task)",
        tasks,
        interval(wait),
    )
    .execute(connection)
    .await?;
    Ok(())
}
