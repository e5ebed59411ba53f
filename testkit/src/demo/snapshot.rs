//! The state of everything at one moment.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};

use super::running::Scene;
use crate::simulator::Counters;

/// Counts per state, the latest events, and an action that a person can work on.
pub(super) struct Snapshot {
    pub(super) tasks: Vec<Count>,
    pub(super) actions: Vec<Count>,
    pub(super) syncs: Vec<Count>,
    pub(super) events: Vec<Event>,
    /// The most urgent open action.
    pub(super) urgent: Option<Urgent>,
    pub(super) counters: Counters,
}

/// A state and the number of rows in it.
#[derive(Debug, FromRow)]
pub(super) struct Count {
    pub(super) state: String,
    pub(super) rows: i64,
}

#[derive(Debug, FromRow)]
pub(super) struct Event {
    pub(super) at: DateTime<Utc>,
    pub(super) actor: String,
    pub(super) what: String,
    pub(super) subject_id: String,
    pub(super) reason: Option<String>,
}

/// An open action, with what is needed to work on it.
#[derive(Debug, FromRow)]
pub(super) struct Urgent {
    pub(super) id: i64,
    pub(super) operation: String,
    pub(super) workspace_id: String,
    pub(super) integration_id: String,
    pub(super) member_id: String,
    pub(super) entitlements: Vec<String>,
}

const EVENTS: i64 = 40;

impl Snapshot {
    pub(super) async fn take(scene: &Scene) -> sqlx::Result<Self> {
        let owner = &scene.owner;
        Ok(Self {
            tasks: counts(owner, TASKS).await?,
            actions: counts(owner, ACTIONS).await?,
            syncs: counts(owner, SYNCS).await?,
            events: events(owner).await?,
            urgent: urgent(owner).await?,
            // Reading the counters also advances the apps to the present.
            counters: scene.simulator.counters(),
        })
    }

    pub(super) fn arrived(&self) -> i64 {
        self.tasks.iter().map(|count| count.rows).sum()
    }

    /// Tasks and manual actions that have not ended.
    pub(super) fn unfinished(&self) -> i64 {
        let unfinished = ["pending", "running", "open", "in_progress", "done"];
        let all = self.tasks.iter().chain(&self.actions);
        all.filter(|count| unfinished.contains(&count.state.as_str())).map(|count| count.rows).sum()
    }

    pub(super) fn line(&self) -> String {
        let list = |counts: &[Count]| {
            let words = counts
                .iter()
                .filter(|count| count.rows > 0)
                .map(|count| format!("{} {}", count.rows, count.state));
            let words = words.collect::<Vec<_>>().join(", ");
            if words.is_empty() { "none".to_owned() } else { words }
        };
        format!(
            "tasks: {} | manual actions: {} | syncs: {}",
            list(&self.tasks),
            list(&self.actions),
            list(&self.syncs)
        )
    }
}

const TASKS: &str = "select state, count(t.id) as rows
    from unnest(array['pending', 'running', 'succeeded', 'escalated', 'superseded', 'cancelled'])
         with ordinality s (state, place)
    left join reconciler.automation_tasks t using (state)
    group by state, place order by place";

const ACTIONS: &str = "select s.state, count(a.id) as rows
    from unnest(array['open', 'in_progress', 'done', 'verified', 'attested', 'not_needed', 'dismissed',
                      'superseded']) with ordinality s (state, place)
    left join reconciler.manual_actions a on a.status = s.state
    group by s.state, place order by place";

const SYNCS: &str = "select state, count(t.id) as rows
    from unnest(array['requested', 'started', 'report_ready', 'held', 'applying', 'finished', 'failed'])
         with ordinality s (state, place)
    left join reconciler.syncs t using (state)
    group by state, place order by place";

async fn counts(owner: &PgPool, query: &'static str) -> sqlx::Result<Vec<Count>> {
    sqlx::query_as(query).fetch_all(owner).await
}

async fn events(owner: &PgPool) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as(
        "select at, actor, what, subject_id,
                coalesce(detail ->> 'reason', detail ->> 'observed', detail ->> 'failure_code') as reason
         from reconciler.events order by id desc limit $1",
    )
    .bind(EVENTS)
    .fetch_all(owner)
    .await
}

async fn urgent(owner: &PgPool) -> sqlx::Result<Option<Urgent>> {
    sqlx::query_as(
        "select id, operation, workspace_id, integration_id, member_id, entitlements
         from reconciler.manual_actions where status = 'open' order by due_at, id limit 1",
    )
    .fetch_optional(owner)
    .await
}
