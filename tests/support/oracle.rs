//! What former attempts and people may have changed, asked of all that ever happened to a member: slow, and without the
//! columns of `members` that the daemon keeps for it. Whatever is doubtful here must be doubtful there.

use cerby_reconciler::retry::ClaimedTask;
use sqlx::{PgPool, Row};

/// Asks about the task `$1`: whether a person may have done the opposite by hand since the app was last read and automation
/// last worked on the member, and whether the same was tried before without anybody having seen what came of it.
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
                       and n.trying_since > a.closed_at)
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
                       and l.trying_since > n.effects_possible_until)
           ) as tried_before
    from reconciler.automation_tasks t where t.id = $1";

/// Compares what a claim says of its task, before it is worked on.
pub(crate) async fn compare(pool: &PgPool, task: &ClaimedTask) {
    let row = sqlx::query(QUESTION).bind(task.id).fetch_one(pool).await.unwrap();
    let (touched, tried): (bool, bool) = (row.get(0), row.get(1));
    let (is_touched, is_tried) = (task.touched_by_hand, task.tried_before);
    assert!(is_touched || !touched, "task {} was touched by hand", task.id);
    assert!(is_tried || !(touched && tried), "task {} was tried before", task.id);
    if is_touched && !touched || is_tried && !(touched && tried) {
        eprintln!(
            "ORACLE stricter: task {} touched {is_touched}/{touched} tried {is_tried}/{tried}",
            task.id
        );
    }
}
