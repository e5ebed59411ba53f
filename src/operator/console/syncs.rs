//! Syncs, and decisions on held reports.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::actions::{Happened, happened, known};
use super::form::{Form, Query};
use super::list::{PAGE, Pages, after, next};
use super::page::{Frame, html, see_other};
use super::problem::Problem;
use super::views::Views;
use crate::operator::desk::{Seen, SyncCard};
use crate::operator::filters::ListPage;
use crate::operator::report::Stored;
use crate::sync::review::{Filter, SyncFacts, SyncLine};

#[derive(Debug, Template)]
#[template(path = "syncs.html")]
struct List {
    frame: Frame,
    lines: Vec<SyncLine>,
    held: bool,
    pages: Pages,
    views: Views,
}

pub(super) async fn list(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let held = query.get("held").is_some();
    let filter = Filter {
        workspace: query.get("workspace"),
        integration: query.get("integration"),
        held,
        after: after(&query)?,
        limit: PAGE,
        ..Filter::default()
    };
    let lines = console.desk.syncs(&signed_in.0.actor, filter).await?;
    let views = Views::of(&console, &signed_in, ListPage::Syncs, &query).await?;
    let next = next(lines.len(), lines.last().map(|line| line.id));
    let page = List {
        frame: Frame::new(&signed_in, "syncs", "Syncs"),
        pages: Pages::of("/syncs", &views.filter, &query, next),
        views,
        held,
        lines,
    };
    Ok(html(page.frame.status(), &page))
}

#[derive(Debug, Template)]
#[template(path = "sync.html")]
struct Show {
    frame: Frame,
    facts: SyncFacts,
    stored: Stored,
    /// Whom the report would remove although nobody asked for it.
    unasked: Vec<String>,
    /// Whom it removes because a task asks for it, or removed.
    removed: Vec<String>,
    new: Vec<String>,
    changed: Vec<String>,
    trail: Vec<Happened>,
    reason: String,
    may_decide: bool,
}

async fn page(
    console: &Console,
    signed_in: &SignedIn,
    id: i64,
    query: &Form,
    refused: Option<(Problem, Form)>,
) -> Result<Response, Problem> {
    let SyncCard { facts, trail } = console.desk.sync(&signed_in.0.actor, id).await?;
    let (problem, form) = refused.unzip();
    let stored = Stored::of(&facts).unwrap_or_default();
    let is_held = facts.state == "held";
    let (unasked, removed) = stored.removals(is_held);
    let [unasked, removed] =
        [unasked, removed].map(|people| people.iter().map(|one| one.who()).collect());
    let of =
        |people: &[crate::operator::report::Person]| people.iter().map(|one| one.who()).collect();
    let (new, changed) = match &stored.update {
        Some(update) => (of(&update.new_members), of(&update.changed_members)),
        None => (Vec::new(), Vec::new()),
    };
    let frame = Frame::new(signed_in, "syncs", format!("Sync {id}: {}", facts.integration_name))
        .telling(query)
        .refused(problem);
    let page = Show {
        may_decide: frame.may_change
            && is_held
            && facts.held_until.is_none_or(|until| until > facts.now),
        frame,
        stored,
        unasked,
        removed,
        new,
        changed,
        trail: happened(trail),
        reason: form.unwrap_or_default().text("reason"),
        facts,
    };
    Ok(html(page.frame.status(), &page))
}

pub(super) async fn show(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<i64>, PathRejection>,
    Query(query): Query,
) -> Result<Response, Problem> {
    page(&console, &signed_in, known(path)?, &query, None).await
}

#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    Approve,
    Reject,
}

pub(super) async fn decide(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<(i64, Decision)>, PathRejection>,
    form: Form,
) -> Result<Response, Problem> {
    let (id, decision) = known(path)?;
    let seen = Seen { id, revision: Some(form.revision()?) };
    let (desk, actor) = (&console.desk, &signed_in.0.actor);
    let decided = match form.needed("reason", "A decision needs a reason.") {
        Err(problem) => Err(problem),
        Ok(reason) => match decision {
            Decision::Approve => desk.approve(actor, seen, reason).await.map_err(Problem::from),
            Decision::Reject => desk.reject(actor, seen, reason).await.map_err(Problem::from),
        },
    };
    let word = match decision {
        Decision::Approve => "approve",
        Decision::Reject => "reject",
    };
    match decided {
        Ok(()) => Ok(see_other(&format!("/syncs/{id}?said={word}"))),
        Err(problem) => {
            let problem = problem.beside_form()?;
            page(&console, &signed_in, id, &Form::default(), Some((problem, form))).await
        }
    }
}
