//! What went wrong, as a page that says what to do.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::page::html;
use crate::operator::desk::{DeskError, Refusal, RefusalKind};

#[derive(Debug, Template)]
#[template(path = "problem.html")]
pub(super) struct Problem {
    status: StatusCode,
    title: Option<&'static str>,
    pub(super) detail: String,
    pub(super) hint: Option<String>,
    retry_after_s: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, title: None, detail: detail.into(), hint: None, retry_after_s: None }
    }

    /// What stands above it, where the status alone does not say it.
    pub(super) fn titled(mut self, title: &'static str) -> Self {
        self.title = Some(title);
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// For the page with the form that was refused, which keeps what was typed. What is not there has no such page: the
    /// problem is then the whole answer.
    pub(super) fn beside_form(self) -> Result<Self, Self> {
        match self.status {
            StatusCode::NOT_FOUND => Err(self),
            _ => Ok(self),
        }
    }

    fn asset(&self, name: &str) -> String {
        super::assets::asset(name)
    }

    fn title(&self) -> &'static str {
        self.title.unwrap_or(match self.status {
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::FORBIDDEN => "You may not do this",
            StatusCode::BAD_REQUEST => "This cannot be done so",
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "Somebody was first",
            StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
            _ => "This did not work",
        })
    }

    fn of(refusal: Refusal) -> Self {
        let (status, hint) = match refusal.kind {
            RefusalKind::NotFound => (
                StatusCode::NOT_FOUND,
                "It may have ended long ago, or belong to a workspace that you may not see.",
            ),
            RefusalKind::NotAllowedNow => {
                (StatusCode::CONFLICT, "Look at what it is now before you go on.")
            }
            RefusalKind::Stale => (StatusCode::CONFLICT, "It is too late for this."),
            RefusalKind::Changed => (
                StatusCode::PRECONDITION_FAILED,
                "Nothing was done. Look at what it is now, and decide again.",
            ),
            RefusalKind::Busy => {
                (StatusCode::CONFLICT, "Somebody changes it at this moment: try again.")
            }
            RefusalKind::Invalid | RefusalKind::Unfit => (StatusCode::BAD_REQUEST, ""),
            RefusalKind::Forbidden => (StatusCode::FORBIDDEN, ""),
        };
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Self { hint, ..Self::new(status, sentence(&refusal.message)) }
    }
}

/// The database begins its messages in lower case.
fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Refused(refusal) => Self::of(refusal),
            DeskError::Failed(error) => {
                crate::emit!(OPERATORS_REQUEST_FAILED, error = %crate::telemetry::chain(&error), "A request of the console failed");
                let detail = "The database failed or did not answer. Nothing was changed, or the change is complete.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                    .titled("The database does not answer")
                    .hint("Load the page again in a moment.")
                    .retry_after(5)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = html(self.status, &self);
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
