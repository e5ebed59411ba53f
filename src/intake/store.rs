//! The SQL of intake: read what arrived and what is known of its members, write the order.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use super::order::{Intent, Standing, Superseded};
use crate::backend::Failure;
use crate::membership::{MemberKey, MemberKeys, Operation, Trigger, UnknownWord};
use crate::store::{StoreError, interval};

/// A new row, as far as intake looks at it.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) id: i64,
    pub(super) key: MemberKey,
    pub(super) operation: Operation,
    pub(super) application: String,
    pub(super) has_automation: bool,
    pub(super) failure: Failure,
    pub(super) requested_at: DateTime<Utc>,
    /// Whether its integration is known, by the name that it has here.
    pub(super) is_introduced: bool,
    /// Whether nothing else is known of its member: then there is nothing to lock or to read.
    pub(super) is_first: bool,
}

/// Begins a transaction that orders new rows, if no other replica does: the lock is got, or not, before the next statement
/// looks, which so sees whatever was ordered until now.
///
/// The commit does not wait for the disk: if the server lost it in a crash, the same would be made again. Whoever acts on
/// what it wrote commits later, and as the log of the server has one order, that commit waits for both.
pub(super) async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    pool.begin_with(
        "begin;
         set local reconciler.actor = 'daemon';
         set local synchronous_commit = off;
         select set_config('reconciler.orders_arrivals',
                           pg_try_advisory_xact_lock(hashtextextended('reconciler.intake', 0))::text, true)",
    )
    .await
}

/// The oldest rows without a place after this id. One replica orders rows at a time; the others find none. Nobody else
/// touches what has no place yet, so that nothing is locked.
pub(super) async fn arrivals(
    connection: &mut PgConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<Arrived>, StoreError> {
    let rows = sqlx::query!(
        r#"with arrived as materialized (
             select task_id, workspace_id from reconciler.turns
             where turn = 'arrived' and task_id > $2
               and (select current_setting('reconciler.orders_arrivals')::boolean)
             order by task_id
             limit $1
         )
         select t.id, t.workspace_id, t.integration_id, t.member_id, t.operation, t.application, t.trigger, t.job_id,
                t.failure_code, t.can_retry, t.user_required, t.requested_at,
                exists (select from reconciler.integrations i
                        where i.workspace_id = t.workspace_id and i.integration_id = t.integration_id
                          and (i.name, i.kind, i.application)
                              = (t.integration_name, t.integration_kind, t.application)) as "is_introduced!",
                not exists (select from reconciler.automation_tasks k
                            where k.workspace_id = t.workspace_id and k.integration_id = t.integration_id
                              and k.member_id = t.member_id and k.id <> t.id
                            offset 0)
                and not exists (select from reconciler.manual_actions a
                                where a.workspace_id = t.workspace_id and a.integration_id = t.integration_id
                                  and a.member_id = t.member_id
                                offset 0) as "is_first!"
         from arrived a
         cross join lateral (
             select * from reconciler.automation_tasks t where t.id = a.task_id and t.workspace_id = a.workspace_id
             offset 0
         ) t
         order by a.task_id"#,
        limit,
        after,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let bad = |source: UnknownWord| StoreError::BadRow {
                table: "automation_tasks",
                id: row.id,
                source,
            };
            let trigger: Trigger = row.trigger.parse().map_err(bad)?;
            Ok(Arrived {
                id: row.id,
                operation: row.operation.parse().map_err(bad)?,
                application: row.application,
                has_automation: trigger.has_job(row.job_id.as_deref()),
                failure: Failure {
                    code: row.failure_code,
                    can_retry: row.can_retry,
                    user_required: row.user_required,
                    ..Failure::default()
                },
                requested_at: row.requested_at,
                is_introduced: row.is_introduced,
                is_first: row.is_first,
                key: MemberKey {
                    workspace: row.workspace_id,
                    integration: row.integration_id,
                    member: row.member_id,
                },
            })
        })
        .collect()
}

