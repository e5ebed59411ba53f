//! What the daemon says of the apps, compared with what they were: rule 8, and what "succeeded" means.

use chrono::{DateTime, Utc};
use testkit::simulator::Operation;

use crate::model::History;
use crate::plan::Key;
use crate::record::{Action, Record, Task};

type Window = (DateTime<Utc>, DateTime<Utc>);

/// How many words there were, and how many of them were false.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) all: usize,
    pub(crate) false_ones: usize,
}

impl Count {
    fn add(&mut self, is_true: bool) {
        self.all += 1;
        self.false_ones += usize::from(!is_true);
    }
}

/// The words of a run by what they say.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) verified: Count,
    pub(crate) not_needed: Count,
    pub(crate) removed: Count,
}

/// Compares every word with the app: people are told apart by what the app itself calls them, however they are spelled
/// and whether Cerby has matched them or not.
pub(crate) fn compared(record: &Record, before: &[(Key, bool)]) -> Words {
    let history = History::new(before, &record.effects);
    let mut words = Words::default();
    for task in record.tasks.values() {
        for action in record.actions.get(&task.id).into_iter().flatten() {
            match action.status.as_str() {
                "verified" => words.verified.add(is_verified_rightly(&history, task, action)),
                "not_needed" => words.not_needed.add(was_not_needed(&history, task, action)),
                _ => {}
            }
        }
        if task.operation == Operation::Remove && task.state == "succeeded" {
            words.removed.add(succeeded_rightly(record, &history, task));
        }
    }
    words
}

/// Whether it was so when the app was read for the verdict: from the start of that snapshot, which no word is younger than.
pub(super) fn is_verified_rightly(history: &History, task: &Task, action: &Action) -> bool {
    let Action { done_at: Some(done_at), verdict_at: Some(verdict_at), .. } = *action else {
        return false;
    };
    let Some(from) = action.snapshot_from else { return false };
    from >= done_at && was(history, task, (from, verdict_at))
}

/// Whether it was so when the app was read that showed it.
pub(super) fn was_not_needed(history: &History, task: &Task, action: &Action) -> bool {
    let closed_at = action.closed_at.unwrap_or(action.opened_at);
    let from = action.snapshot_from.unwrap_or(action.opened_at).max(action.opened_at);
    was(history, task, (from, closed_at))
}

/// Whether it was so while the task was last worked on, or when automation did it elsewhere.
pub(super) fn succeeded_rightly(record: &Record, history: &History, task: &Task) -> bool {
    let Some(closed_at) = task.closed_at else { return false };
    let claim = record.claim_before(task.id, closed_at);
    let from = match claim {
        None if task.is_done_elsewhere => task.requested_at,
        claim => claim.map_or(closed_at, |claim| claim.at),
    };
    was(history, task, (from, closed_at))
}

fn was(history: &History, task: &Task, window: Window) -> bool {
    history.was_as_wanted(&task.key, task.operation, &task.entitlements, window)
}
