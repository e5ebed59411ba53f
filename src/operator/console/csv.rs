//! All lines of a list, for a spreadsheet.

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
use crate::manual_action::review::{ActionFilter, ActionLine};
use crate::operator::clock::Clock;
use crate::operator::desk::DeskError;
use crate::operator::sheet;
use crate::text::printable;

/// Read at a time, so that a long list takes little memory and no long transaction.
pub(super) const BATCH: u32 = 1000;

/// Where the list goes on.
enum Next {
    /// With the heads.
    First(Option<i64>),
    After(i64),
    End,
}

/// A sheet that is sent while it is read. `read` gets the last line that was read, and returns the next batch: each line with
/// the id of its place.
pub(super) fn streamed<const N: usize, F>(
    name: &str,
    heads: [&'static str; N],
    after: Option<i64>,
    read: impl Fn(Option<i64>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Result<Vec<(i64, [String; N])>, DeskError>> + Send + 'static,
{
    let parts = unfold((Next::First(after), read), move |(next, read)| {
        let (after, heads) = match next {
            Next::First(after) => (after, Some(heads)),
            Next::After(id) => (Some(id), None),
            Next::End => (None, None),
        };
        let batch = (!matches!(next, Next::End)).then(|| read(after));
        async move {
            // A list that ends early must not look whole: the connection is cut.
            let lines = match batch?.await {
                Ok(lines) => lines,
                Err(error) => {
                    return Some((Err(std::io::Error::other(error)), (Next::End, read)));
                }
            };
            let next = match lines.last() {
                Some((id, _)) if lines.len() >= BATCH as usize => Next::After(*id),
                _ => Next::End,
            };
            let cells = lines.into_iter().map(|(_, cells)| cells);
            let text = sheet::csv(heads, cells).map_err(std::io::Error::other);
            Some((text, (next, read)))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, Body::from_stream(parts.boxed())).into_response()
}

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

pub(super) async fn send(
    State(console): State<Console>,
    SignedIn(session): SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let chosen = Chosen::of(&query)?;
    let first = chosen.filter(BATCH).after;
    let read = move |after| {
        let (desk, actor, chosen) = (console.desk.clone(), session.actor.clone(), chosen.clone());
        async move {
            let filter = ActionFilter { after, ..chosen.filter(BATCH) };
            let lines = desk.actions(&actor, filter).await?;
            Ok(lines.iter().map(|line| (line.id, cells(line))).collect())
        }
    };
    Ok(streamed("actions.csv", HEADS, first, read))
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
