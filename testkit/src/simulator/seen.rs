//! What was done in the apps, in the form that tests read.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::fate::Operation;
use super::world::Place;

/// Who made a change in the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    Automation,
    /// A job that the client did not ask for.
    Elsewhere,
    /// A person logged in to the app.
    Person,
}

/// A change that was made in the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    pub at: DateTime<Utc>,
    pub place: Place,
    /// The id of the changed member.
    pub member: String,
    pub operation: Operation,
    pub author: Author,
    /// What the member holds afterwards: after a removal nothing, or what is left over on assets.
    pub entitlements: BTreeSet<String>,
}

/// A job that was started for a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Start {
    pub at: DateTime<Utc>,
    /// When the job ends; `None` if it never does.
    pub ends_at: Option<DateTime<Utc>>,
    pub place: Place,
    /// The id of the member.
    pub member: String,
    /// What the job is to do.
    pub operation: Operation,
    /// What the member is to hold.
    pub entitlements: BTreeSet<String>,
    pub job: String,
    /// Whether the client receives the id of the job.
    pub is_heard: bool,
}
