//! The result of a demo, measured in the database and in the apps.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use sqlx::{FromRow, PgPool};

use super::director;
use super::progress::Progress;
use super::running::Scene;
use super::story::Act;
use super::truth::{self, Differences};

/// The most names shown of one kind of difference.
const SHOWN: usize = 5;
const PROCEDURES: usize = 6;

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Every row reached a final state and nothing contradicts the apps.
    pub(super) ok: bool,
    seed: u64,
    tasks: i64,
    task_states: TaskStates,
    action_states: BTreeMap<String, i64>,
    procedures: BTreeMap<String, Procedure>,
    deprovisioned: Deprovisioned,
    reopened_actions: i64,
    lies: usize,
    operator_done: u64,
    duplicate_effects: u64,
    forbidden_effects: u64,
    overlapping_jobs: u64,
    members_present_who_must_not_be: usize,
    members_absent_who_must_be: usize,
    wrong_roles: usize,
    syncs: i64,
    held_reports: i64,
    stories: Vec<StoryTold>,
    unfinished: i64,
    errors: Vec<String>,
    took_s: f64,
}

/// A story as it went: the same for the same seed.
#[derive(Debug, Serialize)]
struct StoryTold {
    title: &'static str,
    who: String,
    app: String,
    steps: Vec<String>,
    /// Whether every step has happened.
    ended: bool,
}

#[derive(Debug, Default, FromRow, Serialize)]
struct TaskStates {
    succeeded: i64,
    escalated: i64,
    superseded: i64,
    cancelled: i64,
    unfinished: i64,
}

#[derive(Debug, FromRow, Serialize)]
struct Procedure {
    #[serde(skip)]
    name: String,
    tasks: i64,
    succeeded: i64,
    escalated: i64,
    superseded: i64,
    verified: i64,
    attested: i64,
    not_needed: i64,
}

#[derive(Debug, FromRow, Serialize)]
struct Deprovisioned {
    with_job: i64,
    without_job: i64,
}

#[derive(Debug, FromRow)]
struct Counts {
    reopened_actions: i64,
    unfinished_actions: i64,
    syncs: i64,
    held_reports: i64,
}

/// What is known in addition to the database and the apps.
pub(super) struct Play {
    /// How many actions the scripted operator marked done, apart from the stories.
    pub(super) operator_done: u64,
    pub(super) errors: Vec<String>,
    /// From the first start to the last measurement.
    pub(super) took_s: f64,
}

pub(super) async fn measure(scene: &Scene, play: Play) -> sqlx::Result<Summary> {
    let owner = &scene.owner;
    let effects = scene.simulator.effects();
    let differences = truth::differences(&scene.simulator, &scene.endings);
    let removals = truth::last_removals(owner).await?;
    let counters = scene.simulator.counters();
    let counts = counts(owner).await?;
    let stories = director::progress_of(scene).await?;
    let task_states = task_states(owner).await?;
    let mut summary = Summary {
        ok: false,
        seed: scene.seed,
        tasks: tasks(owner).await?,
        unfinished: task_states.unfinished + counts.unfinished_actions,
        task_states,
        action_states: action_states(owner).await?,
        procedures: procedures(owner).await?,
        deprovisioned: deprovisioned(owner).await?,
        reopened_actions: counts.reopened_actions,
        lies: stories.iter().map(lies).sum(),
        operator_done: play.operator_done,
        duplicate_effects: truth::repeated_invitations(&effects).max(counters.duplicate_effects),
        forbidden_effects: truth::forbidden_effects(&effects, &removals),
        overlapping_jobs: counters.overlapping_jobs,
        members_present_who_must_not_be: differences.present.len(),
        members_absent_who_must_be: differences.absent.len(),
        wrong_roles: differences.roles.len(),
        syncs: counts.syncs,
        held_reports: counts.held_reports,
        stories: stories.iter().map(StoryTold::of).collect(),
        errors: play.errors,
        took_s: (play.took_s * 10.0).round() / 10.0,
    };
    let found = summary.contradictions(scene.tasks.len(), &differences);
    summary.errors.extend(found);
    summary.ok = summary.errors.is_empty();
    Ok(summary)
}

impl Summary {
    /// Everything that must not be.
    fn contradictions(&self, arrived: usize, differences: &Differences) -> Vec<String> {
        let named = |names: &[String]| names[..names.len().min(SHOWN)].join(", ");
        let every_procedure = self.procedures.len() == PROCEDURES;
        let checks = [
            (
                usize::try_from(self.tasks).ok() != Some(arrived),
                format!("{} of {arrived} tasks arrived", self.tasks),
            ),
            (self.unfinished > 0, format!("{} rows are unfinished", self.unfinished)),
            (!every_procedure, "a procedure did not occur at all".to_owned()),
            (self.lies != 1, format!("the operator lied {} times, not once", self.lies)),
            (
                i64::try_from(self.lies).ok() != Some(self.reopened_actions),
                format!("{} actions were reopened for {} lies", self.reopened_actions, self.lies),
            ),
            (
                !self.stories.iter().all(|story| story.ended),
                format!("stories without an end: {}", self.unended().join(", ")),
            ),
            (self.duplicate_effects > 0, format!("{} duplicate effects", self.duplicate_effects)),
            (
                self.forbidden_effects > 0,
                format!("{} effects after a removal", self.forbidden_effects),
            ),
            (self.overlapping_jobs > 0, format!("{} jobs overlapped", self.overlapping_jobs)),
            (
                !differences.present.is_empty(),
                format!("members who must not be: {}", named(&differences.present)),
            ),
            (
                !differences.absent.is_empty(),
                format!("members who are missing: {}", named(&differences.absent)),
            ),
            (
                !differences.roles.is_empty(),
                format!("members with other roles: {}", named(&differences.roles)),
            ),
        ];
        let broken = checks.into_iter().filter(|(broken, _)| *broken);
        broken.map(|(_, text)| text).collect()
    }
}

