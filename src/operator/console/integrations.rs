//! Integrations: their status, and who put them on hold.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::actions::known;
use super::form::{Form, Query};
use super::list::{PAGE, Pages, after, next};
use super::page::{Frame, html, see_other};
use super::problem::Problem;
use super::views::Views;
use crate::integration::store::{IntegrationFilter, IntegrationLine};
use crate::operator::cursor::InWorkspace;
use crate::operator::filters::ListPage;

#[derive(Debug, Template)]
#[template(path = "integrations.html")]
struct List {
    frame: Frame,
    lines: Vec<IntegrationLine>,
    inactive: bool,
    /// Words that were refused, and for which integration.
    kept: Option<(String, String)>,
    pages: Pages,
    views: Views,
}

impl List {
    /// What was typed for this integration.
    fn reason(&self, line: &IntegrationLine) -> &str {
        let kept = self.kept.as_ref().filter(|(id, _)| *id == line.integration_id);
        kept.map_or("", |(_, reason)| reason)
    }
}

async fn page(
    console: &Console,
    signed_in: &SignedIn,
    query: &Form,
    refused: Option<(Problem, (String, String))>,
) -> Result<Response, Problem> {
    let place: Option<InWorkspace> = after(query)?;
    let inactive = query.get("inactive").is_some();
    let filter = IntegrationFilter {
        only_inactive: inactive,
        workspace: query.get("workspace"),
        after: place.as_ref().map(InWorkspace::pair),
        limit: PAGE,
        ..IntegrationFilter::default()
    };
    let lines = console.desk.integrations(&signed_in.0.actor, filter).await?;
    let (problem, kept) = refused.unzip();
    let last = lines.last().map(|line| InWorkspace::new(&line.workspace_id, &line.integration_id));
    let next = next(lines.len(), last);
    let views = Views::of(console, signed_in, ListPage::Integrations, query).await?;
    let page = List {
        frame: Frame::new(signed_in, "integrations", "Integrations")
            .telling(query)
            .refused(problem),
        pages: Pages::of("/integrations", &views.filter, query, next),
        views,
        lines,
        inactive,
        kept,
    };
    Ok(html(page.frame.status(), &page))
}

pub(super) async fn list(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    page(&console, &signed_in, &query, None).await
}

#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verb {
    Pause,
    Resume,
    Sync,
}

pub(super) async fn change(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<(String, String, Verb)>, PathRejection>,
    form: Form,
) -> Result<Response, Problem> {
    let (workspace, id, verb) = known(path)?;
    let (desk, actor) = (&console.desk, &signed_in.0.actor);
    let integration = desk.integration(actor, &id, Some(&workspace)).await?;
    let changed = match verb {
        Verb::Pause => match form.needed("reason", "A pause needs a reason.") {
            Ok(reason) => desk.pause(actor, &integration, reason).await.map_err(Problem::from),
            Err(problem) => Err(problem),
        },
        Verb::Resume => desk.resume(actor, &integration).await.map_err(Problem::from),
        Verb::Sync => desk.request(actor, &integration).await.map(drop).map_err(Problem::from),
    };
    let word = match verb {
        Verb::Pause => "pause",
        Verb::Resume => "resume",
        Verb::Sync => "sync",
    };
    match changed {
        Ok(()) => Ok(see_other(&format!("/integrations?said={word}"))),
        Err(problem) => {
            let problem = problem.beside_form()?;
            let kept = (id, form.text("reason"));
            page(&console, &signed_in, &Form::default(), Some((problem, kept))).await
        }
    }
}
