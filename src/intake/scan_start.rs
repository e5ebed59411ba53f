//! After which row intake looks for new ones.
//!
//! Each row that was ordered leaves a dead entry in the index of arrivals, which no vacuum may take away while somebody
//! reads in a long transaction, and every scan would walk over all of them (Brandur, "Postgres Job Queues & Failure By
//! MVCC", 2015). Ids are given before they are committed, so that a row can appear behind the start: the start stays
//! behind what was ordered lately, and every now and then all rows are scanned. While there is more than a batch, all
//! rows are scanned too, for only that shares them out between workspaces.

use std::time::{Duration, Instant};

/// As long as an insert may take to commit and be seen at once.
const STAYS_BEHIND: Duration = Duration::from_secs(1);

/// How long a row that appears behind the start may wait.
const FULL_SCAN_EVERY: Duration = Duration::from_secs(5);

/// What is known of the rows that were ordered, by their ids.
#[derive(Debug)]
pub(super) struct ScanStart {
    after: i64,
    /// The next start, and since when it is known.
    next: (i64, Instant),
    highest: i64,
    full_scan_at: Instant,
}

impl ScanStart {
    /// Nothing is known yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { after: 0, next: (0, now), highest: 0, full_scan_at: now }
    }

    /// The id after which to scan now; `None` to scan all.
    pub(super) fn at(&self, now: Instant) -> Option<i64> {
        (now < self.full_scan_at).then_some(self.after)
    }

    /// The start that others may use, who scan all by themselves.
    pub(super) fn settled(&self) -> i64 {
        self.after
    }

    /// What a scan found and ordered: its highest id, and whether there may be more.
    pub(super) fn advance(&mut self, highest: Option<i64>, may_be_more: bool, now: Instant) {
        if may_be_more {
            self.full_scan_at = now;
        } else if now >= self.full_scan_at {
            self.full_scan_at = now + FULL_SCAN_EVERY;
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
    fn scans_stay_a_second_behind_what_was_ordered() {
        let began = Instant::now();
        let mut start = ScanStart::new(began);
        let mut seen = Vec::new();
        for tenth in 0_u32..45 {
            let now = began + TENTH * tenth;
            seen.push(start.at(now).unwrap_or(0));
            start.advance(Some(i64::from(tenth) + 1), false, now);
        }
        for (tenth, after) in (0_i64..).zip(seen) {
            assert!(after <= (tenth - 9).max(0), "at {tenth}: {after}");
            assert!(after >= tenth - 20, "at {tenth}: {after}");
        }
    }

    #[test]
    fn a_row_that_appears_behind_the_start_is_found_by_the_next_full_scan() {
        let began = Instant::now();
        let mut start = ScanStart::new(began);
        let scans = (0_u32..100).map(|tenth| {
            let now = began + TENTH * tenth;
            let at = start.at(now);
            start.advance(Some(1000), false, now);
            at
        });
        let full: Vec<_> =
            scans.enumerate().filter(|(_, at)| at.is_none()).map(|(n, _)| n).collect();
        assert_eq!(full, [0, 50]);
    }

    #[test]
    fn all_rows_are_scanned_until_a_scan_finds_no_more() {
        let now = Instant::now();
        let mut start = ScanStart::new(now);
        let mut full = Vec::new();
        for may_be_more in [true, true, false, false, true, false] {
            full.push(start.at(now).is_none());
            start.advance(Some(500), may_be_more, now);
        }
        assert_eq!(full, [true, true, true, false, false, true]);
    }
}
