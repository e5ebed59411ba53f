//! The evidence of a month, on a screen, on paper and as a sheet.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};

use super::Console;
use super::access::SignedIn;
use super::csv::{BATCH, streamed};
use super::form::Query;
use super::list::{PAGE, Pages, after, next};
use super::page::{Frame, html};
use super::problem::Problem;
use super::reports::chosen_wrongly;
use crate::operator::clock::Clock;
use crate::operator::desk::{AskedEvidence, DeskError};
use crate::reports::evidence::{EvidenceHead, EvidenceLine, EvidenceTotal};
use crate::text::encoded;
use crate::text::printable;

/// So many lines are on one page to print. More are in the sheet.
const MOST_PRINTED: u32 = 2_000;

#[derive(Debug, Template)]
#[template(path = "evidence.html")]
struct Evidence {
    frame: Frame,
    /// `None` before somebody has chosen a workspace, and for a month that was refused.
    head: Option<EvidenceHead>,
    lines: Vec<EvidenceLine>,
    pages: Pages,
    month: String,
    workspace: String,
    /// Whether all lines are on the page, to print them.
    is_whole: bool,
    /// Whether there are more lines than are printed.
    is_cut: bool,
}

/// What became of the requests of one operation.
#[derive(Debug, Default)]
struct Sum {
    asked: i64,
    proven: i64,
    /// Nobody can read the app: somebody's word closed it.
    on_a_word: i64,
    unfinished: i64,
    /// Dismissed, superseded or returned to automation.
    ended_otherwise: i64,
}

impl Evidence {
    fn sums(&self) -> BTreeMap<&str, Sum> {
        let mut sums: BTreeMap<_, Sum> = BTreeMap::new();
        for total in self.head.iter().flat_map(|head| &head.totals) {
            sums.entry(total.operation.as_str()).or_default().add(total);
        }
        sums
    }

    fn utc(&self, at: &DateTime<Utc>) -> String {
        at.format("%Y-%m-%d %H:%M").to_string()
    }

    fn why(&self, line: &EvidenceLine) -> String {
        why(line)
    }

    fn query(&self) -> String {
        query(&self.workspace, &self.month)
    }
}

impl Sum {
    fn add(&mut self, total: &EvidenceTotal) {
        self.asked += total.actions;
        *match total.status.as_str() {
            _ if total.is_proven => &mut self.proven,
            "attested" => &mut self.on_a_word,
            "open" | "in_progress" | "done" => &mut self.unfinished,
            _ => &mut self.ended_otherwise,
        } += total.actions;
    }
}

/// Most reasons name the code already.
fn why(line: &EvidenceLine) -> String {
    match &line.failure_code {
        Some(code) if !line.reason.contains(code.as_str()) => format!("{}: {code}", line.reason),
        _ => line.reason.clone(),
    }
}

fn query(workspace: &str, month: &str) -> String {
    format!("workspace={}&month={}", encoded(workspace), encoded(month))
}

pub(super) async fn show(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let actor = &signed_in.0.actor;
    let is_whole = query.get("whole").is_some();
    let asked = AskedEvidence {
        workspace: query.get("workspace"),
        month: query.get("month"),
        after: after(&query)?,
        limit: if is_whole { MOST_PRINTED } else { PAGE },
    };
    let mut page = Evidence {
        frame: Frame::new(&signed_in, "reports", "Evidence"),
        head: None,
        lines: Vec::new(),
        pages: Pages::default(),
        month: query.text("month"),
        workspace: actor.workspace_or(asked.workspace).unwrap_or_default().to_owned(),
        is_whole,
        is_cut: false,
    };
    if page.workspace.is_empty() {
        return Ok(html(page.frame.status(), &page));
    }
    match console.desk.evidence(actor, asked).await {
        Ok((head, lines)) => {
            page.month = head.from.format("%Y-%m").to_string();
            let last = lines.last().filter(|_| !is_whole).map(EvidenceLine::place);
            let next = next(lines.len(), last);
            page.pages = Pages::of("/evidence", &page.query(), &query, next);
            page.is_cut = is_whole && lines.len() >= MOST_PRINTED as usize;
            page.frame.title = format!("Evidence of {}, {}", page.workspace, page.month);
            (page.head, page.lines) = (Some(head), lines);
        }
        Err(error) => {
            let problem = DeskError::from(chosen_wrongly(error)?).into();
            page.frame = page.frame.refused(Some(problem));
        }
    }
    Ok(html(page.frame.status(), &page))
}

const HEADS: [&str; 27] = [
    "ACTION",
    "PROVEN",
    "STATUS",
    "OPERATION",
    "WORKSPACE",
    "INTEGRATION",
    "APP",
    "MEMBER ID",
    "MEMBER",
    "NAME",
    "TRIGGER",
    "ASKED BY",
    "ASKED",
    "ESCALATED",
    "WHY",
    "DONE BY",
    "DONE",
    "CONFIRMED BY",
    "CONFIRMED",
    "VERDICT",
    "JUDGED",
    "SEEN",
    "SYNC",
    "SNAPSHOT BEGAN",
    "SNAPSHOT HASH",
    "REPORT APPROVED BY",
    "REOPENED",
];

/// Every line of the month.
pub(super) async fn send(
    State(console): State<Console>,
    SignedIn(session): SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    // What is wrong with the month or the workspace is said before the sheet begins.
    let asked = AskedEvidence {
        workspace: query.get("workspace"),
        month: query.get("month"),
        after: None,
        limit: 1,
    };
    let (head, _) = console.desk.evidence(&session.actor, asked).await?;
    let month = head.from.format("%Y-%m").to_string();
    let name = format!("evidence-{}-{month}.csv", encoded(&head.workspace));
    let read = move |after| {
        let (desk, actor) = (console.desk.clone(), session.actor.clone());
        let (workspace, period) = (head.workspace.clone(), head.period());
        async move {
            let lines = desk.evidence_after(&actor, &workspace, period, after, BATCH).await?;
            Ok(lines.iter().map(|line| (line.action_id, cells(line))).collect())
        }
    };
    Ok(streamed(&name, HEADS, None, read))
}

fn cells(line: &EvidenceLine) -> [String; 27] {
    let text = |text: &Option<String>| text.as_deref().map(printable).unwrap_or_default();
    let time = |at: Option<DateTime<Utc>>| at.map(|at| Clock::Utc.moment(at)).unwrap_or_default();
    [
        line.action_id.to_string(),
        if line.is_proven { "yes" } else { "no" }.to_owned(),
        line.status.clone(),
        line.operation.clone(),
        printable(&line.workspace_id),
        printable(&line.integration_id),
        printable(&line.integration_name),
        printable(&line.member_id),
        printable(&line.member_email),
        text(&line.member_name),
        line.trigger.clone(),
        text(&line.requested_by),
        time(Some(line.requested_at)),
        time(Some(line.opened_at)),
        printable(&why(line)),
        text(&line.done_by),
        time(line.done_at),
        text(&line.confirmed_by),
        time(line.confirmed_at),
        text(&line.verdict),
        time(line.verdict_at),
        text(&line.observed),
        line.sync_id.map(|id| id.to_string()).unwrap_or_default(),
        time(line.snapshot_started_at),
        text(&line.snapshot_hash),
        text(&line.report_approved_by),
        line.reopened_count.to_string(),
    ]
}
