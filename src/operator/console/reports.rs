//! Which app to fix first.

use askama::Template;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;

use super::Console;
use super::access::SignedIn;
use super::form::{Form, Query};
use super::page::{Frame, html};
use super::problem::Problem;
use crate::operator::clock::span;
use crate::operator::desk::{AskedWork, DeskError, Refusal, RefusalKind};
use crate::operator::sheet;
use crate::reports::work::{WorkFigures, WorkReport};
use crate::text::encoded;
use crate::text::printable;

#[derive(Debug, Template)]
#[template(path = "reports.html")]
struct Work {
    frame: Frame,
    /// `None` if the period was refused.
    report: Option<WorkReport>,
    from: String,
    to: String,
    workspace: String,
    requests: bool,
}

impl Work {
    fn query(&self) -> String {
        let requests = if self.requests { "1" } else { "" };
        let words = [
            ("from", self.from.as_str()),
            ("to", &self.to),
            ("workspace", &self.workspace),
            ("requests", requests),
        ];
        let words = words.iter().filter(|(_, word)| !word.is_empty());
        words.map(|(name, word)| format!("{name}={}", encoded(word))).collect::<Vec<_>>().join("&")
    }

    fn minutes(&self, minutes: &f64) -> String {
        spoken(minutes * 60.0)
    }

    fn seconds(&self, seconds: &Option<f64>) -> String {
        seconds.map_or_else(|| "–".to_owned(), spoken)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a time that a person reads")]
fn spoken(seconds: f64) -> String {
    span(TimeDelta::seconds(seconds.round() as i64))
}

async fn read(
    console: &Console,
    signed_in: &SignedIn,
    query: &Form,
) -> Result<WorkReport, DeskError> {
    let asked = AskedWork {
        workspace: query.get("workspace"),
        from: query.get("from"),
        to: query.get("to"),
        requests: query.get("requests").is_some(),
    };
    console.desk.work_report(&signed_in.0.actor, asked).await
}

/// What somebody chose that no report can be of, which the page says above its form.
pub(super) fn chosen_wrongly(error: DeskError) -> Result<Refusal, Problem> {
    match error {
        DeskError::Refused(refusal) if refusal.kind == RefusalKind::Invalid => Ok(refusal),
        error => Err(error.into()),
    }
}

pub(super) async fn show(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let (report, problem) = match read(&console, &signed_in, &query).await {
        Ok(report) => (Some(report), None),
        Err(error) => (None, Some(DeskError::from(chosen_wrongly(error)?).into())),
    };
    let days = report.as_ref().map(|report| (report.from.to_string(), report.to.to_string()));
    let (from, to) = days.unwrap_or_else(|| (query.text("from"), query.text("to")));
    let page = Work {
        frame: Frame::new(&signed_in, "reports", "Fix first").refused(problem),
        report,
        from,
        to,
        workspace: query.text("workspace"),
        requests: query.get("requests").is_some(),
    };
    Ok(html(page.frame.status(), &page))
}

const HEADS: [&str; 20] = [
    "WORKSPACE",
    "INTEGRATION",
    "APP",
    "OPERATION",
    "CAUSE",
    "OPENED",
    "OPEN",
    "PROVEN",
    "CONTRADICTED",
    "CHANGED HANDS",
    "MEASURED",
    "MINUTES",
    "MINUTES EACH",
    "MINUTES SAVED",
    "REVOKED P50 S",
    "REVOKED P95 S",
    "OVER OBJECTIVE",
    "REQUESTS",
    "AUTOMATED",
    "ESCALATED",
];

pub(super) async fn send(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let report = read(&console, &signed_in, &query).await?;
    let text = sheet::csv(Some(HEADS), report.lines.iter().map(cells)).map_err(|_| {
        Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "The sheet cannot be written.")
    })?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"fix-first.csv\""),
    ];
    Ok((headers, text).into_response())
}

fn cells(line: &WorkFigures) -> [String; 20] {
    let number = |number: Option<f64>| number.map(|n| format!("{n:.1}")).unwrap_or_default();
    let count = |count: Option<i64>| count.map(|n| n.to_string()).unwrap_or_default();
    let revoked = line.revocations.as_ref();
    [
        printable(&line.workspace_id),
        printable(&line.integration_id),
        printable(&line.integration_name),
        line.operation.clone(),
        printable(&line.cause),
        line.opened.to_string(),
        line.open.to_string(),
        line.proven.to_string(),
        line.contradicted.to_string(),
        line.changed_hands.to_string(),
        line.measured.to_string(),
        number(Some(line.minutes)),
        number(line.minutes_each),
        number(Some(line.minutes_saved)),
        number(revoked.and_then(|one| one.p50_s)),
        number(revoked.and_then(|one| one.p95_s)),
        count(revoked.map(|one| one.beyond_objective)),
        count(line.requests.map(|one| one.arrived)),
        count(line.requests.map(|one| one.succeeded)),
        count(line.requests.map(|one| one.escalated)),
    ]
}
