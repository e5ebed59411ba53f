//! What a request has to look like: its parameters, its body, and the revision that it rests on.

use std::error::Error;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The parameters in the query. An unknown one is refused.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(error) => {
                let cause = error.source().map_or_else(|| error.body_text(), ToString::to_string);
                Err(Problem::invalid(format!("the query is wrong: {cause}")))
            }
        }
    }
}

/// What is in the path. What cannot be an id is the id of nothing.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(path)) => Ok(Self(path)),
            Err(_) => Err(Problem::new(StatusCode::NOT_FOUND, "there is nothing with such an id")),
        }
    }
}

/// A body of JSON. An unknown field is refused, and an error names the field.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default();
        if !kind.trim().eq_ignore_ascii_case("application/json") {
            let detail = "the body must be application/json, and its Content-Type must say so";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let coding = request.headers().get(header::CONTENT_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            let detail = "the body is compressed: send it as it is, without Content-Encoding";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(unreadable)?;
        // A list would be taken for the fields in their order.
        if bytes.trim_ascii_start().first().is_some_and(|&first| first != b'{') {
            return Err(Problem::invalid("the body is no object of JSON: it begins with {"));
        }
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let body = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            Problem::invalid(format!("the body is wrong at {}: {}", error.path(), error.inner()))
        })?;
        json.end().map_err(|_| Problem::invalid("the body goes on after its JSON"))?;
        Ok(Self(body))
    }
}

fn unreadable(error: BytesRejection) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {} bytes", super::LONGEST_BODY),
        ),
        _ => Problem::invalid("the body ended early"),
    }
}

/// The revision in `If-Match`: that of the row as its caller saw it, or `*` for whatever it is now.
pub(super) struct IfMatch(pub(super) Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            let detail = "If-Match is missing: send the ETag of the row as you saw it, or * to do it in any case";
            return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, detail));
        };
        match value.to_str().map(str::trim) {
            Ok("*") => Ok(Self(None)),
            Ok(tags) if tags.contains(',') => Err(Problem::invalid(
                "If-Match has several ETags: send that of the row as you saw it",
            )),
            Ok(tag) => match tag.trim_matches('"').parse() {
                Ok(revision) => Ok(Self(Some(revision))),
                Err(_) => Err(Problem::new(
                    StatusCode::PRECONDITION_FAILED,
                    "If-Match is no ETag of this row",
                )),
            },
            Err(_) => Err(Problem::invalid("If-Match is not readable")),
        }
    }
}
