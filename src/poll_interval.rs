//! The time between two polls of a loop. It is jittered so that replicas do not poll at the same time, and longer while
//! the database does not answer. Logs once that a loop fails and once that it works again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;

use crate::emit;
use crate::store::StoreError;
use crate::telemetry::chain;

/// After a failure, a loop with a long interval also tries again soon, and at most a few seconds after the database is
/// back.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The loops that failed and have not worked since.
#[derive(Debug, Clone, Default)]
pub struct Failing(Arc<Mutex<BTreeSet<&'static str>>>);

impl Failing {
    pub fn are_some(&self) -> bool {
        !self.names().is_empty()
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub struct PollInterval {
    name: &'static str,
    usual: Duration,
    failures: u32,
    failing: Failing,
}

impl PollInterval {
    /// An interval of `usual` for the loop `name`.
    pub fn new(name: &'static str, usual: Duration) -> Self {
        Self { name, usual, failures: 0, failing: Failing::default() }
    }

    /// Records failures of this loop in `failing`.
    pub fn among(self, failing: &Failing) -> Self {
        Self { failing: failing.clone(), ..self }
    }

    /// The next pause: the usual interval ± 10 %; after a failure a short one, doubled by every failure in a row.
    pub fn next(&self) -> Duration {
        let grown = FIRST_PAUSE.min(self.usual) * 2_u32.pow(self.failures.min(16));
        let pause = if self.failures == 0 { self.usual } else { grown.min(LONGEST_PAUSE) };
        pause.mul_f64(rand::rng().random_range(0.9..1.1))
    }

    pub fn on_success(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            self.failing.names().remove(self.name);
            emit!(DATABASE_RECOVERED, r#loop = self.name, "Database queries work again");
        }
    }

    pub fn on_failure(&mut self, error: &StoreError) {
        if self.failures == 0 {
            self.failing.names().insert(self.name);
            emit!(DATABASE_UNREACHABLE, r#loop = self.name, error = %chain(error), "Database query failed; retrying");
        }
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_jittered_and_grow_while_the_database_fails_up_to_a_limit() {
        let mut poll_interval = PollInterval::new("test", Duration::from_secs(1));
        assert!((0.9..1.1).contains(&poll_interval.next().as_secs_f64()));
        for _ in 0..20 {
            poll_interval.on_failure(&StoreError::Database(sqlx::Error::PoolTimedOut));
        }
        assert!((4.5..5.5).contains(&poll_interval.next().as_secs_f64()));
        poll_interval.on_success();
        assert!((0.9..1.1).contains(&poll_interval.next().as_secs_f64()));
    }
}
