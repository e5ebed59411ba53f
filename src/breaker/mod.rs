//! The circuit breaker of each integration: whether its tasks are admitted, and how many at a time.
//!
//! All replicas share it through PostgreSQL. While an integration is not active, the claim leaves it out: no task row
//! is written and no attempt is used. The outcome of the app's jobs moves the breaker ([`decide`]). A rejected login
//! stops the integration until a person has fixed it. People pause and resume integrations. Limits hold for all
//! replicas together.
//!
//! Invariant: only what an attempt showed of the app itself moves a breaker. While the integration is active, the
//! attempt must also have begun after the last change of status (gobreaker's generation), so that late results do not
//! trip it again. While it is probing, only the probe moves it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config;
use crate::membership::words;

pub mod decide;
pub mod store;

/// The status of an integration in the daemon's row. A pause is not part of it: people set it in the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Active,
    /// Only the probe is admitted.
    Probing,
    /// No task is admitted until a time.
    Tripped,
    /// The login was rejected: only a person makes the integration active again.
    LoginRejected,
}

words! {
    Cause {
        /// The app's jobs failed one after another.
        Failures = "failures",
        RateLimit = "rate_limit",
    }
}

impl Cause {
    /// The reason, in words for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Failures => "The app's automation failed several times in a row",
            Self::RateLimit => "The backend limits the rate of requests",
        }
    }
}

/// The breaker of one integration, as its row stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    pub status: Status,
    /// Why it tripped last, until it recovers.
    pub cause: Option<Cause>,
    /// When its status last changed; `None` if it never did.
    pub since: Option<DateTime<Utc>>,
    /// Failures of the app in a row.
    pub failures: u32,
    /// How often it tripped in a row, for failures or for rate limits that named no time, without a complete ramp in
    /// between.
    pub trips: u32,
    /// The limit of tasks in flight after a recovery; `None` if the ramp has ended.
    pub ramp: Option<u32>,
    /// The task that tries while the integration is probing.
    pub probe: Option<i64>,
}

/// What one step of a task showed of its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthSignal {
    /// Nothing: the app was not asked, or has not answered.
    Nothing,
    /// The backend answered about a member for whom nothing was left to do, so it does not limit the rate. This shows
    /// nothing of the app's automation.
    Answers,
    Runs,
    /// A job ended in any way but a transient failure: the app answers.
    Works,
    /// A job failed with a transient failure, as jobs do when the app itself has a problem.
    Fails,
    /// The backend limits the rate, with the wait that it asked for, if it named one.
    LimitsRate(Option<Duration>),
}

/// A signal, and the attempt that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub task: i64,
    /// When its job was started, or when it was claimed if it has no job.
    pub began: DateTime<Utc>,
    pub signal: HealthSignal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Count,
    /// The app works: failures are reset, and the ramp is raised by one task or ends.
    Forget {
        /// The limit of tasks in flight from now on; `None` when the ramp has ended.
        ramp: Option<u32>,
    },
    /// The backend answers: the ramp is raised or ends, and the failures of the app's jobs are kept.
    Raise(Option<u32>),
    Trip {
        cause: Cause,
        wait: Duration,
        /// How often it tripped in a row, this time included. Rate limits that name their time do not count.
        trips: u32,
    },
    Recover,
    /// The probe has a job running: no other task tries for this long.
    Await(Duration),
    /// The probe showed nothing of the app: another task may try at once.
    NextProbe,
}

/// The configured limits of breakers.
#[derive(Debug, Clone)]
pub struct BreakerPolicy {
    pub breaker: config::Breaker,
    /// How long a probe's job may run.
    pub longest_job: Duration,
    /// The first cooldown for a backend that limits the rate and names no time.
    rate_limit: Duration,
    /// The longest such cooldown, however often it limits the rate in a row.
    longest_rate_limit: Duration,
}

impl BreakerPolicy {
    pub fn new(config: &config::Config) -> Self {
        Self {
            breaker: config.breaker.clone(),
            longest_job: Duration::from_secs(config.job.within_s) + config.job.longest_poll(),
            rate_limit: Duration::from_secs(config.retry.rate_limit_s),
            longest_rate_limit: Duration::from_secs(config.retry.max_retry_after_s),
        }
    }

    /// How many tasks of an integration may be in flight, unless its settings say otherwise.
    pub fn max_in_flight(&self) -> Option<i32> {
        limit(self.breaker.max_in_flight)
    }

    /// How many tasks of an integration may be started per minute, unless its settings say otherwise.
    pub fn starts_per_minute(&self) -> Option<i32> {
        limit(self.breaker.starts_per_minute)
    }

    /// How long a breaker stays tripped that has already tripped `before` times in a row.
    fn cooldown_after(&self, before: u32) -> Duration {
        crate::backoff::delay(
            &config::Backoff {
                first_s: self.breaker.cooldown_first_s,
                factor: 2.0,
                max_s: self.breaker.cooldown_max_s,
                attempts: u32::MAX,
                within_s: u64::MAX,
                jitter: 0.1,
            },
            before.min(32),
        )
    }
}

fn limit(configured: u32) -> Option<i32> {
    i32::try_from(configured).ok().filter(|number| *number > 0)
}
