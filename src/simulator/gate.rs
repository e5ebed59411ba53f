//! What stands before every operation: counting, faults and the API key.

use axum::Json;
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use super::Handle;
use super::connection::Breaker;
use super::faults::{Call, HttpFault};
use super::shapes::Refusal;

/// How a request is treated by the rest of the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Treatment {
    /// Whether the client will hear the reply.
    pub(super) is_heard: bool,
    /// Whether a page of members leads to itself.
    pub(super) repeats_page: bool,
}

/// Lets a request through, or lets it go wrong.
pub(super) async fn gate(
    Shared(handle): Shared<Handle>,
    ConnectInfo(breaker): ConnectInfo<Breaker>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let key = request.headers().get("x-api-key").map(|key| key.as_bytes().to_vec());
    let Some(call) = Call::of(&method, &path) else {
        return next.run(request).await;
    };
    let fault = {
        let mut state = handle.state();
        let nth = state.counters.request(call);
        let fault = state.troubles.next(call, nth, &method, &path);
        fault.iter().for_each(|fault| state.counters.fault(call, *fault));
        let is_allowed = key.as_deref() == Some(state.settings.api_key.as_bytes());
        // In an outage nobody gets as far as having the key looked at.
        if !is_allowed && !state.troubles.outage {
            return refusal(StatusCode::UNAUTHORIZED).into_response();
        }
        fault
    };
    suffer(fault, &handle, &breaker, request, next).await
}

async fn suffer(
    fault: Option<HttpFault>,
    handle: &Handle,
    breaker: &Breaker,
    request: Request,
    next: Next,
) -> Response {
    let whole = Treatment { is_heard: true, repeats_page: false };
    match fault {
        None => run(request, next, whole).await,
        Some(HttpFault::RepeatedPage) => {
            run(request, next, Treatment { repeats_page: true, ..whole }).await
        }
        Some(HttpFault::Delay(late)) => {
            handle.unless_stopped(tokio::time::sleep(late)).await;
            run(request, next, whole).await
        }
        Some(HttpFault::LostReply) => {
            let response = run(request, next, Treatment { is_heard: false, ..whole }).await;
            breaker.close();
            response
        }
        Some(HttpFault::Stall) => {
            let response = run(request, next, Treatment { is_heard: false, ..whole }).await;
            handle.unless_stopped(std::future::pending()).await;
            response
        }
        Some(HttpFault::Reset) => {
            breaker.reset();
            StatusCode::NO_CONTENT.into_response()
        }
        Some(HttpFault::Html) => Html("<html><body>Please log in</body></html>").into_response(),
        Some(HttpFault::OkWithErrors) => {
            Json(refusal(StatusCode::BAD_GATEWAY).body()).into_response()
        }
        Some(HttpFault::Status(number)) => {
            let status = StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            refusal(status).into_response()
        }
        Some(HttpFault::RateLimited(after)) => {
            let retry_after = after.header(super::now());
            let refusal = refusal(StatusCode::TOO_MANY_REQUESTS);
            Refusal { retry_after, ..refusal }.into_response()
        }
    }
}

async fn run(mut request: Request, next: Next, treatment: Treatment) -> Response {
    request.extensions_mut().insert(treatment);
    next.run(request).await
}

fn refusal(status: StatusCode) -> Refusal {
    let code = match status.as_u16() {
        400 => "bad_request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        409 => "conflict",
        429 => "too_many_requests",
        500 => "internal_error",
        _ => "unavailable",
    };
    Refusal::new(status, code, "The request was not carried out.")
}
