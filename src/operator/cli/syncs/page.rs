//! One sync as a page: everything that a person needs to trust it, or to decide on it.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};

use super::counted;
use crate::operator::cli::terminal::{clock, happened, span, table};
use crate::operator::desk::{Names, SyncCard};
use crate::operator::report::Stored;
use crate::sync::review::SyncFacts;
use crate::text::printable;

/// The whole page.
pub(super) fn of(SyncCard { facts: card, trail }: &SyncCard, names: &Names) -> String {
    let mut page = format!(
        "Sync {} of workspace {}: {}\n\n",
        card.id,
        printable(&card.workspace_id),
        card.state
    );
    let stored = Stored::of(card);
    let mut facts = course(card);
    facts.extend(decision(card, names));
    match &stored {
        Ok(stored) => facts.extend(findings(card, stored)),
        Err(_) => facts.push(("report", "not readable here: see -o json".to_owned())),
    }
    for (name, value) in facts {
        let _ = writeln!(page, "{name:<20}{}", printable(&value));
    }
    let stored = stored.unwrap_or_default();
    for section in
        [changes(card, &stored), differences(&stored), doors(card), happened(trail, names)]
    {
        page.push_str(&section);
    }
    page
}

fn course(card: &SyncFacts) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("app", format!("{} ({})", card.integration_name, card.integration_id)),
        ("procedure", card.procedure.clone()),
        ("causes", card.causes.join(", ")),
        ("requested", moment(card.requested_at)),
    ];
    let is_read = card.state != "failed" || card.report.is_some();
    let age = card.started_at.filter(|_| is_read).map(|started| span(card.now - started));
    let failures = (card.failures > 0).then(|| card.failures.to_string());
    let is_due =
        matches!(card.state.as_str(), "requested" | "started" | "report_ready" | "applying");
    let more = [
        ("next step", is_due.then(|| moment(card.next_step_at))),
        ("started", card.started_at.map(moment)),
        ("age of the snapshot", age),
        ("backend's job", card.running_job_id.clone()),
        ("failed steps", failures),
        ("last error", card.last_error.clone()),
        ("finished", card.finished_at.map(moment)),
        ("outcome", card.finished_reason.clone()),
    ];
    facts.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
    facts
}

fn decision(card: &SyncFacts, names: &Names) -> Vec<(&'static str, String)> {
    let waits = card.state == "held";
    let until = card.held_until.map(|until| match until - card.now {
        left if waits && left > TimeDelta::zero() => {
            format!("{} ({} left)", moment(until), span(left))
        }
        _ if waits => format!("{} (over: the app is read anew)", moment(until)),
        _ => moment(until),
    });
    let decided = card.decision.as_ref().map(|decision| {
        let by = names.of(card.decided_by.as_deref().unwrap_or("unknown"));
        let at = card.decided_at.map(moment).unwrap_or_default();
        let reason = card.decision_reason.as_deref().unwrap_or_default();
        format!("{decision} by {by} at {at}: {reason}")
    });
    let facts =
        [("held", card.held_reason.clone()), ("to be decided by", until), ("decision", decided)];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn findings(card: &SyncFacts, stored: &Stored) -> Vec<(&'static str, String)> {
    let update = stored.update.as_ref().map(|update| {
        let made = update.created_at.map_or("at an unknown time".to_owned(), moment);
        let [new, removed, changed] =
            [&update.new_members, &update.removed_members, &update.changed_members].map(Vec::len);
        let read = of_total(update.members_read, update.members_total);
        format!("made {made}, {read} members read: {new} new, {removed} removed, {changed} changed")
    });
    let snapshot = stored.snapshot.as_ref().map(|snapshot| {
        let read = of_total(Some(snapshot.members), snapshot.total);
        let pages = if snapshot.pages == 1 { "page" } else { "pages" };
        let proof = match (snapshot.complete, snapshot.gaps.join(", ")) {
            (true, _) => "complete".to_owned(),
            (false, gaps) => format!("NOT complete: {gaps}"),
        };
        // A report is held before it is applied: Cerby's members are not yet those of the app.
        let whose =
            if card.state == "finished" { "" } else { " (what Cerby knew before the apply)" };
        format!("{read} members in {} {pages}, {proof}{whose}", snapshot.pages)
    });
    let hash = stored.snapshot.as_ref().and_then(|snapshot| snapshot.hash.clone());
    let counts = stored.counts.as_ref().map(|counts| {
        let counts: Vec<_> =
            counted(counts).map(|(class, count)| format!("{count} {class}")).collect();
        counts.join(", ")
    });
    let removals =
        card.unexpected_removals.filter(|count| *count > 0).map(|count| count.to_string());
    let facts = [
        ("the app's report", update),
        ("snapshot", snapshot),
        ("hash", hash),
        ("counts", counts),
        ("unexpected removals", removals),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Everybody in the app's own report: what an apply does, or did.
fn changes(card: &SyncFacts, stored: &Stored) -> String {
    let Some(update) = &stored.update else { return String::new() };
    let is_held = card.state == "held";
    let (unasked, removed) = stored.removals(is_held);
    let lists = [
        ("Already gone from the app; approving removes them from Cerby", unasked),
        ("removed", removed),
        ("new", update.new_members.iter().collect()),
        ("changed", update.changed_members.iter().collect()),
    ];
    let rows: Vec<_> = lists
        .into_iter()
        .flat_map(|(change, people)| {
            people.into_iter().map(move |one| [change.to_owned(), one.who()])
        })
        .collect();
    let title = if is_held { "What approving applies" } else { "The app's report" };
    section(title, ["CHANGE", "WHO"], rows)
}

fn differences(stored: &Stored) -> String {
    let rows = stored.differences.iter().map(|one| {
        let roles = one.roles.as_ref().map(|roles| printable(&roles.join(", ")));
        [
            printable(&one.class),
            one.person.who(),
            roles.filter(|roles| !roles.is_empty()).unwrap_or("-".to_owned()),
            one.task_id.map_or("-".to_owned(), |task| task.to_string()),
            printable(&one.why),
        ]
    });
    section("Differences", ["CLASS", "WHO", "ROLES", "TASK", "WHY"], rows.collect())
}

fn section<const N: usize>(title: &str, heads: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let lines = table(heads, rows.into_iter());
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("\n{title}:\n{lines}")
}

/// The commands that decide, while there is something to decide.
fn doors(card: &SyncFacts) -> String {
    if card.state != "held" || card.held_until.is_some_and(|until| until <= card.now) {
        return String::new();
    }
    let id = card.id;
    format!(
        "\nDecide with one of:\n  \
         cerby-reconciler syncs approve {id} --reason '…'\n  \
         cerby-reconciler syncs reject {id} --reason '…'\n"
    )
}

fn of_total(read: Option<u64>, total: Option<u64>) -> String {
    let number = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    format!("{} of {}", number(read), number(total))
}

fn moment(at: DateTime<Utc>) -> String {
    clock().moment(at)
}
