//! The operations of the API.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::fate::Operation;
use super::gate::{Treatment, gate};
use super::jobs::Work;
use super::shapes::{self, Refusal};
use super::site::Site;
use super::state::State;
use super::world::{Capabilities, Kind, Member, Place};
use super::{Handle, control};

type Answer = Result<Json<Value>, Refusal>;
type Names = Path<(String, String)>;
type MemberNames = Path<(String, String, String)>;

pub(super) fn router(handle: Handle) -> Router {
    let integration = "/{workspace}/api/v1/integrations/{id}";
    let under = |rest: &str| format!("{integration}/{rest}");
    Router::new()
        .route(integration, get(get_integration))
        .route(&under("user"), get(list_members))
        .route(&under("users"), get(list_members).post(invite))
        .route(&under("users/{member}"), patch(change_role).get(get_member).delete(remove))
        .route(&under("sync"), post(start_sync))
        .route(&under("update-checks"), post(start_check))
        .route(&under("update-report"), get(get_report))
        .route(&under("update-report/{report}/apply"), post(apply_report))
        .route("/{workspace}/api/v1/users/{id}", get(get_person))
        .route("/{workspace}/api/v1/jobs/{id}", get(get_job))
        .layer(middleware::from_fn_with_state(handle.clone(), gate))
        .route("/openapi.yaml", get(|| async { include_str!("../../../docs/backend-api.yaml") }))
        .merge(control::router())
        .with_state(handle)
}

fn site<'a>(state: &'a State, place: &Place) -> Result<&'a Site, Refusal> {
    state.site(place).ok_or_else(|| Refusal::not_found("integration_not_found"))
}

async fn get_integration(Shared(handle): Shared<Handle>, Path((workspace, id)): Names) -> Answer {
    let state = handle.state();
    let site = site(&state, &Place::new(workspace, id))?;
    Ok(Json(shapes::integration(site, &state.clock)))
}

async fn get_member(
    Shared(handle): Shared<Handle>,
    Path((workspace, id, member)): MemberNames,
) -> Answer {
    let state = handle.state();
    let known = site(&state, &Place::new(workspace, id))?.known.get(&member);
    let member = known.filter(|member| member.is_matched);
    let member = member.ok_or_else(|| Refusal::not_found("user_not_found"))?;
    Ok(Json(json!({"data": shapes::member(member)})))
}

async fn get_person(Shared(handle): Shared<Handle>, Path((workspace, id)): Names) -> Answer {
    let state = handle.state();
    let person = state.known_person(&workspace, &id);
    let person = person.ok_or_else(|| Refusal::not_found("user_not_found"))?;
    Ok(Json(json!({"data": shapes::person(person)})))
}

async fn get_job(Shared(handle): Shared<Handle>, Path((workspace, id)): Names) -> Answer {
    let state = handle.state();
    let job = state.job(&workspace, &id).ok_or_else(|| Refusal::not_found("job_not_found"))?;
    let status = job.status(Instant::now());
    Ok(Json(shapes::job(job, site(&state, &job.place)?, status, &state.clock)))
}

async fn list_members(
    Shared(handle): Shared<Handle>,
    Extension(treatment): Extension<Treatment>,
    Path((workspace, id)): Names,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let state = handle.state();
    let place = Place::new(workspace, id);
    let site = site(&state, &place)?;
    let known = &site.known;
    // A list that is cut gives no sign of it: its total is cut too.
    let total = site.list_limit.map_or(known.len(), |limit| limit.min(known.len()));
    let cap = state.settings.page_size_cap.max(1);
    let number = positive(&query, "page[number]", 1)?;
    let size = positive(&query, "page[size]", 25)?.min(cap);
    let skipped = size.saturating_mul(number - 1);
    let shown = known.values().take(total).skip(skipped).take(size);
    let data: Vec<Value> = shown.map(shapes::member).collect();
    let path = format!("/{}/api/v1/integrations/{}/users", place.workspace, place.integration);
    let link = |number: usize| format!("{path}?page%5Bnumber%5D={number}&page%5Bsize%5D={size}");
    let next = match treatment.repeats_page {
        true => Some(link(number)),
        false => (skipped.saturating_add(size) < total).then(|| link(number + 1)),
    };
    let previous = (number > 1).then(|| link(number - 1));
    Ok(Json(json!({
        "data": data,
        "links": {"self": link(number), "next": next, "previous": previous},
        "meta": {"page": {"maxSize": cap, "total": total}},
    })))
}

