//! The failed tasks that the demo plays, from a file in the format of `import`.

use crate::operator::import::InboundTask;

const FILE: &str = include_str!("failed-tasks.jsonl");

/// Every task of the file, in its order: the order of arrival, not that of `requested_at`.
pub(super) fn all() -> Vec<InboundTask> {
    FILE.lines().map(|line| serde_json::from_str(line).expect("a test reads every line")).collect()
}

/// The lines of the file, so many at a time.
pub(super) fn batches(size: usize) -> impl Iterator<Item = String> {
    let lines: Vec<&str> = FILE.lines().collect();
    let batches: Vec<_> = lines.chunks(size).map(|batch| batch.join("\n")).collect();
    batches.into_iter()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::catalogue;

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
    fn batches_hold_every_line_once() {
        let lines: usize = batches(60).map(|batch| batch.lines().count()).sum();
        assert_eq!(lines, all().len());
    }
}
