//! Where a scan for due work starts.
//!
//! Each row that was worked on leaves a dead entry in the index that finds due work. Vacuum may not remove these entries
//! while a long transaction is open, and every scan would read all of them (Brandur, "Postgres Job Queues & Failure By
//! MVCC", 2015). Therefore a scan starts at a watermark: an id or a due time before which all rows are done. A row can
//! still appear before the watermark, because its transaction committed late, because its lease ended, or because it was
//! locked when its turn came. A full scan every few seconds finds it.

use std::time::{Duration, Instant};

use rand::RngExt;

/// How long a row that appears before the watermark may wait. Half of the time is random, so that scans which began
/// together do not have their full scans together.
const FULL_SCAN_EVERY: Duration = Duration::from_secs(5);

/// After a full scan that took long, this many times its duration passes without another one, up to [`LONGEST_REST`]: a
/// row before the watermark does not wait longer because the database is slow.
const FULL_SCAN_REST: u32 = 50;
const LONGEST_REST: Duration = Duration::from_secs(10);

/// The watermark of one scan, by ids or by due times.
#[derive(Debug)]
pub struct ScanStart<P> {
    from: Option<P>,
    full_scan_at: Instant,
}

impl<P: Copy + Ord> ScanStart<P> {
    /// Starts with a full scan.
    pub fn new(now: Instant) -> Self {
        Self { from: None, full_scan_at: now }
    }

    /// Where to start a scan now; `None` for a full scan.
    pub fn at(&self, now: Instant) -> Option<P> {
        self.from.filter(|_| now < self.full_scan_at)
    }

    /// Advances after a scan that began at `began` and did all rows before `reached`. A full scan that found rows sets
    /// the watermark where they are, because there may be more of them. A full scan that found none is done again if
    /// there may be more.
    pub fn advance(&mut self, reached: Option<P>, may_be_more: bool, began: Instant) {
        let was_full_scan = self.at(began).is_none();
        if was_full_scan && may_be_more && reached.is_none() {
            return;
        }
        if was_full_scan {
            self.full_scan_at = next_full_scan(began);
        }
        self.from = match (reached, self.from) {
            (Some(reached), Some(from)) if !was_full_scan || !may_be_more => {
                Some(reached.max(from))
            }
            (reached, from) => reached.or(from),
        };
    }

    /// Makes the next scan a full scan.
    pub fn restart(&mut self, now: Instant) {
        self.full_scan_at = now;
    }
}

fn next_full_scan(began: Instant) -> Instant {
    let rest = (began.elapsed() * FULL_SCAN_REST).clamp(FULL_SCAN_EVERY, LONGEST_REST);
    Instant::now() + rest.mul_f64(rand::rng().random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scan that has done all rows before 10.
    fn start(now: Instant) -> ScanStart<i64> {
        let mut start = ScanStart::new(now);
        start.advance(Some(10), false, now);
        start
    }

    #[test]
    fn a_scan_starts_where_the_last_one_ended() {
        let now = Instant::now();
        let mut start = start(now);
        assert_eq!(start.at(now), Some(10));
        start.advance(Some(20), true, now);
        assert_eq!(start.at(now), Some(20));
        start.advance(None, false, now);
        start.advance(Some(3), true, now);
        assert_eq!(start.at(now), Some(20), "a row that was locked for a moment does not lower it");
    }

    #[test]
    fn every_few_seconds_a_scan_starts_at_the_first_row_and_goes_on_from_what_it_found() {
        let now = Instant::now();
        let mut start = start(now);
        assert_eq!(start.at(now + FULL_SCAN_EVERY / 2 - Duration::from_millis(1)), Some(10));
        let later = now + FULL_SCAN_EVERY * 2;
        assert_eq!(start.at(later), None);
        start.advance(Some(2), true, later);
        assert_eq!(start.from, Some(2), "there may be more of the old ones");
    }

    #[test]
    fn a_full_scan_that_did_all_leaves_the_start_where_it_is() {
        let now = Instant::now();
        let mut start = start(now);
        let later = now + FULL_SCAN_EVERY * 2;
        start.advance(None, true, later);
        assert_eq!(start.at(later), None, "others may have filled the claim");
        start.advance(Some(2), false, later);
        assert_eq!(start.from, Some(10));
    }

    #[test]
    fn a_slow_database_makes_nobody_wait_longer_for_a_full_scan() {
        let now = Instant::now();
        let hour = Duration::from_secs(3600);
        let Some(began) = now.checked_sub(hour) else { return };
        assert!(next_full_scan(began) <= Instant::now() + LONGEST_REST);
    }

    #[test]
    fn a_scan_that_is_restarted_reads_all_rows_until_a_full_scan_ends() {
        let now = Instant::now();
        let mut start = start(now);
        start.restart(now);
        assert_eq!(start.at(now), None);
        start.advance(None, true, now);
        assert_eq!(start.at(now), None);
        start.advance(None, false, now);
        assert_eq!(start.at(now), Some(10));
    }
}
