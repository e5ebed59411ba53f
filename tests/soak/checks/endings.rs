//! Rules 3 and 8: how tasks and actions end, and what the apps show then.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use testkit::simulator::Operation;

use super::order::{is_overtaken, supersession_is_right};
use super::{ALL_END, ENDING, Found, LATER_WINS, PROVEN, Violation, words};
use crate::model::{self, Fortune, History};
use crate::plan::{Key, Plan};
use crate::record::{Action, Record, Task};
use crate::world::World;

pub(super) fn closing_is_right(record: &Record, history: &History, task: &Task, found: &mut Found) {
    let Some(closed_at) = task.closed_at else {
        return;
    };
    if task.closed_reason.as_deref().unwrap_or_default().is_empty() {
        found.of(ALL_END, task, "it is closed without a reason".to_owned());
    }
    match task.state.as_str() {
        "succeeded" => {
            if !words::succeeded_rightly(record, history, task) {
                let why = task.closed_reason.as_deref().unwrap_or_default();
                found.of(ALL_END, task, format!("it succeeded ({why}) and the member was not so"));
            }
        }
        "superseded" => supersession_is_right(record, task, closed_at, found),
        "escalated" if !record.actions.contains_key(&task.id) => {
            found.of(ALL_END, task, "it escalated without an action".to_owned());
        }
        "escalated" | "cancelled" => {}
        other => found.of(ALL_END, task, format!("it is closed as {other}")),
    }
}

pub(super) fn action_is_right(
    record: &Record,
    history: &History,
    task: &Task,
    action: &Action,
    found: &mut Found,
) {
    match action.status.as_str() {
        "verified" if !words::is_verified_rightly(history, task, action) => {
            found.of(PROVEN, task, format!("action {} is verified and was not so", action.id));
        }
        "not_needed" if !words::was_not_needed(history, task, action) => {
            found.of(PROVEN, task, format!("action {} was needed", action.id));
        }
        "superseded" if !is_overtaken(record, task, action) => {
            found.of(LATER_WINS, task, format!("action {} was ended by nothing later", action.id));
        }
        _ => {}
    }
}

pub(super) fn nothing_is_lost(record: &Record, plan: &Plan, found: &mut Found) {
    let arrived: BTreeSet<_> = record
        .tasks
        .values()
        .map(|task| (task.key.workspace.as_str(), task.source.as_str()))
        .collect();
    if arrived.len() != record.tasks.len() {
        let what = "a source_id is there twice".to_owned();
        found.0.push(Violation { rule: ALL_END, member: None, what });
    }
    for row in plan.batches.iter().flat_map(|batch| &batch.rows) {
        if !arrived.contains(&(row.workspace_id.as_str(), row.source_id.as_str())) {
            let what = format!("{} was committed and is not there", row.source_id);
            found.0.push(Violation { rule: ALL_END, member: None, what });
        }
    }
}

/// As long as an attempt may still land that was on its way when what was done elsewhere became known: that of a replica
/// that stood still, and the longest job.
const ON_ITS_WAY: TimeDelta = TimeDelta::seconds(10);

fn fortune(record: &Record, world: &World, history: &History, task: &Task) -> Fortune {
    match (task.state.as_str(), record.action_of(task.id)) {
        ("succeeded", None) if task.is_done_elsewhere => fortune_elsewhere(world, history, task),
        ("succeeded", _) if task.attempts > 0 => Fortune::Attempted,
        ("succeeded", _) => Fortune::Effective,
        ("escalated", Some(action)) if action.is_effective() => Fortune::Effective,
        ("escalated", Some(action)) if action.status == "dismissed" => Fortune::Dismissed,
        _ => Fortune::Pointless,
    }
}

/// Until the daemon is told, it may do something older, and an attempt that is on its way then it cannot stop. Removals are
/// looked at again where the app can be read; nobody looks after the others.
fn fortune_elsewhere(world: &World, history: &History, task: &Task) -> Fortune {
    let Task { key, operation, requested_at, .. } = task;
    let done_at = history.done_elsewhere_at(key, *operation, &task.entitlements, *requested_at);
    let Some((done_at, told_at)) = done_at.zip(task.closed_at) else {
        return Fortune::Undone;
    };
    let is_watched = *operation == Operation::Remove && world.is_readable(key);
    match !is_watched && history.was_changed(key, (done_at, told_at + ON_ITS_WAY)) {
        true => Fortune::Undone,
        false => Fortune::Elsewhere,
    }
}

pub(super) fn ends_as_wanted(
    record: &Record,
    history: &History,
    world: &World,
    key: &Key,
    before: bool,
    found: &mut Found,
) {
    let intents = record
        .of_member(key)
        .map(|task| (task.operation, &task.entitlements, fortune(record, world, history, task)));
    let desired = model::ending(before, intents);
    let real = world.apps.member(&key.workspace, &key.integration, &key.member);
    let what = match (&desired.present, &desired.roles, real) {
        (Some(true), _, None) => "they are not in the app and must be".to_owned(),
        (Some(false), _, Some(_)) => "they are in the app and must not be".to_owned(),
        (_, Some(roles), Some(real)) if real.entitlements != *roles => {
            format!("they hold {:?} instead of {roles:?}", real.entitlements)
        }
        _ => return,
    };
    found.0.push(Violation { rule: ENDING, member: Some(key.clone()), what });
}
