//! How often each thing happened, and how long it took at most, told from anywhere.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// Counts and times by what was done.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    longest: Mutex<BTreeMap<&'static str, Duration>>,
}

impl Tally {
    pub(super) fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }

    pub(super) fn took(&self, what: &'static str, time: Duration) {
        let mut longest = self.longest.lock().unwrap();
        let known = longest.entry(what).or_default();
        *known = time.max(*known);
    }

    pub(super) fn all(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().unwrap().clone()
    }

    pub(super) fn longest(&self) -> BTreeMap<&'static str, Duration> {
        self.longest.lock().unwrap().clone()
    }
}
