//! After which row intake looks for new ones.
//!
//! Each row that was ordered leaves a dead entry in the index of arrivals, which no vacuum may take away while somebody
//! reads in a long transaction, and every look would walk over all of them (Brandur, "Postgres Job Queues & Failure By
//! MVCC", 2015). Ids are given before they are committed, so that a row can appear behind the floor: the floor stays
//! behind what was ordered lately, and every now and then intake sweeps from the first row on.

use std::time::{Duration, Instant};

/// As long as an insert may take to commit and be seen at once.
const STAYS_BEHIND: Duration = Duration::from_secs(1);

/// How long a row that appears behind the floor may wait.
const SWEEPS_EVERY: Duration = Duration::from_secs(5);

/// What is known of the rows that were ordered, by their ids.
#[derive(Debug)]
pub(super) struct Floor {
    after: i64,
    /// The next floor, and since when it is known.
    next: (i64, Instant),
    highest: i64,
    /// How far a sweep has come that is not at its end.
    sweep: Option<i64>,
    swept_at: Option<Instant>,
}

impl Floor {
    /// Nothing is known yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { after: 0, next: (0, now), highest: 0, sweep: None, swept_at: None }
    }

    /// The id after which to look now.
    pub(super) fn after(&mut self, now: Instant) -> i64 {
        if self.swept_at.is_none_or(|swept| now >= swept + SWEEPS_EVERY) {
            self.sweep.get_or_insert(0);
        }
        self.sweep.unwrap_or(self.after)
    }

    /// The floor that others may look from, who sweep by themselves.
    pub(super) fn settled(&self) -> i64 {
        self.after
    }

    /// What a look found and ordered: its highest id, and whether there may be more.
    pub(super) fn found(&mut self, highest: Option<i64>, may_be_more: bool, now: Instant) {
        if self.sweep.is_some() {
            self.sweep = highest.filter(|_| may_be_more);
            if self.sweep.is_none() {
                self.swept_at = Some(now);
            }
        }
        self.highest = self.highest.max(highest.unwrap_or(0));
        let (next, since) = self.next;
        if now >= since + STAYS_BEHIND {
            self.after = next;
            self.next = (self.highest, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: Duration = Duration::from_millis(100);

    #[test]
    fn looks_stay_a_second_behind_what_was_ordered() {
        let began = Instant::now();
        let mut floor = Floor::new(began);
        let mut seen = Vec::new();
        for tenth in 0_u32..45 {
            let now = began + TENTH * tenth;
            seen.push(floor.after(now));
            floor.found(Some(i64::from(tenth) + 1), false, now);
        }
        for (tenth, after) in (0_i64..).zip(seen) {
            assert!(after <= (tenth - 9).max(0), "at {tenth}: {after}");
            assert!(after >= tenth - 20, "at {tenth}: {after}");
        }
    }

    #[test]
    fn a_row_that_appears_behind_the_floor_is_found_by_the_next_sweep() {
        let began = Instant::now();
        let mut floor = Floor::new(began);
        let looks = (0_u32..100).map(|tenth| {
            let now = began + TENTH * tenth;
            let after = floor.after(now);
            floor.found(Some(1000), false, now);
            after
        });
        let sweeps: Vec<_> = looks.enumerate().skip(30).filter(|(_, after)| *after == 0).collect();
        assert_eq!(sweeps, [(50, 0)]);
    }

    #[test]
    fn a_sweep_goes_on_from_where_it_was_until_it_finds_no_more() {
        let now = Instant::now();
        let mut floor = Floor::new(now);
        let mut after = Vec::new();
        for (highest, may_be_more) in [(500, true), (1000, true), (1200, false), (1300, false)] {
            after.push(floor.after(now));
            floor.found(Some(highest), may_be_more, now);
        }
        assert_eq!(after, [0, 500, 1000, 0], "what came in the last second is looked at again");
    }
}
