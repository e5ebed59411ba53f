//! What must hold in the database at every moment, asked again and again.

use std::sync::Arc;
use std::time::Duration;

use sqlx::FromRow;

use super::checks::Violation;
use super::plan::Key;
use super::world::World;

const EVERY: Duration = Duration::from_millis(250);

/// Each question finds the members that break a rule, with what is wrong. Each is one statement: it sees the database at
/// one moment, between transactions.
const QUESTIONS: [(&str, &str); 6] = [
    (
        "rule 2, one attempt at a time",
        "select workspace_id, integration_id, member_id, count(*) || ' tasks are running' as what
         from reconciler.automation_tasks where state = 'running'
         group by 1, 2, 3 having count(*) > 1",
    ),
    (
        "rule 3, every task ends and says why",
        "select t.workspace_id, t.integration_id, t.member_id,
                'task ' || t.id || ' is ' || t.state || ' and has ' || count(p.task_id) || ' places' as what
         from reconciler.automation_tasks t
         left join reconciler.task_places p on p.task_id = t.id and p.workspace_id = t.workspace_id
         group by t.id, t.workspace_id
         having count(p.task_id) <> case when t.closed_at is null then 1 else 0 end",
    ),
    (
        "rule 10, one escalation per desired state",
        "select workspace_id, integration_id, member_id, count(*) || ' unfinished actions' as what
         from reconciler.manual_actions where closed_at is null
         group by 1, 2, 3 having count(*) > 1",
    ),
    (
        "rule 10, one escalation per desired state",
        "select a.workspace_id, a.integration_id, a.member_id,
                'action ' || a.id || ' is unfinished, and its member waits for ' || coalesce(m.open_action_id::text, 'none')
                as what
         from reconciler.manual_actions a
         left join reconciler.members m using (workspace_id, integration_id, member_id)
         where a.closed_at is null and a.operation <> 'reconnect'
           and m.open_action_id is distinct from a.id",
    ),
    (
        "rule 3, every task ends and says why",
        "select m.workspace_id, m.integration_id, m.member_id,
                'action ' || a.id || ' has ended, and nothing is left that would tell its member' as what
         from reconciler.members m
         join reconciler.manual_actions a on a.id = m.open_action_id and a.workspace_id = m.workspace_id
         where a.closed_at is not null
           and not exists (select from reconciler.nudges n
                           where n.action_id = a.id and n.workspace_id = a.workspace_id and n.what = 'ended')",
    ),
    (
        "rule 1, a later intent wins",
        "select a.workspace_id, a.integration_id, a.member_id,
                'action ' || a.id || ' is open although removal ' || r.id || ' is later' as what
         from reconciler.manual_actions a
         join reconciler.automation_tasks t on t.id = a.task_id and t.workspace_id = a.workspace_id
         join reconciler.automation_tasks r
              on r.workspace_id = a.workspace_id and r.integration_id = a.integration_id
                 and r.member_id = a.member_id
         where a.closed_at is null and a.operation <> 'remove'
           and r.operation = 'remove' and (r.requested_at, r.id) > (t.requested_at, t.id)
           and (r.state = 'succeeded'
                or exists (select from reconciler.task_places p
                           where p.task_id = r.id and p.workspace_id = r.workspace_id
                             and p.place in ('ready', 'blocked')))",
    ),
];

#[derive(FromRow)]
struct Row {
    workspace_id: String,
    integration_id: String,
    member_id: String,
    what: String,
}

/// Asks until something is wrong; a database that is down answers nothing.
pub(super) async fn watch(world: Arc<World>) -> Violation {
    loop {
        for (rule, question) in QUESTIONS {
            let rows: Vec<Row> =
                sqlx::query_as(question).fetch_all(&world.owner).await.unwrap_or_default();
            if let Some(row) = rows.into_iter().next() {
                let member = Key {
                    workspace: row.workspace_id,
                    integration: row.integration_id,
                    member: row.member_id,
                };
                return Violation { rule, member: Some(member), what: row.what };
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
