//! Tokens and sessions: who can get in.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::actions::known;
use super::form::Query;
use super::page::{Frame, html, see_other};
use super::problem::Problem;
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
}

pub(super) async fn show(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let (desk, actor) = (&console.desk, &signed_in.0.actor);
    let frame = Frame::new(&signed_in, "access", "Tokens and sessions").telling(&query);
    let page = Access {
        sessions: desk.sessions(actor).await?,
        tokens: if frame.is_administrator { desk.tokens(actor).await? } else { Vec::new() },
        own: signed_in.0.id,
        frame,
    };
    Ok(html(page.frame.status(), &page))
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