/// Makes the integrations of these rows known, by their latest name.
pub(super) async fn introduce_integrations(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into reconciler.integrations as known (workspace_id, integration_id, name, kind, application)
         select distinct on (workspace_id, integration_id)
                workspace_id, integration_id, integration_name, integration_kind, application
         from reconciler.automation_tasks
         where id = any ($1)
         order by workspace_id, integration_id, id desc
         on conflict (workspace_id, integration_id) do update
         set name = excluded.name, kind = excluded.kind, application = excluded.application
         where (known.name, known.kind, known.application)
               is distinct from (excluded.name, excluded.kind, excluded.application)",
        tasks,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Locks whatever of these members could change under us.
pub(super) async fn lock_members<'a>(
    connection: &mut PgConnection,
    keys: impl Iterator<Item = &'a MemberKey>,
) -> Result<(), StoreError> {
    let keys: MemberKeys = keys.collect();
    sqlx::query!(
        "select reconciler.lock_members($1, $2, $3)",
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Every unfinished intent of these members, and the closed ones wanted since the given times.
pub(super) async fn known_intents(
    connection: &mut PgConnection,
    since: &BTreeMap<MemberKey, DateTime<Utc>>,
) -> Result<BTreeMap<MemberKey, Vec<Intent>>, StoreError> {
    let keys: MemberKeys = since.keys().collect();
    let times: Vec<_> = since.values().copied().collect();
    let rows = sqlx::query!(
        r#"
        select t.id, t.workspace_id, t.integration_id, t.member_id, t.operation, t.requested_at,
               t.state, h.turn as "turn?", t.superseded_by,
               (h.lease_until is not null or h.running_job_id is not null
                or h.uncertain_since is not null) as "in_flight!",
               a.id as "action_id?", a.status as "action_status?"
        from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
             k (workspace_id, integration_id, member_id, since)
        join reconciler.automation_tasks t using (workspace_id, integration_id, member_id)
        left join lateral (
            select * from reconciler.turns h where h.task_id = t.id and h.workspace_id = t.workspace_id
            offset 0
        ) h on true
        left join lateral (
            select a.id, a.status
            from (select * from reconciler.manual_actions a
                  where a.task_id = t.id and a.workspace_id = t.workspace_id
                  offset 0) a
            order by a.id desc limit 1
        ) a on t.state = 'escalated'
        where h.turn in ('head', 'waiting')
           or a.status in ('open', 'in_progress', 'done')
           or (h.turn is null and t.requested_at >= k.since)
        "#,
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &times,
    )
    .fetch_all(connection)
    .await?;
    let mut known: BTreeMap<MemberKey, Vec<Intent>> = BTreeMap::new();
    for row in rows {
        let bad = |source| StoreError::BadRow { table: "automation_tasks", id: row.id, source };
        let intent = Intent {
            task: row.id,
            operation: row.operation.parse().map_err(bad)?,
            requested_at: row.requested_at,
            standing: match (row.turn.as_deref(), row.state.as_str()) {
                (Some("waiting"), _) => Standing::Waiting,
                (Some(_), _) if row.in_flight => {
                    Standing::InFlight { superseded_by: row.superseded_by }
                }
                (Some(_), _) => Standing::Head,
                (None, "succeeded") => Standing::Effective,
                (None, "escalated") => of_action(row.action_id, row.action_status.as_deref()),
                (None, _) => Standing::Void,
            },
        };
        let key = MemberKey {
            workspace: row.workspace_id,
            integration: row.integration_id,
            member: row.member_id,
        };
        known.entry(key).or_default().push(intent);
    }
    Ok(known)
}

fn of_action(action: Option<i64>, status: Option<&str>) -> Standing {
    match (action, status) {
        (Some(action), Some("open" | "in_progress" | "done")) => Standing::Action(action),
        (_, Some("verified" | "attested" | "not_needed")) => Standing::Effective,
        _ => Standing::Void,
    }
}

/// Closes what lost, in the trail too.
pub(super) async fn close_superseded(
    connection: &mut PgConnection,
    losers: &[Superseded],
) -> Result<(), StoreError> {
    if losers.is_empty() {
        return Ok(());
    }
    let (tasks, winners) = arrays(losers);
    sqlx::query!(
        "with ended as (
             delete from reconciler.turns t
             using unnest($1::bigint[], $2::bigint[]) l (task, winner)
             where t.ctid = (select h.ctid from reconciler.turns h where h.task_id = l.task)
             returning t.task_id, t.workspace_id, t.trying_since, l.winner
         ), closed as (
             update reconciler.automation_tasks t
             set state = 'superseded', superseded_by = ended.winner, closed_at = clock_timestamp(),
                 closed_reason = 'Replaced by a newer request (task ' || ended.winner || ')', tried_since = ended.trying_since,
                 acted_until = case when t.attempts > 0 or ended.trying_since is not null then clock_timestamp()
                                    else t.acted_until end,
                 ordered_at = coalesce(t.ordered_at, clock_timestamp())
             from ended
             where t.id = ended.task_id and t.workspace_id = ended.workspace_id
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

/// Marks what lost while in flight; the worker closes it once it has settled.
pub(super) async fn mark_superseded(
    connection: &mut PgConnection,
    losers: &[Superseded],
) -> Result<(), StoreError> {
    if losers.is_empty() {
        return Ok(());
    }
    let (tasks, winners) = arrays(losers);
    sqlx::query!(
        "with hastened as (
             update reconciler.turns t
             set next_attempt_at = least(t.next_attempt_at, clock_timestamp())
             from unnest($1::bigint[], $2::bigint[]) l (task, winner)
             where t.ctid = (select h.ctid from reconciler.turns h where h.task_id = l.task)
             returning t.task_id, t.workspace_id, t.next_attempt_at, l.winner
         ), marked as (
             update reconciler.automation_tasks t
             set superseded_by = hastened.winner, next_attempt_at = hastened.next_attempt_at
             from hastened
             where t.id = hastened.task_id and t.workspace_id = hastened.workspace_id
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

/// Lets tasks wait; a head that was overtaken steps back.
pub(super) async fn let_wait(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update reconciler.turns set turn = 'waiting' where task_id = any ($1) and turn <> 'waiting'",
        tasks,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives tasks their turn.
pub(super) async fn give_turn(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "with promoted as (
             update reconciler.turns
             set turn = 'head',
                 next_attempt_at = greatest(next_attempt_at, clock_timestamp(),
                                            reconciler.acted_until(workspace_id, integration_id, member_id))
             where task_id = any ($1) and turn <> 'head'
             returning task_id, workspace_id, next_attempt_at
         )
         update reconciler.automation_tasks t
         set next_attempt_at = promoted.next_attempt_at
         from promoted
         where t.id = promoted.task_id and t.workspace_id = promoted.workspace_id",
        tasks,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Where a new task stands.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) task: i64,
    /// `head` or `waiting`.
    pub(super) turn: &'static str,
    /// When it is due first, counted from when it was received; never before now, for a claim does not look back.
    pub(super) first_due: Duration,
    /// Whether nothing else is known of its member, and so nothing that could still act on them.
    pub(super) is_first: bool,
}

/// Gives new tasks their place, in the trail too; those that lost at once have their line already.
pub(super) async fn place(
    connection: &mut PgConnection,
    places: &[Place],
) -> Result<(), StoreError> {
    if places.is_empty() {
        return Ok(());
    }
    let tasks: Vec<_> = places.iter().map(|place| place.task).collect();
    let turns: Vec<_> = places.iter().map(|place| place.turn.to_owned()).collect();
    let delays: Vec<_> = places.iter().map(|place| interval(place.first_due)).collect();
    let firsts: Vec<_> = places.iter().map(|place| place.is_first).collect();
    sqlx::query!(
        "with placed as (
             update reconciler.automation_tasks t
             set ordered_at = clock_timestamp(),
                 next_attempt_at = greatest(
                     t.received_at + p.first_due, clock_timestamp(),
                     case when p.turn = 'head' and not p.is_first
                          then reconciler.acted_until(t.workspace_id, t.integration_id, t.member_id) end)
             from unnest($1::bigint[], $2::text[], $3::interval[], $4::boolean[]) p (task, turn, first_due, is_first)
             where t.id = p.task
             returning t.id, t.workspace_id, t.next_attempt_at, p.turn
         ), queued as (
             update reconciler.turns t
             set turn = p.turn, next_attempt_at = p.next_attempt_at
             from placed p
             where t.ctid = (select h.ctid from reconciler.turns h
                             where h.task_id = p.id and h.workspace_id = p.workspace_id)
         )
         insert into reconciler.events (actor, what, workspace_id, subject, subject_id, detail)
         select actor.name, 'task.ordered', p.workspace_id, 'task', p.id::text,
                case p.turn when 'head' then '{\"turn\": \"head\"}'::jsonb else '{\"turn\": \"waiting\"}'::jsonb end
         from (select reconciler.current_actor() as name offset 0) actor, -- asked once, not for each line
              placed p",
        &tasks,
        &turns,
        &delays,
        &firsts,
    )
    .execute(connection)
    .await?;
    Ok(())
}
