//! From which due time on a claim scans each lane of an integration. A claim takes the tasks of a lane in the order of
//! their due times, and no task becomes due earlier than now, so the tasks before the last one are done. Integrations
//! with a limit are always scanned from their first task on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::ClaimedTask;
use crate::membership::Operation;
use crate::scan_start::ScanStart;

/// A scan starts this far before the last task, so that rows that were locked for a moment are scanned again.
const STAYS_BEHIND: TimeDelta = TimeDelta::seconds(1);

/// The part of an integration that claims take in order: its removals (`true`), or its other requests.
type Lane = (String, String, bool);

/// The lanes that this process has claimed from.
#[derive(Debug, Default)]
pub struct Lanes {
    starts: HashMap<Lane, ScanStart<DateTime<Utc>>>,
}

/// From which due time on to scan, by workspace and integration.
pub type DueFrom = BTreeMap<String, BTreeMap<String, LaneStarts>>;

/// From which due time on to scan in one integration; `None` scans from the first request.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct LaneStarts {
    pub removals: Option<DateTime<Utc>>,
    pub others: Option<DateTime<Utc>>,
}

impl Lanes {
    /// The start of each lane for a claim that begins now. Other lanes get a full scan.
    pub fn at(&self, now: Instant) -> DueFrom {
        let mut due_from = DueFrom::new();
        for ((workspace, integration, is_removal), start) in &self.starts {
            if let Some(from) = start.at(now) {
                let of_workspace = due_from.entry(workspace.clone()).or_default();
                let starts = of_workspace.entry(integration.clone()).or_default();
                match is_removal {
                    true => starts.removals = Some(from),
                    false => starts.others = Some(from),
                }
            }
        }
        due_from
    }

    /// Advances the starts after a claim that began at `began`: by the tasks that it took, and by whether there may be
    /// more.
    pub fn advance(&mut self, tasks: &[Arc<ClaimedTask>], may_be_more: bool, began: Instant) {
        let mut reached: HashMap<Lane, DateTime<Utc>> = HashMap::new();
        for task in tasks {
            if let Some(due) = task.taken_in_order {
                let last = reached.entry(lane(task)).or_insert(due);
                *last = due.max(*last);
            }
        }
        for lane in reached.keys() {
            if !self.starts.contains_key(lane) {
                self.starts.insert(lane.clone(), ScanStart::new(began));
            }
        }
        for (lane, start) in &mut self.starts {
            let reached = reached.get(lane).map(|last| *last - STAYS_BEHIND);
            start.advance(reached, may_be_more, began);
        }
    }

    /// Forgets the starts of the lanes whose tasks were handed back unchanged.
    pub fn forget(&mut self, tasks: &[Arc<ClaimedTask>]) {
        for task in tasks {
            self.starts.remove(&lane(task));
        }
    }
}

fn lane(task: &ClaimedTask) -> Lane {
    let is_removal = task.desired.operation == Operation::Remove;
    (task.key.workspace.clone(), task.key.integration.clone(), is_removal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::decide::tests::task;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    /// A task of integration `i` that was due at this second and was taken in order.
    fn taken(operation: Operation, second: i64) -> Arc<ClaimedTask> {
        Arc::new(ClaimedTask { taken_in_order: Some(at(second)), ..task(operation) })
    }

    fn from(lanes: &Lanes) -> LaneStarts {
        let of_all = lanes.at(Instant::now()).into_values().flatten();
        of_all.map(|(_, starts)| starts).next().unwrap_or_default()
    }

    #[test]
    fn a_claim_begins_a_second_before_the_last_task_that_was_taken_from_the_lane() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        let removals = [10, 12, 11].map(|second| taken(Operation::Remove, second));
        lanes.advance(&removals, true, now);
        assert_eq!((from(&lanes).removals, from(&lanes).others), (Some(at(11)), None));
        lanes.advance(&[taken(Operation::Invite, 20)], true, now);
        assert_eq!((from(&lanes).removals, from(&lanes).others), (Some(at(11)), Some(at(19))));
    }

    #[test]
    fn tasks_that_go_back_or_came_in_no_order_leave_no_start() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        lanes.advance(&[Arc::new(task(Operation::Remove))], false, now);
        assert_eq!(from(&lanes).removals, None);
        lanes.advance(&[taken(Operation::Remove, 10)], false, now);
        lanes.forget(&[taken(Operation::Remove, 10)]);
        assert_eq!(from(&lanes).removals, None);
    }
}
