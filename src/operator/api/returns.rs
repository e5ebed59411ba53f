//! `/v1/returns`: actions that went back to automation together.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Door;
use super::access::Caller;
use super::page::{Cursor, Limit, Page};
use super::problem::Problem;
use super::request::{At, Body, Parameters};
use crate::manual_action::return_review::{ReturnFilter, ReturnLine};
use crate::membership::Operation;
use crate::operator::desk::Chosen;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    workspace: Option<String>,
    integration: Option<String>,
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 200, required = false)]
    limit: Limit,
}

/// Lists returns of several actions to automation, the newest first.
#[utoipa::path(get, path = "/v1/returns", tag = "returns", params(Filter),
    responses((status = 200, body = Page<ReturnLine>)))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Filter>,
) -> Result<Json<Page<ReturnLine>>, Problem> {
    let filter = ReturnFilter {
        id: None,
        workspace: asked.workspace.as_deref(),
        integration: asked.integration.as_deref(),
        after: asked.cursor.as_ref().map(Cursor::place).transpose()?,
        limit: asked.limit.get(),
    };
    let lines = door.desk.returns(&caller.actor, filter).await?;
    Ok(Page::new(lines, asked.limit, |line| line.id))
}

/// Shows one return: its canary, what was sent, and what stays with people.
#[utoipa::path(get, path = "/v1/returns/{id}", tag = "returns", params(("id" = i64, Path)),
    responses((status = 200, body = ReturnLine)))]
pub(super) async fn show(
    State(door): State<Door>,
    caller: Caller,
    At(id): At<i64>,
) -> Result<Json<ReturnLine>, Problem> {
    Ok(Json(door.desk.find_return(&caller.actor, id).await?))
}

/// Which actions go back, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Return {
    workspace: String,
    integration: String,
    /// Only actions with this failure code.
    failure_code: Option<String>,
    /// Only actions of this operation.
    operation: Option<Operation>,
    /// What was fixed, for whoever reads the trail.
    #[schema(min_length = 1, max_length = 2000, pattern = r"\S")]
    reason: String,
}

/// Sends the open actions of an integration back to automation: one canary first, and the others when it has worked.
#[utoipa::path(post, path = "/v1/returns", tag = "returns", request_body = Return, responses((status = 202)))]
pub(super) async fn create(
    State(door): State<Door>,
    caller: Caller,
    Body(asked): Body<Return>,
) -> Result<StatusCode, Problem> {
    let (actor, workspace) = (&caller.actor, Some(asked.workspace.as_str()));
    let integration = door.desk.integration(actor, &asked.integration, workspace).await?;
    let (failure_code, operation) = (asked.failure_code, asked.operation);
    let chosen = Chosen::Of { integration, failure_code, operation, seen: None };
    door.desk.return_to_automation(actor, &chosen, &asked.reason).await?;
    Ok(StatusCode::ACCEPTED)
}
