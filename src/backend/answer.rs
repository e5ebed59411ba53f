//! From an HTTP response to an answer or a [`BackendError`]; bodies are bounded and never quoted.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::BackendError;
use super::wire::Errors;

/// Reads the answer's JSON, or says what came instead.
pub(super) async fn read<T: DeserializeOwned>(
    response: Response,
    max_bytes: usize,
) -> Result<T, BackendError> {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let body = body(response, max_bytes).await?;
    if !status.is_success() {
        return Err(refusal(status, retry_after, &body));
    }
    if let Some((code, inner)) = error_object(&body) {
        return Err(refusal_in_a_success(status, retry_after, &body, code, inner));
    }
    serde_json::from_slice::<T>(&body).map_err(|error| {
        BackendError::Nonsense(format!(
            "{:?} error at line {} column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    })
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
    code: String,
    inner: Option<u16>,
) -> BackendError {
    let inner = inner.and_then(|status| StatusCode::from_u16(status).ok());
    match inner.filter(|inner| inner.is_client_error() || inner.is_server_error()) {
        Some(inner) => refusal(inner, retry_after, body),
        None => BackendError::Refused { status: status.as_u16(), code },
    }
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> BackendError {
    let code = || error_object(body).map_or_else(|| "no code".to_owned(), |(code, _)| code);
    match status.as_u16() {
        429 => BackendError::RateLimited { retry_after },
        status @ (401 | 403) => BackendError::KeyRefused { status },
        status @ (502..=504) => BackendError::Unavailable { status, retry_after },
        404 => BackendError::NotFound { code: code() },
        status @ 500.. => BackendError::Broken { status },
        status => BackendError::Refused { status, code: code() },
    }
}

fn error_object(body: &[u8]) -> Option<(String, Option<u16>)> {
    let errors: Errors = serde_json::from_slice(body).ok()?;
    let first = errors.errors.into_iter().next()?;
    let code = first["code"].as_str().map_or_else(|| "no code".to_owned(), plain);
    let status = match &first["status"] {
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_u64().and_then(|number| u16::try_from(number).ok()),
    };
    Some((code, status))
}

/// A code fit for logs and rows: short, and of letters, digits, blanks and `_-.` only.
pub fn plain(code: &str) -> String {
    code.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.'))
        .take(64)
        .collect()
}

/// `Retry-After` as seconds or as a date; one in the past is no wait, one that is neither is none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
    let now = headers
        .get(DATE)
        .and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok())
        .map_or_else(|| DateTime::<Utc>::from(SystemTime::now()), |date| date.to_utc());
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
