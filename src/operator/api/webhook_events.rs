//! `/v1/webhooks`: events of Cerby's webhooks that are not resolved.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Door;
use super::access::Caller;
use super::page::{Cursor, Limit, Page};
use super::problem::Problem;
use super::request::{At, Body, Parameters};
use super::tasks::Reason;
use crate::intake::webhook::review::{WebhookFilter, WebhookLine};
use crate::operator::cursor::InWorkspace;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    workspace: Option<String>,
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 200, required = false)]
    limit: Limit,
}

/// Lists events of webhooks whose job could not be made into tasks yet, by workspace and id.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", params(Filter),
    responses((status = 200, body = Page<WebhookLine>)))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Filter>,
) -> Result<Json<Page<WebhookLine>>, Problem> {
    let after: Option<InWorkspace> = asked.cursor.as_ref().map(Cursor::place).transpose()?;
    let filter = WebhookFilter {
        workspace: asked.workspace.as_deref(),
        after: after.as_ref().map(InWorkspace::pair),
        limit: asked.limit.get(),
    };
    let lines = door.desk.webhooks(&caller.actor, filter).await?;
    let place = |line: &WebhookLine| InWorkspace::new(&line.workspace_id, &line.event_id);
    Ok(Page::new(lines, asked.limit, place))
}

/// Ends an event that cannot be resolved: its job is not read any more.
#[utoipa::path(post, path = "/v1/webhooks/{workspace}/{event}/dismiss", tag = "webhooks", request_body = Reason,
    params(("workspace" = String, Path), ("event" = String, Path)), responses((status = 204)))]
pub(super) async fn dismiss(
    State(door): State<Door>,
    caller: Caller,
    At((workspace, event)): At<(String, String)>,
    Body(Reason { reason }): Body<Reason>,
) -> Result<StatusCode, Problem> {
    door.desk.dismiss_webhook(&caller.actor, &workspace, &event, &reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
