//! `Idempotency-Key`: a request that is sent again is answered as before and does nothing.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use serde_json::{Value, json};

use super::access::Caller;
use super::problem::Problem;
use super::{Door, LONGEST_BODY};
use crate::operator::desk::Repeated;
use crate::replies::Reply;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

const LONGEST_KEY: usize = 200;

/// The header as the document describes it.
pub(super) fn parameter() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "the same request with the same key is answered as the first time, for 24 hours, and does nothing",
        "schema": { "type": "string", "minLength": 1, "maxLength": LONGEST_KEY },
    })
}

pub(super) async fn answer(
    State(door): State<Door>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    let key = match key(&request) {
        Ok(None) => return next.run(request).await,
        Ok(Some(key)) => key,
        Err(problem) => return problem.into_response(),
    };
    match once(&door, &caller, &key, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

/// The key of a request that changes something.
fn key(request: &Request) -> Result<Option<String>, Problem> {
    let Some(key) = request.headers().get(KEY).filter(|_| request.method() == Method::POST) else {
        return Ok(None);
    };
    let key = key.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > LONGEST_KEY {
        let detail = format!("Idempotency-Key has 1 to {LONGEST_KEY} visible characters");
        return Err(Problem::invalid(detail));
    }
    Ok(Some(key.to_owned()))
}

async fn once(
    door: &Door,
    caller: &Caller,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await.map_err(|_| {
        let detail = format!("the body is longer than {LONGEST_BODY} bytes, or ended early");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    let said = |name| parts.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let (revision, kind) = (said(header::IF_MATCH), said(header::CONTENT_TYPE));
    let asked = [parts.uri.to_string().as_bytes(), revision, kind, &body[..]].join(&b"\n"[..]);
    match door.desk.repeated(&caller.actor, key, &asked).await? {
        Repeated::No => {}
        Repeated::Answered(reply) => return Ok(again(reply)),
        Repeated::Running => {
            let detail = "the first request with this Idempotency-Key has not ended";
            return Err(Problem::new(StatusCode::CONFLICT, detail).retry_after(1));
        }
        Repeated::Other => {
            let detail = "this Idempotency-Key was given with another request";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    keep(door, caller, key, response).await
}

fn again(reply: Reply) -> Response {
    let status = StatusCode::from_u16(u16::try_from(reply.status).unwrap_or_default());
    let mut response = (status.unwrap_or(StatusCode::OK), Body::from(reply.body)).into_response();
    let headers = response.headers_mut();
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    let known = [(header::CONTENT_TYPE, reply.content_type), (header::ETAG, reply.etag)];
    for (name, value) in known {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    response
}

/// Stores a reply. One that is to be tried again is not stored, and neither is a failure: the same request may work later.
async fn keep(
    door: &Door,
    caller: &Caller,
    key: &str,
    response: Response,
) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let body: Bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let text = |name| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
    let is_final =
        !parts.status.is_server_error() && !parts.headers.contains_key(header::RETRY_AFTER);
    let reply = is_final.then(|| Reply {
        status: parts.status.as_u16().into(),
        content_type: text(header::CONTENT_TYPE),
        etag: text(header::ETAG),
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    door.desk.answered(&caller.actor, key, reply.as_ref()).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}
