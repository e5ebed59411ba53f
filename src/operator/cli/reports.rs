//! `reports`: which app to fix first, and the evidence of a month, on a terminal.

use std::path::Path;

use chrono::TimeDelta;

use super::desk;
use super::terminal::{Clock, List, ListFormat, clock, more, span};
use crate::operator::desk::{Actor, AskedEvidence, AskedWork};
use crate::reports::evidence::{EvidenceHead, EvidenceLine, Place};
use crate::reports::work::{Revocations, WorkFigures, WorkReport};
use crate::text::printable;

/// Which report.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Say which app to fix first: what automation failed on, and the minutes of manual work that it took
    ///
    /// Counts the actions that were opened in a period, by app, operation and cause. docs/reports.md says how each figure is
    /// measured.
    Work {
        /// The first day, in UTC, such as 2026-11-01; thirty days up to the last one if it is not given
        #[arg(long, value_name = "DAY")]
        from: Option<String>,
        /// The last day; today if it is not given
        #[arg(long, value_name = "DAY")]
        to: Option<String>,
        /// Only this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// Count all requests, too, and how many of them automation did; this takes longer
        #[arg(long)]
        requests: bool,
        #[command(flatten)]
        format: ListFormat,
    },
    /// List who asked for what in a month, who did it, and what proves it: what is not proven first
    Evidence {
        /// The month in which it was asked for, in UTC, such as 2026-11; the present one if it is not given
        #[arg(long)]
        month: Option<String>,
        /// The workspace that it is about
        #[arg(long)]
        workspace: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 1000)]
        limit: u32,
        /// Those that come after this line in the list
        #[arg(long, value_name = "PLACE")]
        after: Option<Place>,
        #[command(flatten)]
        format: ListFormat,
    },
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let (_, desk) = desk(file).await?;
    let actor = &Actor::by_login();
    match command {
        Command::Work { from, to, workspace, requests, format } => {
            let asked = AskedWork {
                workspace: workspace.as_deref(),
                from: from.as_deref(),
                to: to.as_deref(),
                requests,
            };
            let read = async || {
                let report = desk.work_report(actor, asked).await?;
                format.render(&of_work(&report))
            };
            format.show(read).await
        }
        Command::Evidence { month, workspace, limit, after, format } => {
            let asked = AskedEvidence {
                workspace: workspace.as_deref(),
                month: month.as_deref(),
                after,
                limit,
            };
            let read = async || {
                let (head, mut lines) = desk.evidence(actor, asked).await?;
                if format.is_for_people() {
                    let who = lines
                        .iter_mut()
                        .flat_map(|line| [&mut line.done_by, &mut line.confirmed_by]);
                    desk.names(actor).await?.put_in(who.flatten());
                }
                format.render(&of_evidence(&head, &lines, limit))
            };
            format.show(read).await
        }
    }
}

fn of_work(report: &WorkReport) -> List<'_, WorkFigures, 16> {
    let since = match report.figures_since {
        Some(at) => format!("figures are kept since {}", clock().minute(at)),
        None => "no figures are kept".to_owned(),
    };
    let left_out = match report.left_out {
        0 => String::new(),
        lines => format!("; {lines} further lines are left out"),
    };
    List {
        lines: &report.lines,
        heads: [
            "INTEGRATION",
            "APP",
            "OPERATION",
            "CAUSE",
            "SAVED MIN",
            "EACH MIN",
            "OPENED",
            "OPEN",
            "PROVEN",
            "CONTRADICTED",
            "CHANGED HANDS",
            "REVOKED P50",
            "REVOKED P95",
            "OVER 4 H",
            "AUTOMATED",
            "WORKSPACE",
        ],
        wide: &["CHANGED HANDS", "WORKSPACE"],
        cells: work_cells,
        nothing: "no action was opened in this period",
        below: format!(
            "{} to {} UTC: {} actions, {} of them unfinished, {:.0} minutes; {since}{left_out}\n",
            report.from, report.to, report.opened, report.open, report.minutes_saved
        ),
    }
}

fn work_cells(line: &WorkFigures, _: Clock) -> [String; 16] {
    let time = |of: fn(&Revocations) -> Option<f64>| {
        let seconds = line.revocations.as_ref().and_then(of);
        seconds.map_or("-".to_owned(), |seconds| {
            span(TimeDelta::milliseconds((seconds * 1000.0) as i64))
        })
    };
    [
        printable(&line.integration_id),
        printable(&line.integration_name),
        line.operation.clone(),
        printable(&line.cause),
        format!("{:.0}", line.minutes_saved),
        line.minutes_each.map_or("-".to_owned(), |minutes| format!("{minutes:.1}")),
        line.opened.to_string(),
        line.open.to_string(),
        line.proven.to_string(),
        line.contradicted.to_string(),
        line.changed_hands.to_string(),
        time(|revocations| revocations.p50_s),
        time(|revocations| revocations.p95_s),
        line.revocations.as_ref().map_or("-".to_owned(), |one| one.beyond_objective.to_string()),
        line.requests.map_or("-".to_owned(), |one| format!("{} of {}", one.succeeded, one.arrived)),
        printable(&line.workspace_id),
    ]
}

fn of_evidence<'a>(
    head: &EvidenceHead,
    lines: &'a [EvidenceLine],
    limit: u32,
) -> List<'a, EvidenceLine, 14> {
    let deleted = match head.deleted() {
        0 => String::new(),
        actions => format!("; retention has deleted {actions} of them, whose trail is kept"),
    };
    let more = more(lines.len(), limit, lines.last().map(EvidenceLine::place));
    List {
        lines,
        heads: [
            "ACTION",
            "PROVEN",
            "STATUS",
            "OPERATION",
            "APP",
            "MEMBER",
            "ASKED",
            "ASKED BY",
            "ESCALATED",
            "DONE",
            "DONE BY",
            "VERDICT",
            "SYNC",
            "SEEN",
        ],
        wide: &["ESCALATED", "SYNC"],
        cells: evidence_cells,
        nothing: "nothing was asked for in this month that a person had to do",
        below: format!(
            "{} to {} UTC: {} actions, {} of them proven{deleted}\n{more}",
            head.from,
            head.to,
            head.actions(),
            head.proven()
        ),
    }
}

fn evidence_cells(line: &EvidenceLine, clock: Clock) -> [String; 14] {
    let text = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), printable);
    let time = |at: Option<_>| at.map_or("-".to_owned(), |at| clock.minute(at));
    let verdict = match (&line.verdict, line.verdict_at) {
        (Some(verdict), Some(at)) => format!("{verdict}, {}", clock.minute(at)),
        _ => "-".to_owned(),
    };
    let confirmed = match &line.confirmed_by {
        Some(name) => format!(", confirmed by {}", printable(name)),
        None => String::new(),
    };
    [
        line.action_id.to_string(),
        if line.is_proven { "yes" } else { "no" }.to_owned(),
        line.status.clone(),
        line.operation.clone(),
        printable(&line.integration_name),
        printable(&line.member_email),
        clock.minute(line.requested_at),
        line.requested_by.as_deref().map_or_else(|| line.trigger.clone(), printable),
        clock.minute(line.opened_at),
        time(line.done_at),
        format!("{}{confirmed}", text(&line.done_by)),
        verdict,
        line.sync_id.map_or("-".to_owned(), |id| id.to_string()),
        text(&line.observed),
    ]
}
