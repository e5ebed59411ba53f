//! Everything that is known of a run, read at one moment: the database's rows and trail, the witness's notes,
//! and what the simulated apps saw.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use testkit::simulator::{Effect, Operation, Start};

use super::plan::{self, Key};
use super::world::World;

type Time = DateTime<Utc>;

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) id: i64,
    pub(super) source: String,
    pub(super) key: Key,
    pub(super) operation: Operation,
    pub(super) entitlements: BTreeSet<String>,
    pub(super) requested_at: Time,
    /// Automation did it elsewhere, when it was requested.
    pub(super) is_done_elsewhere: bool,
    pub(super) state: String,
    pub(super) attempts: i32,
    pub(super) closed_at: Option<Time>,
    pub(super) closed_reason: Option<String>,
    pub(super) superseded_by: Option<i64>,
}

impl Task {
    pub(super) fn age(&self) -> (Time, i64) {
        (self.requested_at, self.id)
    }
}

/// A manual action of one task.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Action {
    pub(super) id: i64,
    pub(super) task_id: i64,
    pub(super) operation: String,
    pub(super) status: String,
    pub(super) opened_at: Time,
    pub(super) done_at: Option<Time>,
    pub(super) verdict_at: Option<Time>,
    /// When the sync began whose snapshot gave the verdict.
    pub(super) snapshot_from: Option<Time>,
    pub(super) closed_at: Option<Time>,
}

impl Action {
    /// Whether what was requested was made true or found so.
    pub(super) fn is_effective(&self) -> bool {
        ["verified", "attested", "not_needed"].contains(&self.status.as_str())
    }
}

/// A line of the trail of a task.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Line {
    pub(super) task_id: i64,
    pub(super) at: Time,
    pub(super) what: String,
    pub(super) job_id: Option<String>,
    pub(super) lost: Option<String>,
    pub(super) failure_code: Option<String>,
    pub(super) reason: Option<String>,
}

/// A claim of a task, as the witness saw it.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Claim {
    pub(super) task_id: i64,
    pub(super) token: i64,
    pub(super) at: Time,
    pub(super) login: String,
}

/// A write by somebody who did not hold the task.
#[derive(Clone, Debug, FromRow)]
pub(super) struct StrangeWrite {
    pub(super) task_id: i64,
    pub(super) what: String,
}

/// What was in doubt of a member when a task was claimed: by the member's row, and by all that ever happened to it.
#[derive(Clone, Debug, FromRow)]
pub(super) struct DoubtsAtClaim {
    pub(super) task_id: i64,
    pub(super) token: i64,
    pub(super) operation: String,
    pub(super) removed_by_hand_at: Option<Time>,
    pub(super) admitted_by_hand_at: Option<Time>,
    pub(super) removal_tried_until: Option<Time>,
    pub(super) admission_tried_until: Option<Time>,
    pub(super) snapshot_at: Option<Time>,
    pub(super) touched_by_hand: bool,
    pub(super) tried_before: bool,
}

/// Something that a person did, or the end of an action, that was not taken up yet.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Nudge {
    pub(super) id: i64,
    pub(super) integration_id: String,
    pub(super) what: String,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// When the database was read: the apps know a little more.
    pub(super) read_at: Time,
    pub(super) tasks: BTreeMap<i64, Task>,
    /// The tasks of each member, by age.
    pub(super) members: BTreeMap<Key, Vec<i64>>,
    pub(super) actions: BTreeMap<i64, Vec<Action>>,
    pub(super) lines: BTreeMap<i64, Vec<Line>>,
    pub(super) claims: BTreeMap<i64, Vec<Claim>>,
    pub(super) strange_writes: Vec<StrangeWrite>,
    pub(super) doubts: Vec<DoubtsAtClaim>,
    /// The tasks that got their place in the transaction that ended an action.
    pub(super) ended_for: BTreeMap<i64, Vec<i64>>,
    /// What the person did that no replica has taken up yet: until then it counts for no member.
    pub(super) nudges: Vec<Nudge>,
    pub(super) starts: Vec<Start>,
    /// The jobs of those starts.
    pub(super) started: BTreeSet<String>,
    pub(super) effects: Vec<Effect>,
    /// The task behind each job that was told of.
    pub(super) jobs: BTreeMap<String, i64>,
    /// The task that alone gives these roles.
    pub(super) givers: BTreeMap<BTreeSet<String>, i64>,
}

#[derive(FromRow)]
struct TaskRow {
    id: i64,
    source_id: String,
    workspace_id: String,
    integration_id: String,
    member_id: String,
    operation: String,
    entitlements: Vec<String>,
    requested_at: Time,
    is_done_elsewhere: bool,
    state: String,
    attempts: i32,
    closed_at: Option<Time>,
    closed_reason: Option<String>,
    superseded_by: Option<i64>,
}

impl From<TaskRow> for Task {
    fn from(row: TaskRow) -> Self {
        Self {
            id: row.id,
            source: row.source_id,
            key: Key {
                workspace: row.workspace_id,
                integration: row.integration_id,
                member: row.member_id,
            },
            operation: plan::operation(&row.operation),
            entitlements: row.entitlements.into_iter().collect(),
            requested_at: row.requested_at,
            is_done_elsewhere: row.is_done_elsewhere,
            state: row.state,
            attempts: row.attempts,
            closed_at: row.closed_at,
            closed_reason: row.closed_reason,
            superseded_by: row.superseded_by,
        }
    }
}

