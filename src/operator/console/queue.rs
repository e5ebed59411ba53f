//! The queue: a line for each app and cause, removals first.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::form::Query;
use super::list::{self, Pages};
use super::page::{Frame, html};
use super::problem::Problem;
use crate::manual_action::review::{AtWork, WorkLine};
use crate::operator::cursor::cursor;
use crate::sync::review::{Filter, SyncLine};

/// So many lines are on one page.
const PAGE: usize = 100;

/// So many held reports are named; the list has the others.
const MOST_HELD: u32 = 5;

#[derive(Debug, Template)]
#[template(path = "queue.html")]
struct Queue {
    frame: Frame,
    lines: Vec<Line>,
    pages: Pages,
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
    let (skipped, next) = part(list::after(&query)?, work.len());
    let queue = Queue {
        frame: Frame::new(&signed_in, "queue", "Queue").telling(&query),
        actions: work.iter().map(|line| line.actions).sum(),
        overdue: work.iter().map(|line| line.overdue).sum(),
        pages: Pages::of("/", &list::of_workspace(&query), &query, next),
        lines: work
            .into_iter()
            .skip(skipped)
            .take(PAGE)
            .map(|work| Line { people: people(&at_work, &work), work })
            .collect(),
        held: desk.syncs(actor, held).await?,
    };
    Ok(html(queue.frame.status(), &queue))
}

/// How many lines the pages before have, and the cursor of the page that follows.
fn part(after: Option<i64>, lines: usize) -> (usize, Option<String>) {
    let skipped = after.and_then(|lines| usize::try_from(lines).ok()).unwrap_or(0);
    let up_to = skipped.saturating_add(PAGE);
    (skipped, (up_to < lines).then(|| cursor(up_to.to_string())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_queue_is_shown_in_pages_and_the_last_one_has_no_next() {
        let next = |lines: &str| Some(cursor(lines));
        for (after, lines, expected) in [
            (None, 0, (0, None)),
            (None, 100, (0, None)),
            (None, 101, (0, next("100"))),
            (Some(100), 250, (100, next("200"))),
            (Some(200), 250, (200, None)),
            (Some(-1), 250, (0, next("100"))),
            (Some(i64::MAX), 250, (usize::try_from(i64::MAX).unwrap(), None)),
        ] {
            assert_eq!(part(after, lines), expected, "{after:?} of {lines}");
        }
    }
}
