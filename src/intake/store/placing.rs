//! Places new rows among the requests of their members, and closes those that were superseded.

use chrono::{DateTime, Utc};

use crate::database::PgConnection;
use crate::intake::order::Superseded;
use crate::member::store::Due;
use crate::retry::decide::Beginning;
use crate::store::{StoreError, interval};

/// The single new request of an unknown member, which gets its turn at once.
#[derive(Debug)]
pub(in crate::intake) struct First {
    pub(in crate::intake) task: i64,
    /// How it begins. It is never due before now, because a claim does not scan before its watermark.
    pub(in crate::intake) begins: Beginning,
}

/// Adds the rows of members for their first requests, which get their turn at once. Returns when those are due.
pub(in crate::intake) async fn place_first(
    connection: &mut PgConnection,
    firsts: &[First],
) -> Result<Vec<Due>, StoreError> {
    if firsts.is_empty() {
        return Ok(Vec::new());
    }
    let tasks: Vec<_> = firsts.iter().map(|first| first.task).collect();
    let delays: Vec<_> = firsts.iter().map(|first| interval(first.begins.after)).collect();
    let needs_no_automation: Vec<_> =
        firsts.iter().map(|first| first.begins.needs_no_automation).collect();
    let due = sqlx::query_as!(
        Due,
        r#"-- place_first
        with gone as (
            delete from reconciler.arrivals a
            using unnest($1::bigint[]) p (task)
            where a.ctid = (select b.ctid from reconciler.arrivals b where b.task_id = p.task)
        ), placed as (
            update reconciler.automation_tasks t
            set ordered_at = clock_timestamp(), needs_no_automation = p.needs_no_automation,
                next_attempt_at = greatest(t.received_at + p.after, clock_timestamp())
            from unnest($1::bigint[], $2::interval[], $3::boolean[]) p (task, after, needs_no_automation)
            where t.id = p.task
            returning t.id, t.workspace_id, t.integration_id, t.member_id, t.member_email, t.member_username,
                      t.operation, t.entitlements, t.requested_at, t.needs_no_automation, t.next_attempt_at
        ), added as (
            insert into reconciler.members
                (workspace_id, integration_id, member_id, member_email, member_username, desired_task_id,
                 desired_operation, desired_entitlements, desired_requested_at, removal_task_id, removal_requested_at,
                 ready_task_id, ready_is_removal, ready_needs_no_automation, next_attempt_at)
            select workspace_id, integration_id, member_id, member_email, member_username, id, operation, entitlements,
                   requested_at, case when operation = 'remove' then id end,
                   case when operation = 'remove' then requested_at end, id, operation = 'remove', needs_no_automation,
                   next_attempt_at
            from placed
        ), recorded as (
            insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
            select 'task.ordered', p.workspace_id, 'task', p.id::text, '{"place": "ready"}'::jsonb
            from placed p
        )
        select workspace_id, integration_id, next_attempt_at as "from" from placed"#,
        &tasks,
        &delays,
        &needs_no_automation,
    )
    .fetch_all(connection)
    .await?;
    Ok(due)
}

/// The place of a new task of a known member.
#[derive(Debug)]
pub(in crate::intake) struct Placed {
    pub(in crate::intake) task: i64,
    /// `ready` or `blocked`, for the trail.
    pub(in crate::intake) place: &'static str,
    pub(in crate::intake) begins: Beginning,
}

