//! The SQL of members: their locks, what intake writes, and the one statement that gives a request its turn.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::database::{PgConnection, PgPool};
use crate::membership::{MemberKey, MemberKeys, Observed};
use crate::store::{StoreError, begin_exclusive, interval};

/// A request: its task, and when it was requested.
pub type Request = (i64, DateTime<Utc>);

/// A member, with the columns that intake needs.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// The latest removal, whatever became of it.
    pub removal: Option<Request>,
    /// The latest invite that took effect.
    pub invite: Option<Request>,
    /// The latest change of role that took effect.
    pub role: Option<Request>,
    /// The request that has its turn.
    pub ready: Option<i64>,
    /// Whether an attempt of that request is or may be in flight.
    pub in_flight: bool,
    /// Since when that request is tried.
    pub trying_since: Option<DateTime<Utc>>,
    /// The blocked requests, in order.
    pub blocked: Vec<i64>,
    /// The manual action that goes before all blocked requests.
    pub open_action: Option<i64>,
}

/// Locks the rows of members in the order of their keys. Members without a row are left out; [`introduce`] adds them.
pub async fn lock<'a>(
    connection: &mut PgConnection,
    keys: impl Iterator<Item = &'a MemberKey>,
) -> Result<BTreeMap<MemberKey, Member>, StoreError> {
    let keys: MemberKeys = keys.collect();
    if keys.members.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query!(
        r#"-- lock_members
        select m.workspace_id, m.integration_id, m.member_id, m.removal_task_id, m.removal_requested_at,
               m.invite_task_id, m.invite_requested_at, m.role_task_id, m.role_requested_at, m.ready_task_id,
               (m.lease_until is not null or m.running_job_id is not null
                or m.uncertain_since is not null) as "in_flight!",
               m.trying_since, m.blocked_task_ids, m.open_action_id
        from (select * from unnest($1::text[], $2::text[], $3::text[]) k (workspace_id, integration_id, member_id)
              order by workspace_id, integration_id, member_id) k
        cross join lateral (
            select * from reconciler.members m
            where m.workspace_id = k.workspace_id and m.integration_id = k.integration_id
              and m.member_id = k.member_id
            for no key update
            offset 0
        ) m"#,
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
    )
    .fetch_all(connection)
    .await?;
    let members = rows.into_iter().map(|row| {
        let key = MemberKey {
            workspace: row.workspace_id,
            integration: row.integration_id,
            member: row.member_id,
        };
        let member = Member {
            removal: row.removal_task_id.zip(row.removal_requested_at),
            invite: row.invite_task_id.zip(row.invite_requested_at),
            role: row.role_task_id.zip(row.role_requested_at),
            ready: row.ready_task_id,
            in_flight: row.in_flight,
            trying_since: row.trying_since,
            blocked: row.blocked_task_ids,
            open_action: row.open_action_id,
        };
        (key, member)
    });
    Ok(members.collect())
}

/// Adds rows for the members of these tasks that have none yet.
pub async fn introduce(connection: &mut PgConnection, tasks: &[i64]) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- introduce_members
         insert into reconciler.members as m
             (workspace_id, integration_id, member_id, member_email, member_username)
         select distinct on (t.workspace_id, t.integration_id, t.member_id)
                t.workspace_id, t.integration_id, t.member_id, t.member_email, t.member_username
         from unnest($1::bigint[]) k (id)
         cross join lateral (select * from reconciler.automation_tasks t where t.id = k.id offset 0) t
         order by t.workspace_id, t.integration_id, t.member_id, t.requested_at desc, t.id desc
         on conflict (workspace_id, integration_id, member_id) do nothing",
        tasks,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(Debug)]
