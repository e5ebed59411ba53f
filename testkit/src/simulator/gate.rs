//! What happens before every operation: counting, faults and the check of the API key.

use std::future::pending;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::header::DATE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use super::Handle;
use super::bodies;
use super::clock::http_date;
use super::connection::Breaker;
use super::faults::{Call, HttpFault};
use super::shapes::Refusal;

/// How the handler treats a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Treatment {
    /// Whether the client will receive the reply.
    pub(super) is_heard: bool,
    /// Whether a page of members leads to itself.
    pub(super) repeats_page: bool,
}

impl Treatment {
    const WHOLE: Self = Self { is_heard: true, repeats_page: false };
    const REPEATING: Self = Self { repeats_page: true, ..Self::WHOLE };
    const UNHEARD: Self = Self { is_heard: false, ..Self::WHOLE };
}

/// Lets a request through, or applies a fault. The answer has the time by the backend's clock.
pub(super) async fn gate(
    Shared(handle): Shared<Handle>,
    ConnectInfo(breaker): ConnectInfo<Breaker>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = pass(&handle, breaker, request, next).await;
    let date = http_date(handle.state().clock.now());
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

async fn pass(handle: &Handle, breaker: Breaker, request: Request, next: Next) -> Response {
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
        // In an outage the key is not checked.
        if !is_allowed && !state.troubles.outage {
            return refusal(StatusCode::UNAUTHORIZED).into_response();
        }
        fault
    };
    match fault {
        None => run(request, next, Treatment::WHOLE).await,
        Some(fault) => suffer((call, fault), handle, &breaker, request, next).await,
    }
}

async fn suffer(
    (call, fault): (Call, HttpFault),
    handle: &Handle,
    breaker: &Breaker,
    request: Request,
    next: Next,
) -> Response {
    match fault {
        HttpFault::RepeatedPage => run(request, next, Treatment::REPEATING).await,
        HttpFault::Delay(late) => {
            handle.unless_stopped(tokio::time::sleep(late)).await;
            run(request, next, Treatment::WHOLE).await
        }
        HttpFault::Hold => match handle.unless_stopped(handle.holding.hold(call)).await {
            Some(()) => run(request, next, Treatment::WHOLE).await,
            None => refusal(StatusCode::SERVICE_UNAVAILABLE).into_response(),
        },
        HttpFault::LostReply
        | HttpFault::Stall
        | HttpFault::Trickle
        | HttpFault::BrokenAfterEffect(_)
        | HttpFault::HoldReply => {
            let reply = run(request, next, Treatment::UNHEARD).await;
            spoil((call, fault), handle, breaker, reply).await
        }
        HttpFault::Reset => {
            breaker.reset();
            StatusCode::NO_CONTENT.into_response()
        }
        HttpFault::Html => Html("<html><body>Please log in</body></html>").into_response(),
        HttpFault::Huge => bodies::endless(handle).into_response(),
        HttpFault::OkWithErrors => Json(refusal(StatusCode::BAD_GATEWAY).body()).into_response(),
        HttpFault::Status(number) => refusal(status(number)).into_response(),
        HttpFault::RateLimited(after) => {
            let retry_after = after.header(handle.state().clock.now());
            let refusal = refusal(StatusCode::TOO_MANY_REQUESTS);
            Refusal { retry_after, ..refusal }.into_response()
        }
    }
}

/// What the client sees of a reply after the effect took place.
async fn spoil(
    (call, fault): (Call, HttpFault),
    handle: &Handle,
    breaker: &Breaker,
    reply: Response,
) -> Response {
    match fault {
        HttpFault::LostReply => breaker.close(),
        HttpFault::Stall => drop(handle.unless_stopped(pending::<()>()).await),
        HttpFault::HoldReply => drop(handle.unless_stopped(handle.holding.hold(call)).await),
        HttpFault::Trickle => return bodies::trickled(reply, handle).await,
        HttpFault::BrokenAfterEffect(number) => return refusal(status(number)).into_response(),
        _ => {}
    }
    reply
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
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
