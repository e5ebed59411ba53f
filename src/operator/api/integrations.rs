//! `/v1/integrations`: which apps are active.

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
use crate::integration::store::{IntegrationFilter, IntegrationLine};
use crate::operator::cursor::InWorkspace;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    workspace: Option<String>,
    /// Only those that are not active.
    #[serde(default)]
    inactive: bool,
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 200, required = false)]
    limit: Limit,
}

/// Lists integrations, the inactive ones first.
#[utoipa::path(get, path = "/v1/integrations", tag = "integrations", params(Filter),
    responses((status = 200, body = Page<IntegrationLine>)))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Filter>,
) -> Result<Json<Page<IntegrationLine>>, Problem> {
    let after: Option<InWorkspace> = asked.cursor.as_ref().map(Cursor::place).transpose()?;
    let filter = IntegrationFilter {
        only_inactive: asked.inactive,
        workspace: asked.workspace.as_deref(),
        id: None,
        after: after.as_ref().map(InWorkspace::pair),
        limit: asked.limit.get(),
    };
    let lines = door.desk.integrations(&caller.actor, filter).await?;
    let place = |line: &IntegrationLine| InWorkspace::new(&line.workspace_id, &line.integration_id);
    Ok(Page::new(lines, asked.limit, place))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum IntegrationVerb {
    /// Puts the tasks on hold; needs `reason`.
    Pause,
    /// Makes it active again, whatever stopped it.
    Resume,
    /// Requests a sync now.
    Sync,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IntegrationWords {
    /// Why, for whoever wonders.
    reason: Option<String>,
}

/// Does something with an integration.
#[utoipa::path(post, path = "/v1/integrations/{workspace}/{id}/{verb}", tag = "integrations", request_body = IntegrationWords,
    params(("workspace" = String, Path), ("id" = String, Path), ("verb" = IntegrationVerb, Path)), responses((status = 202)))]
pub(super) async fn change(
    State(door): State<Door>,
    caller: Caller,
    At((workspace, id, verb)): At<(String, String, IntegrationVerb)>,
    Body(words): Body<IntegrationWords>,
) -> Result<StatusCode, Problem> {
    let (desk, actor) = (&door.desk, &caller.actor);
    let integration = desk.integration(actor, &id, Some(&workspace)).await?;
    match verb {
        IntegrationVerb::Pause => {
            let missing = || Problem::incomplete("reason is missing: say why");
            desk.pause(actor, &integration, &words.reason.ok_or_else(missing)?).await?;
        }
        IntegrationVerb::Resume => desk.resume(actor, &integration).await?,
        IntegrationVerb::Sync => drop(desk.request(actor, &integration).await?),
    }
    Ok(StatusCode::ACCEPTED)
}
