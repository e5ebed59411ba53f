//! `/v1/instructions`: texts that people reported.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Door;
use super::access::Caller;
use super::page::Page;
use super::problem::Problem;
use super::request::Parameters;
use crate::manual_action::changed_screens::ChangedScreen;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    workspace: Option<String>,
}

/// Lists the texts of instructions of which people reported that the app looks different: at most 200, those first that
/// most did.
#[utoipa::path(get, path = "/v1/instructions", tag = "instructions", params(Filter),
    responses((status = 200, body = Page<ChangedScreen>)))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Filter>,
) -> Result<Json<Page<ChangedScreen>>, Problem> {
    Ok(Page::whole(door.desk.changed_screens(&caller.actor, asked.workspace.as_deref()).await?))
}
