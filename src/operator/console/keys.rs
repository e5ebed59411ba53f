//! Tokens and sessions: who can get in.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use secrecy::{ExposeSecret, SecretString};

use super::Console;
use super::access::SignedIn;
use super::actions::known;
use super::form::{Form, Query};
use super::page::{Frame, html, see_other};
use super::problem::Problem;
use crate::access::{self, Role};
use crate::sessions::SessionLine;
use crate::tokens::TokenLine;

#[derive(Debug, Template)]
#[template(path = "access.html")]
struct Access {
    frame: Frame,
    sessions: Vec<SessionLine>,
    /// Administrators alone see tokens.
    tokens: Vec<TokenLine>,
    /// The session of the page.
    own: i64,
    /// What was typed for a token that was not made.
    form: Form,
    made: Option<Made>,
}

/// A token that was just made.
#[derive(Debug)]
struct Made {
    name: String,
    token: SecretString,
}

pub(super) async fn show(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let frame = frame(&signed_in).telling(&query);
    page(&console, signed_in, frame, Form::default(), None).await
}

fn frame(signed_in: &SignedIn) -> Frame {
    Frame::new(signed_in, "access", "Tokens and sessions")
}

async fn page(
    console: &Console,
    signed_in: SignedIn,
    frame: Frame,
    form: Form,
    made: Option<Made>,
) -> Result<Response, Problem> {
    let (desk, actor) = (&console.desk, &signed_in.0.actor);
    let page = Access {
        sessions: desk.sessions(actor).await?,
        tokens: if frame.is_administrator { desk.tokens(actor).await? } else { Vec::new() },
        own: signed_in.0.id,
        frame,
        form,
        made,
    };
    Ok(html(page.frame.status(), &page))
}

pub(super) async fn create_token(
    State(console): State<Console>,
    signed_in: SignedIn,
    form: Form,
) -> Result<Response, Problem> {
    let frame = frame(&signed_in);
    match make(&console, &signed_in, &form).await {
        Ok(made) => {
            let page = page(&console, signed_in, frame, Form::default(), Some(made)).await;
            page.map(|mut response| {
                let never = HeaderValue::from_static("no-store");
                response.headers_mut().insert(header::CACHE_CONTROL, never);
                response
            })
        }
        Err(problem) => page(&console, signed_in, frame.refused(Some(problem)), form, None).await,
    }
}

async fn make(
    console: &Console,
    SignedIn(session): &SignedIn,
    form: &Form,
) -> Result<Made, Problem> {
    let wrong = |words: &str| Problem::new(StatusCode::BAD_REQUEST, words);
    let name = form.needed("name", "The token needs a name.")?.trim().to_owned();
    let role = form.needed("role", "The token needs a role.")?.parse::<Role>();
    let role = role.map_err(|_| wrong("The role must be viewer, operator or administrator."))?;
    let days = form.needed("days", "Say for how many days the token is valid.")?.trim().parse();
    let days = days.map_err(|_| wrong("The days must be a number from 1 to 400."))?;
    let is_between = |c: char| c.is_whitespace() || c == ',';
    let typed = form.text("workspaces");
    let ids: Vec<_> =
        typed.split(is_between).filter(|id| !id.is_empty()).map(str::to_owned).collect();
    let workspaces = match (form.get("all").is_some(), ids.is_empty()) {
        (true, true) => None,
        (false, false) => Some(ids),
        _ => return Err(wrong("Name at least one workspace, or tick all workspaces; not both.")),
    };
    let access = access::Access { role, workspaces };
    let token = console.desk.create_token(&session.actor, &name, &access, days).await?;
    Ok(Made { name, token })
}

pub(super) async fn end_session(
    State(console): State<Console>,
    SignedIn(session): SignedIn,
    path: Result<Path<i64>, PathRejection>,
) -> Result<Response, Problem> {
    console.desk.end_session(&session.actor, known(path)?).await?;
    Ok(see_other("/access?said=end-session"))
}

pub(super) async fn revoke_token(
    State(console): State<Console>,
    SignedIn(session): SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    console.desk.revoke_token(&session.actor, &known(path)?).await?;
    Ok(see_other("/access?said=revoke-token"))
}
