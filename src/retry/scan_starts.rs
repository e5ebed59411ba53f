//! From which due time on a claim scans the tasks of an integration.
//!
//! Each task that went on or ended leaves a dead entry in the index of due times. Vacuum may not remove these entries
//! while a long transaction is open, and every claim would scan all of them (Brandur, "Postgres Job Queues & Failure By
//! MVCC", 2015). Therefore a claim starts at a watermark. It takes the tasks of an integration in the order of their
//! due times, so the tasks before the last one are done, and no task becomes due earlier than now. A task can still be
//! due before the watermark, because its lease ended or because its row was locked when its turn came. A full scan
//! every few seconds finds it. Integrations with a limit have no watermark.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;

use super::ClaimedTask;
use crate::membership::Operation;

/// The watermark stays this far behind the last task, so that rows that were locked for a moment are scanned again.
const STAYS_BEHIND: TimeDelta = TimeDelta::seconds(1);

/// How long a task that is due before the watermark may wait. Half of the time is random; otherwise all integrations
/// would have their full scan at the same time.
const FULL_SCAN_EVERY: Duration = Duration::from_secs(10);

/// The part of an integration that claims take in order: its removals (`true`), or its other requests.
type Lane = (String, String, bool);

/// The watermarks that this process knows, by workspace and integration.
#[derive(Debug, Default)]
pub struct ScanStarts {
    known: HashMap<Lane, Known>,
}

#[derive(Debug)]
struct Known {
    from: DateTime<Utc>,
    full_scan_at: Instant,
}

/// From which due time on to scan, by workspace and integration.
pub type DueFrom = BTreeMap<String, BTreeMap<String, Starts>>;

/// From which due time on to scan in one integration; `None` scans from the first request.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Starts {
    pub removals: Option<DateTime<Utc>>,
    pub others: Option<DateTime<Utc>>,
}

impl ScanStarts {
    /// The watermarks for a claim that begins now. Other integrations get a full scan.
    pub fn at(&self, now: Instant) -> DueFrom {
        let mut starts = DueFrom::new();
        for ((workspace, integration, is_removal), known) in &self.known {
            if now < known.full_scan_at {
                let of_workspace = starts.entry(workspace.clone()).or_default();
                let starts = of_workspace.entry(integration.clone()).or_default();
                match is_removal {
                    true => starts.removals = Some(known.from),
                    false => starts.others = Some(known.from),
                }
            }
        }
        starts
    }

    /// Advances the watermarks after a claim that began at `began`: by the tasks that it took, and by whether there may
    /// be more.
    pub fn advance(&mut self, tasks: &[Arc<ClaimedTask>], may_be_more: bool, began: Instant) {
        let mut reached: HashMap<(&str, &str, bool), DateTime<Utc>> = HashMap::new();
        for task in tasks {
            if let Some(due) = task.taken_in_order {
                let (workspace, integration) = (&task.key.workspace, &task.key.integration);
                let lane = (workspace.as_str(), integration.as_str(), is_removal(task));
                let last = reached.entry(lane).or_insert(due);
                *last = due.max(*last);
            }
        }
        if !may_be_more {
            for known in self.known.values_mut().filter(|known| began >= known.full_scan_at) {
                known.full_scan_at = next_full_scan(began);
            }
        }
        for ((workspace, integration, is_removal), last) in reached {
            let from = last - STAYS_BEHIND;
            let lane = (workspace.to_owned(), integration.to_owned(), is_removal);
            let known = self.known.entry(lane).or_insert(Known { from, full_scan_at: began });
            if began < known.full_scan_at {
                known.from = from.max(known.from);
            } else {
                *known = Known { from, full_scan_at: next_full_scan(began) };
            }
        }
    }

    /// Forgets the watermarks of tasks that were handed back unchanged.
    pub fn forget(&mut self, tasks: &[Arc<ClaimedTask>]) {
        for task in tasks {
            let (workspace, integration) = (&task.key.workspace, &task.key.integration);
            self.known.remove(&(workspace.clone(), integration.clone(), is_removal(task)));
        }
    }
}

fn is_removal(task: &ClaimedTask) -> bool {
    task.desired.operation == Operation::Remove
}

fn next_full_scan(now: Instant) -> Instant {
    now + FULL_SCAN_EVERY.mul_f64(rand::rng().random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::decide::tests::task;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    /// A task of integration `i` that was due at this second and was taken in order.
    fn taken(second: i64) -> Arc<ClaimedTask> {
        Arc::new(ClaimedTask { taken_in_order: Some(at(second)), ..task(Operation::Remove) })
    }

    fn from(starts: &ScanStarts, now: Instant) -> Option<DateTime<Utc>> {
        starts.at(now).values().flat_map(BTreeMap::values).next()?.removals
    }

    #[test]
    fn a_claim_begins_a_second_before_the_last_task_that_was_taken() {
        let (mut starts, now) = (ScanStarts::default(), Instant::now());
        assert_eq!(from(&starts, now), None);
        starts.advance(&[taken(10), taken(12), taken(11)], false, now);
        assert_eq!(from(&starts, now), Some(at(11)));
        starts.advance(&[taken(20)], true, now);
        assert_eq!(from(&starts, now), Some(at(19)));
        starts.advance(&[taken(3)], true, now);
        assert_eq!(
            from(&starts, now),
            Some(at(19)),
            "what was held for a moment does not lower it"
        );
    }

    #[test]
    fn every_few_seconds_a_claim_begins_at_the_first_task_and_goes_on_from_what_it_found() {
        let (mut starts, now) = (ScanStarts::default(), Instant::now());
        starts.advance(&[taken(10)], false, now);
        assert_eq!(
            from(&starts, now + FULL_SCAN_EVERY / 2 - Duration::from_millis(1)),
            Some(at(9))
        );
        let later = now + FULL_SCAN_EVERY;
        assert_eq!(from(&starts, later), None);
        starts.advance(&[taken(2)], true, later);
        assert_eq!(from(&starts, later), Some(at(1)), "there may be more of the old ones");
    }

    #[test]
    fn a_full_scan_that_took_all_leaves_the_start_where_it_is() {
        let (mut starts, now) = (ScanStarts::default(), Instant::now());
        starts.advance(&[taken(10)], false, now);
        let later = now + FULL_SCAN_EVERY;
        starts.advance(&[], true, later);
        assert_eq!(from(&starts, later), None, "others may have filled the claim");
        starts.advance(&[taken(2)], false, later);
        assert_eq!(from(&starts, later), Some(at(9)));
    }

    #[test]
    fn tasks_that_go_back_or_came_in_no_order_leave_no_start() {
        let (mut starts, now) = (ScanStarts::default(), Instant::now());
        starts.advance(&[Arc::new(task(Operation::Remove))], false, now);
        assert_eq!(from(&starts, now), None);
        starts.advance(&[taken(10)], false, now);
        starts.forget(&[taken(10)]);
        assert_eq!(from(&starts, now), None);
    }
}
