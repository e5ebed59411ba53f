//! Texts of instructions that people reported.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::form::Query;
use super::page::{Frame, html};
use super::problem::Problem;
use crate::manual_action::changed_screens::ChangedScreen;

#[derive(Debug, Template)]
#[template(path = "instructions.html")]
struct List {
    frame: Frame,
    lines: Vec<ChangedScreen>,
}

pub(super) async fn list(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let workspace = query.get("workspace");
    let lines = console.desk.changed_screens(&signed_in.0.actor, workspace).await?;
    let frame = Frame::new(&signed_in, "integrations", "Instructions");
    let page = List { frame, lines };
    Ok(html(page.frame.status(), &page))
}
