//! The evidence of a month: what was asked for, who did it, and what proves it.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::period::Period;

/// One request that a person had to do: who asked, who did it, and what proves it.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvidenceLine {
    pub action_id: i64,
    /// Whether a snapshot of the app showed that it is so.
    pub is_proven: bool,
    pub status: String,
    pub operation: String,
    pub workspace_id: String,
    pub integration_id: String,
    pub integration_name: String,
    pub application: String,
    pub member_id: String,
    pub member_email: String,
    pub member_name: Option<String>,
    /// manual, workspace_policy, system or user_deprovisioned.
    pub trigger: String,
    /// Who asked, as the backend names people.
    pub requested_by: Option<String>,
    pub requested_at: DateTime<Utc>,
    /// When automation gave it to people.
    pub opened_at: DateTime<Utc>,
    pub reason: String,
    pub failure_code: Option<String>,
    pub done_by: Option<String>,
    pub done_at: Option<DateTime<Utc>>,
    /// The second person, where the app cannot be read.
    pub confirmed_by: Option<String>,
    pub confirmed_at: Option<DateTime<Utc>>,
    pub verdict: Option<String>,
    pub verdict_at: Option<DateTime<Utc>>,
    /// What the verdict rests on.
    pub observed: Option<String>,
    /// The sync whose snapshot gave the verdict, when that began, and its hash.
    pub sync_id: Option<i64>,
    pub snapshot_started_at: Option<DateTime<Utc>>,
    pub snapshot_hash: Option<String>,
    /// Who approved the report of that sync, if it was held.
    pub report_approved_by: Option<String>,
    /// How often it was marked done and not so in the app.
    pub reopened_count: i32,
    pub closed_at: Option<DateTime<Utc>>,
    pub note: Option<String>,
}

/// How many requests of the month are in a status, those included whose actions retention has deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvidenceTotal {
    pub operation: String,
    pub status: String,
    pub is_proven: bool,
    pub actions: i64,
    /// Retention has deleted so many of them: the trail keeps what happened, without the person.
    pub deleted: i64,
}

/// What the lines of a month belong to.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvidenceHead {
    #[serde(skip)]
    #[schema(ignore)]
    period: Period,
    pub workspace: String,
    /// The first and the last day on which was asked, in UTC.
    pub from: NaiveDate,
    pub to: NaiveDate,
    /// When the lines were read.
    pub read_at: DateTime<Utc>,
    pub totals: Vec<EvidenceTotal>,
}

/// Where a list of evidence goes on: after this line, in this part. A line may be proven meanwhile, so the id alone would not
/// say what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub is_proven: bool,
    pub id: i64,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a place in a list of evidence is written as unproven-42 or proven-42")]
pub struct NoPlace;

impl Display for Place {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", if self.is_proven { "proven" } else { "unproven" }, self.id)
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (part, id) = text.split_once('-').ok_or(NoPlace)?;
        let is_proven = match part {
            "proven" => true,
            "unproven" => false,
            _ => return Err(NoPlace),
        };
        Ok(Self { is_proven, id: id.parse().map_err(|_| NoPlace)? })
    }
}

impl EvidenceLine {
    pub fn place(&self) -> Place {
        Place { is_proven: self.is_proven, id: self.action_id }
    }
}

impl EvidenceHead {
    pub fn new(
        workspace: &str,
        period: Period,
        read_at: DateTime<Utc>,
        totals: Vec<EvidenceTotal>,
    ) -> Self {
        let (from, to) = (period.first(), period.last());
        Self { period, workspace: workspace.to_owned(), from, to, read_at, totals }
    }

    pub fn period(&self) -> Period {
        self.period
    }

    pub fn actions(&self) -> i64 {
        self.totals.iter().map(|total| total.actions).sum()
    }

    pub fn proven(&self) -> i64 {
        self.totals.iter().filter(|total| total.is_proven).map(|total| total.actions).sum()
    }

    pub fn deleted(&self) -> i64 {
        self.totals.iter().map(|total| total.deleted).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for place in [Place { is_proven: true, id: 7 }, Place { is_proven: false, id: 42 }] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for other in ["7", "proven", "proven-x", "seen-7", ""] {
            assert_eq!(other.parse::<Place>(), Err(NoPlace), "{other}");
        }
    }
}
