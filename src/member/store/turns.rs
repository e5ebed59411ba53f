//! The order of the requests of members, and the turn of the next one.

use super::{Due, Request, lower_next_due_times};
use crate::database::PgConnection;
use crate::membership::{MemberKey, MemberKeys};
use crate::store::StoreError;

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
    lower_next_due_times(connection, &overtaken.collect::<Vec<_>>()).await
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
    lower_next_due_times(&mut *connection, &given).await?;
    sqlx::query!(
        "-- notify_tasks
         select pg_notify('reconciler', 'tasks')"
    )
    .execute(connection)
    .await?;
    Ok(())
}
