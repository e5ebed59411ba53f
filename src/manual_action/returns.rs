//! The SQL of returning actions to automation. The database decides who may do that and what follows.

use crate::database::PgConnection;
use crate::membership::{Desired, MemberKey, Operation, words};
use crate::store::StoreError;

/// An unfinished action, with the columns that its return to automation needs.
#[derive(Debug)]
pub struct Returnable {
    pub id: i64,
    pub key: MemberKey,
    /// The operation that automation would run.
    pub desired: Desired,
    /// The role on a business hub that an invitation gives.
    pub hub_role: String,
    /// The failure that led to the escalation.
    pub failure_code: Option<String>,
}

struct ReturnableRow {
    id: i64,
    workspace_id: String,
    integration_id: String,
    member_id: String,
    member_email: String,
    member_username: Option<String>,
    operation: String,
    entitlements: Vec<String>,
    failure_code: Option<String>,
    hub_role: String,
}

impl TryFrom<ReturnableRow> for Returnable {
    type Error = StoreError;

    fn try_from(row: ReturnableRow) -> Result<Self, StoreError> {
        let bad = |source| StoreError::BadRow { table: "manual_actions", id: row.id, source };
        Ok(Self {
            id: row.id,
            desired: Desired {
                operation: row.operation.parse().map_err(bad)?,
                member: row.member_id.clone(),
                email: row.member_email,
                username: row.member_username,
                entitlements: row.entitlements.into_iter().collect(),
            },
            key: MemberKey {
                workspace: row.workspace_id,
                integration: row.integration_id,
                member: row.member_id,
            },
            hub_role: row.hub_role,
            failure_code: row.failure_code,
        })
    }
}

/// One action, if it may return to automation.
pub async fn returnable(
    connection: &mut PgConnection,
    id: i64,
) -> Result<Option<Returnable>, StoreError> {
    sqlx::query_as!(
        ReturnableRow,
        "-- returnable_action
         select a.id, a.workspace_id, a.integration_id, a.member_id, a.member_email, a.member_username, a.operation,
                a.entitlements, a.failure_code,
                coalesce(t.hub_role, 'account_collaborator') as \"hub_role!\"
         from reconciler.manual_actions a
         join reconciler.automation_tasks t on t.workspace_id = a.workspace_id and t.id = a.task_id
         where a.id = $1 and a.status in ('open', 'in_progress') and a.operation <> 'reconnect'",
        id,
    )
    .fetch_optional(connection)
    .await?
    .map(Returnable::try_from)
    .transpose()
}

