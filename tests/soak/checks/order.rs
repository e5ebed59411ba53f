//! Rule 1: who goes first, who is ended by whom, and what a removal forbids.

use chrono::{DateTime, Utc};
use testkit::simulator::{Author, Effect, Operation, Start};

use super::{FENCED, Found, LATER_WINS};
use crate::model;
use crate::record::{Action, Record, Task};

fn gives(operation: Operation) -> bool {
    operation != Operation::Remove
}

/// Rule 1: nothing is given for a task that is older than a removal which had its place before the claim.
pub(super) fn start_is_allowed(record: &Record, start: &Start, found: &mut Found) {
    if !gives(start.operation) {
        return;
    }
    let Some(task) = record.task_of(start) else {
        return;
    };
    let Some(claim) = record.claim_before(task.id, start.at) else {
        found.of(FENCED, task, format!("job {} was started without a claim", start.job));
        return;
    };
    for removal in younger_removals(record, task) {
        let known = record.ordered_at(removal.id).is_some_and(|at| at < claim.at);
        if known {
            let text = format!("job {} gives after removal {} was ordered", start.job, removal.id);
            found.of(LATER_WINS, task, text);
        }
    }
}

/// Rule 1: nothing that automation was once asked for comes back after the removal was carried out.
pub(super) fn effect_is_allowed(record: &Record, effect: &Effect, found: &mut Found) {
    if effect.author != Author::Automation || !gives(effect.operation) {
        return;
    }
    let giver = record.givers.get(&effect.entitlements);
    let Some(task) = giver.and_then(|task| record.tasks.get(task)) else {
        return;
    };
    for removal in younger_removals(record, task) {
        if effective_at(record, removal).is_some_and(|at| at < effect.at) {
            let text = format!("it took effect after removal {} was carried out", removal.id);
            found.of(LATER_WINS, task, text);
        }
    }
}

/// Rule 1: nobody begins with a task while an older one of the member, known by then, is unfinished.
pub(super) fn waited_its_turn(record: &Record, task: &Task, found: &mut Found) {
    let Some(first) = record.claims.get(&task.id).and_then(|claims| claims.first()) else {
        return;
    };
    let is_later = |at: Option<DateTime<Utc>>| at.is_none_or(|at| at > first.at);
    for older in record.of_member(&task.key).take_while(|older| older.age() < task.age()) {
        let known = record.ordered_at(older.id).is_some_and(|at| at < first.at);
        let actions = record.actions.get(&older.id).into_iter().flatten();
        let with_a_person =
            actions.into_iter().any(|one| one.opened_at < first.at && is_later(one.closed_at));
        let unfinished = is_later(older.closed_at) && !had_ended(record, older, first.at);
        let unfinished = unfinished || with_a_person;
        if known && unfinished {
            let what = format!("it was begun before {}, which is older, had ended", older.id);
            found.of(LATER_WINS, task, what);
        }
    }
}

/// Whether a task had ended by then, although it went on later: what it made true did not last, and a person was asked.
fn had_ended(record: &Record, task: &Task, by: DateTime<Utc>) -> bool {
    const ENDS: [&str; 3] = ["task.succeeded", "task.escalated", "task.superseded"];
    let lines = record.lines.get(&task.id).into_iter().flatten();
    let known = lines.filter(|line| line.at < by);
    let last =
        known.filter(|line| line.what == "task.returned" || ENDS.contains(&line.what.as_str()));
    last.max_by_key(|line| line.at).is_some_and(|line| line.what != "task.returned")
}

fn younger_removals<'a>(record: &'a Record, task: &Task) -> impl Iterator<Item = &'a Task> {
    let age = task.age();
    record
        .of_member(&task.key)
        .filter(move |other| other.operation == Operation::Remove && other.age() > age)
}

/// What was on its way when automation removed somebody elsewhere lands after that: no start may follow once that is known
/// ([`start_is_allowed`]), and in the end they must be gone.
fn effective_at(record: &Record, task: &Task) -> Option<DateTime<Utc>> {
    match record.action_of(task.id) {
        None if task.is_done_elsewhere => None,
        Some(action) => action.closed_at.filter(|_| action.is_effective()),
        None => task.closed_at.filter(|_| task.state == "succeeded"),
    }
}

pub(super) fn supersession_is_right(
    record: &Record,
    task: &Task,
    closed_at: DateTime<Utc>,
    found: &mut Found,
) {
    let winner = task.superseded_by.and_then(|winner| record.tasks.get(&winner));
    let Some(winner) = winner else {
        found.of(LATER_WINS, task, "it is superseded by nothing known".to_owned());
        return;
    };
    if winner.key != task.key || winner.age() <= task.age() {
        found.of(
            LATER_WINS,
            task,
            format!("it is superseded by {}, which is not later", winner.id),
        );
    } else if !model::supersedes(winner.operation, task.operation)
        && !was_under_way(record, winner, closed_at)
    {
        found.of(LATER_WINS, task, format!("{} ends it and had to wait for it", winner.id));
    }
}

/// Whether something of a task had happened by then, so that an older one came too late.
fn was_under_way(record: &Record, task: &Task, by: DateTime<Utc>) -> bool {
    if task.is_done_elsewhere {
        return task.requested_at <= by;
    }
    let claimed = record.claims.get(&task.id).and_then(|claims| claims.first());
    claimed.is_some_and(|claim| claim.at <= by)
}

/// Whether a later intent that ends this one had its place when this action ended, or got it in the same transaction.
pub(super) fn is_overtaken(record: &Record, task: &Task, action: &Action) -> bool {
    let with_it = record.ended_for.get(&action.id).map_or(&[][..], Vec::as_slice);
    let had_its_place = |later: &Task| {
        let at = record.ordered_at(later.id);
        at.zip(action.closed_at).is_some_and(|(at, ended)| at <= ended)
    };
    record.of_member(&task.key).any(|later| {
        later.age() > task.age()
            && (model::supersedes(later.operation, task.operation) || later.is_done_elsewhere)
            && (with_it.contains(&later.id) || had_its_place(later))
    })
}
