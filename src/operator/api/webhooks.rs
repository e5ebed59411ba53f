//! `/v1/intake/cerby`: Cerby's own webhooks. They have no token: a signature says who sends them.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};

use super::Door;
use super::problem::Problem;
use crate::config::{ConfigError, Intake, Operators};
use crate::emit;
use crate::intake::webhook::store::Received;
use crate::intake::webhook::{Cause, Receiver, Signed};
use crate::operator::desk::DeskError;
use crate::operator::listener::{Failures, client};
use crate::telemetry::metrics::{self, WebhookAnswer};

/// The longest body of a webhook, in bytes. Cerby's own have a few hundred.
const LONGEST_WEBHOOK: usize = 64 * 1024;

/// Seconds after which Cerby sends again what cannot be stored now. It waits an hour at most, and tries six times: with a
/// short wait, a few minutes would use up all of them, and the event would be lost.
const AGAIN_AFTER_S: u64 = 3600;

/// The keys of webhooks, and who sent wrong signatures lately.
#[derive(Debug)]
pub struct Webhooks {
    receiver: Receiver,
    most_open: u32,
    failures: Failures,
}

impl Webhooks {
    /// `None` if no keys are configured.
    pub fn new(intake: &Intake, operators: &Operators) -> Result<Option<Self>, ConfigError> {
        Ok(Receiver::new(intake)?.map(|receiver| Self {
            receiver,
            most_open: intake.max_webhook_events,
            failures: Failures::new(operators.wrong_tokens_per_minute),
        }))
    }
}

/// Stores an event of a webhook. The answer comes before its job is read.
#[utoipa::path(post, path = "/v1/intake/cerby", tag = "intake", security(()),
    params(
        ("X-Cerby-Signature" = String, Header, description = "ALGORITHM=BASE64; repeated during a rotation of keys"),
        ("X-Cerby-Signature-Key-Id" = String, Header, description = "the id of the key of each signature"),
        ("X-Cerby-Signature-Timestamp" = String, Header, description = "when it was signed, within five minutes of now")
    ),
    request_body(content = serde_json::Value, description = "the envelope of the event, as it was signed"),
    responses((status = 204, description = "the event is stored, or needs no storing")))]
pub(super) async fn receive(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let Some(webhooks) = &door.webhooks else {
        let detail = "no keys of webhooks are configured";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let address = client(door.is_behind_proxy, peer, &headers);
    let (answer, response) = match answer(&door, webhooks, address, &headers, body).await {
        Ok(answer) => (answer, Ok(StatusCode::NO_CONTENT)),
        Err((answer, problem)) => (answer, Err(problem)),
    };
    metrics::webhook_answered(answer);
    response
}

async fn answer(
    door: &Door,
    webhooks: &Webhooks,
    address: IpAddr,
    headers: &HeaderMap,
    body: Body,
) -> Result<WebhookAnswer, (WebhookAnswer, Problem)> {
    // Cerby sends the webhooks of all its customers from the same addresses. So a right signature always counts, however
    // many wrong ones came from its address.
    let refuse = |cause| {
        if webhooks.failures.wait(address, Instant::now()).is_some() {
            return blocked();
        }
        webhooks.failures.note(address, Instant::now());
        refusal(cause)
    };
    let signed = signed(headers).map_err(refuse)?;
    let body = to_bytes(body, LONGEST_WEBHOOK).await.map_err(|_| {
        let detail = format!("the body is longer than {LONGEST_WEBHOOK} bytes, or ended early");
        (WebhookAnswer::TooLong, Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
    })?;
    let opened = webhooks.receiver.open(&signed, &body).map_err(refuse)?;
    let Some(event) = opened.event.map_err(refuse)? else { return Ok(WebhookAnswer::NotKept) };
    let (workspace, most) = (&opened.workspace, webhooks.most_open);
    match door.desk.receive_webhook(workspace, &event, signed.at(), most).await {
        Ok(Received::Stored) => Ok(WebhookAnswer::Stored),
        Ok(Received::WrongTime) => Err(refuse(Cause::WrongTime)),
        Ok(Received::Full) => {
            let detail = "too many events of this workspace wait for their jobs to be read";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
            Err((WebhookAnswer::Full, problem.retry_after(AGAIN_AFTER_S)))
        }
        Err(error) => Err((WebhookAnswer::Failed, not_stored(error))),
    }
}

fn blocked() -> (WebhookAnswer, Problem) {
    let detail = "too many requests with a wrong signature came from this address";
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
    (WebhookAnswer::Blocked, problem.retry_after(AGAIN_AFTER_S))
}

/// Whatever the database says, the event is to be sent again. Without `Retry-After`, Cerby waits a minute first and hours in
/// the end.
fn not_stored(error: DeskError) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Problem::from(error).detail)
}

fn signed(headers: &HeaderMap) -> Result<Signed, Cause> {
    let all = |name: &str| {
        let values = headers.get_all(name).iter().map(|value| value.to_str());
        values.collect::<Result<Vec<_>, _>>().map_err(|_| Cause::Unsigned)
    };
    Signed::read(
        &all("x-cerby-signature-timestamp")?,
        &all("x-cerby-signature-key-id")?,
        &all("x-cerby-signature")?,
    )
}

/// A refusal, and its line in the log, which says nothing of the body.
fn refusal(cause: Cause) -> (WebhookAnswer, Problem) {
    emit!(WEBHOOK_REFUSED, cause = cause.as_str(), "A webhook was refused");
    let unauthorized = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
    match cause {
        Cause::Unsigned => (
            WebhookAnswer::Unsigned,
            unauthorized("the headers of the signature are missing or wrong"),
        ),
        // Cerby never sends again what it was answered 401. A key that is not in our file yet must not cost an event.
        Cause::UnknownKey => {
            let detail = "no signature is by a key that is known here";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
            (WebhookAnswer::UnknownKey, problem.retry_after(AGAIN_AFTER_S))
        }
        Cause::WrongSignature => {
            (WebhookAnswer::WrongSignature, unauthorized("the signature is wrong"))
        }
        Cause::WrongTime => (
            WebhookAnswer::WrongTime,
            unauthorized("it was signed more than five minutes from now"),
        ),
        Cause::Unreadable => {
            (WebhookAnswer::Unreadable, Problem::invalid("the body is no event that names a job"))
        }
    }
}
