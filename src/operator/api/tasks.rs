//! `/v1/tasks`: automation tasks, and why they wait.

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
use crate::operator::desk::TaskCard;
use crate::retry::review::{TaskFilter, TaskLine};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    workspace: Option<String>,
    integration: Option<String>,
    /// The id or the email of a member.
    member: Option<String>,
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 200, required = false)]
    limit: Limit,
}

/// Lists unfinished tasks, the oldest first, and why each waits.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(Filter),
    responses((status = 200, body = Page<TaskLine>)))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Filter>,
) -> Result<Json<Page<TaskLine>>, Problem> {
    let filter = TaskFilter {
        workspace: asked.workspace.as_deref(),
        integration: asked.integration.as_deref(),
        member: asked.member.as_deref(),
        ids: &[],
        after: asked.cursor.as_ref().map(Cursor::place).transpose()?,
        limit: asked.limit.get(),
    };
    let lines = door.desk.tasks(&caller.actor, filter).await?;
    Ok(Page::new(lines, asked.limit, |line| line.id))
}

/// Shows one task, and what happened to it.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = i64, Path)),
    responses((status = 200, body = TaskCard)))]
pub(super) async fn show(
    State(door): State<Door>,
    caller: Caller,
    At(id): At<i64>,
) -> Result<Json<TaskCard>, Problem> {
    Ok(Json(door.desk.task(&caller.actor, id).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// Why, for whoever reads the trail.
    #[schema(min_length = 1, max_length = 2000, pattern = r"\S")]
    pub(super) reason: String,
}

/// Cancels a task: it ends once nothing of it can still take effect.
#[utoipa::path(post, path = "/v1/tasks/{id}/cancel", tag = "tasks", request_body = Reason,
    params(("id" = i64, Path)), responses((status = 202, body = TaskCard)))]
pub(super) async fn cancel(
    State(door): State<Door>,
    caller: Caller,
    At(id): At<i64>,
    Body(Reason { reason }): Body<Reason>,
) -> Result<(StatusCode, Json<TaskCard>), Problem> {
    door.desk.cancel(&caller.actor, id, &reason).await?;
    Ok((StatusCode::ACCEPTED, Json(door.desk.task(&caller.actor, id).await?)))
}
