//! `/v1/syncs`: what snapshots of the apps found, and decisions on held reports.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Door;
use super::access::Caller;
use super::page::{Cursor, Limit, Page, tagged};
use super::problem::Problem;
use super::request::{At, Body, IfMatch, Parameters};
use super::tasks::Reason;
use crate::operator::desk::{Seen, SyncCard};
use crate::sync::review::{Filter as SyncFilter, SyncLine};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    workspace: Option<String>,
    integration: Option<String>,
    /// Only those whose report waits for a decision.
    #[serde(default)]
    held: bool,
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 200, required = false)]
    limit: Limit,
}

/// Lists syncs, the newest first.
#[utoipa::path(get, path = "/v1/syncs", tag = "syncs", params(Filter),
    responses((status = 200, body = Page<SyncLine>)))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Filter>,
) -> Result<Json<Page<SyncLine>>, Problem> {
    let filter = SyncFilter {
        workspace: asked.workspace.as_deref(),
        integration: asked.integration.as_deref(),
        held: asked.held,
        ids: &[],
        after: asked.cursor.as_ref().map(Cursor::place).transpose()?,
        limit: asked.limit.get(),
    };
    let lines = door.desk.syncs(&caller.actor, filter).await?;
    Ok(Page::new(lines, asked.limit, |line| line.id))
}

/// Shows one sync, with its report and what happened to it.
#[utoipa::path(get, path = "/v1/syncs/{id}", tag = "syncs", params(("id" = i64, Path)),
    responses((status = 200, body = SyncCard, headers(("ETag" = String, description = "the revision")))))]
pub(super) async fn show(
    State(door): State<Door>,
    caller: Caller,
    At(id): At<i64>,
) -> Result<Response, Problem> {
    let card = door.desk.sync(&caller.actor, id).await?;
    Ok(tagged(card.facts.revision, card))
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    /// Lets the report be applied, if the app still shows the same.
    Approve,
    /// Ends the sync; nothing of the report is applied.
    Reject,
}

/// Decides on a held report.
#[utoipa::path(post, path = "/v1/syncs/{id}/{decision}", tag = "syncs", request_body = Reason,
    params(("id" = i64, Path), ("decision" = Decision, Path),
        ("If-Match" = String, Header, description = "the ETag of the sync as the caller saw it, or *")),
    responses((status = 200, body = SyncCard, headers(("ETag" = String, description = "the revision")))))]
pub(super) async fn decide(
    State(door): State<Door>,
    caller: Caller,
    At((id, decision)): At<(i64, Decision)>,
    IfMatch(revision): IfMatch,
    Body(Reason { reason }): Body<Reason>,
) -> Result<Response, Problem> {
    let seen = Seen { id, revision };
    match decision {
        Decision::Approve => door.desk.approve(&caller.actor, seen, &reason).await?,
        Decision::Reject => door.desk.reject(&caller.actor, seen, &reason).await?,
    }
    let card = door.desk.sync(&caller.actor, id).await?;
    Ok(tagged(card.facts.revision, card))
}
