//! From an HTTP response to an answer or a [`BackendError`]. Bodies are bounded and never quoted.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wire::{Errors, Object};
use super::{BackendError, text};
use crate::http_client;

/// The code of a refusal that contains none.
pub(super) const NO_CODE: &str = "no code";

/// An answer, and the time by the backend's clock.
pub(super) type Dated<T> = (T, Option<DateTime<Utc>>);

/// The largest answer that is read, and the configuration key that sets this limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) key: &'static str,
    pub(super) kib: u64,
}

/// Why a response could not be read.
pub(super) enum Unread {
    /// Larger than this limit.
    TooLarge(Limit),
    Error(BackendError),
}

impl From<BackendError> for Unread {
    fn from(error: BackendError) -> Self {
        Self::Error(error)
    }
}

impl From<Unread> for BackendError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Error(error) => error,
            Unread::TooLarge(Limit { key, kib }) => Self::UnexpectedResponse(format!(
                "more than {} bytes, which is what {key} = {kib} allows",
                kib.saturating_mul(1024)
            )),
        }
    }
}

/// Reads the answer's JSON and the backend's time. Returns an error if the response is anything else.
pub(super) async fn read<T: DeserializeOwned>(
    response: Response,
    largest: Limit,
) -> Result<Dated<T>, Unread> {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let at = date(response.headers());
    let body = body(response, largest).await.map(text::readable);
    if !status.is_success() {
        // The status counts, even if the body could not be read.
        return Err(refusal(status, retry_after, &body.unwrap_or_default()).into());
    }
    let body = body?;
    match errors(&body).map_err(|error| not_understood(&error))?.first() {
        Some(first) => Err(refusal_in_a_success(status, retry_after, &body, first).into()),
        None => Ok((object(&body).map_err(|error| not_understood(&error))?, at)),
    }
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

fn object<T: DeserializeOwned>(body: &str) -> serde_json::Result<T> {
    serde_json::from_str::<Object<T>>(body).map(|object| object.0)
}

/// The errors that a body lists; empty if it has no such list.
fn errors(body: &str) -> serde_json::Result<Vec<Value>> {
    object::<Errors>(body).map(|body| body.errors.unwrap_or_default())
}

/// Where and how the JSON is wrong, without quoting it.
fn not_understood(error: &serde_json::Error) -> BackendError {
    BackendError::UnexpectedResponse(format!(
        "{:?} error at line {} column {}",
        error.classify(),
        error.line(),
        error.column()
    ))
}

async fn body(mut response: Response, largest: Limit) -> Result<Vec<u8>, Unread> {
    let max_bytes = usize::try_from(largest.kib.saturating_mul(1024)).unwrap_or(usize::MAX);
    let body = http_client::body(&mut response, max_bytes).await.map_err(from_reqwest)?;
    body.ok_or(Unread::TooLarge(largest))
}

/// An error body in a 200 is a refusal, even if the answer has data too (another client took it for a success).
fn refusal_in_a_success(
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &str,
    first: &Value,
) -> BackendError {
    let inner = match &first["status"] {
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_u64().and_then(|number| u16::try_from(number).ok()),
    };
    let inner = inner.and_then(|status| StatusCode::from_u16(status).ok());
    match inner.filter(|inner| inner.is_client_error() || inner.is_server_error()) {
        Some(inner) => refusal(inner, retry_after, body),
        None => BackendError::Refused { status: status.as_u16(), code: code(first) },
    }
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &str) -> BackendError {
    let code = errors(body).unwrap_or_default().first().map(code);
    match (status.as_u16(), code) {
        (429, _) => BackendError::RateLimited { retry_after },
        (status @ (401 | 403), _) => BackendError::KeyRejected { status },
        (status @ (408 | 502..=504), _) => BackendError::Unavailable { status, retry_after },
        (404 | 410, Some(code)) => BackendError::NotFound { code },
        // Without an error body, the answer may not come from the backend: the path is wrong, or a server in front of
        // it answered.
        (status @ (404 | 410), None) => {
            BackendError::UnexpectedResponse(format!("status {status} without an error body"))
        }
        (status @ 500.., _) => BackendError::ServerError { status },
        (status @ 400.., code) => {
            BackendError::Refused { status, code: code.unwrap_or_else(no_code) }
        }
        (status, _) => {
            BackendError::UnexpectedResponse(format!("status {status}, neither yes nor no"))
        }
    }
}

fn code(error: &Value) -> String {
    let code = error["code"].as_str().map(text::plain_code).filter(|code| !code.is_empty());
    code.unwrap_or_else(no_code)
}

fn no_code() -> String {
    NO_CODE.to_owned()
}

/// The longest wait that any `Retry-After` asks for. Values that are neither seconds nor a date are ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let texts = headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
    let waits =
        texts.filter_map(|text| seconds(text.trim()).or_else(|| until(text.trim(), headers)));
    // A century is as good as any longer wait, and can be added to any time without an overflow.
    waits.max().map(|wait| wait.min(Duration::from_secs(100 * 366 * 24 * 60 * 60)))
}

/// Whole seconds; some servers send a fraction.
fn seconds(text: &str) -> Option<Duration> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = text.parse::<f64>().ok().filter(|_| is_number)?;
    Some(Duration::from_secs(seconds.ceil() as u64))
}

/// The time until a date, by the clock of the backend; zero for a date in the past.
fn until(text: &str, headers: &HeaderMap) -> Option<Duration> {
    let until = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
    let now = date(headers).unwrap_or_else(|| DateTime::<Utc>::from(SystemTime::now()));
    Some((until - now).to_std().unwrap_or(Duration::ZERO))
}

/// Distinguishes a request that was never sent from an answer that was lost.
pub(super) fn from_reqwest(error: reqwest::Error) -> BackendError {
    let error = error.without_url();
    if error.is_connect() || error.is_builder() {
        BackendError::Unreachable(error)
    } else {
        BackendError::NoAnswer(error)
    }
}
