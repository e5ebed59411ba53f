//! The SQL of intake: which rows came in, what is known of their members' requests, and where the rows are placed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::order::{Standing, Superseded};
use crate::backend::Failure;
use crate::database::PgConnection;
use crate::manual_action::status::{ActionEnd, ActionStatus};
use crate::member::store::Due;
use crate::membership::{MemberKey, Operation, Trigger, UnknownWord};
use crate::retry::decide::Beginning;
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

/// Adds the integrations of these rows as the first row of each describes them, and updates the names of known ones
/// unless somebody has the row locked. Kind and application stay as they were first seen. A row that has another kind
/// or application does not change the name either.
pub(super) async fn introduce_integrations(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- introduce_integrations
         with named as materialized (
             select t.id, t.workspace_id, t.integration_id, t.integration_name as name, t.integration_kind as kind, t.application
             from unnest($1::bigint[]) k (id)
             cross join lateral (select * from reconciler.automation_tasks t where t.id = k.id offset 0) t
         ), first as materialized (
             select distinct on (workspace_id, integration_id) * from named order by workspace_id, integration_id, id
         ), stated as (
             insert into reconciler.integration_states (workspace_id, integration_id)
             select workspace_id, integration_id from first
             where not exists (select from reconciler.integration_states d
                               where d.workspace_id = first.workspace_id and d.integration_id = first.integration_id
                               offset 0)
             on conflict (workspace_id, integration_id) do nothing
         ), introduced as (
             insert into reconciler.integration_settings as s (workspace_id, integration_id, name, kind, application)
             select workspace_id, integration_id, name, kind, application from first
             -- A conflict with a row that a person is changing would wait for that person.
             where not exists (select from reconciler.integration_settings s
                               where s.workspace_id = first.workspace_id and s.integration_id = first.integration_id
                               offset 0)
             on conflict (workspace_id, integration_id) do nothing
             returning s.workspace_id, s.integration_id, s.name, s.kind, s.application
         ), latest as materialized (
             select distinct on (n.workspace_id, n.integration_id) n.workspace_id, n.integration_id, n.name, s.name as old, s.place
             from named n
             cross join lateral (
                 select s.ctid as place, s.name from reconciler.integration_settings s
                 where s.workspace_id = n.workspace_id and s.integration_id = n.integration_id
                   and s.kind = n.kind and s.application = n.application
                 for no key update skip locked
                 offset 0
             ) s
             order by n.workspace_id, n.integration_id, n.id desc
         ), renamed as (
             update reconciler.integration_settings i set name = latest.name
             from latest where i.ctid = latest.place and latest.old <> latest.name
             returning i.workspace_id, i.integration_id, latest.old, latest.name
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'integration.introduced', workspace_id, 'integration', integration_id,
                jsonb_build_object('name', name, 'kind', kind, 'application', application) from introduced
         union all
         select 'integration.renamed', workspace_id, 'integration', integration_id,
                jsonb_build_object('from', old, 'to', name) from renamed",
        tasks,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A row whose kind or application differs from its integration.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) id: i64,
    pub(super) workspace: String,
    pub(super) integration: String,
    /// What the row says and what the integration has.
    pub(super) differs: String,
}

/// The rows among these whose kind or application differs from their integrations.
pub(super) async fn misfits(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<Vec<Misfit>, StoreError> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as!(
        Misfit,
        r#"-- misfits
        select t.id, t.workspace_id as workspace, t.integration_id as integration,
               concat_ws(', ',
                   case when t.integration_kind <> i.kind
                        then 'kind is ' || t.integration_kind || ', but ' || i.kind || ' of the integration' end,
                   case when t.application <> i.application
                        then 'application is ' || t.application || ', but ' || i.application || ' of the integration'
                   end) as "differs!"
        from unnest($1::bigint[]) k (id)
        cross join lateral (select * from reconciler.automation_tasks t where t.id = k.id offset 0) t
        cross join lateral (
            select * from reconciler.integration_settings i
            where i.workspace_id = t.workspace_id and i.integration_id = t.integration_id
            offset 0
        ) i
        where (t.integration_kind, t.application) <> (i.kind, i.application)
        order by t.id"#,
        tasks,
    )
    .fetch_all(connection)
    .await?)
}

