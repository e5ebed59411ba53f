//! The queue: a line for each app and cause, removals first.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::form::Query;
use super::page::{Frame, html};
use super::problem::Problem;
use crate::manual_action::review::{AtWork, WorkLine};
use crate::sync::review::{Filter, SyncLine};

/// So many held reports are named; the list has the others.
const MOST_HELD: u32 = 5;

/// So many lines are shown, which keeps the page below 100 kB; the others appear when these are done.
const MOST_LINES: usize = 100;

#[derive(Debug, Template)]
#[template(path = "queue.html")]
struct Queue {
    frame: Frame,
    lines: Vec<Line>,
    /// Lines that are not shown.
    more: usize,
    held: Vec<SyncLine>,
    actions: i64,
    overdue: i64,
}

#[derive(Debug)]
struct Line {
    work: WorkLine,
    people: Vec<String>,
}

pub(super) async fn show(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let (desk, actor) = (&console.desk, &signed_in.0.actor);
    let mut work = desk.work(actor, query.get("workspace")).await?;
    work.sort_by_key(|line| (line.operation != "remove", line.next_due_at));
    let at_work = desk.at_work(actor).await?;
    let held = Filter { held: true, limit: MOST_HELD, ..Filter::default() };
    let queue = Queue {
        frame: Frame::new(&signed_in, "queue", "Queue").telling(&query),
        actions: work.iter().map(|line| line.actions).sum(),
        overdue: work.iter().map(|line| line.overdue).sum(),
        more: work.len().saturating_sub(MOST_LINES),
        lines: work
            .into_iter()
            .take(MOST_LINES)
            .map(|work| Line { people: people(&at_work, &work), work })
            .collect(),
        held: desk.syncs(actor, held).await?,
    };
    Ok(html(queue.frame.status(), &queue))
}

fn people(at_work: &[AtWork], line: &WorkLine) -> Vec<String> {
    let same = |one: &&AtWork| {
        one.workspace_id == line.workspace_id
            && one.integration_id == line.integration_id
            && one.operation == line.operation
            && one.cause == line.cause
    };
    at_work.iter().find(same).map(|one| one.people.clone()).unwrap_or_default()
}