/// The open actions of an integration that may return to automation, the canary first.
pub async fn returnables(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    failure_code: Option<&str>,
    operation: Option<Operation>,
) -> Result<Vec<Returnable>, StoreError> {
    sqlx::query_as!(
        ReturnableRow,
        r#"-- returnable_actions
         select a.id as "id!", a.workspace_id as "workspace_id!", a.integration_id as "integration_id!",
                a.member_id as "member_id!", a.member_email as "member_email!", a.member_username,
                a.operation as "operation!", a.entitlements as "entitlements!", a.failure_code,
                coalesce(t.hub_role, 'account_collaborator') as "hub_role!"
         from reconciler.returnable_actions($1, $2, $3, $4) a
         join reconciler.automation_tasks t on t.workspace_id = a.workspace_id and t.id = a.task_id
         order by a.opened_at, a.id"#,
        workspace,
        integration,
        failure_code,
        operation.map(Operation::as_str),
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(Returnable::try_from)
    .collect()
}

/// Sends the open actions of an integration back to automation, one of them first, if they are still those that the caller
/// saw. Returns whether there were any.
pub async fn give_all_back(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    failure_code: Option<&str>,
    operation: Option<Operation>,
    seen: Option<&[i64]>,
    reason: &str,
) -> Result<bool, StoreError> {
    let id = sqlx::query_scalar!(
        "-- return_actions
         select reconciler.return_to_automation($1, $2, $3, $4, $5, $6)",
        workspace,
        integration,
        failure_code,
        operation.map(Operation::as_str),
        reason,
        seen,
    )
    .fetch_one(connection)
    .await?;
    Ok(id.is_some())
}

words! {
    ReturnState {
        /// Waits for its canary.
        Waiting = "waiting",
        /// The canary worked, and the rest follows in parts.
        Releasing = "releasing",
        Released = "released",
        /// The canary failed: the rest stays with people.
        Stopped = "stopped",
    }
}

/// A return of several actions that is not finished.
#[derive(Debug)]
pub struct Undecided {
    pub id: i64,
    pub workspace: String,
    pub integration: String,
    /// Whether the canary has worked, and the rest is being returned.
    pub is_releasing: bool,
    /// How the canary's task ended; `None` if the task was deleted.
    pub canary: Option<CanaryEnd>,
    /// The actions that have not returned yet.
    pub remaining: Vec<i64>,
    /// Why the actions return.
    pub reason: String,
    /// How many of the rest have returned.
    pub sent: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryEnd {
    Worked,
    /// The task was escalated again.
    Failed,
    /// It was superseded, cancelled, or found in the desired state without an attempt. This says nothing of the fix.
    SaysNothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    SendNext,
    Release,
    /// Leave the rest with people.
    Stop,
}

/// Decides the next step of a return. Pure.
pub fn next_step(undecided: &Undecided) -> Step {
    match undecided.canary {
        _ if undecided.is_releasing => Step::Release,
        Some(CanaryEnd::Worked) => Step::Release,
        Some(CanaryEnd::Failed) => Step::Stop,
        Some(CanaryEnd::SaysNothing) | None if undecided.remaining.is_empty() => Step::Release,
        Some(CanaryEnd::SaysNothing) | None => Step::SendNext,
    }
}

/// Locks one return whose next step can be taken.
pub async fn undecided(connection: &mut PgConnection) -> Result<Option<Undecided>, StoreError> {
    let row = sqlx::query!(
        r#"-- undecided_return
        with next as materialized (
            select r.place, t.state as canary, t.attempts
            from (select ctid as place, * from reconciler.returns
                  where state in ('waiting', 'releasing') and not_before <= now()
                  order by id
                  offset 0) r
            left join lateral (select * from reconciler.automation_tasks t
                               where t.id = r.canary_task_id and t.workspace_id = r.workspace_id offset 0) t on true
            where (r.state = 'releasing' or t.id is null or t.closed_at is not null)
              -- The task of an action that was sent back is closed still, until that was taken up.
              and not exists (select from (select a.id, a.workspace_id from reconciler.manual_actions a
                                           where a.task_id = r.canary_task_id and a.workspace_id = r.workspace_id
                                           offset 0) a
                              cross join lateral (select from reconciler.nudges n
                                                  where n.action_id = a.id -- and no more, or another index is read
                                                  offset 0) n)
        )
        select w.id, w.workspace_id, w.integration_id, w.state = 'releasing' as "is_releasing!", w.remaining_action_ids, w.reason,
               w.sent, next.canary as "canary?", next.attempts as "attempts?"
        from next
        cross join lateral (select * from reconciler.returns w
                            where w.ctid = next.place and w.state in ('waiting', 'releasing')
                            for no key update skip locked
                            offset 0) w
        limit 1"#
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Undecided {
        id: row.id,
        workspace: row.workspace_id,
        integration: row.integration_id,
        is_releasing: row.is_releasing,
        canary: row.canary.map(|state| match state.as_str() {
            "succeeded" if row.attempts.unwrap_or(0) > 0 => CanaryEnd::Worked,
            "escalated" => CanaryEnd::Failed,
            _ => CanaryEnd::SaysNothing,
        }),
        remaining: row.remaining_action_ids,
        reason: row.reason,
        sent: row.sent,
    }))
}

/// What one step of a return sent, and what is left.
#[derive(Debug, Default)]
pub struct Sent {
    /// The tasks that returned to automation.
    pub tasks: Vec<i64>,
    /// The actions that are still to be returned. Actions that a person has locked are tried again.
    pub left: Vec<i64>,
}

impl Sent {
    pub fn count(&self) -> i32 {
        i32::try_from(self.tasks.len()).unwrap_or(i32::MAX)
    }
}

/// Sends the next `limit` actions of a return back to automation. Actions that are no longer open are left out.
pub async fn send(
    connection: &mut PgConnection,
    undecided: &Undecided,
    limit: usize,
) -> Result<Sent, StoreError> {
    let (next, later) = undecided.remaining.split_at(limit.min(undecided.remaining.len()));
    let rows = sqlx::query!(
        r#"-- send_back
        with opened as materialized (
            select a.id, a.task_id, a.place, k.number
            from unnest($1::bigint[]) with ordinality k (id, number)
            cross join lateral (select a.ctid as place, a.* from reconciler.manual_actions a
                                where a.id = k.id offset 0) a
            where a.status = 'open' -- said outside, or actions would be looked for among the unfinished ones
        ), free as materialized (
            select o.id, f.place
            from opened o
            cross join lateral (select a.ctid as place from reconciler.manual_actions a
                                where a.ctid = o.place and a.status = 'open'
                                for no key update skip locked
                                offset 0) f
        ), returned as (
            update reconciler.manual_actions a set status = 'returned', note = $2
            from free where a.ctid = free.place
            returning a.id
        )
        select o.id, o.task_id, exists (select from returned r where r.id = o.id) as "went!"
        from opened o order by o.number"#,
        next,
        undecided.reason,
    )
    .fetch_all(connection)
    .await?;
    let mut sent = Sent { tasks: Vec::new(), left: later.to_vec() };
    for row in rows {
        match row.went {
            true => sent.tasks.push(row.task_id),
            false => sent.left.push(row.id),
        }
    }
    Ok(sent)
}

/// Writes the progress of a return.
pub async fn update(
    connection: &mut PgConnection,
    undecided: &Undecided,
    state: ReturnState,
    canary: Option<i64>,
    sent: &Sent,
) -> Result<(), StoreError> {
    // If nothing could be sent, people have the rest locked.
    sqlx::query!(
        "-- update_return
         update reconciler.returns
         set state = $3, canary_task_id = coalesce($4, canary_task_id), remaining_action_ids = $5, sent = sent + $6,
             decided_at = case when $3 = 'released' then clock_timestamp() end,
             not_before = case when $6 = 0 then clock_timestamp() + interval '1 s' else not_before end
         where id = $1 and workspace_id = $2",
        undecided.id,
        undecided.workspace,
        state.as_str(),
        canary,
        &sent.left,
        sent.count(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Limits the tasks in flight of the integration to one, so that the rest of a return follows step by step.
pub async fn ramp(connection: &mut PgConnection, undecided: &Undecided) -> Result<(), StoreError> {
    sqlx::query!(
        "-- ramp_after_return
         update reconciler.integration_states set ramp_limit = 1
         where workspace_id = $1 and integration_id = $2 and status = 'active'",
        undecided.workspace,
        undecided.integration,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Leaves the rest of a return with people. Returns how many actions are still open.
pub async fn stop(connection: &mut PgConnection, undecided: &Undecided) -> Result<i32, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- stop_return
        with stopped as (
            update reconciler.returns set state = 'stopped', decided_at = clock_timestamp()
            where id = $1 and workspace_id = $2
        )
        select count(*)::integer as "open!"
        from unnest($3::bigint[]) k (id)
        cross join lateral (select a.status from reconciler.manual_actions a where a.id = k.id offset 0) a
        where a.status = 'open'"#,
        undecided.id,
        undecided.workspace,
        &undecided.remaining,
    )
    .fetch_one(connection)
    .await?)
}

/// Records the decision in the trail.
pub async fn append(
    connection: &mut PgConnection,
    undecided: &Undecided,
    decision: ReturnState,
    actions: i32,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- append_decision_on_return
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         values ('return.' || $3::text, $1, 'integration', $2, jsonb_build_object('return', $4::bigint, 'actions', $5::integer))",
        undecided.workspace,
        undecided.integration,
        decision.as_str(),
        undecided.id,
        actions,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_that_worked_releases_the_rest_and_one_that_says_nothing_is_followed_by_another() {
        use CanaryEnd::{Failed, SaysNothing, Worked};
        let table = [
            (false, Some(Worked), 2, Step::Release),
            (false, Some(Worked), 0, Step::Release),
            (false, Some(Failed), 2, Step::Stop),
            (false, Some(Failed), 0, Step::Stop),
            (false, Some(SaysNothing), 2, Step::SendNext),
            (false, Some(SaysNothing), 0, Step::Release),
            (false, None, 2, Step::SendNext),
            (true, Some(Failed), 2, Step::Release),
            (true, None, 2, Step::Release),
        ];
        for (is_releasing, canary, rest, expected) in table {
            let undecided = Undecided {
                id: 1,
                workspace: "acme".to_owned(),
                integration: "app".to_owned(),
                is_releasing,
                canary,
                remaining: vec![7; rest],
                reason: "fixed".to_owned(),
                sent: 0,
            };
            assert_eq!(next_step(&undecided), expected, "{canary:?} of {rest}");
        }
    }
}
