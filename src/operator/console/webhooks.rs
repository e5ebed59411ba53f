//! Events of Cerby's webhooks that are not resolved.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::actions::known;
use super::form::{Form, Query};
use super::list::{PAGE, Pages, after, next, of_workspace};
use super::page::{Frame, html, see_other};
use super::problem::Problem;
use crate::intake::webhook::review::{WebhookFilter, WebhookLine};
use crate::operator::cursor::InWorkspace;

#[derive(Debug, Template)]
#[template(path = "webhooks.html")]
struct List {
    frame: Frame,
    lines: Vec<WebhookLine>,
    /// Words that were refused, and for which event.
    kept: Option<(String, String)>,
    pages: Pages,
}

impl List {
    /// What was typed for this event.
    fn reason(&self, line: &WebhookLine) -> &str {
        let kept = self.kept.as_ref().filter(|(id, _)| *id == line.event_id);
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
    let filter = WebhookFilter {
        workspace: query.get("workspace"),
        after: place.as_ref().map(InWorkspace::pair),
        limit: PAGE,
    };
    let lines = console.desk.webhooks(&signed_in.0.actor, filter).await?;
    let (problem, kept) = refused.unzip();
    let last = lines.last().map(|line| InWorkspace::new(&line.workspace_id, &line.event_id));
    let page = List {
        frame: Frame::new(signed_in, "integrations", "Webhooks").telling(query).refused(problem),
        pages: Pages::of("/webhooks", &of_workspace(query), query, next(lines.len(), last)),
        lines,
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

pub(super) async fn dismiss(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
    form: Form,
) -> Result<Response, Problem> {
    let (workspace, id) = known(path)?;
    let (desk, actor) = (&console.desk, &signed_in.0.actor);
    let dismissed = match form.needed("reason", "Dismissing needs a reason.") {
        Ok(reason) => {
            desk.dismiss_webhook(actor, &workspace, &id, reason).await.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    match dismissed {
        Ok(()) => Ok(see_other("/webhooks?said=dismiss-webhook")),
        Err(problem) => {
            let problem = problem.beside_form()?;
            let kept = (id, form.text("reason"));
            page(&console, &signed_in, &Form::default(), Some((problem, kept))).await
        }
    }
}
