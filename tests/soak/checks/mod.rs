//! The rules, checked against everything that is known of a run.

mod attempts;
pub(super) mod doubts;
mod endings;
mod order;
pub(super) mod words;

use std::fmt;

use crate::model::History;
use crate::plan::Key;
use crate::record::{Record, Task};
use crate::world::World;

/// A rule that was broken.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) rule: &'static str,
    pub(super) member: Option<Key>,
    pub(super) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.rule, self.what)?;
        match &self.member {
            Some(Key { workspace, integration, member }) => {
                write!(out, " ({workspace}/{integration}/{member})")
            }
            None => Ok(()),
        }
    }
}

const LATER_WINS: &str = "rule 1, a later intent wins";
const ONE_AT_A_TIME: &str = "rule 2, one attempt at a time";
const ALL_END: &str = "rule 3, every task ends and says why";
const ONCE: &str = "rule 4, effects happen once";
const FENCED: &str = "rule 5, a late worker changes nothing";
const WAITING: &str = "rule 7, waiting is not trying";
const PROVEN: &str = "rule 8, verified rests on a younger snapshot";
const ONE_ACTION: &str = "rule 10, one escalation per desired state";
const DOUBT: &str = "what may have been done since the app was last read is looked into";
const ENDING: &str = "the members in the apps";

/// How often the rules were broken that users care about most.
#[derive(Debug, Default)]
pub(super) struct Broken {
    pub(super) lost: usize,
    pub(super) doubled: usize,
    /// Somebody was removed who should not be, or came back, or is not in the app as was asked for.
    pub(super) forbidden: usize,
}

pub(super) fn broken(found: &[Violation]) -> Broken {
    let count = |rules: &[&str]| found.iter().filter(|one| rules.contains(&one.rule)).count();
    Broken {
        lost: count(&[ALL_END]),
        doubled: count(&[ONCE, ONE_AT_A_TIME]),
        forbidden: count(&[LATER_WINS, ENDING]),
    }
}

struct Found(Vec<Violation>);

impl Found {
    fn of(&mut self, rule: &'static str, task: &Task, what: String) {
        let what = format!("task {}: {what}", task.id);
        self.0.push(Violation { rule, member: Some(task.key.clone()), what });
    }
}

/// Whatever must hold at any time.
pub(super) fn all_along(record: &Record, before: &[(Key, bool)]) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    let history = History::new(before, &record.effects);
    for start in record.starts.iter().filter(|start| start.at < record.read_at) {
        order::start_is_allowed(record, start, &mut found);
    }
    for effect in &record.effects {
        order::effect_is_allowed(record, effect, &mut found);
    }
    attempts::one_job_at_a_time(&record.starts, &mut found);
    attempts::effects_happen_once(&record.effects, &mut found);
    for task in record.tasks.values() {
        order::waited_its_turn(record, task, &mut found);
        endings::closing_is_right(record, &history, task, &mut found);
        attempts::attempts_are_right(record, task, &mut found);
        for action in record.actions.get(&task.id).into_iter().flatten() {
            endings::action_is_right(record, &history, task, action, &mut found);
        }
        let actions = record.actions.get(&task.id).into_iter().flatten();
        let actions = actions.filter(|action| action.status != "returned").count();
        // Each time that what was proven did not last, a person is asked once more.
        let came_back = ["task.member_returned", "task.invitation_expired"];
        let came_back: usize =
            came_back.iter().map(|what| record.lines_of(task.id, what).count()).sum();
        if actions > 1 + came_back {
            found.of(ONE_ACTION, task, "it has two actions".to_owned());
        }
    }
    for at_claim in &record.doubts {
        doubts::nothing_is_forgotten(record, at_claim, &mut found);
    }
    for write in &record.strange_writes {
        if let Some(task) = record.tasks.get(&write.task_id) {
            found.of(FENCED, task, write.what.clone());
        }
    }
    found.0
}

/// What must hold besides once everything has calmed down.
pub(super) fn in_the_end(record: &Record, world: &World) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    endings::nothing_is_lost(record, &world.plan, &mut found);
    for task in record.tasks.values() {
        let open = record.action_of(task.id).filter(|action| action.closed_at.is_none());
        match (task.closed_at, open) {
            (None, _) => found.of(ALL_END, task, format!("it is still {}", task.state)),
            (_, Some(action)) => {
                found.of(ALL_END, task, format!("its action {} is {}", action.id, action.status));
            }
            _ => {}
        }
    }
    for nudge in &record.nudges {
        let (id, what, integration) = (nudge.id, &nudge.what, &nudge.integration_id);
        let what = format!("nudge {id}, {what} of {integration}, was not taken up");
        found.0.push(Violation { rule: ALL_END, member: None, what });
    }
    attempts::lost_answers_are_real(record, &world.apps.counters(), &mut found);
    let history = History::new(&world.plan.members, &record.effects);
    for (key, is_there) in &world.plan.members {
        endings::ends_as_wanted(record, &history, world, key, *is_there, &mut found);
    }
    found.0
}
