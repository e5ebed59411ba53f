//! All actions that a filter lets through, for a spreadsheet.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{StreamExt, unfold};

use super::Console;
use super::access::SignedIn;
use super::filter::Chosen;
use super::form::Query;
use super::problem::Problem;
use crate::manual_action::review::ActionLine;
use crate::operator::clock::Clock;
use crate::operator::sheet;
use crate::text::printable;

/// Read at a time, so that a long list takes little memory and no long transaction.
const BATCH: u32 = 1000;

const HEADS: [&str; 15] = [
    "ID",
    "STATUS",
    "DUE",
    "OVERDUE",
    "OPERATION",
    "WORKSPACE",
    "INTEGRATION",
    "APP",
    "MEMBER",
    "NAME",
    "ASSIGNEE",
    "WHY",
    "DONE BY",
    "VERDICT",
    "NOTE",
];

/// Where the list goes on.
enum Next {
    /// With the heads.
    First,
    After(i64),
    End,
}

pub(super) async fn send(
    State(console): State<Console>,
    SignedIn(session): SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let chosen = Chosen::of(&query)?;
    let parts = unfold(
        (Next::First, console, session, chosen),
        async |(next, console, session, chosen)| {
            let (after, heads) = match next {
                Next::First => (chosen.filter(BATCH).after, Some(HEADS)),
                Next::After(id) => (Some(id), None),
                Next::End => return None,
            };
            let filter =
                crate::manual_action::review::ActionFilter { after, ..chosen.filter(BATCH) };
            let read = console.desk.actions(&session.actor, filter).await;
            // A list that ends early must not look whole: the connection is cut.
            let lines = match read {
                Ok(lines) => lines,
                Err(error) => {
                    return Some((
                        Err(std::io::Error::other(error)),
                        (Next::End, console, session, chosen),
                    ));
                }
            };
            let next = match lines.last() {
                Some(last) if lines.len() >= BATCH as usize => Next::After(last.id),
                _ => Next::End,
            };
            let text = sheet::csv(heads, lines.iter().map(cells)).map_err(std::io::Error::other);
            Some((text, (next, console, session, chosen)))
        },
    );
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"actions.csv\""),
    ];
    Ok((headers, Body::from_stream(parts.boxed())).into_response())
}

fn cells(line: &ActionLine) -> [String; 15] {
    let text = |text: &Option<String>| text.as_deref().map(printable).unwrap_or_default();
    let code = line.failure_code.as_deref().map(|code| format!(": {code}")).unwrap_or_default();
    [
        line.id.to_string(),
        line.status.clone(),
        Clock::Utc.minute(line.due_at),
        if line.overdue { "yes" } else { "no" }.to_owned(),
        line.operation.clone(),
        printable(&line.workspace_id),
        printable(&line.integration_id),
        printable(&line.integration_name),
        printable(&line.member_email),
        text(&line.member_name),
        text(&line.assignee),
        printable(&format!("{}{code}", line.reason)),
        text(&line.done_by),
        text(&line.verdict),
        text(&line.note),
    ]
}
