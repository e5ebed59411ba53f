//! What must hold in the database at every moment, asked again and again.

use std::sync::Arc;
use std::time::Duration;

use sqlx::FromRow;

use super::checks::Violation;
use super::plan::Key;
use super::world::World;

const EVERY: Duration = Duration::from_millis(250);

/// Each question finds the members that break a rule, with what is wrong.
const QUESTIONS: [(&str, &str); 4] = [
    (
        "rule 2, one attempt at a time",
        "select workspace_id, integration_id, member_id, count(*) || ' tasks are running' as what
         from reconciler.turns where running_job_id is not null
         group by 1, 2, 3 having count(*) > 1",
    ),
    (
        "rule 2, one attempt at a time",
        "select workspace_id, integration_id, member_id, count(*) || ' tasks have their turn' as what
         from reconciler.turns where turn = 'head'
         group by 1, 2, 3 having count(*) > 1",
    ),
    (
        "rule 10, one escalation per wanted state",
        "select workspace_id, integration_id, member_id, count(*) || ' unfinished actions' as what
         from reconciler.manual_actions where status in ('open', 'in_progress', 'done')
         group by 1, 2, 3 having count(*) > 1",
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
         where a.status in ('open', 'in_progress', 'done') and a.operation <> 'remove'
           and r.operation = 'remove' and (r.requested_at, r.id) > (t.requested_at, t.id)
           and (r.state = 'succeeded'
                or exists (select from reconciler.turns h
                           where h.task_id = r.id and h.turn in ('head', 'waiting')))",
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
