//! The API for programs: it parses, calls the desk, and renders. Its rows are those of `-o json`.

mod access;
mod actions;
mod events;
mod instructions;
mod integrations;
mod once;
mod page;
mod people;
mod problem;
mod reports;
mod request;
mod returns;
mod syncs;
mod tasks;
mod views;
mod webhook_events;
mod webhooks;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

use crate::config::Operators;
use crate::history::Subject;
use crate::manual_action::review::ActionOrder;
use crate::manual_action::status::ActionStatus;
use crate::membership::{ActionOperation, Operation};
use crate::operator::desk::{ActionVerb, Desk};
use crate::operator::filters::ListPage;
use crate::operator::listener::Failures;
use problem::Problem;
pub use webhooks::Webhooks;

/// The longest body of a request, in bytes.
const LONGEST_BODY: usize = 1024 * 1024;

/// What every request needs.
#[derive(Debug, Clone)]
struct Door {
    desk: Desk,
    failures: Failures,
    streams: Arc<Semaphore>,
    /// Whether a proxy names the address of the client.
    is_behind_proxy: bool,
    request_timeout: Duration,
    stop: CancellationToken,
    webhooks: Option<Arc<Webhooks>>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cerby-reconciler",
        description = "Manual actions, tasks, syncs and integrations, for programs."
    ),
    paths(
        actions::list,
        actions::groups,
        actions::show,
        actions::change,
        actions::batch,
        tasks::list,
        tasks::show,
        tasks::cancel,
        syncs::list,
        syncs::show,
        syncs::decide,
        returns::list,
        returns::show,
        returns::create,
        integrations::list,
        integrations::change,
        instructions::list,
        webhook_events::list,
        webhook_events::dismiss,
        events::list,
        events::stream,
        people::list,
        reports::work,
        reports::evidence,
        views::list,
        views::save,
        views::change,
        views::delete,
        webhooks::receive
    ),
    components(schemas(
        Problem,
        ActionStatus,
        ActionOperation,
        ActionOrder,
        ListPage,
        Operation,
        Subject,
        ActionVerb,
        integrations::IntegrationVerb,
        syncs::Decision
    ))
)]
struct Document;

/// The OpenAPI document. What every request may be answered with is added here.
pub fn document() -> Value {
    let mut document = json!(Document::openapi());
    let problem = json!({
        "description": "a problem, as RFC 9457 has it",
        "headers": { "Retry-After": {
            "description": "seconds after which the same request may work", "schema": { "type": "integer" },
        } },
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for (method, operation) in paths.filter_map(Value::as_object_mut).flatten() {
        operation["responses"]["4XX"] = problem.clone();
        operation["responses"]["503"] = problem.clone();
        // What needs no token has no caller whose requests could be kept.
        if method == "post" && operation["security"].is_null() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            operation["parameters"] = [parameters, vec![once::parameter()]].concat().into();
        }
    }
    document["components"]["securitySchemes"] =
        json!({ "token": { "type": "http", "scheme": "bearer" } });
    document["security"] = json!([{ "token": [] }]);
    document
}

/// The document as it is sent to anybody: it is made once.
fn described() -> impl IntoResponse {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone())
}

/// The routes of the API. What is at no path of the listener is answered by [`nothing_there`].
pub(super) fn routes(
    config: &Operators,
    desk: Desk,
    failures: Failures,
    webhooks: Option<Webhooks>,
    stop: CancellationToken,
) -> Router {
    let door = Door {
        desk,
        failures,
        streams: Arc::new(Semaphore::new(config.max_streams as usize)),
        is_behind_proxy: config.public_url.is_some(),
        request_timeout: Duration::from_secs(config.request_timeout_s),
        stop,
        webhooks: webhooks.map(Arc::new),
    };
    Router::new()
        .route("/v1/actions", get(actions::list))
        .route("/v1/actions/batch", post(actions::batch))
        .route("/v1/actions/{id}", get(actions::show))
        .route("/v1/actions/{id}/{verb}", post(actions::change))
        .route("/v1/groups", get(actions::groups))
        .route("/v1/tasks", get(tasks::list))
        .route("/v1/tasks/{id}", get(tasks::show))
        .route("/v1/tasks/{id}/cancel", post(tasks::cancel))
        .route("/v1/syncs", get(syncs::list))
        .route("/v1/syncs/{id}", get(syncs::show))
        .route("/v1/syncs/{id}/{decision}", post(syncs::decide))
        .route("/v1/returns", get(returns::list).post(returns::create))
        .route("/v1/returns/{id}", get(returns::show))
        .route("/v1/integrations", get(integrations::list))
        .route("/v1/integrations/{workspace}/{id}/{verb}", post(integrations::change))
        .route("/v1/instructions", get(instructions::list))
        .route("/v1/webhooks", get(webhook_events::list))
        .route("/v1/webhooks/{workspace}/{event}/dismiss", post(webhook_events::dismiss))
        .route("/v1/events", get(events::list))
        .route("/v1/events/stream", get(events::stream))
        .route("/v1/people", get(people::list))
        .route("/v1/reports/work", get(reports::work))
        .route("/v1/reports/evidence", get(reports::evidence))
        .route("/v1/views", get(views::list).post(views::save))
        .route("/v1/views/{id}", put(views::change).delete(views::delete))
        .route_layer(middleware::from_fn_with_state(door.clone(), once::answer))
        .route_layer(middleware::from_fn_with_state(door.clone(), access::authenticate))
        .route("/v1/intake/cerby", post(webhooks::receive))
        .route("/v1/openapi.json", get(async || described()))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
        })
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(middleware::from_fn_with_state(door.clone(), in_time))
        .with_state(door)
}

pub(super) fn nothing_there() -> Response {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path").into_response()
}

/// Ends a request that takes too long, as one does whose body comes a byte at a time.
async fn in_time(State(door): State<Door>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(door.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request took longer than {:?}", door.request_timeout);
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
        }
    }
}
