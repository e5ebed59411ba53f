//! Which app to fix first: by the minutes of manual work that its fix would have saved.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::period::Period;

/// A removal that was asked for shall be proven within so many seconds: the deadline of a removal as it is delivered.
pub const OBJECTIVE_S: i64 = 4 * 60 * 60;

/// So many lines are shown; the report says how many it leaves out.
pub const MOST_LINES: usize = 100;

/// The figures of one app, operation and cause, as they are stored.
#[derive(Debug, Clone)]
pub struct Figures {
    pub workspace_id: String,
    pub integration_id: String,
    pub integration_name: String,
    pub application: String,
    pub operation: String,
    pub cause: String,
    pub opened: i64,
    pub open: i64,
    pub proven: i64,
    pub contradicted: i64,
    pub changed_hands: i64,
    /// Those that somebody claimed.
    pub measured: i64,
    pub worked_s: i64,
    /// Those that were or have to be done and that nobody has claimed.
    pub unmeasured: i64,
    /// Of removals: how many were proven, and the seconds that half and 95 % of these took.
    pub revoked: i64,
    pub revoked_p50_s: Option<f64>,
    pub revoked_p95_s: Option<f64>,
    pub beyond_objective: i64,
}

/// How long removals of one app and cause took from the request to the proof.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Revocations {
    pub proven: i64,
    /// Of the proven ones, half took so many seconds at most.
    pub p50_s: Option<f64>,
    pub p95_s: Option<f64>,
    /// Those that took longer than the objective, and those that are not proven although as much time has passed.
    pub beyond_objective: i64,
}

/// What became of the requests for one operation in an app that arrived in the period, whatever their cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Requests {
    pub arrived: i64,
    /// Automation did it, here or before the request arrived.
    pub succeeded: i64,
    /// Automation failed on it, and a person had to do it.
    pub escalated: i64,
}

/// The manual actions of one app, operation and cause that were opened in the period.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WorkFigures {
    pub workspace_id: String,
    pub integration_id: String,
    pub integration_name: String,
    pub application: String,
    pub operation: String,
    /// The failure code of the actions, or their reason if they have no code.
    pub cause: String,
    /// How many requests automation failed on: each opened an action.
    pub opened: i64,
    /// How many of them are unfinished now.
    pub open: i64,
    /// How many a snapshot of the app has proven.
    pub proven: i64,
    /// How many were marked done and not so in the app.
    pub contradicted: i64,
    /// How many passed from one person to another.
    pub changed_hands: i64,
    /// Of so many actions the time of work is known, because somebody claimed them.
    pub measured: i64,
    /// The minutes of work on these.
    pub minutes: f64,
    /// Minutes of work on one action; null if none of the report was measured.
    pub minutes_each: Option<f64>,
    /// The minutes that a fix would have saved: those that were measured, and as many for each action that nobody has
    /// claimed.
    pub minutes_saved: f64,
    /// Of removals; null for other operations.
    pub revocations: Option<Revocations>,
    /// Of the app and the operation; null unless they were asked for.
    pub requests: Option<Requests>,
}

/// Which app to fix first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WorkReport {
    /// The first and the last day of the period, in UTC.
    pub from: NaiveDate,
    pub to: NaiveDate,
    /// When the oldest action was opened whose figures are kept; null if there is none. Nothing is known of before.
    pub figures_since: Option<DateTime<Utc>>,
    /// Seconds within which a removal shall be proven.
    pub objective_s: i64,
    pub opened: i64,
    pub open: i64,
    pub minutes_saved: f64,
    /// Those that would save most first.
    pub lines: Vec<WorkFigures>,
    /// How many further lines there are.
    pub left_out: usize,
}

/// Workspace, integration and operation, and their requests.
pub type RequestsOf = ((String, String, String), Requests);

/// Puts the figures together, what a fix would save most first.
pub fn report(
    period: Period,
    figures_since: Option<DateTime<Utc>>,
    figures: Vec<Figures>,
    requests: Vec<RequestsOf>,
) -> WorkReport {
    let usual = each(
        figures.iter().map(|line| line.worked_s).sum(),
        figures.iter().map(|line| line.measured).sum(),
    );
    let requests: std::collections::BTreeMap<_, _> = requests.into_iter().collect();
    let mut lines: Vec<_> = figures
        .into_iter()
        .map(|line| {
            let key =
                (line.workspace_id.clone(), line.integration_id.clone(), line.operation.clone());
            WorkFigures { requests: requests.get(&key).copied(), ..judged(line, usual) }
        })
        .collect();
    lines.sort_by(|a, b| {
        let by_minutes = b.minutes_saved.total_cmp(&a.minutes_saved);
        by_minutes.then(b.opened.cmp(&a.opened)).then_with(|| place(a).cmp(&place(b)))
    });
    WorkReport {
        from: period.first(),
        to: period.last(),
        figures_since,
        objective_s: OBJECTIVE_S,
        opened: lines.iter().map(|line| line.opened).sum(),
        open: lines.iter().map(|line| line.open).sum(),
        minutes_saved: lines.iter().map(|line| line.minutes_saved).sum(),
        left_out: lines.len().saturating_sub(MOST_LINES),
        lines: lines.into_iter().take(MOST_LINES).collect(),
    }
}

