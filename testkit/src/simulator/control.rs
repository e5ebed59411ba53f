//! A person's changes in the app and the counters, over HTTP: for operators and other processes.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Handle;
use super::fate::Operation;
use super::shapes::{self, Refusal};
use super::world::{Member, Place};

type Answer = Result<Json<Value>, Refusal>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Desired {
    email: Option<String>,
    username: Option<String>,
    entitlements: BTreeSet<String>,
}

pub(super) fn router() -> Router<Handle> {
    Router::new()
        .route("/simulator/counters", get(counters))
        .route("/simulator/{workspace}/integrations/{id}/members", get(members))
        .route("/simulator/{workspace}/integrations/{id}/members/{member}/{change}", post(change))
        .route("/simulator/{workspace}/integrations/{id}/mend-login", post(mend_login))
}

async fn counters(Shared(handle): Shared<Handle>) -> Json<Value> {
    Json(json!(handle.state().counters))
}

async fn members(
    Shared(handle): Shared<Handle>,
    Path((workspace, id)): Path<(String, String)>,
) -> Answer {
    let state = handle.state();
    let site = state.site(&Place::new(workspace, id));
    let site = site.ok_or_else(|| Refusal::not_found("integration_not_found"))?;
    let data: Vec<Value> = site.real.values().map(shapes::member).collect();
    Ok(Json(json!({"data": data})))
}

async fn change(
    Shared(handle): Shared<Handle>,
    Path((workspace, id, member, change)): Path<(String, String, String, String)>,
    body: Bytes,
) -> Answer {
    let operation = match change.as_str() {
        "invite" => Operation::Invite,
        "remove" => Operation::Remove,
        "change-role" => Operation::ChangeRole,
        _ => return Err(Refusal::not_found("change_not_found")),
    };
    let desired = desired(&body)?;
    let place = Place::new(workspace, id);
    let person = handle.state().person(&place.workspace, &member, &desired.entitlements);
    let person = Member {
        email: desired.email.unwrap_or(person.email),
        username: desired.username.or(person.username),
        ..person
    };
    let change = handle.person_changes(&place, operation, &person);
    let change = change.ok_or_else(|| Refusal::not_found("integration_not_found"))?;
    match change.is_made() {
        true => Ok(Json(json!({"changed": true}))),
        false => {
            let detail = "The app is so already, or there is nobody to change.";
            Err(Refusal::new(StatusCode::CONFLICT, "nothing_to_change", detail))
        }
    }
}

async fn mend_login(
    Shared(handle): Shared<Handle>,
    Path((workspace, id)): Path<(String, String)>,
) -> Answer {
    let place = Place::new(workspace, id);
    let mut state = handle.state();
    state.site(&place).ok_or_else(|| Refusal::not_found("integration_not_found"))?;
    state.fates.mend_login(place);
    Ok(Json(json!({"changed": true})))
}

fn desired(body: &Bytes) -> Result<Desired, Refusal> {
    if body.is_empty() {
        return Ok(Desired::default());
    }
    serde_json::from_slice(body)
        .map_err(|_| Refusal::bad_request("The body takes email, username and entitlements."))
}
