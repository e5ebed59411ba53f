//! Automation tasks, and why they wait.

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
use crate::operator::desk::TaskCard;
use crate::operator::filters::ListPage;
use crate::retry::review::{TaskFacts, TaskFilter, TaskLine};

#[derive(Debug, Template)]
#[template(path = "tasks.html")]
struct List {
    frame: Frame,
    lines: Vec<TaskLine>,
    member: String,
    integration: String,
    pages: Pages,
    views: Views,
}

pub(super) async fn list(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let filter = TaskFilter {
        workspace: query.get("workspace"),
        integration: query.get("integration"),
        member: query.get("member"),
        after: after(&query)?,
        limit: PAGE,
        ..TaskFilter::default()
    };
    let lines = console.desk.tasks(&signed_in.0.actor, filter).await?;
    let views = Views::of(&console, &signed_in, ListPage::Tasks, &query).await?;
    let next = next(lines.len(), lines.last().map(|line| line.id));
    let page = List {
        frame: Frame::new(&signed_in, "tasks", "Tasks"),
        pages: Pages::of("/tasks", &views.filter, &query, next),
        views,
        member: query.text("member"),
        integration: query.text("integration"),
        lines,
    };
    Ok(html(page.frame.status(), &page))
}

#[derive(Debug, Template)]
#[template(path = "task.html")]
struct Show {
    frame: Frame,
    facts: TaskFacts,
    trail: Vec<Happened>,
    reason: String,
}

async fn page(
    console: &Console,
    signed_in: &SignedIn,
    id: i64,
    query: &Form,
    refused: Option<(Problem, Form)>,
) -> Result<Response, Problem> {
    let TaskCard { facts, trail } = console.desk.task(&signed_in.0.actor, id).await?;
    let (problem, form) = refused.unzip();
    let title = format!("Task {id}: {} {}", facts.operation.replace('_', " "), facts.member_email);
    let page = Show {
        frame: Frame::new(signed_in, "tasks", title).telling(query).refused(problem),
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

pub(super) async fn cancel(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<i64>, PathRejection>,
    form: Form,
) -> Result<Response, Problem> {
    let id = known(path)?;
    let cancelled = match form.needed("reason", "Cancelling needs a reason.") {
        Err(problem) => Err(problem),
        Ok(reason) => {
            console.desk.cancel(&signed_in.0.actor, id, reason).await.map_err(Problem::from)
        }
    };
    match cancelled {
        Ok(()) => Ok(see_other(&format!("/tasks/{id}?said=cancel"))),
        Err(problem) => {
            let problem = problem.beside_form()?;
            page(&console, &signed_in, id, &Form::default(), Some((problem, form))).await
        }
    }
}
