//! Between the queue and one app: whether its tasks are let through, and how many at a time.
//!
//! Shared by all replicas through Postgres. A shut gate leaves the integration out of the claim: no task
//! row is touched and no attempt is used. What the app's jobs say moves the gate ([`decide`]); a refused
//! login shuts it until a person has mended it; people pause and resume; limits hold for the whole fleet.
//!
//! Invariant: only what an attempt showed of the app itself moves a gate, and only if that attempt began
//! after the gate last moved (gobreaker's generation): late news neither closes nor opens it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config;

pub mod decide;
pub mod store;

/// Where a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Tasks pass.
    Open,
    /// One task tries.
    HalfOpen,
    /// No task passes until a time.
    Closed,
    /// A person shut it, or a refused login did: only a person opens it.
    WithPerson,
}

/// Why a gate closed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The app's jobs failed one after another.
    Failures,
    /// The backend limits the rate.
    RateLimit,
}

impl Cause {
    /// The word in the row.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::RateLimit => "rate_limit",
        }
    }

    /// The reason for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Failures => "the app's automation failed several times in a row",
            Self::RateLimit => "the backend limits the rate of requests",
        }
    }
}

/// The gate of one integration, as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Where it stands.
    pub position: Position,
    /// Why it closed, if it did by itself.
    pub cause: Option<Cause>,
    /// When it last moved; `None` if it never did.
    pub since: Option<DateTime<Utc>>,
    /// Failures of the app in a row.
    pub failures: u32,
    /// How often it closed in a row for failures, without a slope climbed to its end in between.
    pub closings: u32,
    /// After an opening: tasks in flight at a time.
    pub slope: Option<u32>,
    /// The task that tries, while it is half open.
    pub probe: Option<i64>,
}

/// What one step of a task showed of its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Nothing: the app was not asked, or has not answered.
    Nothing,
    /// The backend runs a job in the app.
    Runs,
    /// A job ended with anything but an ordinary failure: the app answers.
    Works,
    /// A job failed as the app's own trouble makes jobs fail.
    Fails,
    /// The backend asked for fewer requests, and to wait so long.
    LimitsRate(Duration),
}

/// A sign, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The task.
    pub task: i64,
    /// When its job was started, or, without a job, when it was taken up.
    pub began: DateTime<Utc>,
    /// What it showed.
    pub sign: Sign,
}

/// How a gate moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// One more failure in a row.
    Count,
    /// The app works: failures are forgotten, and the slope is one task wider or at its end.
    Forget {
        /// Tasks in flight at a time from now on; `None` at the slope's end.
        slope: Option<u32>,
    },
    /// Closed for a time.
    Close {
        /// Why.
        cause: Cause,
        /// For how long.
        wait: Duration,
        /// How often in a row for failures, this time included.
        closings: u32,
    },
    /// The probe worked.
    Open,
    /// The probe has a job running: nobody else tries for so long.
    Await(Duration),
    /// The probe told nothing of the app: another task may try at once.
    NextProbe,
}

/// The numbers of gates.
#[derive(Debug, Clone)]
pub struct Policy {
    /// When gates close and open.
    pub gate: config::Gate,
    /// How long a probe's job may run.
    pub longest_job: Duration,
}

impl Policy {
    /// The policy as configured.
    pub fn new(config: &config::Config) -> Self {
        Self {
            gate: config.gate.clone(),
            longest_job: Duration::from_secs(config.job.within_s) + config.job.longest_look(),
        }
    }

    /// How many tasks of an integration may be in flight where its row does not say.
    pub fn max_in_flight(&self) -> Option<i32> {
        limit(self.gate.max_in_flight)
    }

    /// How many tasks of an integration may be taken up per minute where its row does not say.
    pub fn starts_per_minute(&self) -> Option<i32> {
        limit(self.gate.starts_per_minute)
    }

    /// How long a gate stays closed that closed `before` times in a row before.
    fn closed_for(&self, before: u32) -> Duration {
        crate::backoff::delay(
            &config::Backoff {
                first_s: self.gate.closed_first_s,
                factor: 2.0,
                max_s: self.gate.closed_max_s,
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
