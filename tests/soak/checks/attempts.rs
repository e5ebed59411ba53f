//! Rules 2, 4 and 7: how often the backend is asked, and how much of it at a time.

use std::collections::{BTreeMap, BTreeSet};

use testkit::simulator::{Author, Call, Counters, Effect, Operation, Start};

use super::{Found, ONCE, ONE_AT_A_TIME, Violation, WAITING};
use crate::model;
use crate::plan::Key;
use crate::record::{Line, Record, Task};
use crate::settings::ATTEMPTS;

/// What the trail says of answers that promise that nothing happened.
const NOT_NOW: [&str; 3] = ["status 503", "limits the rate", "is not reachable"];

/// Rule 2, of all jobs that end, whether their start was answered or not.
pub(super) fn one_job_at_a_time(starts: &[Start], found: &mut Found) {
    let mut last: BTreeMap<(&str, &str, &str), &Start> = BTreeMap::new();
    for start in starts {
        let place = &start.place;
        let key = (place.workspace.as_str(), place.integration.as_str(), start.member.as_str());
        let before = last.insert(key, start);
        let ends_at = before.and_then(|before| before.ends_at);
        if ends_at.is_some_and(|ends_at| ends_at > start.at) {
            let (workspace, integration, member) = key;
            found.0.push(Violation {
                rule: ONE_AT_A_TIME,
                member: Some(Key {
                    workspace: workspace.to_owned(),
                    integration: integration.to_owned(),
                    member: member.to_owned(),
                }),
                what: format!("job {} was started while another ran", start.job),
            });
        }
    }
}

/// Rule 4: automation invites nobody twice unless they were removed in between.
pub(super) fn effects_happen_once(effects: &[Effect], found: &mut Found) {
    let mut invited_by: BTreeMap<Key, Author> = BTreeMap::new();
    for effect in effects {
        let key = model::key_of(effect);
        let before = match effect.operation {
            Operation::ChangeRole => continue,
            Operation::Remove => invited_by.remove(&key),
            Operation::Invite => invited_by.insert(key.clone(), effect.author),
        };
        let twice = effect.operation == Operation::Invite && before == Some(Author::Automation);
        if twice && effect.author == Author::Automation {
            let what = "it was invited twice by automation".to_owned();
            found.0.push(Violation { rule: ONCE, member: Some(key), what });
        }
    }
}

/// Rule 7: no more attempts than may be, and each of them is a job, a lost answer or a refusal.
pub(super) fn attempts_are_right(record: &Record, task: &Task, found: &mut Found) {
    if task.attempts > ATTEMPTS {
        found.of(WAITING, task, format!("{} attempts", task.attempts));
    }
    let told = record.lines_of(task.id, "task.attempt_started");
    let jobs: BTreeSet<_> = told.filter_map(|line| line.job_id.as_deref()).collect();
    let known = jobs.iter().filter(|job| record.started.contains(**job)).count();
    let lost = lost_answers(record, task.id).count();
    let absent = record
        .lines_of(task.id, "task.attempt_failed")
        .filter(|line| line.failure_code.as_deref() == Some("MemberNotInApp"))
        .count();
    let refused = usize::from(task.state == "escalated");
    let most = known + lost + absent + refused;
    if usize::try_from(task.attempts).unwrap() > most {
        found.of(WAITING, task, format!("{} attempts for {most} runs", task.attempts));
    }
    for reason in lost_answers(record, task.id).filter_map(|line| line.reason.as_deref()) {
        if NOT_NOW.iter().any(|words| reason.contains(words)) {
            found.of(WAITING, task, format!("an attempt was used because {reason}"));
        }
    }
}

fn lost_answers(record: &Record, task: i64) -> impl Iterator<Item = &Line> {
    let lost = record.lines_of(task, "task.lost_sight_of");
    lost.filter(|line| line.lost.as_deref() == Some("answer"))
}

/// Rule 7: an answer counts as lost only if one was: requests that were answered with "not now" are none.
pub(super) fn lost_answers_are_real(record: &Record, counters: &Counters, found: &mut Found) {
    const UNCERTAIN: [&str; 5] = ["500", "502", "reset", "html", "ok_with_errors"];
    let told: usize = record.tasks.keys().map(|task| lost_answers(record, *task).count()).sum();
    let untold = record.starts.iter().filter(|start| !record.jobs.contains_key(&start.job)).count();
    let faults: u64 = [Call::Invite, Call::ChangeRole, Call::Remove]
        .iter()
        .filter_map(|call| counters.faults.get(call))
        .flat_map(|faults| UNCERTAIN.iter().filter_map(|kind| faults.get(*kind)))
        .sum();
    if told as u64 > untold as u64 + faults {
        let what = format!("{told} answers were lost of {untold} jobs and {faults} faults");
        found.0.push(Violation { rule: WAITING, member: None, what });
    }
}