/// Marks new tasks as ordered, records that in the trail, and sets when they are first due. Tasks that were superseded
/// at once have their trail entry already.
pub(in crate::intake) async fn place(
    connection: &mut PgConnection,
    placed: &[Placed],
) -> Result<(), StoreError> {
    if placed.is_empty() {
        return Ok(());
    }
    let tasks: Vec<_> = placed.iter().map(|one| one.task).collect();
    let places: Vec<_> = placed.iter().map(|one| one.place.to_owned()).collect();
    let delays: Vec<_> = placed.iter().map(|one| interval(one.begins.after)).collect();
    let needs_no_automation: Vec<_> =
        placed.iter().map(|one| one.begins.needs_no_automation).collect();
    sqlx::query!(
        "-- place_tasks
         with placed as (
             update reconciler.automation_tasks t
             set ordered_at = coalesce(t.ordered_at, clock_timestamp()), needs_no_automation = p.needs_no_automation,
                 next_attempt_at = greatest(t.received_at + p.after, clock_timestamp())
             from unnest($1::bigint[], $2::text[], $3::interval[], $4::boolean[]) p (task, place, after, needs_no_automation)
             where t.id = p.task
             returning t.id, t.workspace_id, p.place
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'task.ordered', p.workspace_id, 'task', p.id::text, jsonb_build_object('place', p.place)
         from placed p",
        &tasks,
        &places,
        &delays,
        &needs_no_automation,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Closes superseded tasks, and records that in the trail.
pub(in crate::intake) async fn close_superseded(
    connection: &mut PgConnection,
    losers: &[Superseded],
) -> Result<(), StoreError> {
    if losers.is_empty() {
        return Ok(());
    }
    let (tasks, winners) = arrays(losers);
    sqlx::query!(
        "-- close_superseded
         with closed as (
             update reconciler.automation_tasks t
             set state = 'superseded', superseded_by = l.winner, closed_at = clock_timestamp(),
                 closed_reason = 'Replaced by a newer request (task ' || l.winner || ')',
                 effects_possible_until = case when t.attempts > 0 or t.trying_since is not null
                                               then clock_timestamp() else t.effects_possible_until end,
                 ordered_at = coalesce(t.ordered_at, clock_timestamp())
             from unnest($1::bigint[], $2::bigint[]) l (task, winner)
             where t.id = l.task
             returning t.id, t.workspace_id, t.superseded_by
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'task.superseded', workspace_id, 'task', id::text,
                jsonb_build_object('superseded_by', superseded_by)
         from closed",
        &tasks,
        &winners,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks tasks that were superseded while in flight. The worker closes them once they have settled.
pub(in crate::intake) async fn mark_superseded(
    connection: &mut PgConnection,
    losers: &[Superseded],
) -> Result<(), StoreError> {
    if losers.is_empty() {
        return Ok(());
    }
    let (tasks, winners) = arrays(losers);
    sqlx::query!(
        "-- mark_superseded
         with marked as (
             update reconciler.automation_tasks t
             set superseded_by = l.winner, next_attempt_at = least(t.next_attempt_at, clock_timestamp())
             from unnest($1::bigint[], $2::bigint[]) l (task, winner)
             where t.id = l.task
             returning t.id, t.workspace_id, t.superseded_by
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'task.marked_superseded', workspace_id, 'task', id::text,
                jsonb_build_object('superseded_by', superseded_by)
         from marked",
        &tasks,
        &winners,
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn arrays(losers: &[Superseded]) -> (Vec<i64>, Vec<i64>) {
    losers.iter().map(|loser| (loser.task, loser.by)).unzip()
}

/// Stores since when requests that lose their turn were tried.
pub(in crate::intake) async fn step_back(
    connection: &mut PgConnection,
    stepped: &[(i64, DateTime<Utc>)],
) -> Result<(), StoreError> {
    if stepped.is_empty() {
        return Ok(());
    }
    let (tasks, since): (Vec<_>, Vec<_>) = stepped.iter().copied().unzip();
    sqlx::query!(
        "-- step_back
         update reconciler.automation_tasks t set trying_since = s.since
         from unnest($1::bigint[], $2::timestamptz[]) s (task, since) where t.id = s.task",
        &tasks,
        &since,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Closes tasks that automation did elsewhere, and records that in the trail.
pub(in crate::intake) async fn close_succeeded(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- close_succeeded_elsewhere
         with closed as (
             update reconciler.automation_tasks t
             set state = 'succeeded', closed_at = clock_timestamp(), closed_reason = 'Automation did it',
                 ordered_at = coalesce(t.ordered_at, clock_timestamp())
             from unnest($1::bigint[]) k (task)
             where t.id = k.task
             returning t.id, t.workspace_id, t.closed_reason
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'task.succeeded', workspace_id, 'task', id::text, jsonb_build_object('reason', closed_reason)
         from closed",
        tasks,
    )
    .execute(connection)
    .await?;
    Ok(())
}
