//! `/v1/people`: whom the trail calls `oidc:SUB`.

use axum::Json;
use axum::extract::State;

use super::Door;
use super::access::Caller;
use super::page::Page;
use super::problem::Problem;
use crate::sessions::Person;

/// Lists people who signed in by OpenID Connect and may act in the caller's workspaces, with the emails that the issuer
/// gave: at most 1000, the last who signed in first. Rows name them by `actor`.
#[utoipa::path(get, path = "/v1/people", tag = "people", responses((status = 200, body = Page<Person>)))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
) -> Result<Json<Page<Person>>, Problem> {
    Ok(Page::whole(door.desk.people(&caller.actor).await?))
}
