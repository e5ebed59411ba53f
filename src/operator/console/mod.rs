//! The console for people: pages that work without a script. It parses, calls the desk, and renders.

mod access;
mod actions;
mod apps;
mod assets;
mod csv;
mod evidence;
mod filter;
mod form;
mod instructions;
mod integrations;
mod issuer;
mod keys;
mod list;
mod neighbours;
mod origin;
mod page;
mod pictures;
mod problem;
mod queue;
mod reports;
mod returns;
mod steps;
mod syncs;
mod tasks;
mod text;
mod verbs;
mod views;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::desk::{Desk, Lasts};
use super::issuer::{self as openid, Issuer};
use super::listener::Failures;
use crate::config::Operators;
use crate::manual_action::instructions::Library;
use problem::Problem;

/// The longest form, in bytes: a thousand actions and a note.
const LONGEST_FORM: usize = 256 * 1024;

/// What every page needs.
#[derive(Debug, Clone)]
struct Console {
    desk: Desk,
    failures: Failures,
    /// Of sign-ins at the issuer. A wrong token keeps nobody from these.
    failed_sign_ins: Failures,
    lasts: Lasts,
    /// Where a proxy makes the console reachable, if one does.
    public_url: Option<String>,
    request_timeout: Duration,
    library: Arc<Library>,
    /// By which people sign in, if one is configured.
    issuer: Option<Arc<Issuer>>,
}

pub(super) fn routes(
    config: &Operators,
    desk: Desk,
    failures: Failures,
    library: Arc<Library>,
    issuer: Option<Arc<Issuer>>,
) -> Router {
    let console = Console {
        desk,
        failures,
        failed_sign_ins: Failures::new(config.wrong_tokens_per_minute),
        lasts: Lasts {
            idle: Duration::from_secs(config.session_idle_s),
            longest: Duration::from_secs(config.session_max_s),
        },
        public_url: config.public_url.clone(),
        request_timeout: Duration::from_secs(config.request_timeout_s),
        library,
        issuer,
    };
    Router::new()
        .route("/", get(queue::show))
        .route("/actions", get(actions::list))
        .route("/actions.csv", get(csv::send))
        .route("/actions/{id}", get(actions::show))
        .route("/actions/{id}/{verb}", post(actions::change))
        .route("/apps/{workspace}/{id}", get(apps::show))
        .route("/apps/{workspace}/{id}/preview", post(apps::preview))
        .route("/apps/{workspace}/{id}/act", post(apps::act))
        .route("/apps/{workspace}/{id}/return", get(apps::preview_return).post(apps::send_back))
        .route("/apps/{workspace}/{id}/{verb}", post(integrations::change))
        .route("/syncs", get(syncs::list))
        .route("/syncs/{id}", get(syncs::show))
        .route("/syncs/{id}/{decision}", post(syncs::decide))
        .route("/tasks", get(tasks::list))
        .route("/tasks/{id}", get(tasks::show))
        .route("/tasks/{id}/cancel", post(tasks::cancel))
        .route("/returns", get(returns::list))
        .route("/returns/{id}", get(returns::show))
        .route("/integrations", get(integrations::list))
        .route("/instructions", get(instructions::list))
        .route("/pictures/{hash}", get(pictures::send))
        .route("/webhooks", get(webhooks::list))
        .route("/webhooks/{workspace}/{id}/dismiss", post(webhooks::dismiss))
        .route("/reports", get(reports::show))
        .route("/reports.csv", get(reports::send))
        .route("/evidence", get(evidence::show))
        .route("/evidence.csv", get(evidence::send))
        .route("/views", get(views::list).post(views::save))
        .route("/views/{id}/{verb}", post(views::change))
        .route("/access", get(keys::show))
        .route("/access/sessions/{id}/end", post(keys::end_session))
        .route("/access/tokens", post(keys::create_token))
        .route("/access/tokens/{name}/revoke", post(keys::revoke_token))
        .route("/signed-in", get(access::signed_in))
        .route("/sign-out", post(access::sign_out))
        .route_layer(middleware::from_fn_with_state(console.clone(), access::require))
        .route("/sign-in", get(access::ask).post(access::sign_in))
        .route("/sign-in/issuer", get(issuer::begin))
        .route(openid::PATH, get(issuer::finish))
        .method_not_allowed_fallback(async || only_forms())
        .route_layer(middleware::from_fn_with_state(console.clone(), origin::check))
        .route_layer(middleware::from_fn(page::finish))
        .route("/assets/{hash}/{name}", get(assets::send))
        .layer(DefaultBodyLimit::max(LONGEST_FORM))
        .layer(middleware::from_fn_with_state(console.clone(), in_time))
        .with_state(console)
}

pub(super) fn nothing_there() -> Response {
    Problem::new(StatusCode::NOT_FOUND, "There is no page at this address.").into_response()
}

/// A form was refused on a page of this address, and somebody opens the address again.
fn only_forms() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This address takes forms, and is no page.")
        .hint("Open the page that has the form; nothing was done.")
}

/// Ends a request that takes too long, as one does whose form comes a byte at a time.
async fn in_time(State(console): State<Console>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(console.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("The request took longer than {:?}.", console.request_timeout);
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
        }
    }
}
