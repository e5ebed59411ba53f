//! From an HTTP response to an answer or a [`BackendError`]; bodies are bounded and never quoted.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::BackendError;
use super::wire::{Errors, Object};

/// Reads the answer's JSON and the backend's time, or says what came instead.
pub(super) async fn read<T: DeserializeOwned>(
    response: Response,
    max_bytes: usize,
) -> Result<(T, Option<DateTime<Utc>>), BackendError> {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let at = date(response.headers());
    let body = body(response, max_bytes).await;
    if !status.is_success() {
        // The status stands, whatever became of the body.
        return Err(refusal(status, retry_after, &body.unwrap_or_default()));
    }
    let body = body?;
    match errors(&body).map_err(|error| not_understood(&error))?.first() {
        Some(first) => Err(refusal_in_a_success(status, retry_after, &body, first)),
        None => object(&body).map(|answer| (answer, at)).map_err(|error| not_understood(&error)),
    }
}

/// The time by the backend's clock, if it tells.
fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

fn object<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice::<Object<T>>(body).map(|object| object.0)
}

/// The errors that a body tells of: none if it has no such list.
fn errors(body: &[u8]) -> serde_json::Result<Vec<Value>> {
    object::<Errors>(body).map(|body| body.errors.unwrap_or_default())
}

/// Where and how the JSON is wrong, without a word of it.
fn not_understood(error: &serde_json::Error) -> BackendError {
    BackendError::Nonsense(format!(
        "{:?} error at line {} column {}",
        error.classify(),
        error.line(),
        error.column()
    ))
}

async fn body(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, BackendError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(from_reqwest)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(BackendError::Nonsense(format!("more than {max_bytes} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error body in a 200 is a refusal, even beside data (a peer took it for success).
fn refusal_in_a_success(
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &[u8],
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

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> BackendError {
    let code = errors(body).unwrap_or_default().first().map(code);
    match (status.as_u16(), code) {
        (429, _) => BackendError::RateLimited { retry_after },
        (status @ (401 | 403), _) => BackendError::KeyRefused { status },
        (status @ (408 | 502..=504), _) => BackendError::Unavailable { status, retry_after },
        (404 | 410, Some(code)) => BackendError::NotFound { code },
        // Without an error body it is not the backend's word: a wrong path, or a page of something before it.
        (status @ (404 | 410), None) => {
            BackendError::Nonsense(format!("status {status} without an error body"))
        }
        (status @ 500.., _) => BackendError::Broken { status },
        (status @ 400.., code) => {
            BackendError::Refused { status, code: code.unwrap_or_else(no_code) }
        }
        (status, _) => BackendError::Nonsense(format!("status {status}, neither yes nor no")),
    }
}

fn code(error: &Value) -> String {
    let code = error["code"].as_str().map(plain).filter(|code| !code.is_empty());
    code.unwrap_or_else(no_code)
}

fn no_code() -> String {
    "no code".to_owned()
}

/// A code fit for logs and rows: short, and of letters, digits, blanks and `_-.` only.
pub fn plain(code: &str) -> String {
    code.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.'))
        .take(64)
        .collect()
}

/// The longest wait that any `Retry-After` asks for; those that are neither seconds nor a date ask for none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let texts = headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
    let waits =
        texts.filter_map(|text| seconds(text.trim()).or_else(|| until(text.trim(), headers)));
    // A century is as good as any longer wait, and can be added to any time.
    waits.max().map(|wait| wait.min(Duration::from_secs(100 * 366 * 24 * 60 * 60)))
}

/// Whole seconds; some servers send a fraction.
fn seconds(text: &str) -> Option<Duration> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = text.parse::<f64>().ok().filter(|_| is_number)?;
    Some(Duration::from_secs(seconds.ceil() as u64))
}

/// The time until a date, by the clock of the backend; one in the past is no wait.
fn until(text: &str, headers: &HeaderMap) -> Option<Duration> {
    let until = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
    let now = date(headers).unwrap_or_else(|| DateTime::<Utc>::from(SystemTime::now()));
    Some((until - now).to_std().unwrap_or(Duration::ZERO))
}

/// Tells apart what never left from what was lost on the way.
pub(super) fn from_reqwest(error: reqwest::Error) -> BackendError {
    let error = error.without_url();
    if error.is_connect() || error.is_builder() {
        BackendError::Unreachable(error)
    } else {
        BackendError::NoAnswer(error)
    }
}
