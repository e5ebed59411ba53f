//! Saved views: beside the list that they are of, and all of them to rename and delete.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::actions::known;
use super::form::{Form, Query};
use super::page::{Frame, html, see_other};
use super::problem::Problem;
use crate::operator::desk::NewView;
use crate::operator::filters::ListPage;
use crate::saved_views::SavedView;

/// The views of a list, and what of its present filter can be saved.
#[derive(Debug)]
pub(super) struct Views {
    pub(super) page: ListPage,
    /// The filter in the address of the page, in the form in which it is saved.
    pub(super) filter: String,
    pub(super) saved: Vec<SavedView>,
}

/// Words of an address that belong to a page and not to its filter.
const NO_FILTER: [&str; 4] = ["cursor", "back", "said", "n"];

impl Views {
    pub(super) async fn of(
        console: &Console,
        signed_in: &SignedIn,
        page: ListPage,
        query: &Form,
    ) -> Result<Self, Problem> {
        Ok(Self {
            page,
            filter: filter(page, query),
            saved: console.desk.views(&signed_in.0.actor, Some(page)).await?,
        })
    }

    pub(super) fn is_here(&self, view: &SavedView) -> bool {
        view.query == self.filter
    }
}

/// A list ignores what it does not know; a view keeps nothing of it.
fn filter(page: ListPage, query: &Form) -> String {
    let words = query.fields().filter(|(name, _)| !NO_FILTER.contains(name));
    let given = form_urlencoded::Serializer::new(String::new()).extend_pairs(words).finish();
    page.filter(&given).unwrap_or_default()
}

#[derive(Debug, Template)]
#[template(path = "views.html")]
struct All {
    frame: Frame,
    views: Vec<SavedView>,
}

impl All {
    /// Who owns a view changes it; an administrator also deletes what others share.
    fn may_delete(&self, view: &SavedView) -> bool {
        self.frame.may_change
            && (self.frame.is_me(&view.owner)
                || self.frame.is_administrator && view.shared_in.is_some())
    }

    fn may_rename(&self, view: &SavedView) -> bool {
        self.frame.may_change && self.frame.is_me(&view.owner)
    }
}

async fn page(
    console: &Console,
    signed_in: &SignedIn,
    query: &Form,
    refused: Option<Problem>,
) -> Result<Response, Problem> {
    let page = All {
        frame: Frame::new(signed_in, "views", "Saved views").telling(query).refused(refused),
        views: console.desk.views(&signed_in.0.actor, None).await?,
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

/// Saves the filter of a list, and shows the list as it was.
pub(super) async fn save(
    State(console): State<Console>,
    signed_in: SignedIn,
    form: Form,
) -> Result<Response, Problem> {
    let wrong = || Problem::new(StatusCode::BAD_REQUEST, "There is no such list to save.");
    let list: ListPage = form.get("page").unwrap_or_default().parse().map_err(|_| wrong())?;
    let view = NewView {
        name: form.get("name").unwrap_or_default(),
        page: list,
        query: form.get("query").unwrap_or_default(),
        shared_in: form.get("shared_in").map(str::trim),
    };
    match console.desk.save_view(&signed_in.0.actor, view).await {
        Ok(saved) => Ok(see_other(&address(&saved))),
        Err(error) => page(&console, &signed_in, &Form::default(), Some(error.into())).await,
    }
}

fn address(view: &SavedView) -> String {
    match view.query.as_str() {
        "" => format!("/{}?said=view", view.page),
        query => format!("/{}?{query}&said=view", view.page),
    }
}

#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verb {
    Rename,
    Delete,
}

pub(super) async fn change(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<(i64, Verb)>, PathRejection>,
    form: Form,
) -> Result<Response, Problem> {
    let (id, verb) = known(path)?;
    let (desk, actor) = (&console.desk, &signed_in.0.actor);
    let (done, word) = match verb {
        Verb::Rename => {
            (desk.rename_view(actor, id, form.get("name").unwrap_or_default()).await, "view")
        }
        Verb::Delete => (desk.delete_view(actor, id).await, "delete-view"),
    };
    match done.map_err(Problem::from) {
        Ok(()) => Ok(see_other(&format!("/views?said={word}"))),
        Err(problem) => {
            let problem = problem.beside_form()?;
            page(&console, &signed_in, &Form::default(), Some(problem)).await
        }
    }
}
