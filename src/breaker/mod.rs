//! The circuit breaker of each integration: whether its tasks are admitted, and how many at a time.
//!
//! All replicas share it through PostgreSQL. While an integration is not active, the claim leaves it out: no task
//! row is touched and no attempt is used. The outcome of the app's jobs moves the breaker ([`decide`]). A rejected
//! login stops the integration until a person has fixed it. People pause and resume. Limits hold for all replicas.
//!
//! Invariant: only what an attempt showed of the app itself moves a breaker, and only if that attempt began
//! after the last change of status (gobreaker's generation): late results neither trip nor recover it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config;
use crate::membership::words;

pub mod decide;
pub mod store;

/// The status of an integration, as the breaker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Active,
    /// One task is tried.
    Probing,
    /// No task is admitted until a time.
    Tripped,
    /// Paused, or the login was rejected: only a person makes it active again.
    WithPerson,
}

words! {
    /// Why a breaker tripped.
    Cause {
        /// The app's jobs failed one after another.
        Failures = "failures",
        /// The backend limits the rate.
        RateLimit = "rate_limit",
    }
}

impl Cause {
    /// The reason for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Failures => "The app's automation failed several times in a row",
            Self::RateLimit => "The backend limits the rate of requests",
        }
    }
}

/// The breaker of one integration, as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    pub status: Status,
    /// Why it tripped, if it did.
    pub cause: Option<Cause>,
    /// When its status last changed; `None` if it never did.
    pub since: Option<DateTime<Utc>>,
    /// Failures of the app in a row.
    pub failures: u32,
    /// How often it tripped in a row for failures or for limits without a time, without a complete ramp in between.
    pub trips: u32,
    /// After a recovery: tasks in flight at a time.
    pub ramp: Option<u32>,
    /// The task that is tried while it is probing.
    pub probe: Option<i64>,
}

/// What one step of a task showed of its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthSignal {
    /// Nothing: the app was not asked, or has not answered.
    Nothing,
    /// The backend answered about a member of whom nothing was left to do: it does not limit the rate. Of the app's
    /// automation this shows nothing.
    Answers,
    /// The backend runs a job in the app.
    Runs,
    /// A job ended with anything but an ordinary failure: the app answers.
    Works,
    /// A job failed as the app's own trouble makes jobs fail.
    Fails,
    /// The backend asked for fewer requests, and to wait so long if it told.
    LimitsRate(Option<Duration>),
}

/// A signal, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub task: i64,
    /// When its job was started, or, without a job, when it was taken up.
    pub began: DateTime<Utc>,
    pub signal: HealthSignal,
}

/// How a breaker moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// One more failure in a row.
    Count,
    /// The app works: failures are forgotten, and the ramp is raised by one task or ends.
    Forget {
        /// Tasks in flight at a time from now on; `None` when the ramp has ended.
        ramp: Option<u32>,
    },
    /// The backend answers: the ramp is raised or ends, and what the app's jobs did is not forgotten.
    Raise(Option<u32>),
    /// Tripped for a time.
    Trip {
        cause: Cause,
        wait: Duration,
        /// How often in a row, this time included; limits that tell their time are not counted.
        trips: u32,
    },
    Recover,
    /// The probe has a job running: nobody else tries for so long.
    Await(Duration),
    /// The probe told nothing of the app: another task may try at once.
    NextProbe,
}

/// The numbers of breakers.
#[derive(Debug, Clone)]
pub struct BreakerPolicy {
    /// When breakers trip and recover.
    pub breaker: config::Breaker,
    /// How long a probe's job may run.
    pub longest_job: Duration,
    /// How long the backend is left alone that limits the rate and does not say for how long.
    rate_limit: Duration,
    /// However often in a row it does that.
    longest_rate_limit: Duration,
}

impl BreakerPolicy {
    /// The policy as configured.
    pub fn new(config: &config::Config) -> Self {
        Self {
            breaker: config.breaker.clone(),
            longest_job: Duration::from_secs(config.job.within_s) + config.job.longest_poll(),
            rate_limit: Duration::from_secs(config.retry.rate_limit_s),
            longest_rate_limit: Duration::from_secs(config.retry.max_retry_after_s),
        }
    }

    /// How many tasks of an integration may be in flight where its row does not say.
    pub fn max_in_flight(&self) -> Option<i32> {
        limit(self.breaker.max_in_flight)
    }

    /// How many tasks of an integration may be taken up per minute where its row does not say.
    pub fn starts_per_minute(&self) -> Option<i32> {
        limit(self.breaker.starts_per_minute)
    }

    /// How long a breaker stays tripped that tripped `before` times in a row before.
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