fn positive(
    query: &HashMap<String, String>,
    name: &str,
    otherwise: usize,
) -> Result<usize, Refusal> {
    let Some(text) = query.get(name) else {
        return Ok(otherwise);
    };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Refusal::bad_request("A page's number and size start at 1."))
}

async fn invite(
    Shared(handle): Shared<Handle>,
    Extension(treatment): Extension<Treatment>,
    Path((workspace, id)): Names,
    body: Bytes,
) -> Answer {
    let mut state = handle.state();
    let place = Place::new(workspace, id);
    permit(&state, &place, |can| can.invite)?;
    let attributes = attributes(&body, "invite_tenant_users")?;
    let held = entitlements(&attributes)?;
    let role = match attributes["role"].as_str() {
        Some("account_owner") => super::HubRole::Owner,
        Some("account_collaborator") => super::HubRole::Collaborator,
        _ => return Err(Refusal::bad_request("The role is missing or unknown.")),
    };
    let ids = attributes["userIds"].as_array().filter(|ids| !ids.is_empty());
    let ids = ids.and_then(|ids| ids.iter().map(Value::as_str).collect::<Option<BTreeSet<_>>>());
    let ids = ids.ok_or_else(|| Refusal::bad_request("userIds has to hold ids."))?;
    let people = ids.into_iter().map(|id| state.person(&place.workspace, id, &held));
    let people = people.map(|person| Member { role, ..person }).collect();
    Ok(change(&mut state, &place, Operation::Invite, people, treatment))
}

async fn change_role(
    Shared(handle): Shared<Handle>,
    Extension(treatment): Extension<Treatment>,
    Path((workspace, id, member)): MemberNames,
    body: Bytes,
) -> Answer {
    let mut state = handle.state();
    let place = Place::new(workspace, id);
    permit(&state, &place, |can| can.change_role)?;
    let held = entitlements(&attributes(&body, "update_user_entitlement")?)?;
    let person = state.person(&place.workspace, &member, &held);
    Ok(change(&mut state, &place, Operation::ChangeRole, vec![person], treatment))
}

async fn remove(
    Shared(handle): Shared<Handle>,
    Extension(treatment): Extension<Treatment>,
    Path((workspace, id, member)): MemberNames,
) -> Answer {
    let mut state = handle.state();
    let place = Place::new(workspace, id);
    permit(&state, &place, |can| can.remove)?;
    let person = state.person(&place.workspace, &member, &BTreeSet::new());
    Ok(change(&mut state, &place, Operation::Remove, vec![person], treatment))
}

fn change(
    state: &mut State,
    place: &Place,
    operation: Operation,
    people: Vec<Member>,
    treatment: Treatment,
) -> Json<Value> {
    let dealt = people.into_iter().map(|person| {
        let (outcome, draw) = state.fates.next(place, &person.id, operation.name());
        ((person, outcome), draw)
    });
    let (changes, draws): (Vec<_>, Vec<_>) = dealt.unzip();
    let work = Work::Change { operation, changes };
    Json(shapes::new_job(&state.start(place, work, draws[0], treatment.is_heard)))
}

fn permit(
    state: &State,
    place: &Place,
    can: impl Fn(&Capabilities) -> bool,
) -> Result<(), Refusal> {
    match can(&site(state, place)?.integration.capabilities) {
        true => Ok(()),
        false => Err(Refusal::not_supported()),
    }
}

fn permit_sync(state: &State, place: &Place, kind: Kind) -> Result<(), Refusal> {
    permit(state, place, |can| can.sync)?;
    match site(state, place)?.integration.kind == kind {
        true => Ok(()),
        false => Err(Refusal::not_supported()),
    }
}

