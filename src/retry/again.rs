//! Tasks that have ended and go on: changes that did not last, and tasks that people returned to automation.

use std::collections::HashMap;

use crate::database::PgConnection;
use crate::membership::{MemberKey, Trigger};
use crate::store::StoreError;

/// Escalates a task that had ended, because its change did not last. Returns its trigger and attempts. Returns `None`
/// if the task is gone or goes on again, if the member is no longer watched for it, or if another request or action of
/// the member is unfinished. What the task tried counts from now on as tried without success.
pub async fn escalate_again(
    connection: &mut PgConnection,
    key: &MemberKey,
    task: i64,
    reason: &str,
) -> Result<Option<(Trigger, u32)>, StoreError> {
    let row = sqlx::query!(
        "-- escalate_again
         with idle as (
             update reconciler.members m
             set removal_tried_until = case when m.watch_operation = 'remove'
                                            then greatest(m.removal_tried_until, m.effects_possible_until)
                                            else m.removal_tried_until end,
                 admission_tried_until = case when m.watch_operation <> 'remove'
                                              then greatest(m.admission_tried_until, m.effects_possible_until)
                                              else m.admission_tried_until end
             where m.workspace_id = $1 and m.integration_id = $2 and m.member_id = $3 and m.watch_task_id = $4
               and m.open_action_id is null and m.ready_task_id is null and m.blocked_task_ids = '{}'
             returning 1
         )
         update reconciler.automation_tasks t
         set state = 'escalated', closed_reason = $5, closed_at = clock_timestamp()
         from idle
         where t.id = $4 and t.workspace_id = $1 and t.state in ('succeeded', 'escalated')
         returning t.trigger, t.attempts",
        key.workspace,
        key.integration,
        key.member,
        task,
        reason,
    )
    .fetch_optional(connection)
    .await?;
    let bad = |source| StoreError::BadRow { table: "automation_tasks", id: task, source };
    row.map(|row| Ok((row.trigger.parse().map_err(bad)?, u32::try_from(row.attempts).unwrap_or(0))))
        .transpose()
}

/// Opens tasks again that people returned to automation, with all their attempts available, and puts each in its place
/// among the blocked requests of its member. No later request supersedes them: it would have ended their actions. The
/// caller holds the locks of the members' rows and gives the turns afterwards.
pub async fn reopen(
    connection: &mut PgConnection,
    tasks: &HashMap<i64, String>,
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    let (ids, reasons): (Vec<_>, Vec<_>) =
        tasks.iter().map(|(id, reason)| (*id, reason.clone())).unzip();
    sqlx::query!(
        "-- reopen_tasks
         with reopened as (
             update reconciler.automation_tasks t
             set state = 'pending', needs_no_automation = false, attempts = 0,
                 next_attempt_at = clock_timestamp(), trying_since = null, closed_at = null, closed_reason = null,
                 returned_at = clock_timestamp()
             from unnest($1::bigint[], $2::text[]) r (id, reason)
             cross join lateral (
                 select k.ctid as place from reconciler.automation_tasks k where k.id = r.id and k.state = 'escalated'
                 offset 0
             ) ended
             where t.ctid = ended.place
             returning t.id, t.workspace_id, t.integration_id, t.member_id, r.reason
         ), placed as (
             update reconciler.members m
             set blocked_task_ids = array(
                 select b.id
                 from unnest(m.blocked_task_ids || r.ids) b (id)
                 cross join lateral (
                     select t.requested_at from reconciler.automation_tasks t
                     where t.id = b.id and t.workspace_id = m.workspace_id
                     offset 0
                 ) t
                 order by t.requested_at, b.id)
             from (select workspace_id, integration_id, member_id, array_agg(id) as ids from reopened group by 1, 2, 3) r
             cross join lateral (
                 select k.ctid as place from reconciler.members k
                 where k.workspace_id = r.workspace_id and k.integration_id = r.integration_id
                   and k.member_id = r.member_id
                 offset 0
             ) held
             where m.ctid = held.place
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'task.returned', workspace_id, 'task', id::text, jsonb_build_object('reason', reason)
         from reopened",
        &ids,
        &reasons,
    )
    .execute(connection)
    .await?;
    Ok(())
}
