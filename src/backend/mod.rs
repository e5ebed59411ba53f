//! The client of the Cerby backend: the only place that sends HTTP requests to it.
//!
//! There are two kinds of failure with one type each: *the task failed* ([`Failure`], what the backend reports about a
//! job) and *the backend gave no usable answer* ([`BackendError`]). `docs/backend-api.yaml` describes every call.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config::Retry;
use crate::identity::Keys;
use crate::membership::{Entitlements, SeenMember};
use crate::telemetry::metrics::RequestOutcome;

mod answer;
mod change;
mod described;
pub mod failure;
mod http;
mod key;
mod outage;
mod request;
mod text;
mod traced;
mod wire;

pub use change::describe;
pub use described::{DescribedJob, Person};
pub use failure::Failure;
pub use http::Client;
pub use outage::{Opening, Scope};
pub use text::plain_code;

/// Why a call brought no usable answer. The texts contain statuses and codes, never bodies.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The request was never sent: nothing happened at the backend.
    #[error("the backend is not reachable")]
    Unreachable(#[source] reqwest::Error),
    /// The request was sent and no complete answer came back: its effect is unknown.
    #[error("no complete response from the backend")]
    NoAnswer(#[source] reqwest::Error),
    /// A success status with a body other than the promised one, a status that means neither success nor refusal, or a
    /// 404 that does not come from the backend: its effect is unknown.
    #[error("unexpected response from the backend: {0}")]
    UnexpectedResponse(String),
    /// 429: too many requests; nothing happened.
    #[error("the backend limits the rate of requests")]
    RateLimited {
        /// How long the backend asks to wait.
        retry_after: Option<Duration>,
    },
    /// 401 or 403: our key is rejected; nothing happened.
    #[error("the backend rejected the API key (HTTP {status})")]
    KeyRejected { status: u16 },
    /// 408, 502, 503 or 504: a server in front of the backend answered instead of it.
    #[error("the backend is unavailable (HTTP {status})")]
    Unavailable {
        status: u16,
        /// How long the answer asks to wait.
        retry_after: Option<Duration>,
    },
    /// Another 5xx: the backend failed while it worked on the request.
    #[error("the backend is failing (HTTP {status})")]
    ServerError { status: u16 },
    /// 404 or 410 with an error body: the requested object does not exist.
    #[error("the backend has no such resource: {code}")]
    NotFound { code: String },
    /// Another 4xx, or an error body in a 200: the backend refused.
    #[error("the backend refused the request (HTTP {status}): {code}")]
    Refused {
        /// The status in the error body, or else of the answer.
        status: u16,
        code: String,
    },
}

impl BackendError {
    /// Whether the request may have had an effect that was not reported.
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::UnexpectedResponse(_) | Self::ServerError { .. } => true,
            // A gateway in front of the backend may have passed the request on before it gave up.
            Self::Unavailable { status, .. } => *status != 503,
            Self::Unreachable(_)
            | Self::RateLimited { .. }
            | Self::KeyRejected { .. }
            | Self::NotFound { .. }
            | Self::Refused { .. } => false,
        }
    }

    /// Whether the answer comes from the backend itself, even if it is a refusal. Any other answer tells nothing about
    /// what was requested.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::NotFound { .. } => true,
            // Without a code, the refusal may come from any server in front of the backend.
            Self::Refused { code, .. } => code != answer::NO_CODE,
            Self::Unreachable(_)
            | Self::NoAnswer(_)
            | Self::UnexpectedResponse(_)
            | Self::KeyRejected { .. }
            | Self::Unavailable { .. }
            | Self::ServerError { .. } => false,
        }
    }

    /// Whether the error cannot concern one app alone: the backend is not reachable, or the key is invalid.
    pub fn is_connection_or_key(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::KeyRejected { status: 401 })
    }

    /// How a request ended that brought this error, for the metrics.
    fn outcome(&self) -> RequestOutcome {
        match self {
            Self::Unreachable(_) => RequestOutcome::Unreachable,
            Self::NoAnswer(_) => RequestOutcome::NoAnswer,
            Self::UnexpectedResponse(_) => RequestOutcome::UnexpectedResponse,
            Self::RateLimited { .. } => RequestOutcome::RateLimited,
            Self::KeyRejected { .. } => RequestOutcome::KeyRejected,
            Self::Unavailable { .. } => RequestOutcome::Unavailable,
            Self::ServerError { .. } => RequestOutcome::ServerError,
            Self::NotFound { .. } => RequestOutcome::NotFound,
            Self::Refused { .. } => RequestOutcome::Refused,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// How long to wait after this error, within what `limits` allow: what the backend asked for, or the configured
    /// time after a rate limit that gives none.
    pub fn retry_delay(&self, limits: &Retry) -> Duration {
        let longest = Duration::from_secs(limits.max_retry_after_s);
        match (self.asked(), self) {
            (Some(asked), _) => asked.min(longest),
            (None, Self::RateLimited { .. }) => Duration::from_secs(limits.rate_limit_s),
            (None, _) => Duration::ZERO,
        }
    }

    /// The same, if it is in the future. "Now" or a past time does not tell how long a limit lasts.
    pub fn asked(&self) -> Option<Duration> {
        self.retry_after().filter(|asked| !asked.is_zero())
    }
}

/// A job of the backend, as far as the daemon needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// How long ago it was created, by the backend's own clock; only where both times are given and plausible.
    pub age: Option<Duration>,
    pub progress: Progress,
}

