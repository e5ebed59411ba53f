//! What was done in the apps, as a test is told of it.

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
    /// Somebody logged in to the app.
    Person,
}

/// A change that was made in the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    pub at: DateTime<Utc>,
    pub place: Place,
    /// To whom: the id of the member.
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
    /// For whom: the id of the member.
    pub member: String,
    /// What it is to do.
    pub operation: Operation,
    /// What the member is to hold.
    pub entitlements: BTreeSet<String>,
    /// The id of the job.
    pub job: String,
    /// Whether the client will learn that id.
    pub is_heard: bool,
}
