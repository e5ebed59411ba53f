//! From which due time on a claim looks in an integration.
//!
//! Each task that went on or ended leaves a dead entry in the index of due times, which no vacuum may take away while
//! somebody reads in a long transaction, and every claim would walk over all of them (Brandur, "Postgres Job Queues &
//! Failure By MVCC", 2015). A claim takes the tasks of an integration in their order, so that those before the last one
//! are gone; who makes a task due does so from now on. What is due behind a start all the same, as a lease ended or
//! somebody held the row when it was its turn, is found by a look without one, every few seconds. Integrations that let
//! through only so many have none.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;

use super::ClaimedTask;
use crate::membership::Operation;

/// ScanStarts stay so far behind the last task: rows that somebody holds for a moment are looked at again.
const STAYS_BEHIND: TimeDelta = TimeDelta::seconds(1);

/// How long a task that is due behind the start may wait. Half of it is left to chance, or all integrations would be
/// looked at from their first task on at the same time.
const FULL_SCAN_EVERY: Duration = Duration::from_secs(10);

/// A part of an integration that claims take in order: its removals, or its other requests.
type Lane = (String, String, bool);

/// What this process knows, by workspace and integration.
#[derive(Debug, Default)]
pub struct ScanStarts {
    known: HashMap<Lane, Known>,
}

#[derive(Debug)]
struct Known {
    from: DateTime<Utc>,
    full_scan_at: Instant,
}

/// From when on to scan, by workspace and integration.
pub type DueFrom = BTreeMap<String, BTreeMap<String, Starts>>;

/// From when on to scan in one integration; from the first request on, where it says nothing.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Starts {
    pub removals: Option<DateTime<Utc>>,
    /// Among the other requests.
    pub others: Option<DateTime<Utc>>,
}

impl ScanStarts {
    /// The starts of a claim that begins now; other integrations are looked at from their first task on.
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

    /// Advances by the claim that began at `began`: what it took, and whether there may be more.
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

    /// Forgets the integrations of tasks that go back as they were.
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

    /// A task of integration `i` that was due then, and taken in order.
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
