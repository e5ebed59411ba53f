//! The time between two polls of a loop. It is jittered so that replicas do not poll at the same time, and longer while
//! the database does not answer. Logs once that a loop fails and once that it works again, and notes for the probes when
//! it last made progress.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::emit;
use crate::store::StoreError;
use crate::telemetry::chain;
use crate::telemetry::metrics::LoopName;

/// After a failure, a loop with a long interval also tries again soon, and at most a few seconds after the database is
/// back.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The loops of the daemon, and how they are.
#[derive(Debug, Clone, Default)]
pub struct Loops(Arc<Mutex<BTreeMap<LoopName, Progress>>>);

#[derive(Debug)]
struct Progress {
    /// The latest round that ended, well or not.
    at: Instant,
    /// Whether it failed.
    is_failing: bool,
}

/// A loop that has not ended a round for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled {
    pub name: LoopName,
    pub since: Duration,
}

impl Loops {
    /// A loop that failed and has not worked since.
    pub fn failing(&self) -> Option<LoopName> {
        self.by_name().iter().find(|(_, progress)| progress.is_failing).map(|(name, _)| *name)
    }

    /// The loop that has stalled for longest, if one has for more than `limit`.
    pub fn stalled(&self, limit: Duration) -> Option<Stalled> {
        let loops = self.by_name();
        let stalled = loops
            .iter()
            .map(|(name, progress)| Stalled { name: *name, since: progress.at.elapsed() });
        stalled.filter(|one| one.since > limit).max_by_key(|one| one.since)
    }

    /// The time since each loop that has started made progress.
    pub fn ages(&self) -> Vec<(LoopName, Duration)> {
        self.by_name().iter().map(|(name, progress)| (*name, progress.at.elapsed())).collect()
    }

    fn note(&self, name: LoopName, is_failing: bool) {
        self.by_name().insert(name, Progress { at: Instant::now(), is_failing });
    }

    fn by_name(&self) -> MutexGuard<'_, BTreeMap<LoopName, Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub struct PollInterval {
    name: LoopName,
    usual: Duration,
    failures: u32,
    loops: Loops,
}

impl PollInterval {
    /// An interval of `usual` for the loop `name`.
    pub fn new(name: LoopName, usual: Duration) -> Self {
        Self { name, usual, failures: 0, loops: Loops::default() }
    }

    /// Notes in `loops` how this loop is.
    pub fn among(self, loops: &Loops) -> Self {
        loops.note(self.name, false);
        Self { loops: loops.clone(), ..self }
    }

    /// Notes that the loop goes on, where a round has no end to note.
    pub fn on_progress(&self) {
        self.loops.note(self.name, self.failures > 0);
    }

    /// Whether the latest round failed.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The next pause: the usual interval ± 10 %; after a failure a short one, doubled by every failure in a row.
    pub fn next(&self) -> Duration {
        let grown = FIRST_PAUSE.min(self.usual) * 2_u32.pow(self.failures.min(16));
        let pause = if self.failures == 0 { self.usual } else { grown.min(LONGEST_PAUSE) };
        pause.mul_f64(rand::rng().random_range(0.9..1.1))
    }

    pub fn on_success(&mut self) {
        self.loops.note(self.name, false);
        if std::mem::take(&mut self.failures) > 0 {
            emit!(DATABASE_RECOVERED, r#loop = self.name.as_str(), "Database queries work again");
        }
    }

    pub fn on_failure(&mut self, error: &StoreError) {
        self.loops.note(self.name, true);
        if self.failures == 0 {
            emit!(DATABASE_UNREACHABLE, r#loop = self.name.as_str(), error = %chain(error), "Database query failed; retrying");
        }
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_ends_no_round_is_stalled_and_one_that_fails_is_not() {
        let loops = Loops::default();
        let mut fails = PollInterval::new(LoopName::Intake, Duration::from_secs(1)).among(&loops);
        let _stuck = PollInterval::new(LoopName::Upkeep, Duration::from_secs(1)).among(&loops);
        assert_eq!(loops.stalled(Duration::from_secs(60)), None);
        fails.on_failure(&StoreError::Database(sqlx::Error::PoolTimedOut));
        let stalled = loops.stalled(Duration::ZERO).expect("time has passed");
        assert_eq!(stalled.name, LoopName::Upkeep);
        assert_eq!(loops.failing(), Some(LoopName::Intake));
        fails.on_progress();
        assert_eq!(loops.failing(), Some(LoopName::Intake), "to go on is not to work");
        fails.on_success();
        assert_eq!(loops.failing(), None);
    }

    #[test]
    fn pauses_are_jittered_and_grow_while_the_database_fails_up_to_a_limit() {
        let mut poll_interval = PollInterval::new(LoopName::Tasks, Duration::from_secs(1));
        assert!((0.9..1.1).contains(&poll_interval.next().as_secs_f64()));
        for _ in 0..20 {
            poll_interval.on_failure(&StoreError::Database(sqlx::Error::PoolTimedOut));
        }
        assert!((4.5..5.5).contains(&poll_interval.next().as_secs_f64()));
        poll_interval.on_success();
        assert!((0.9..1.1).contains(&poll_interval.next().as_secs_f64()));
    }
}
