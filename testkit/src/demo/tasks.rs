//! The failed tasks of the demo, from a file in the format of `import`.

use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cast::{self, Part};
use cerby_reconciler::intake::inbound::InboundTask;

const FILE: &str = include_str!("failed-tasks.jsonl");

/// How long ago the last of them was requested when the demo begins.
const LAST_WANTED: TimeDelta = TimeDelta::minutes(5);

/// The lines of the file, with recent times: tasks that were requested months ago would be escalated.
static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut tasks: Vec<Value> = FILE.lines().map(parsed).collect();
    let desired = |task: &Value| parsed::<DateTime<Utc>>(&task["requested_at"].to_string());
    let last = tasks.iter().map(desired).max().unwrap_or_default();
    let moved = now() - LAST_WANTED - last;
    for task in &mut tasks {
        task["requested_at"] = (desired(task) + moved).to_rfc3339().into();
    }
    tasks.iter().map(Value::to_string).collect()
});

fn parsed<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).expect("a test reads every line")
}

#[expect(clippy::disallowed_methods, reason = "there is no database yet whose time could be asked")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Every task of the file, in the order of arrival and not of `requested_at`.
pub(super) fn all() -> Vec<InboundTask> {
    LINES.iter().map(|line| parsed(line)).collect()
}

/// The lines of the file in batches of this size. Those that begin a story come first, so that there is something to
/// watch at once.
pub(super) fn batches(size: usize, cast: &[Part]) -> Vec<String> {
    let (first, later): (Vec<&String>, Vec<&String>) =
        LINES.iter().partition(|line| cast::begins_one(cast, &parsed(line)));
    let lines: Vec<&str> = first.into_iter().chain(later).map(String::as_str).collect();
    lines.chunks(size).map(|batch| batch.join("\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use cerby_reconciler::catalogue;

    #[test]
    fn every_line_is_a_task_of_an_app_in_the_catalogue() {
        let tasks = all();
        assert!(tasks.len() >= 300, "{}", tasks.len());
        let sources: BTreeSet<_> =
            tasks.iter().map(|task| (&task.workspace_id, &task.source_id)).collect();
        assert_eq!(sources.len(), tasks.len(), "a source_id is there twice");
        for task in &tasks {
            assert!(catalogue::find(&task.application).is_some(), "{}", task.application);
        }
    }

    #[test]
    fn all_procedures_codes_and_triggers_occur() {
        let tasks = all();
        let procedures: BTreeSet<_> =
            tasks.iter().map(|task| (&task.integration_kind, &task.operation)).collect();
        assert_eq!(procedures.len(), 6);
        let codes: BTreeSet<_> =
            tasks.iter().filter_map(|task| task.failure_code.as_deref()).collect();
        for code in crate::simulator::PERMANENT_CODES {
            assert!(codes.contains(code), "{code}");
        }
        let triggers: BTreeSet<_> =
            tasks.iter().map(|task| (task.trigger.as_str(), task.job_id.is_some())).collect();
        for job in [true, false] {
            assert!(triggers.contains(&("user_deprovisioned", job)));
        }
        assert_eq!(triggers.len(), 5);
    }

    #[test]
    fn batches_hold_every_line_once_and_the_stories_first() {
        let cast = cast::cast(&all(), 1);
        let batches = batches(6, &cast);
        assert_eq!(batches.iter().map(|batch| batch.lines().count()).sum::<usize>(), all().len());
        assert!(batches[0].lines().all(|line| cast::begins_one(&cast, &parsed(line))));
    }
}
