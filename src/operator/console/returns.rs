//! Returns to automation, and how they went.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::actions::known;
use super::form::Query;
use super::list::{PAGE, after, next};
use super::page::{Frame, html};
use super::problem::Problem;
use crate::manual_action::return_review::{ReturnFilter, ReturnLine};

/// A list of returns, or one of them.
#[derive(Debug, Template)]
#[template(path = "returns.html")]
struct List {
    frame: Frame,
    lines: Vec<ReturnLine>,
    is_one: bool,
    next: Option<String>,
}

pub(super) async fn list(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let filter = ReturnFilter {
        workspace: query.get("workspace"),
        integration: query.get("integration"),
        after: after(&query)?,
        limit: PAGE,
        ..ReturnFilter::default()
    };
    let lines = console.desk.returns(&signed_in.0.actor, filter).await?;
    let page = List {
        frame: Frame::new(&signed_in, "returns", "Returns").telling(&query),
        next: next(lines.len(), lines.last().map(|line| line.id)),
        lines,
        is_one: false,
    };
    Ok(html(page.frame.status(), &page))
}

pub(super) async fn show(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<i64>, PathRejection>,
) -> Result<Response, Problem> {
    let line = console.desk.find_return(&signed_in.0.actor, known(path)?).await?;
    let page = List {
        frame: Frame::new(&signed_in, "returns", format!("Return {}", line.id)),
        lines: vec![line],
        is_one: true,
        next: None,
    };
    Ok(html(page.frame.status(), &page))
}
