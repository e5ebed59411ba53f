//! Who calls: the bearer token of a request.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Door;
use super::problem::Problem;
use crate::operator::desk::Actor;
use crate::operator::listener::client;

/// Lets a request pass if it has a valid token. What follows finds the actor in its extensions.
pub(super) async fn authenticate(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = client(door.is_behind_proxy, peer, request.headers());
    match actor(&door, address, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn actor(door: &Door, address: IpAddr, headers: &HeaderMap) -> Result<Caller, Problem> {
    let Some(token) = bearer(headers) else {
        let detail = "a token is missing: Authorization: Bearer TOKEN";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
    };
    if let Some(wait) = door.failures.wait_with(token, address, Instant::now()) {
        let detail = "too many requests with a wrong token came from this address";
        return Err(
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(wait.as_secs() + 1)
        );
    }
    let found = door.desk.actor_of(token).await?;
    door.failures.note_token(token, found.is_some(), address, Instant::now());
    let actor = found.ok_or_else(|| {
        let detail = "the token is unknown, has expired or was revoked";
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    })?;
    Ok(Caller { actor, token: token.to_owned().into() })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).filter(|token| !token.is_empty())
}

/// Who calls, and with which token.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) actor: Actor,
    pub(super) token: secrecy::SecretString,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "a token is missing"))
    }
}