/// The progress of a job. Unknown statuses count as running.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    Running,
    Finished,
    Failed(Failure),
}

/// One snapshot of all members of an integration, with everything that makes it incomplete.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    pub members: Vec<SeenMember>,
    pub pages: u32,
    /// How many members there are, according to the API.
    pub total: Option<u64>,
    /// Why absence proves nothing; empty for a complete snapshot.
    pub gaps: Vec<Gap>,
}

impl Snapshot {
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Whether it shows nobody, or a number of people at which an app may have stopped after its first pages. Absence
    /// from such a list proves nothing by itself.
    pub fn may_be_cut(&self) -> bool {
        is_round(self.members.len() as u64)
    }
}

/// Whether a list of this length may have been cut after a page: pages hold a multiple of 25. Zero counts too.
pub fn is_round(people: u64) -> bool {
    people.is_multiple_of(25)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// A page showed somebody an earlier page had shown, or the same entry twice: another entry may be missing.
    RepeatedMember,
    EndlessPages,
    TotalDiffers,
    /// Without a total, nothing tells whether these are all members.
    NoTotal,
    TotalChanged,
    /// Nobody at all: the list of an app whose page stays empty has the same form.
    Empty,
    /// Fewer members than before, and more are gone than were asked to go: a list that was cut has the same form.
    Shrunk,
    /// A member that could not be read: without id, email and name.
    UnreadableMember,
}

impl Gap {
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
    /// Identifies exactly this report; an apply refers to it.
    pub id: String,
    /// By the backend's clock.
    pub created_at: Option<DateTime<Utc>>,
    /// Members read, according to the backend.
    pub members_read: Option<u64>,
    /// Members there are, according to the backend.
    pub members_total: Option<u64>,
    pub applied: bool,
    /// People in the app whom Cerby does not know.
    pub new_members: Vec<Reported>,
    /// Members whom Cerby knows and who are no longer in the app.
    pub removed_members: Vec<Reported>,
    /// Members whose roles differ from those that Cerby knows.
    pub changed_members: Vec<Reported>,
}

/// A person in a report: by id, or where Cerby has matched nobody, by email or name in the app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "ReportedFields")]
pub struct Reported {
    #[serde(rename = "id")]
    pub member: Option<String>,
    pub email: Option<String>,
    pub username: Option<String>,
    /// The roles that they have in the app, according to the report.
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
    /// The roles of a member whose roles changed.
    #[serde(default)]
    to: Option<serde_json::Value>,
    /// The roles of a new member.
    #[serde(default)]
    entitlements: Option<serde_json::Value>,
    /// The same in our own rows.
    #[serde(default)]
    roles: Option<serde_json::Value>,
}

impl Reported {
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
        // Roles that cannot be read count as unknown and do not hide the person.
        let roles = fields.to.or(fields.entitlements).or(fields.roles);
        let roles = roles.and_then(|roles| serde_json::from_value(roles).ok());
        Ok(Self { member: id, email, username, roles })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any error of the HTTP client: its text does not matter here.
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