const TASKS: &str =
    "select id, source_id, workspace_id, integration_id, member_id, operation, entitlements,
        requested_at, outcome = 'succeeded' as is_done_elsewhere, state, attempts, closed_at, closed_reason, superseded_by
    from reconciler.automation_tasks where ordered_at is not null";
const ACTIONS: &str =
    "select a.id, a.task_id, a.operation, a.status, a.opened_at, a.done_at, a.verdict_at,
        a.snapshot_started_at as snapshot_from, a.closed_at
    from reconciler.manual_actions a
    where a.member_id <> '' order by a.id";
const LINES: &str = "select subject_id::bigint as task_id, at, what, detail ->> 'job_id' as job_id,
        detail ->> 'lost' as lost, detail ->> 'failure_code' as failure_code,
        detail ->> 'reason' as reason
    from reconciler.events where subject = 'task' order by id";
const CLAIMS: &str = "select task_id, token, at, login from soak.claims order by id";
const ENDED_FOR: &str = "select ended.subject_id::bigint, ordered.subject_id::bigint
    from reconciler.events ended join reconciler.events ordered on ordered.xmin = ended.xmin
    where ended.what = 'action.superseded' and ordered.what in ('task.ordered', 'task.succeeded')";
const DOUBTS: &str = "select * from soak.doubts";
const NUDGES: &str = "select id, integration_id, what from reconciler.nudges order by id";
const STRANGE_WRITES: &str = "select task_id, what from soak.strange_writes order by id";

impl Record {
    /// Reads everything. The apps come last, so that they have seen whatever the database knows of.
    pub(super) async fn read(world: &World) -> sqlx::Result<Self> {
        let mut tx =
            world.owner.begin_with("begin isolation level repeatable read read only").await?;
        let read_at = sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut *tx).await?;
        let tasks: Vec<TaskRow> = sqlx::query_as(TASKS).fetch_all(&mut *tx).await?;
        let actions: Vec<Action> = sqlx::query_as(ACTIONS).fetch_all(&mut *tx).await?;
        let lines: Vec<Line> = sqlx::query_as(LINES).fetch_all(&mut *tx).await?;
        let claims: Vec<Claim> = sqlx::query_as(CLAIMS).fetch_all(&mut *tx).await?;
        let strange_writes = sqlx::query_as(STRANGE_WRITES).fetch_all(&mut *tx).await?;
        let ended_for: Vec<(i64, i64)> = sqlx::query_as(ENDED_FOR).fetch_all(&mut *tx).await?;
        let doubts = sqlx::query_as(DOUBTS).fetch_all(&mut *tx).await?;
        let nudges = sqlx::query_as(NUDGES).fetch_all(&mut *tx).await?;
        tx.rollback().await?;
        let (starts, effects) = (world.apps.starts(), world.apps.effects());
        let mut record =
            Self { read_at, strange_writes, doubts, nudges, starts, effects, ..Self::default() };
        record.started = record.starts.iter().map(|start| start.job.clone()).collect();
        record.take_tasks(tasks.into_iter().map(Task::from));
        for action in actions {
            record.actions.entry(action.task_id).or_default().push(action);
        }
        for (action, task) in ended_for {
            record.ended_for.entry(action).or_default().push(task);
        }
        for line in lines {
            record.jobs.extend(line.job_id.clone().map(|job| (job, line.task_id)));
            record.lines.entry(line.task_id).or_default().push(line);
        }
        for claim in claims {
            record.claims.entry(claim.task_id).or_default().push(claim);
        }
        Ok(record)
    }

    /// Puts tasks in their place.
    pub(super) fn take_tasks(&mut self, tasks: impl IntoIterator<Item = Task>) {
        self.tasks.extend(tasks.into_iter().map(|task| (task.id, task)));
        for task in self.tasks.values() {
            self.members.entry(task.key.clone()).or_default().push(task.id);
            if task.operation != Operation::Remove {
                self.givers.insert(task.entitlements.clone(), task.id);
            }
        }
        for ids in self.members.values_mut() {
            ids.sort_by_key(|id| self.tasks[id].age());
        }
    }

    /// The tasks of a member, by age.
    pub(super) fn of_member(&self, key: &Key) -> impl Iterator<Item = &Task> {
        self.members.get(key).into_iter().flatten().map(|id| &self.tasks[id])
    }

    /// The lines of a task of this kind.
    pub(super) fn lines_of(&self, task: i64, what: &str) -> impl Iterator<Item = &Line> {
        self.lines.get(&task).into_iter().flatten().filter(move |line| line.what == what)
    }

    /// The latest action of a task.
    pub(super) fn action_of(&self, task: i64) -> Option<&Action> {
        self.actions.get(&task)?.last()
    }

    /// The claim that a change at this time rests on.
    pub(super) fn claim_before(&self, task: i64, at: Time) -> Option<&Claim> {
        self.claims.get(&task)?.iter().rfind(|claim| claim.at <= at)
    }

    /// Since when a task has its place, or is known to have been done elsewhere.
    pub(super) fn ordered_at(&self, task: i64) -> Option<Time> {
        let is_elsewhere = self.tasks.get(&task).is_some_and(|task| task.is_done_elsewhere);
        let what = if is_elsewhere { "task.succeeded" } else { "task.ordered" };
        self.lines_of(task, what).next().map(|line| line.at)
    }

    /// The task that a job was started for: by the trail, or by the roles that only one task gives.
    pub(super) fn task_of(&self, start: &Start) -> Option<&Task> {
        let task = self.jobs.get(&start.job).or_else(|| self.givers.get(&start.entitlements))?;
        self.tasks.get(task)
    }
}