impl StoryTold {
    fn of(progress: &Progress) -> Self {
        Self {
            title: progress.part.story.title,
            who: progress.part.who.clone(),
            app: progress.part.app.clone(),
            steps: progress.told().map(|(_, text)| text).collect(),
            ended: progress.has_ended(),
        }
    }
}

/// How often somebody has said in this story that a change was made that was not.
fn lies(progress: &Progress) -> usize {
    let steps = progress.part.story.steps.iter().take(progress.reached.len());
    steps.filter(|step| step.act == Some(Act::Lie)).count()
}

/// The summary as text for people.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = &self.task_states;
        writeln!(
            f,
            "{} failed tasks: {} succeeded, {} escalated, {} superseded, {} unfinished",
            self.tasks, states.succeeded, states.escalated, states.superseded, states.unfinished
        )?;
        let actions = self.action_states.iter();
        let actions: Vec<_> = actions.map(|(status, count)| format!("{count} {status}")).collect();
        writeln!(f, "manual actions: {}", actions.join(", "))?;
        writeln!(
            f,
            "\n{:<26}{:>6}{:>11}{:>11}{:>12}{:>10}{:>10}{:>12}",
            "procedure",
            "tasks",
            "succeeded",
            "escalated",
            "superseded",
            "verified",
            "attested",
            "not needed"
        )?;
        for (name, row) in &self.procedures {
            writeln!(
                f,
                "{name:<26}{:>6}{:>11}{:>11}{:>12}{:>10}{:>10}{:>12}",
                row.tasks,
                row.succeeded,
                row.escalated,
                row.superseded,
                row.verified,
                row.attested,
                row.not_needed
            )?;
        }
        self.truth(f)
    }
}

impl Summary {
    fn unended(&self) -> Vec<&str> {
        self.stories.iter().filter(|story| !story.ended).map(|story| story.title).collect()
    }

    fn truth(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} lie told, {} action reopened; {} syncs, {} held reports; {} duplicate effects, \
             {} effects after a removal",
            self.lies,
            self.reopened_actions,
            self.syncs,
            self.held_reports,
            self.duplicate_effects,
            self.forbidden_effects
        )?;
        writeln!(
            f,
            "in the apps: {} members who must not be, {} missing, {} with other roles",
            self.members_present_who_must_not_be, self.members_absent_who_must_be, self.wrong_roles
        )?;
        for error in &self.errors {
            writeln!(f, "not ok: {error}")?;
        }
        let verdict = if self.ok { "ok" } else { "NOT OK" };
        writeln!(f, "{verdict} after {} s with seed {}", self.took_s, self.seed)
    }
}

async fn tasks(owner: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from reconciler.automation_tasks").fetch_one(owner).await
}

async fn task_states(owner: &PgPool) -> sqlx::Result<TaskStates> {
    sqlx::query_as(
        "select count(*) filter (where state = 'succeeded') as succeeded,
                count(*) filter (where state = 'escalated') as escalated,
                count(*) filter (where state = 'superseded') as superseded,
                count(*) filter (where state = 'cancelled') as cancelled,
                count(*) filter (where state in ('pending', 'running')) as unfinished
         from reconciler.automation_tasks",
    )
    .fetch_one(owner)
    .await
}

async fn action_states(owner: &PgPool) -> sqlx::Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("select status, count(*) from reconciler.manual_actions group by status")
            .fetch_all(owner)
            .await?;
    Ok(rows.into_iter().collect())
}

async fn procedures(owner: &PgPool) -> sqlx::Result<BTreeMap<String, Procedure>> {
    let rows: Vec<Procedure> = sqlx::query_as(
        "select t.integration_kind || '/' || t.operation as name,
                count(distinct t.id) as tasks,
                count(distinct t.id) filter (where t.state = 'succeeded') as succeeded,
                count(distinct t.id) filter (where t.state = 'escalated') as escalated,
                count(distinct t.id) filter (where t.state = 'superseded') as superseded,
                count(*) filter (where a.status = 'verified') as verified,
                count(*) filter (where a.status = 'attested') as attested,
                count(*) filter (where a.status = 'not_needed') as not_needed
         from reconciler.automation_tasks t
         left join reconciler.manual_actions a on a.workspace_id = t.workspace_id and a.task_id = t.id
         group by 1",
    )
    .fetch_all(owner)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name.clone(), row)).collect())
}

async fn deprovisioned(owner: &PgPool) -> sqlx::Result<Deprovisioned> {
    sqlx::query_as(
        "select count(*) filter (where job_id is not null) as with_job,
                count(*) filter (where job_id is null) as without_job
         from reconciler.automation_tasks where trigger = 'user_deprovisioned'",
    )
    .fetch_one(owner)
    .await
}

async fn counts(owner: &PgPool) -> sqlx::Result<Counts> {
    sqlx::query_as(
        "select count(*) filter (where reopened_count > 0) as reopened_actions,
                count(*) filter (where closed_at is null) as unfinished_actions,
                (select count(*) from reconciler.syncs) as syncs,
                (select count(*) from reconciler.syncs where held_reason is not null) as held_reports
         from reconciler.manual_actions",
    )
    .fetch_one(owner)
    .await
}