/// Holds rows until a person decides. They are checked again later. The trail records each reason once.
pub(super) async fn hold(
    connection: &mut PgConnection,
    misfits: &[Misfit],
    wait: Duration,
) -> Result<(), StoreError> {
    let ids: Vec<_> = misfits.iter().map(|misfit| misfit.id).collect();
    quarantined(connection, &ids, wait).await?;
    if ids.is_empty() {
        return Ok(());
    }
    let reasons: Vec<_> = misfits.iter().map(|misfit| misfit.differs.clone()).collect();
    sqlx::query!(
        "-- hold_arrivals
         with held as (
             update reconciler.arrivals a set held_reason = p.reason
             from unnest($1::bigint[], $2::text[]) p (task, reason)
             where a.ctid = (select b.ctid from reconciler.arrivals b where b.task_id = p.task)
               and a.held_reason is distinct from p.reason
             returning a.workspace_id, a.task_id, a.integration_id, p.reason
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'task.held', workspace_id, 'task', task_id::text,
                jsonb_build_object('integration_id', integration_id, 'reason', reason)
         from held",
        &ids,
        &reasons,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// An unfinished request of a known member.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) operation: Operation,
    pub(super) requested_at: DateTime<Utc>,
    pub(super) superseded_by: Option<i64>,
    /// Whether any attempt of it was made.
    pub(super) was_tried: bool,
}

pub(super) async fn requests(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<HashMap<i64, Known>, StoreError> {
    if tasks.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"-- unfinished_requests
        select t.id, t.operation, t.requested_at, t.superseded_by,
               t.attempts > 0 or t.trying_since is not null as "was_tried!"
        from unnest($1::bigint[]) k (id)
        cross join lateral (select * from reconciler.automation_tasks t where t.id = k.id offset 0) t"#,
        tasks,
    )
    .fetch_all(connection)
    .await?;
    let known = rows.into_iter().map(|row| {
        let bad = |source| StoreError::BadRow { table: "automation_tasks", id: row.id, source };
        let known = Known {
            operation: row.operation.parse().map_err(bad)?,
            requested_at: row.requested_at,
            superseded_by: row.superseded_by,
            was_tried: row.was_tried,
        };
        Ok((row.id, known))
    });
    known.collect()
}

/// An action that goes before the requests of its member.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenAction {
    pub(super) task: i64,
    pub(super) operation: Operation,
    pub(super) requested_at: DateTime<Utc>,
    pub(super) standing: Standing,
    /// Whether it has ended, and the member's row does not show that yet.
    pub(super) has_ended: bool,
}

/// Reads actions without locking their rows.
pub(super) async fn actions(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<BTreeMap<i64, OpenAction>, StoreError> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query!(
        r#"-- open_actions
        select a.id, a.task_id, a.operation, a.status, coalesce(t.requested_at, a.opened_at) as "requested_at!"
        from unnest($1::bigint[]) k (id)
        cross join lateral (select * from reconciler.manual_actions a where a.id = k.id offset 0) a
        left join lateral (select * from reconciler.automation_tasks t
                           where t.id = a.task_id and t.workspace_id = a.workspace_id offset 0) t on true"#,
        ids,
    )
    .fetch_all(connection)
    .await?;
    let actions = rows.into_iter().map(|row| {
        let bad = |source| StoreError::BadRow { table: "manual_actions", id: row.id, source };
        let end = ActionEnd::of(row.status.parse::<ActionStatus>().map_err(bad)?);
        let action = OpenAction {
            task: row.task_id,
            operation: row.operation.parse().map_err(bad)?,
            requested_at: row.requested_at,
            standing: match end {
                None => Standing::Action(row.id),
                Some(end) if end.took_effect => Standing::Effective,
                Some(_) => Standing::Void,
            },
            has_ended: end.is_some(),
        };
        Ok((row.id, action))
    });
    actions.collect()
}

/// The single new request of an unknown member, which gets its turn at once.
#[derive(Debug)]
pub(super) struct First {
    pub(super) task: i64,
    /// How it begins. It is never due before now, because a claim does not scan before its watermark.
    pub(super) begins: Beginning,
}

/// Adds the rows of members for their first requests, which get their turn at once. Returns when those are due.
pub(super) async fn place_first(
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
pub(super) struct Placed {
    pub(super) task: i64,
    /// `ready` or `blocked`, for the trail.
    pub(super) place: &'static str,
    pub(super) begins: Beginning,
}

/// Marks new tasks as ordered, records that in the trail, and sets when they are first due. Tasks that were superseded
/// at once have their trail entry already.
pub(super) async fn place(
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
pub(super) async fn quarantined(
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

/// Closes superseded tasks, and records that in the trail.
pub(super) async fn close_superseded(
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
pub(super) async fn mark_superseded(
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
pub(super) async fn step_back(
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
pub(super) async fn close_succeeded(
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
