//! The backend's own clock: how far it is from everybody else's, and how it writes times.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// How the times of jobs and reports are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamps {
    /// With a zone, and of every other one without it: servers differ.
    #[default]
    Mixed,
    Naive,
    /// Without a zone, hyphens and colons.
    Compact,
    /// Seconds since 1970, with a fraction.
    Seconds,
    Milliseconds,
    Missing,
}

/// What the backend takes for the time, in its header `Date` and in all that it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// How far it is ahead; negative if it is behind.
    pub ahead: TimeDelta,
    /// How it writes the times of jobs and reports.
    pub stamps: Stamps,
}

impl Default for Clock {
    fn default() -> Self {
        Self { ahead: TimeDelta::zero(), stamps: Stamps::default() }
    }
}

impl Clock {
    pub(super) fn now(&self) -> DateTime<Utc> {
        super::now() + self.ahead
    }

    /// A time as this clock has it and writes it; `naive` tells those apart that differ by themselves.
    pub(super) fn stamp(&self, at: DateTime<Utc>, naive: bool) -> Value {
        let at = at + self.ahead;
        match (self.stamps, naive) {
            (Stamps::Mixed, false) => json!(at.format("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()),
            (Stamps::Mixed | Stamps::Naive, _) => {
                json!(at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
            }
            (Stamps::Compact, _) => json!(at.format("%Y%m%dT%H%M%S").to_string()),
            (Stamps::Seconds, _) => json!(at.timestamp_millis() as f64 / 1000.0),
            (Stamps::Milliseconds, _) => json!(at.timestamp_millis()),
            (Stamps::Missing, _) => Value::Null,
        }
    }
}

/// A time as headers write it.
pub(super) fn http_date(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
