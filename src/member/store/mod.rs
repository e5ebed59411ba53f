//! The SQL of members: their locks, what intake writes, and the one statement that gives a request its turn.

mod due_times;
mod turns;

pub use due_times::{Due, lower_next_due_times, raise_next_due_times};
pub use turns::{Ordered, give_turn, write_order};

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::database::PgConnection;
use crate::membership::{MemberKey, MemberKeys, Observed};
use crate::store::{StoreError, interval};

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
