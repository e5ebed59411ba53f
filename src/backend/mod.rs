//! The Cerby backend in our words: the only place that speaks HTTP to it.
//!
//! Two kinds of failure, two types: *the task failed* ([`Failure`], the backend's word about a job) and
//! *the backend did not answer* ([`BackendError`]). `docs/backend-api.yaml` describes every call.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config::Retry;
use crate::identity::Keys;
use crate::membership::{Entitlements, SeenMember};

mod answer;
mod change;
pub mod failure;
mod http;
mod outage;
mod text;
mod wire;

pub use answer::plain as plain_code;
pub use change::describe;
pub use failure::Failure;
pub use http::Client;
pub use outage::{Opening, Scope};

/// Why a call brought no usable answer. Texts carry statuses and codes, never bodies.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The request never left: nothing happened at the backend.
    #[error("the backend is not reachable")]
    Unreachable(#[source] reqwest::Error),
    /// The request left and no answer came back whole: what it did is unknown.
    #[error("no complete response from the backend")]
    NoAnswer(#[source] reqwest::Error),
    /// A success status with something else than the promised body, a status that is neither yes nor no, or
    /// a 404 that is not the backend's: what it did is unknown.
    #[error("unexpected response from the backend: {0}")]
    UnexpectedResponse(String),
    /// 429: too many requests; nothing happened.
    #[error("the backend limits the rate of requests")]
    RateLimited {
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// 401 or 403: our key is refused; nothing happened.
    #[error("the backend rejected the API key (HTTP {status})")]
    KeyRejected { status: u16 },
    /// 408, 502, 503 or 504: something before the backend answered in its place.
    #[error("the backend is unavailable (HTTP {status})")]
    Unavailable {
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Another 5xx: it broke while it worked on the request.
    #[error("the backend is failing (HTTP {status})")]
    ServerError { status: u16 },
    /// 404 or 410 with an error body: the thing asked for does not exist.
    #[error("the backend has no such resource: {code}")]
    NotFound {
        /// The code of the error body.
        code: String,
    },
    /// Another 4xx, or an error body in a 200: the backend said no.
    #[error("the backend refused the request (HTTP {status}): {code}")]
    Refused {
        /// The status in the error body, or else of the answer.
        status: u16,
        /// The code of the error body.
        code: String,
    },
}

impl BackendError {
    /// Whether the request may have had an effect that nobody told us of.
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::UnexpectedResponse(_) | Self::ServerError { .. } => true,
            // A gateway in the middle may have passed the request on before it gave up.
            Self::Unavailable { status, .. } => *status != 503,
            Self::Unreachable(_)
            | Self::RateLimited { .. }
            | Self::KeyRejected { .. }
            | Self::NotFound { .. }
            | Self::Refused { .. } => false,
        }
    }

    /// Whether the backend itself has spoken, if only to say no. Anything else says nothing of what was asked for.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::NotFound { .. } => true,
            // Without a word of its own it may be anything before the backend that refused.
            Self::Refused { code, .. } => code != answer::NO_CODE,
            Self::Unreachable(_)
            | Self::NoAnswer(_)
            | Self::UnexpectedResponse(_)
            | Self::KeyRejected { .. }
            | Self::Unavailable { .. }
            | Self::ServerError { .. } => false,
        }
    }

    /// Whether it cannot be about one app alone: there is no way to the backend, or the key is none of its keys.
    pub fn is_of_the_way(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::KeyRejected { status: 401 })
    }

    /// How long the backend asked to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// How long the backend is to be left alone after this, within what `limits` allow; nothing unless it asked.
    pub fn retry_delay(&self, limits: &Retry) -> Duration {
        let longest = Duration::from_secs(limits.max_retry_after_s);
        match (self.asked(), self) {
            (Some(asked), _) => asked.min(longest),
            (None, Self::RateLimited { .. }) => Duration::from_secs(limits.rate_limit_s),
            (None, _) => Duration::ZERO,
        }
    }

    /// The same, if it is a time to come: now, or a time that is over, is no answer to how long a limit lasts.
    pub fn asked(&self) -> Option<Duration> {
        self.retry_after().filter(|asked| !asked.is_zero())
    }
}

/// The backend's job, as far as we need it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// How long ago it was made, by the backend's own clock, where it tells both times and they make sense.
    pub age: Option<Duration>,
    /// Whether and how it ended.
    pub progress: Progress,
}

/// How far a job is. Unknown statuses are still running.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    Running,
    /// Ended; the backend says well.
    Finished,
    /// Ended; the backend says badly.
    Failed(Failure),
}

/// One snapshot of all members of an integration, with what speaks against its completeness.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    pub members: Vec<SeenMember>,
    /// How many pages were read.
    pub pages: u32,
    /// How many members there are, by the API's word.
    pub total: Option<u64>,
    /// Why absence proves nothing; empty for a complete snapshot.
    pub gaps: Vec<Gap>,
}

impl Snapshot {
    /// Whether absence from this snapshot proves anything.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Whether it shows nobody, or so many that an app may have stopped after its first pages: absence from such a list
    /// proves nothing by itself.
    pub fn may_be_cut(&self) -> bool {
        is_round(self.members.len() as u64)
    }
}

/// Whether an app whose list stops after some pages shows so many people, for pages hold a multiple of 25; nobody counts
/// too.
pub fn is_round(people: u64) -> bool {
    people.is_multiple_of(25)
}

