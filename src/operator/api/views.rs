//! `/v1/views`: lists of the console with their filters, under a name.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Door;
use super::access::Caller;
use super::page::Page;
use super::problem::Problem;
use super::request::{At, Body};
use crate::operator::desk::NewView;
use crate::operator::filters::ListPage;
use crate::saved_views::SavedView;

/// A view as it is to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ViewWords {
    /// Characters that are all seen, in one line.
    #[schema(min_length = 1, max_length = 60)]
    name: String,
    page: ListPage,
    /// The filter, as the address of the page has it, such as status=open&overdue=1.
    #[serde(default)]
    query: String,
    /// The workspace whose people shall see it; its owner alone without one.
    shared_in: Option<String>,
}

impl ViewWords {
    fn view(&self) -> NewView<'_> {
        NewView {
            name: &self.name,
            page: self.page,
            query: &self.query,
            shared_in: self.shared_in.as_deref(),
        }
    }
}

/// Lists the views of the caller, and those that are shared in the caller's workspaces.
#[utoipa::path(get, path = "/v1/views", tag = "views", responses((status = 200, body = Page<SavedView>)))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
) -> Result<Json<Page<SavedView>>, Problem> {
    Ok(Page::whole(door.desk.views(&caller.actor, None).await?))
}

/// Saves a view. One of the caller with the same name is replaced.
#[utoipa::path(post, path = "/v1/views", tag = "views", request_body = ViewWords,
    responses((status = 200, body = SavedView)))]
pub(super) async fn save(
    State(door): State<Door>,
    caller: Caller,
    Body(words): Body<ViewWords>,
) -> Result<Json<SavedView>, Problem> {
    Ok(Json(door.desk.save_view(&caller.actor, words.view()).await?))
}

/// Changes a view of the caller, its name too.
#[utoipa::path(put, path = "/v1/views/{id}", tag = "views", params(("id" = i64, Path)),
    request_body = ViewWords, responses((status = 200, body = SavedView)))]
pub(super) async fn change(
    State(door): State<Door>,
    caller: Caller,
    At(id): At<i64>,
    Body(words): Body<ViewWords>,
) -> Result<Json<SavedView>, Problem> {
    Ok(Json(door.desk.change_view(&caller.actor, id, words.view()).await?))
}

/// Deletes a view of the caller; an administrator deletes every shared one.
#[utoipa::path(delete, path = "/v1/views/{id}", tag = "views", params(("id" = i64, Path)),
    responses((status = 204)))]
pub(super) async fn delete(
    State(door): State<Door>,
    caller: Caller,
    At(id): At<i64>,
) -> Result<StatusCode, Problem> {
    door.desk.delete_view(&caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