fn place(line: &WorkFigures) -> [&str; 4] {
    [&line.workspace_id, &line.integration_id, &line.operation, &line.cause]
}

/// Minutes of one action.
#[expect(clippy::cast_precision_loss, reason = "seconds of work are far below 2^52")]
fn each(worked_s: i64, measured: i64) -> Option<f64> {
    (measured > 0).then(|| worked_s as f64 / 60.0 / measured as f64)
}

/// Where no action of a line was claimed, one takes as long as those of the whole report.
#[expect(clippy::cast_precision_loss, reason = "counts and seconds are far below 2^52")]
fn judged(line: Figures, usual: Option<f64>) -> WorkFigures {
    let minutes = line.worked_s as f64 / 60.0;
    let minutes_each = each(line.worked_s, line.measured).or(usual);
    let revocations = (line.operation == "remove").then_some(Revocations {
        proven: line.revoked,
        p50_s: line.revoked_p50_s,
        p95_s: line.revoked_p95_s,
        beyond_objective: line.beyond_objective,
    });
    WorkFigures {
        minutes,
        minutes_each,
        minutes_saved: minutes + minutes_each.unwrap_or(0.0) * line.unmeasured as f64,
        revocations,
        requests: None,
        workspace_id: line.workspace_id,
        integration_id: line.integration_id,
        integration_name: line.integration_name,
        application: line.application,
        operation: line.operation,
        cause: line.cause,
        opened: line.opened,
        open: line.open,
        proven: line.proven,
        contradicted: line.contradicted,
        changed_hands: line.changed_hands,
        measured: line.measured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(cause: &str, opened: i64, measured: i64, minutes: i64, unmeasured: i64) -> Figures {
        Figures {
            workspace_id: "acme".to_owned(),
            integration_id: "an-app".to_owned(),
            integration_name: "An app".to_owned(),
            application: "asana_tenant".to_owned(),
            operation: "remove".to_owned(),
            cause: cause.to_owned(),
            opened,
            open: 0,
            proven: measured,
            contradicted: 0,
            changed_hands: 0,
            measured,
            worked_s: minutes * 60,
            unmeasured,
            revoked: measured,
            revoked_p50_s: Some(60.0),
            revoked_p95_s: Some(90.0),
            beyond_objective: opened - measured,
        }
    }

    fn reported(figures: Vec<Figures>) -> WorkReport {
        let period = Period::month(Some("2026-11"), "2026-12-01".parse().unwrap()).unwrap();
        let removals = ("acme".to_owned(), "an-app".to_owned(), "remove".to_owned());
        let requests = Requests { arrived: 90, succeeded: 50, escalated: 40 };
        report(period, None, figures, vec![(removals, requests)])
    }

    #[test]
    fn what_would_save_most_comes_first_and_unclaimed_actions_count_like_those_measured() {
        let lines = vec![
            figures("few long ones", 2, 2, 60, 0),
            figures("many short ones", 30, 10, 50, 20),
            figures("nobody has begun", 5, 0, 0, 5),
            Figures { operation: "invite".to_owned(), ..figures("seats", 1, 1, 20, 0) },
        ];
        let report = reported(lines);
        let told: Vec<_> = report
            .lines
            .iter()
            .map(|line| (line.cause.as_str(), line.minutes_each.unwrap(), line.minutes_saved))
            .collect();
        assert_eq!(
            told,
            [
                ("many short ones", 5.0, 150.0),
                ("few long ones", 30.0, 60.0),
                // 130 minutes of 13 actions in all.
                ("nobody has begun", 10.0, 50.0),
                ("seats", 20.0, 20.0),
            ]
        );
        assert_eq!((report.opened, report.minutes_saved), (38, 280.0));
        assert_eq!(report.lines[0].revocations.as_ref().unwrap().beyond_objective, 20);
        assert_eq!(report.lines[3].revocations, None, "nobody is removed by an invitation");
        assert_eq!(report.lines[0].requests.unwrap().succeeded, 50);
    }

    #[test]
    fn without_any_measure_the_number_of_actions_decides_and_no_time_is_made_up() {
        let report = reported(vec![figures("a", 1, 0, 0, 1), figures("b", 3, 0, 0, 3)]);
        assert_eq!(report.lines[0].cause, "b");
        assert_eq!((report.lines[0].minutes_each, report.minutes_saved), (None, 0.0));
    }

    #[test]
    fn a_long_report_says_how_much_it_leaves_out_and_counts_all_of_it() {
        let lines = (0..250).map(|n| figures(&format!("cause {n}"), 1, 1, n, 0)).collect();
        let report = reported(lines);
        assert_eq!((report.lines.len(), report.left_out, report.opened), (100, 150, 250));
        assert_eq!(report.lines[0].minutes, 249.0);
    }
}
