//! Refusals as problems (RFC 9457, `application/problem+json`).

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::operator::desk::{DeskError, Refusal, RefusalKind};

/// Why a request was refused.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// Always about:blank: the status says of what kind the problem is.
    #[serde(rename = "type")]
    kind: &'static str,
    pub(super) status: u16,
    title: &'static str,
    /// What is wrong.
    pub(super) detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Seconds after which the same may work.
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or_default(),
            detail: detail.into(),
            hint: None,
            retry_after_s: None,
        }
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The request can be read, and lacks something that its verb needs.
    pub(super) fn incomplete(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    fn of(refusal: Refusal) -> Self {
        let status = status(refusal.kind);
        let retry_after_s = (refusal.kind == RefusalKind::Busy).then_some(1);
        Self { hint: refusal.hint, retry_after_s, ..Self::new(status, refusal.message) }
    }
}

fn status(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::NotFound => StatusCode::NOT_FOUND,
        RefusalKind::NotAllowedNow | RefusalKind::Stale | RefusalKind::Busy => StatusCode::CONFLICT,
        RefusalKind::Changed => StatusCode::PRECONDITION_FAILED,
        RefusalKind::Invalid => StatusCode::BAD_REQUEST,
        RefusalKind::Unfit => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalKind::Forbidden => StatusCode::FORBIDDEN,
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Refused(refusal) => Self::of(refusal),
            DeskError::Failed(error) => {
                crate::emit!(OPERATORS_REQUEST_FAILED, error = %crate::telemetry::chain(&error), "A request of the API failed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database failed or did not answer")
                    .retry_after(5)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after_s;
        let mut response = (status, Json(self)).into_response();
        let mut put =
            |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
        put(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            put(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            put(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
