//! Lists by id, page by page: where one begins, and where it goes on.

use axum::http::StatusCode;

use super::form::Form;
use super::problem::Problem;
use crate::operator::cursor::{cursor, place};

pub(super) const PAGE: u32 = 50;

/// Where a list goes on.
pub(super) fn after(query: &Form) -> Result<Option<i64>, Problem> {
    let id = |text| place(text)?.parse().ok();
    match query.get("cursor").map(id) {
        Some(None) => {
            let problem =
                Problem::new(StatusCode::BAD_REQUEST, "The address of this page is not whole.");
            Err(problem.hint("Begin at the first page of the list."))
        }
        after => Ok(after.flatten()),
    }
}

/// The cursor of the page that follows, if there may be one.
pub(super) fn next(count: usize, last: Option<i64>) -> Option<String> {
    last.filter(|_| count >= PAGE as usize).map(|id| cursor(&id.to_string()))
}
