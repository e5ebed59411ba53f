//! The backend's own clock: its offset from other clocks, and its format of times.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// The format of the times of jobs and reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamps {
    /// With a zone, and every other one without it, because servers differ.
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

/// The backend's current time, in its header `Date` and in all that it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// How far it is ahead; negative if it is behind.
    pub ahead: TimeDelta,
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

    /// A time by this clock in its format; `naive` selects the form without a zone where both occur.
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

/// A time in the format of headers.
pub(super) fn http_date(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
