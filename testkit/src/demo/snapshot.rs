//! The state of everything at one moment.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};

use super::director::progress_of;
use super::progress::Progress;
use super::running::Scene;
use super::sentences::{Change, Happening, SPOKEN_OF, Told};

#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) seed: u64,
    pub(super) began_at: DateTime<Utc>,
    pub(super) now: DateTime<Utc>,
    /// How many tasks there are in all, with those that have not arrived yet.
    pub(super) expected: usize,
    pub(super) tasks: Vec<Count>,
    pub(super) actions: Vec<Count>,
    pub(super) contradicted: i64,
    pub(super) held_reports: i64,
    /// The latest happenings, the newest first.
    pub(super) happenings: Vec<Happening>,
    /// The most urgent open action.
    pub(super) urgent: Option<Urgent>,
    pub(super) stories: Vec<Progress>,
}

/// A state and the number of rows in it.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Count {
    pub(super) state: String,
    pub(super) rows: i64,
}

/// An action that anybody may work on.
#[derive(Debug, Clone)]
pub(super) struct Urgent {
    pub(super) id: i64,
    pub(super) change: Change,
}

const HAPPENINGS: i64 = 60;
const UNFINISHED: [&str; 5] = ["pending", "running", "open", "in_progress", "done"];

impl Snapshot {
    pub(super) async fn take(scene: &Scene) -> sqlx::Result<Self> {
        let owner = &scene.owner;
        // Nobody reads some of the apps for a while; asking for the counters advances them to the present.
        scene.simulator.counters();
        let facts: Facts = sqlx::query_as(FACTS).fetch_one(owner).await?;
        Ok(Self {
            seed: scene.seed,
            began_at: scene.began_at,
            now: facts.now,
            expected: scene.tasks.len(),
            tasks: counts(owner, TASKS).await?,
            actions: counts(owner, ACTIONS).await?,
            contradicted: facts.contradicted,
            held_reports: facts.held_reports,
            happenings: happenings(owner).await?,
            urgent: urgent(owner).await?,
            stories: progress_of(scene).await?,
        })
    }

    pub(super) fn running_for(&self) -> Duration {
        (self.now - self.began_at).to_std().unwrap_or_default()
    }

    pub(super) fn arrived(&self) -> i64 {
        self.tasks.iter().map(|count| count.rows).sum()
    }

    pub(super) fn ended_tasks(&self) -> i64 {
        self.arrived() - unfinished(&self.tasks)
    }

    /// Whether all tasks have arrived, and they, the manual actions and the stories have ended.
    pub(super) fn has_ended(&self) -> bool {
        usize::try_from(self.arrived()).is_ok_and(|arrived| arrived == self.expected)
            && unfinished(&self.tasks) + unfinished(&self.actions) == 0
            && self.stories.iter().all(Progress::has_ended)
    }

    pub(super) fn counts(&self) -> String {
        let task = |state| Self::in_state(&self.tasks, state);
        let action = |state| Self::in_state(&self.actions, state);
        format!(
            "{} of {} tasks ended: {} succeeded, {} went to people, {} replaced. Manual actions: {} open, {} to verify, \
             {} verified, {} contradicted",
            self.ended_tasks(),
            self.expected,
            task("succeeded"),
            task("escalated"),
            task("superseded"),
            action("open") + action("in_progress"),
            action("done"),
            action("verified"),
            self.contradicted,
        )
    }

    pub(super) fn in_state(counts: &[Count], state: &str) -> i64 {
        counts.iter().filter(|count| count.state == state).map(|count| count.rows).sum()
    }
}

fn unfinished(counts: &[Count]) -> i64 {
    UNFINISHED.iter().map(|state| Snapshot::in_state(counts, state)).sum()
}

#[derive(FromRow)]
struct Facts {
    now: DateTime<Utc>,
    contradicted: i64,
    held_reports: i64,
}

const FACTS: &str = "select clock_timestamp() as now,
    (select count(*) from reconciler.events where what = 'action.contradicted') as contradicted,
    (select count(*) from reconciler.events where what = 'sync.held') as held_reports";

const TASKS: &str =
    "select state, count(*) as rows from reconciler.automation_tasks group by state";

const ACTIONS: &str =
    "select status as state, count(*) as rows from reconciler.manual_actions group by status";

async fn counts(owner: &PgPool, query: &'static str) -> sqlx::Result<Vec<Count>> {
    sqlx::query_as(query).fetch_all(owner).await
}

async fn happenings(owner: &PgPool) -> sqlx::Result<Vec<Happening>> {
    let told: Vec<Told> = sqlx::query_as(
        "select e.at, e.actor, e.what, e.detail ->> 'failure_code' as failure_code,
                coalesce(t.operation, a.operation) as operation,
                coalesce(t.member_name, a.member_name) as member_name,
                coalesce(t.member_email, a.member_email) as member_email, i.integration_name
         from (select * from reconciler.events where what = any($1) order by id desc limit $2) e
         left join reconciler.automation_tasks t on e.subject = 'task' and t.id::text = e.subject_id
         left join reconciler.manual_actions a on e.subject = 'action' and a.id::text = e.subject_id
         left join reconciler.syncs s on e.subject = 'sync' and s.id::text = e.subject_id
         left join lateral (
             select integration_name from reconciler.automation_tasks n
             where n.workspace_id = e.workspace_id
               and n.integration_id = coalesce(t.integration_id, a.integration_id, s.integration_id, e.subject_id)
             limit 1
         ) i on true
         order by e.id desc",
    )
    .bind(SPOKEN_OF)
    .bind(HAPPENINGS)
    .fetch_all(owner)
    .await?;
    Ok(told.iter().map(Told::happening).collect())
}

#[derive(FromRow)]
struct UrgentRow {
    id: i64,
    operation: String,
    member_name: Option<String>,
    member_email: String,
    integration_name: String,
}

async fn urgent(owner: &PgPool) -> sqlx::Result<Option<Urgent>> {
    let row: Option<UrgentRow> = sqlx::query_as(
        "select id, operation, member_name, member_email, integration_name
         from reconciler.manual_actions where status = 'open' order by due_at, id limit 1",
    )
    .fetch_optional(owner)
    .await?;
    Ok(row.map(|row| Urgent {
        id: row.id,
        change: Change::new(
            &row.operation,
            row.member_name.as_deref(),
            &row.member_email,
            &row.integration_name,
        ),
    }))
}