/// Something that makes a snapshot incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// A page showed somebody an earlier page had shown, or the same entry twice: whoever it stands for is not there.
    RepeatedMember,
    /// More pages than allowed.
    EndlessPages,
    /// Fewer or more members than the total says.
    TotalDiffers,
    /// No total: nothing tells whether these are all.
    NoTotal,
    /// The total changed while reading.
    TotalChanged,
    /// Nobody at all: an app whose page stays empty looks like this.
    Empty,
    /// Fewer members than before, of whom more are gone than were asked to go: a list that was cut looks like this.
    Shrunk,
    /// A member that could not be read: without id, email and name.
    UnreadableMember,
}

impl Gap {
    /// What the list lacks, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::RepeatedMember => "somebody is listed twice",
            Self::EndlessPages => "it has more pages than are read",
            Self::TotalDiffers => "its total is another number",
            Self::NoTotal => "it has no total",
            Self::TotalChanged => "its total changed while it was read",
            Self::Empty => "it shows nobody at all",
            Self::Shrunk => "it shows fewer people than before",
            Self::UnreadableMember => "it has an entry that cannot be read",
        }
    }
}

/// What a check for updates found that Cerby does not know yet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UpdateReport {
    /// Identity of exactly this report; an apply names it.
    pub id: String,
    /// When it was made, by the backend's clock.
    pub created_at: Option<DateTime<Utc>>,
    /// Members read, by the backend's word.
    pub members_read: Option<u64>,
    /// Members there are, by the backend's word.
    pub members_total: Option<u64>,
    /// Whether it was applied before.
    pub applied: bool,
    /// People in the app whom Cerby does not know.
    pub new_members: Vec<Reported>,
    /// Members whom Cerby knows and the app no longer has.
    pub removed_members: Vec<Reported>,
    /// Members with other roles than Cerby knows.
    pub changed_members: Vec<Reported>,
}

/// A person in a report: by id, or where Cerby has matched nobody, by email or name in the app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "ReportedFields")]
pub struct Reported {
    /// The Cerby user id.
    #[serde(rename = "id")]
    pub member: Option<String>,
    /// The email in the app.
    pub email: Option<String>,
    /// The name in the app.
    pub username: Option<String>,
    /// The roles that they have in the app, by the report's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Entitlements>,
}

#[derive(serde::Deserialize)]
struct ReportedFields {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    username: Option<String>,
    /// The roles of somebody whose roles changed.
    #[serde(default)]
    to: Option<serde_json::Value>,
    /// The roles of somebody new.
    #[serde(default)]
    entitlements: Option<serde_json::Value>,
    /// The same in our own rows.
    #[serde(default)]
    roles: Option<serde_json::Value>,
}

impl Reported {
    /// What they are known by.
    pub fn keys(&self) -> Keys<'_> {
        Keys::new(self.member.as_deref(), self.email.as_deref(), self.username.as_deref())
    }
}

impl TryFrom<ReportedFields> for Reported {
    type Error = &'static str;

    fn try_from(fields: ReportedFields) -> Result<Self, Self::Error> {
        let id = fields.id.filter(|id| !id.trim().is_empty());
        if id.as_deref().is_some_and(|id| !wire::is_storable(id)) {
            return Err("an id that is none");
        }
        let (email, username) = (wire::name(fields.email), wire::name(fields.username));
        if id.is_none() && email.is_none() && username.is_none() {
            return Err("nobody");
        }
        // Roles that cannot be read are unknown, and hide nobody.
        let roles = fields.to.or(fields.entitlements).or(fields.roles);
        let roles = roles.and_then(|roles| serde_json::from_value(roles).ok());
        Ok(Self { member: id, email, username, roles })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any error of the HTTP client: what it says does not matter here.
    fn cause() -> reqwest::Error {
        reqwest::Proxy::http("no address").unwrap_err()
    }

    #[test]
    fn what_an_error_leaves_open_and_asks_for_is_in_this_table() {
        use BackendError as E;
        let week = Some(Duration::from_secs(7 * 24 * 60 * 60));
        let code = || "a_code".to_owned();
        // The error, whether it may have had an effect, and the wait that it asks for.
        let table = [
            (E::Unreachable(cause()), false, None),
            (E::NoAnswer(cause()), true, None),
            (E::UnexpectedResponse("HTML".to_owned()), true, None),
            (E::RateLimited { retry_after: None }, false, None),
            (E::RateLimited { retry_after: week }, false, week),
            (E::KeyRejected { status: 401 }, false, None),
            (E::KeyRejected { status: 403 }, false, None),
            (E::Unavailable { status: 408, retry_after: None }, true, None),
            (E::Unavailable { status: 502, retry_after: week }, true, week),
            (E::Unavailable { status: 503, retry_after: week }, false, week),
            (E::Unavailable { status: 503, retry_after: None }, false, None),
            (E::Unavailable { status: 504, retry_after: None }, true, None),
            (E::ServerError { status: 500 }, true, None),
            (E::ServerError { status: 501 }, true, None),
            (E::NotFound { code: code() }, false, None),
            (E::Refused { status: 400, code: code() }, false, None),
            (E::Refused { status: 200, code: code() }, false, None),
        ];
        for (error, is_uncertain, retry_after) in table {
            assert_eq!(error.is_uncertain(), is_uncertain, "{error:?}");
            assert_eq!(error.retry_after(), retry_after, "{error:?}");
        }
    }
}
