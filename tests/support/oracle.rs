//! What former attempts and people may have changed, asked of all that ever happened to a member: slow, and without the
//! columns of `members` that the daemon keeps for it. Whatever is doubtful here must be doubtful there.

use cerby_reconciler::retry::ClaimedTask;
use sqlx::{PgPool, Row};

/// Asks about the task `$1`: whether a person may have done the opposite by hand since the app was last read and automation
/// last worked on the member, and whether the same was tried before without anybody having seen what came of it. A success
/// settles what was in doubt when its task began to be tried, and nothing that came after it.
pub(crate) const QUESTION: &str = "
    select exists (
               select from reconciler.manual_actions a
               where a.workspace_id = t.workspace_id and a.integration_id = t.integration_id
                 and a.member_id = t.member_id and (a.operation = 'remove') <> (t.operation = 'remove')
                 and a.status in ('superseded', 'dismissed', 'attested', 'returned')
                 and not exists (
                     select from reconciler.syncs s
                     where s.workspace_id = a.workspace_id and s.integration_id = a.integration_id
                       and s.state = 'finished' and s.report ? 'snapshot' and s.started_at > a.closed_at)
                 and not exists (
                     select from reconciler.automation_tasks n
                     where n.workspace_id = a.workspace_id and n.integration_id = a.integration_id
                       and n.member_id = a.member_id and n.state = 'succeeded' and n.attempts > 0
                       and least(n.trying_since, n.closed_at) > a.closed_at)
           ) as touched_by_hand,
           exists (
               select from reconciler.automation_tasks n
               where n.workspace_id = t.workspace_id and n.integration_id = t.integration_id
                 and n.member_id = t.member_id and (n.operation = 'remove') = (t.operation = 'remove')
                 and n.effects_possible_until is not null and n.state <> 'succeeded'
                 and not exists (
                     select from reconciler.manual_actions a
                     where a.workspace_id = n.workspace_id and a.integration_id = n.integration_id
                       and a.member_id = n.member_id and (a.operation = 'remove') <> (n.operation = 'remove')
                       and a.status = 'attested' and a.closed_at > n.effects_possible_until)
                 and not exists (
                     select from reconciler.syncs s
                     where s.workspace_id = n.workspace_id and s.integration_id = n.integration_id
                       and s.state = 'finished' and s.report ? 'snapshot' and s.started_at > n.effects_possible_until)
                 and not exists (
                     select from reconciler.automation_tasks l
                     where l.workspace_id = n.workspace_id and l.integration_id = n.integration_id
                       and l.member_id = n.member_id and l.state = 'succeeded' and l.attempts > 0
                       and least(l.trying_since, l.closed_at) > n.effects_possible_until)
           ) as tried_before,
           -- What went back to automation and was found as desired then: the row remembers that it had been tried before.
           exists (
               select from reconciler.automation_tasks n
               where n.workspace_id = t.workspace_id and n.integration_id = t.integration_id
                 and n.member_id = t.member_id and n.returned_at is not null and n.state = 'succeeded'
           ) as has_worked_at_last
    from reconciler.automation_tasks t where t.id = $1";

/// Compares what a claim says of its task, before it is worked on.
pub(crate) async fn compare(pool: &PgPool, task: &ClaimedTask) {
    let row = sqlx::query(QUESTION).bind(task.id).fetch_one(pool).await.unwrap();
    let (touched, tried, may_be_stricter): (bool, bool, bool) =
        (row.get(0), row.get(1), row.get(2));
    let by_history = (touched, touched && tried);
    let by_row = (task.touched_by_hand, task.tried_before);
    let is_as_strict =
        by_row == by_history || may_be_stricter && by_row.0 == by_history.0 && by_row.1;
    assert!(is_as_strict, "task {}: {by_row:?} by its row, {by_history:?} by its history", task.id);
}
