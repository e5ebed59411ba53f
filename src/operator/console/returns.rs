//! Returns to automation, and how they went.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::actions::known;
use super::form::Query;
use super::list::{PAGE, Pages, after, next};
use super::page::{Frame, html};
use super::problem::Problem;
use super::views::Views;
use crate::manual_action::return_review::{ReturnFilter, ReturnLine};
use crate::operator::filters::ListPage;

/// A list of returns, or one of them.
#[derive(Debug, Template)]
#[template(path = "returns.html")]
struct List {
    frame: Frame,
    lines: Vec<ReturnLine>,
    is_one: bool,
    pages: Pages,
    views: Option<Views>,
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
    let views = Views::of(&console, &signed_in, ListPage::Returns, &query).await?;
    let next = next(lines.len(), lines.last().map(|line| line.id));
    let page = List {
        frame: Frame::new(&signed_in, "returns", "Returns").telling(&query),
        pages: Pages::of("/returns", &views.filter, &query, next),
        views: Some(views),
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
        pages: Pages::default(),
        views: None,
    };
    Ok(html(page.frame.status(), &page))
}
