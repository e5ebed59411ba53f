//! Cerby's webhooks: a signed event names a job that ended, and the job's members become rows of the inbound contract.
//!
//! Cerby waits a few seconds for its answer, delivers more than once and in any order, and does not deliver again what
//! was refused with a 4xx. So a request is verified, stored and answered, and nothing else. What the event says about the
//! job is not used: a loop reads the job from the backend, as it stands then, so that the order of events does not matter.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::membership::words;

mod receiver;
mod resolve;
pub mod review;
mod signature;
mod stage;
pub mod store;

pub use receiver::{Opened, Receiver};
pub use signature::Signed;
pub use stage::WebhookStage;

words! {
    /// Why a webhook is refused.
    Cause {
        /// A header is missing, is there too often, or cannot be read.
        Unsigned = "unsigned",
        UnknownKey = "unknown_key",
        WrongSignature = "wrong_signature",
        /// It was signed more than five minutes before or after now.
        WrongTime = "wrong_time",
        /// It is signed, and is no event.
        Unreadable = "unreadable",
    }
}

/// An event that names a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub kind: String,
    pub job: String,
    pub occurred_at: DateTime<Utc>,
    /// The published failure code of a failure.
    pub error_code: Option<String>,
}

/// The events about changes of members. `automation.succeeded` comes beside each of the other successes; a webhook may be
/// subscribed to either.
const KINDS: [&str; 5] = [
    "automation.failed",
    "automation.succeeded",
    "automation.users.deprovisioned",
    "automation.users.provisioned",
    "automation.users.role_updated",
];

const LONGEST_ID: usize = 100;

const LONGEST_CODE: usize = 200;

#[derive(Deserialize)]
struct Envelope {
    event_id: String,
    event_type: String,
    occurred_at: DateTime<Utc>,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    automation_job_id: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    code: Option<String>,
}

impl Event {
    /// Reads a body; `Ok(None)` for an event that is about something else.
    fn read(body: &[u8]) -> Result<Option<Self>, Cause> {
        let envelope: Envelope = serde_json::from_slice(body).map_err(|_| Cause::Unreadable)?;
        if !KINDS.contains(&envelope.event_type.as_str()) {
            return Ok(None);
        }
        let job = envelope.data.and_then(|data| data.automation_job_id).unwrap_or_default();
        if !is_id(&envelope.event_id) || !is_id(&job) {
            return Err(Cause::Unreadable);
        }
        let code = envelope.error.and_then(|error| error.code).filter(|code| is_code(code));
        Ok(Some(Self {
            id: envelope.event_id,
            kind: envelope.event_type,
            job,
            occurred_at: envelope.occurred_at,
            error_code: code,
        }))
    }
}

fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_code(text: &str) -> bool {
    (1..=LONGEST_CODE).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(change: impl FnOnce(&mut Value)) -> Result<Option<Event>, Cause> {
        let mut event = json!({
            "envelope_version": "1.0", "event_id": "e-1", "event_type": "automation.failed",
            "occurred_at": "2026-11-30T09:00:00.123Z", "workspace_id": "w",
            "data": {"automation_job_id": "job-1", "application": "x"},
            "error": {"code": "NotEnoughSeats", "message": null}, "trace_id": null,
        });
        change(&mut event);
        Event::read(event.to_string().as_bytes())
    }

    #[test]
    fn an_event_names_its_job_and_an_event_about_something_else_is_none() {
        let event = read(|_| {}).unwrap().unwrap();
        assert_eq!((&*event.id, &*event.job), ("e-1", "job-1"));
        assert_eq!(event.error_code.as_deref(), Some("NotEnoughSeats"));
        let of_success = read(|event| event["event_type"] = json!("automation.succeeded"));
        assert!(of_success.unwrap().is_some());
        for other in ["account.created", "automation.password.rotated", "new.in.2027"] {
            assert_eq!(read(|event| event["event_type"] = json!(other)), Ok(None), "{other}");
        }
    }

    #[test]
    fn what_does_not_name_a_job_is_unreadable_and_an_odd_code_hides_no_job() {
        type Change = fn(&mut Value);
        let changes: [(&str, Change); 6] = [
            ("no job", |event| event["data"] = json!({})),
            ("a number", |event| event["data"]["automation_job_id"] = json!(7)),
            ("a long id", |event| event["event_id"] = json!("x".repeat(101))),
            ("a blank", |event| event["event_id"] = json!("a b")),
            ("no time", |event| event["occurred_at"] = json!("yesterday")),
            ("no object", |event| *event = json!(["automation.failed"])),
        ];
        for (what, change) in changes {
            assert_eq!(read(change), Err(Cause::Unreadable), "{what}");
        }
        let odd = read(|event| event["error"]["code"] = json!("a\nb")).unwrap().unwrap();
        assert_eq!(odd.error_code, None);
    }
}
