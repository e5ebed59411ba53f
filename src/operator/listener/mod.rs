//! The listener for operators: the console for people, and the API for programs.

mod connections;
mod failures;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::api::Webhooks;
use super::desk::Desk;
use super::issuer::Issuer;
use super::{api, console};
use crate::config::Operators;
use crate::emit;
use crate::manual_action::instructions::Library;

use connections::Bounds;
pub(super) use failures::{Failures, client};

/// The listener; `None` if none is configured.
pub async fn bind(config: &Operators) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    let taken = || format!("operators.listen = {address} cannot be taken: choose another address");
    Ok(Some(listener.with_context(taken)?))
}

/// What the two are served with.
#[derive(Debug)]
pub struct Doors {
    pub desk: Desk,
    /// Without it, the route of webhooks is not there.
    pub webhooks: Option<Webhooks>,
    /// Whose pictures the console shows.
    pub library: Arc<Library>,
}

/// Answers until `stop`.
pub async fn serve(
    listener: TcpListener,
    config: Operators,
    doors: Doors,
    stop: CancellationToken,
) {
    // Whoever fails at one of the two has to wait at both.
    let failures = Failures::new(config.wrong_tokens_per_minute);
    let Doors { desk, webhooks, library } = doors;
    let api = api::routes(&config, desk.clone(), failures.clone(), webhooks, stop.clone());
    let issuer = issuer(&config, &listener);
    let console = console::routes(&config, desk, failures, library, issuer.clone());
    let routes = api.merge(console).fallback(nothing_there);
    let prepared = async {
        if let Some(issuer) = &issuer {
            stop.run_until_cancelled(issuer.prepare()).await;
        }
    };
    let bounds = Bounds {
        connections: config.max_connections,
        unread: Duration::from_secs(config.request_timeout_s),
    };
    let served = connections::serve(listener, routes, bounds, stop.clone());
    tokio::join!(served, prepared);
}

/// The issuer, which sends people back to where they reach the console.
fn issuer(config: &Operators, listener: &TcpListener) -> Option<Arc<Issuer>> {
    let own = || listener.local_addr().map(|own| format!("http://{own}")).unwrap_or_default();
    let origin = config.public_url.clone().unwrap_or_else(own);
    match Issuer::new(&config.oidc, &origin) {
        Ok(issuer) => issuer.map(Arc::new),
        Err(error) => {
            let cause = format!("{error:#}");
            emit!(ISSUER_UNAVAILABLE, cause, "Nobody can sign in by OpenID Connect");
            None
        }
    }
}

/// A person gets a page, and a program a problem, in any case below the paths of the API.
async fn nothing_there(uri: Uri, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok());
    let is_for_people = accepted.is_some_and(|kinds| kinds.contains("text/html"));
    match is_for_people && !uri.path().starts_with("/v1/") {
        true => console::nothing_there(),
        false => api::nothing_there(),
    }
}
