//! Who calls: the bearer token of a request, and a limit on wrong ones.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Door;
use super::problem::Problem;
use crate::operator::desk::Actor;

/// Addresses whose failures are remembered at a time.
const MOST_ADDRESSES: usize = 10_000;

const WINDOW: Duration = Duration::from_secs(60);

/// How often each address gave a wrong token or signature lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures {
    of: Arc<Mutex<HashMap<IpAddr, (u32, Instant)>>>,
    most: u32,
}

impl Failures {
    pub(super) fn new(most: u32) -> Self {
        Self { of: Arc::default(), most }
    }

    /// How long an address has to wait, if it failed too often.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = of.get(&address)?;
        let left = WINDOW.checked_sub(now.duration_since(*since))?;
        (*count >= self.most && !left.is_zero()).then_some(left)
    }

    pub(super) fn note(&self, address: IpAddr, now: Instant) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= MOST_ADDRESSES {
            of.retain(|_, (_, since)| now.duration_since(*since) < WINDOW);
        }
        // With so many addresses at a time, new ones are not limited. A token cannot be guessed in any case.
        if of.len() < MOST_ADDRESSES || of.contains_key(&address) {
            let entry = of.entry(address).or_insert((0, now));
            if now.duration_since(entry.1) >= WINDOW {
                *entry = (0, now);
            }
            entry.0 += 1;
        }
    }
}

/// Lets a request pass if it has a valid token. What follows finds the actor in its extensions.
pub(super) async fn authenticate(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = client(&door, peer, request.headers());
    match actor(&door, address, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// The address of the client. Behind a proxy it is the last one that the proxy names.
pub(super) fn client(door: &Door, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
    let named = headers.get_all("x-forwarded-for").iter().next_back();
    let named = named.filter(|_| door.is_behind_proxy).and_then(|list| list.to_str().ok());
    let last = named.and_then(|list| list.rsplit(',').next()?.trim().parse().ok());
    last.unwrap_or_else(|| peer.ip())
}

async fn actor(door: &Door, address: IpAddr, headers: &HeaderMap) -> Result<Caller, Problem> {
    if let Some(wait) = door.failures.wait(address, Instant::now()) {
        let detail = "too many requests with a wrong token came from this address";
        return Err(
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(wait.as_secs() + 1)
        );
    }
    let Some(token) = bearer(headers) else {
        let detail = "a token is missing: Authorization: Bearer TOKEN";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
    };
    match door.desk.actor_of(token).await? {
        Some(actor) => Ok(Caller { actor, token: token.to_owned().into() }),
        None => {
            door.failures.note(address, Instant::now());
            let detail = "the token is unknown, has expired or was revoked";
            Err(Problem::new(StatusCode::UNAUTHORIZED, detail))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_failed_too_often_waits_until_its_minute_is_over_and_no_other_does() {
        let (failures, start) = (Failures::new(2), Instant::now());
        let [bad, good] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        failures.note(bad, start);
        assert_eq!(failures.wait(bad, start), None);
        failures.note(bad, start + Duration::from_secs(1));
        assert_eq!(
            failures.wait(bad, start + Duration::from_secs(10)),
            Some(Duration::from_secs(50))
        );
        assert_eq!(failures.wait(good, start), None);
        assert_eq!(failures.wait(bad, start + WINDOW), None);
        failures.note(bad, start + WINDOW);
        assert_eq!(failures.wait(bad, start + WINDOW), None, "a new minute");
    }
}
