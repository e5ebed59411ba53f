//! The id after which intake scans for new rows.
//!
//! Each row that was ordered leaves a dead entry in the index of arrivals. Vacuum may not remove these entries while a
//! long transaction is open, and every scan would read all of them (Brandur, "Postgres Job Queues & Failure By MVCC",
//! 2015). Therefore a scan starts at a watermark. Ids are assigned before their rows are committed, so a row can appear
//! before the watermark. For that reason the watermark stays behind the rows that were ordered lately, and a full scan
//! runs from time to time. While there is more than one batch, every scan is a full scan, because only a full scan
//! shares the rows out between workspaces.

use std::time::{Duration, Instant};

/// The watermark stays this far behind what was ordered. A row that commits within this time after its id was assigned
/// is found without a full scan.
const STAYS_BEHIND: Duration = Duration::from_secs(1);

/// How long a row that appears before the watermark may wait.
const FULL_SCAN_EVERY: Duration = Duration::from_secs(5);

/// The watermark of the rows that were ordered, by their ids.
#[derive(Debug)]
pub(super) struct ScanStart {
    after: i64,
    /// The next watermark, and when it was taken.
    next: (i64, Instant),
    highest: i64,
    full_scan_at: Instant,
}

impl ScanStart {
    pub(super) fn new(now: Instant) -> Self {
        Self { after: 0, next: (0, now), highest: 0, full_scan_at: now }
    }

    /// The id after which to scan now; `None` for a full scan.
    pub(super) fn at(&self, now: Instant) -> Option<i64> {
        (now < self.full_scan_at).then_some(self.after)
    }

    /// The watermark for other loops, which run full scans of their own.
    pub(super) fn settled(&self) -> i64 {
        self.after
    }

    /// Advances by what a scan found and ordered: its highest id, and whether there may be more.
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