pub struct Ordered<'a> {
    pub key: &'a MemberKey,
    /// Whether the request that had its turn keeps it.
    pub keeps_turn: bool,
    /// Whether that request was superseded while it is in flight, so that it is due at once.
    pub is_overtaken: bool,
    /// The blocked requests, in order.
    pub blocked: Vec<i64>,
    /// Whether the open action was ended.
    pub ends_action: bool,
    /// The doubts that the end of the action leaves: about removals, and about invites and changes of role.
    pub removed_by_hand: bool,
    pub admitted_by_hand: bool,
    /// Whether a removal that was tried was closed.
    pub removal_tried: bool,
    /// Whether an invite or a change of role that was tried was closed.
    pub admission_tried: bool,
    /// The new latest requests, which no older request may undo; `None` leaves the known one.
    pub removal: Option<Request>,
    pub invite: Option<Request>,
    pub role: Option<Request>,
}

/// Writes the order of members whose rows are locked. [`give_turn`] gives the turns afterwards.
pub async fn write_order(
    connection: &mut PgConnection,
    ordered: &[Ordered<'_>],
) -> Result<(), StoreError> {
    if ordered.is_empty() {
        return Ok(());
    }
    let keys: MemberKeys = ordered.iter().map(|one| one.key).collect();
    let flags = |flag: fn(&Ordered<'_>) -> bool| ordered.iter().map(flag).collect::<Vec<_>>();
    let tasks = |request: fn(&Ordered<'_>) -> Option<Request>| {
        ordered.iter().map(|one| request(one).map(|(task, _)| task)).collect::<Vec<_>>()
    };
    let times = |request: fn(&Ordered<'_>) -> Option<Request>| {
        ordered.iter().map(|one| request(one).map(|(_, at)| at)).collect::<Vec<_>>()
    };
    // SQL arrays of arrays must all have the same length. Therefore the lists are passed as text.
    let blocked: Vec<_> = ordered.iter().map(|one| list(&one.blocked)).collect();
    let rows = sqlx::query!(
        "-- write_order
         update reconciler.members m
         set ready_task_id = case when o.keeps_turn then m.ready_task_id end,
             next_attempt_at = case when o.is_overtaken then least(m.next_attempt_at, clock_timestamp())
                                    else m.next_attempt_at end,
             trying_since = case when o.keeps_turn then m.trying_since end,
             blocked_task_ids = o.blocked::bigint[],
             open_action_id = case when o.ends_action then null else m.open_action_id end,
             removed_by_hand_at = case when o.removed_by_hand then clock_timestamp() else m.removed_by_hand_at end,
             admitted_by_hand_at = case when o.admitted_by_hand then clock_timestamp() else m.admitted_by_hand_at end,
             removal_tried_until = case when o.removal_tried then greatest(m.removal_tried_until, clock_timestamp())
                                        else m.removal_tried_until end,
             admission_tried_until = case when o.admission_tried
                                          then greatest(m.admission_tried_until, clock_timestamp())
                                          else m.admission_tried_until end,
             worked_at = case when o.ends_action then clock_timestamp() else m.worked_at end,
             removal_task_id = coalesce(o.removal_task_id, m.removal_task_id),
             removal_requested_at = coalesce(o.removal_at, m.removal_requested_at),
             invite_task_id = coalesce(o.invite_task_id, m.invite_task_id),
             invite_requested_at = coalesce(o.invite_at, m.invite_requested_at),
             role_task_id = coalesce(o.role_task_id, m.role_task_id),
             role_requested_at = coalesce(o.role_at, m.role_requested_at)
         from unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::boolean[], $6::text[], $7::boolean[],
                     $8::boolean[], $9::boolean[], $10::boolean[], $11::boolean[], $12::bigint[], $13::timestamptz[],
                     $14::bigint[], $15::timestamptz[], $16::bigint[], $17::timestamptz[])
              o (workspace_id, integration_id, member_id, keeps_turn, is_overtaken, blocked, ends_action,
                 removed_by_hand, admitted_by_hand, removal_tried, admission_tried, removal_task_id, removal_at,
                 invite_task_id, invite_at, role_task_id, role_at)
         where m.workspace_id = o.workspace_id and m.integration_id = o.integration_id and m.member_id = o.member_id
         returning m.workspace_id, m.integration_id, case when o.is_overtaken then m.next_attempt_at end as overtaken_at",
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &flags(|one| one.keeps_turn),
        &flags(|one| one.is_overtaken),
        &blocked,
        &flags(|one| one.ends_action),
        &flags(|one| one.removed_by_hand),
        &flags(|one| one.admitted_by_hand),
        &flags(|one| one.removal_tried),
        &flags(|one| one.admission_tried),
        &tasks(|one| one.removal) as _,
        &times(|one| one.removal) as _,
        &tasks(|one| one.invite) as _,
        &times(|one| one.invite) as _,
        &tasks(|one| one.role) as _,
        &times(|one| one.role) as _,
    )
    .fetch_all(&mut *connection)
    .await?;
    let overtaken = rows.into_iter().filter_map(|row| {
        let (workspace_id, integration_id) = (row.workspace_id, row.integration_id);
        row.overtaken_at.map(|from| Due { workspace_id, integration_id, from })
    });
    wake(connection, &overtaken.collect::<Vec<_>>()).await
}

fn list(ids: &[i64]) -> String {
    let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
    format!("{{{}}}", ids.join(","))
}

/// Gives the next blocked request of these members its turn, unless another request has it or an open action goes
/// first. This is the only place that decides when a blocked request becomes due: never before now, and never before
/// former attempts have settled.
///
/// It must be a separate statement after the one that ended a turn. Only a new snapshot of the database shows the
/// requests that were blocked behind it meanwhile (solid_queue#456 was this lost wake-up).
pub async fn give_turn(connection: &mut PgConnection, keys: &MemberKeys) -> Result<(), StoreError> {
    if keys.members.is_empty() {
        return Ok(());
    }
    let given = sqlx::query_as!(
        Due,
        r#"-- give_turn
        with next as materialized (
            select m.workspace_id, m.integration_id, m.member_id, t.id, t.operation, t.entitlements, t.requested_at,
                   t.needs_no_automation, t.member_email, t.member_username, t.trying_since,
                   greatest(t.next_attempt_at, clock_timestamp(), m.effects_possible_until) as due
            from (select * from unnest($1::text[], $2::text[], $3::text[]) k (workspace_id, integration_id, member_id)
                  order by workspace_id, integration_id, member_id) k
            cross join lateral (
                select * from reconciler.members m
                where m.workspace_id = k.workspace_id and m.integration_id = k.integration_id
                  and m.member_id = k.member_id and m.ready_task_id is null and m.open_action_id is null
                  and m.blocked_task_ids <> '{}'
                for no key update
                offset 0
            ) m
            cross join lateral (
                select * from reconciler.automation_tasks t
                where t.id = m.blocked_task_ids[1] and t.workspace_id = m.workspace_id
                offset 0
            ) t
        ), given as (
            update reconciler.members m
            set ready_task_id = n.id, ready_is_removal = n.operation = 'remove',
                ready_needs_no_automation = n.needs_no_automation, next_attempt_at = n.due,
                blocked_task_ids = m.blocked_task_ids[2:], trying_since = n.trying_since,
                member_email = n.member_email, member_username = n.member_username,
                desired_task_id = case when n.is_latest then n.id else m.desired_task_id end,
                desired_operation = case when n.is_latest then n.operation else m.desired_operation end,
                desired_entitlements = case when n.is_latest then n.entitlements else m.desired_entitlements end,
                desired_requested_at = case when n.is_latest then n.requested_at else m.desired_requested_at end
            from (select n.*, d.desired_task_id is null
                              or (n.requested_at, n.id) >= (d.desired_requested_at, d.desired_task_id) as is_latest
                  from next n
                  cross join lateral (
                      select * from reconciler.members d
                      where d.workspace_id = n.workspace_id and d.integration_id = n.integration_id
                        and d.member_id = n.member_id
                      offset 0
                  ) d) n
            where m.workspace_id = n.workspace_id and m.integration_id = n.integration_id and m.member_id = n.member_id
            returning n.id, n.workspace_id, n.integration_id, n.due
        )
        update reconciler.automation_tasks t
        set next_attempt_at = g.due
        from given g
        where t.id = g.id and t.workspace_id = g.workspace_id
        returning g.workspace_id, g.integration_id, g.due as "from!""#,
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
    )
    .fetch_all(&mut *connection)
    .await?;
    if given.is_empty() {
        return Ok(());
    }
    wake(&mut *connection, &given).await?;
    sqlx::query!(
        "-- notify_tasks
         select pg_notify('reconciler', 'tasks')"
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// An integration that has a request due from this time on.
#[derive(Debug)]
pub struct Due {
    pub workspace_id: String,
    pub integration_id: String,
    pub from: DateTime<Utc>,
}

/// Makes claims scan these integrations from those times on. It takes two statements, because only the second one sees
/// the current version of a row that another transaction has just changed.
pub async fn wake(connection: &mut PgConnection, due: &[Due]) -> Result<(), StoreError> {
    if due.is_empty() {
        return Ok(());
    }
    let mut earliest: BTreeMap<(&str, &str), DateTime<Utc>> = BTreeMap::new();
    for Due { workspace_id, integration_id, from } in due {
        let known = earliest.entry((workspace_id, integration_id)).or_insert(*from);
        *known = (*known).min(*from);
    }
    let workspaces: Vec<_> =
        earliest.keys().map(|(workspace, _)| (*workspace).to_owned()).collect();
    let integrations: Vec<_> =
        earliest.keys().map(|(_, integration)| (*integration).to_owned()).collect();
    let times: Vec<_> = earliest.into_values().collect();
    let asleep = sqlx::query!(
        "-- asleep_integrations
         select s.workspace_id, s.integration_id, k.due_from
         from (select * from unnest($1::text[], $2::text[], $3::timestamptz[])
                             k (workspace_id, integration_id, due_from)
               order by workspace_id, integration_id) k
         cross join lateral (
             select * from reconciler.integration_states s
             where s.workspace_id = k.workspace_id and s.integration_id = k.integration_id
               and (s.awake_from is null or s.awake_from > k.due_from)
             for no key update
             offset 0
         ) s",
        &workspaces,
        &integrations,
        &times,
    )
    .fetch_all(&mut *connection)
    .await?;
    if asleep.is_empty() {
        return Ok(());
    }
    let workspaces: Vec<_> = asleep.iter().map(|row| row.workspace_id.clone()).collect();
    let integrations: Vec<_> = asleep.iter().map(|row| row.integration_id.clone()).collect();
    let times: Vec<_> = asleep.iter().filter_map(|row| row.due_from).collect();
    sqlx::query!(
        "-- wake_integrations
         update reconciler.integration_states d
         set awake_from = s.due_from
         from (select k.due_from, s.ctid as place
               from unnest($1::text[], $2::text[], $3::timestamptz[]) k (workspace_id, integration_id, due_from)
               cross join lateral (
                   select s.ctid from reconciler.integration_states s
                   where s.workspace_id = k.workspace_id and s.integration_id = k.integration_id
                   offset 0
               ) s) s
         where d.ctid = s.place",
        &workspaces,
        &integrations,
        &times,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets integrations sleep until their earliest request is due, and those without a request until they are woken. It
/// does nothing while another replica gives turns: it would not see those requests yet, and the integration would sleep
/// through them.
pub async fn let_sleep(pool: &PgPool) -> Result<(), StoreError> {
    let works = ["intake", "nudges", "upkeep"];
    let Some(mut tx) = begin_exclusive(pool, &works).await? else { return Ok(()) };
    sqlx::query!(
        "-- let_sleep
         update reconciler.integration_states d
         set awake_from = idle.due_from
         from (select a.place, n.due_from
               from (select ctid as place, workspace_id, integration_id from reconciler.integration_states
                     where awake_from <= now()
                     order by awake_from
                     limit 10000) a
               cross join lateral (
                   select min(lane.due_from) as due_from
                   from (values (true), (false)) l (is_removal)
                   cross join lateral (
                       select m.next_attempt_at as due_from from reconciler.members m
                       where m.workspace_id = a.workspace_id and m.integration_id = a.integration_id
                         and m.ready_task_id is not null and m.next_attempt_at is not null
                         and m.ready_is_removal = l.is_removal
                       order by m.next_attempt_at
                       limit 1) lane) n
               where n.due_from is null or n.due_from > now()) idle
         where d.ctid = idle.place"
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Makes the latest of these tasks, which automation did elsewhere, the desired state of its member, unless the member
/// has a later one. If a first check is given, the member is watched from now on.
pub async fn desire(
    connection: &mut PgConnection,
    tasks: &[i64],
    first_checks: &[Option<Duration>],
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    let first_checks: Vec<_> = first_checks.iter().map(|one| one.map(interval)).collect();
    sqlx::query!(
        "-- desire
         update reconciler.members m
         set desired_task_id = t.id, desired_operation = t.operation, desired_entitlements = t.entitlements,
             desired_requested_at = t.requested_at, worked_at = clock_timestamp(),
             member_email = t.member_email, member_username = t.member_username,
             watch_task_id = case when t.first_check is not null then t.id end,
             watch_operation = case when t.first_check is not null then t.operation end,
             watch_since = case when t.first_check is not null then clock_timestamp() end,
             watch_due_at = clock_timestamp() + t.first_check, watch_asked_at = null, watch_checks = 0
         from (select distinct on (t.workspace_id, t.integration_id, t.member_id) t.*, k.first_check
               from unnest($1::bigint[], $2::interval[]) k (id, first_check)
               cross join lateral (select * from reconciler.automation_tasks t where t.id = k.id offset 0) t
               order by t.workspace_id, t.integration_id, t.member_id, t.requested_at desc, t.id desc) t
         where m.workspace_id = t.workspace_id and m.integration_id = t.integration_id and m.member_id = t.member_id
           and (m.desired_task_id is null
                or (t.requested_at, t.id) >= (m.desired_requested_at, m.desired_task_id))",
        tasks,
        &first_checks as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the desired state of a member that comes from a cancelled request.
pub async fn forget_desire(
    connection: &mut PgConnection,
    key: &MemberKey,
    task: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- forget_desire
         update reconciler.members set desired_task_id = null
         where workspace_id = $1 and integration_id = $2 and member_id = $3 and desired_task_id = $4",
        key.workspace,
        key.integration,
        key.member,
        task,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts a manual action before the blocked requests of a member whose turn has just ended.
pub async fn open_action(
    connection: &mut PgConnection,
    key: &MemberKey,
    action: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- open_action
         update reconciler.members set open_action_id = $4
         where workspace_id = $1 and integration_id = $2 and member_id = $3",
        key.workspace,
        key.integration,
        key.member,
        action,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The end of a manual action, and what it changes for its member.
#[derive(Debug)]
pub struct EndedAction<'a> {
    pub key: &'a MemberKey,
    pub action: i64,
    pub task: i64,
    pub is_removal: bool,
    pub closed_at: DateTime<Utc>,
    /// When a person last worked on the action.
    pub worked_at: DateTime<Utc>,
    /// Whether a person may have made the change, and nothing has proven it.
    pub by_hand: bool,
    /// Whether a person says that they undid what was tried before.
    pub undoes: bool,
    /// Whether the request no longer counts as the desired state.
    pub withdrawn: bool,
    /// The invite that took effect.
    pub invite: Option<Request>,
    pub role: Option<Request>,
}

/// Writes what the end of actions changes for their members. Each member may appear once.
pub async fn end_actions(
    connection: &mut PgConnection,
    ended: &[EndedAction<'_>],
) -> Result<(), StoreError> {
    if ended.is_empty() {
        return Ok(());
    }
    let keys: MemberKeys = ended.iter().map(|one| one.key).collect();
    let ids = |id: fn(&EndedAction<'_>) -> i64| ended.iter().map(id).collect::<Vec<_>>();
    let flags = |flag: fn(&EndedAction<'_>) -> bool| ended.iter().map(flag).collect::<Vec<_>>();
    let times =
        |at: fn(&EndedAction<'_>) -> DateTime<Utc>| ended.iter().map(at).collect::<Vec<_>>();
    let invites: Vec<_> = ended.iter().map(|one| one.invite.map(|(task, _)| task)).collect();
    let invited: Vec<_> = ended.iter().map(|one| one.invite.map(|(_, at)| at)).collect();
    let roles: Vec<_> = ended.iter().map(|one| one.role.map(|(task, _)| task)).collect();
    let changed: Vec<_> = ended.iter().map(|one| one.role.map(|(_, at)| at)).collect();
    sqlx::query!(
        "-- end_actions
         update reconciler.members m
         set open_action_id = case when m.open_action_id = e.action then null else m.open_action_id end,
             worked_at = greatest(m.worked_at, e.worked_at),
             removed_by_hand_at = case when e.by_hand and e.is_removal
                                       then greatest(m.removed_by_hand_at, e.closed_at) else m.removed_by_hand_at end,
             admitted_by_hand_at = case when e.by_hand and not e.is_removal
                                        then greatest(m.admitted_by_hand_at, e.closed_at)
                                        else m.admitted_by_hand_at end,
             removal_tried_until = case when e.undoes and not e.is_removal and m.removal_tried_until < e.closed_at
                                        then null else m.removal_tried_until end,
             admission_tried_until = case when e.undoes and e.is_removal and m.admission_tried_until < e.closed_at
                                          then null else m.admission_tried_until end,
             desired_task_id = case when e.withdrawn and m.desired_task_id = e.task then null
                                    else m.desired_task_id end,
             invite_task_id = case when (e.invite_at, e.invite) > (m.invite_requested_at, m.invite_task_id)
                                        or m.invite_task_id is null then e.invite else m.invite_task_id end,
             invite_requested_at = case when (e.invite_at, e.invite) > (m.invite_requested_at, m.invite_task_id)
                                             or m.invite_task_id is null then e.invite_at
                                        else m.invite_requested_at end,
             role_task_id = case when (e.role_at, e.role) > (m.role_requested_at, m.role_task_id)
                                      or m.role_task_id is null then e.role else m.role_task_id end,
             role_requested_at = case when (e.role_at, e.role) > (m.role_requested_at, m.role_task_id)
                                           or m.role_task_id is null then e.role_at else m.role_requested_at end
         from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::timestamptz[],
                     $8::timestamptz[], $9::boolean[], $10::boolean[], $11::boolean[], $12::bigint[],
                     $13::timestamptz[], $14::bigint[], $15::timestamptz[])
              e (workspace_id, integration_id, member_id, action, task, is_removal, closed_at, worked_at, by_hand,
                 undoes, withdrawn, invite, invite_at, role, role_at)
         where m.workspace_id = e.workspace_id and m.integration_id = e.integration_id and m.member_id = e.member_id",
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &ids(|one| one.action),
        &ids(|one| one.task),
        &flags(|one| one.is_removal),
        &times(|one| one.closed_at),
        &times(|one| one.worked_at),
        &flags(|one| one.by_hand),
        &flags(|one| one.undoes),
        &flags(|one| one.withdrawn),
        &invites as _,
        &invited as _,
        &roles as _,
        &changed as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes the observed state of members of an integration.
pub async fn observe(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    observed: &[(String, Observed)],
) -> Result<(), StoreError> {
    if observed.is_empty() {
        return Ok(());
    }
    let members: Vec<_> = observed.iter().map(|(member, _)| member.clone()).collect();
    let memberships: Vec<_> = observed.iter().map(|(_, one)| one.membership.clone()).collect();
    // SQL arrays of arrays must all have the same length. Therefore the roles are passed as JSON.
    let roles: Vec<_> =
        observed.iter().map(|(_, one)| serde_json::json!(one.entitlements)).collect();
    sqlx::query!(
        "-- observe
         update reconciler.members m
         set observed_at = clock_timestamp(), observed_membership = o.membership,
             observed_entitlements = array(select jsonb_array_elements_text(o.roles))
         from unnest($3::text[], $4::text[], $5::jsonb[]) o (member_id, membership, roles)
         where m.workspace_id = $1 and m.integration_id = $2 and m.member_id = o.member_id",
        workspace,
        integration,
        &members,
        &memberships,
        &roles,
    )
    .execute(connection)
    .await?;
    Ok(())
}