fn attributes(body: &Bytes, kind: &str) -> Result<Value, Refusal> {
    let invalid = || Refusal::bad_request("The body is not what this operation takes.");
    let mut body: Value = serde_json::from_slice(body).map_err(|_| invalid())?;
    match body["data"]["type"] == kind {
        true => Ok(body["data"]["attributes"].take()),
        false => Err(invalid()),
    }
}

fn entitlements(attributes: &Value) -> Result<BTreeSet<String>, Refusal> {
    let list = attributes["entitlements"].as_array();
    let ids = list.and_then(|list| list.iter().map(|item| item["id"].as_str()).collect());
    let ids: Option<Vec<&str>> = ids;
    let ids =
        ids.ok_or_else(|| Refusal::bad_request("entitlements has to hold objects with ids."))?;
    Ok(ids.into_iter().map(str::to_owned).collect())
}

async fn start_sync(
    Shared(handle): Shared<Handle>,
    Extension(treatment): Extension<Treatment>,
    Path((workspace, id)): Names,
) -> Answer {
    let mut state = handle.state();
    let place = Place::new(workspace, id);
    permit_sync(&state, &place, Kind::BusinessHub)?;
    if let Some(job) = state.coalescing_job(&place) {
        return Ok(Json(shapes::new_job(&job.id)));
    }
    let moment = state.tick();
    let snapshot = site(&state, &place)?.read(moment, None);
    let (outcome, draw) = state.fates.next(&place, "", "sync");
    let work = Work::Sync { snapshot, outcome };
    Ok(Json(shapes::new_job(&state.start(&place, work, draw, treatment.is_heard))))
}

async fn start_check(
    Shared(handle): Shared<Handle>,
    Extension(treatment): Extension<Treatment>,
    Path((workspace, id)): Names,
) -> Answer {
    let mut state = handle.state();
    let place = Place::new(workspace, id);
    permit_sync(&state, &place, Kind::App)?;
    if let Some(job) = state.coalescing_job(&place) {
        return Ok(Json(shapes::new_job(&job.id)));
    }
    let moment = state.tick();
    let site = site(&state, &place)?;
    let snapshot = site.read(moment, site.snapshot_limit);
    let (outcome, draw) = state.fates.next(&place, "", "check");
    let work = Work::Check { snapshot, outcome };
    Ok(Json(shapes::new_job(&state.start(&place, work, draw, treatment.is_heard))))
}

async fn get_report(Shared(handle): Shared<Handle>, Path((workspace, id)): Names) -> Answer {
    let state = handle.state();
    let report = site(&state, &Place::new(workspace, id))?.report.as_ref();
    let report = report.ok_or_else(|| Refusal::not_found("report_not_found"))?;
    Ok(Json(shapes::report(report, state.settings.page_size_cap.max(1), &state.clock)))
}

async fn apply_report(
    Shared(handle): Shared<Handle>,
    Extension(treatment): Extension<Treatment>,
    Path((workspace, id, desired)): MemberNames,
) -> Answer {
    let mut state = handle.state();
    let place = Place::new(workspace, id);
    permit_sync(&state, &place, Kind::App)?;
    let site = site(&state, &place)?;
    let report = site.report.as_ref().ok_or_else(|| Refusal::not_found("report_not_found"))?;
    let is_current = site.is_unchanged_since(&report.snapshot);
    if report.id != desired || report.is_applied || !is_current {
        let detail = "The report is applied, replaced, or the app has changed since.";
        return Err(Refusal::new(StatusCode::CONFLICT, "report_outdated", detail));
    }
    if let Some(job) = &report.apply_job {
        return Ok(Json(shapes::new_job(job)));
    }
    let (outcome, draw) = state.fates.next(&place, "", "apply");
    let work = Work::Apply { report: desired, outcome };
    let job = state.start(&place, work, draw, treatment.is_heard);
    let report = state.site_mut(&place).and_then(|site| site.report.as_mut());
    if let Some(report) = report {
        report.apply_job = Some(job.clone());
    }
    Ok(Json(shapes::new_job(&job)))
}
