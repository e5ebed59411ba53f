//! The JSON of the API's answers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::clock::Clock;
use super::fate::Operation;
use super::jobs::{Job, Work};
use super::site::{Difference, Report, Site};
use super::world::{HubRole, Member};

/// An answer that is an errors body.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) detail: &'static str,
    pub(super) retry_after: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self { status, code, detail, retry_after: None }
    }

    pub(super) fn bad_request(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(super) fn not_supported() -> Self {
        let detail = "The automation of this app cannot do that.";
        Self::new(StatusCode::BAD_REQUEST, "operation_not_supported", detail)
    }

    pub(super) fn not_found(code: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, "There is nothing with this id.")
    }

    pub(super) fn body(&self) -> Value {
        let number = self.status.as_u16();
        // The published API writes the status of a 400 as text and that of all others as a number.
        let status = match number {
            400 => json!("400"),
            _ => json!(number),
        };
        let title = self.status.canonical_reason();
        json!({"errors": [{
            "code": self.code,
            "title": title,
            "detail": self.detail,
            "status": status,
            "meta": null,
        }]})
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let value = self.retry_after.and_then(|text| HeaderValue::from_str(&text).ok());
        if let Some(value) = value {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

pub(super) fn integration(site: &Site, clock: &Clock) -> Value {
    let integration = &site.integration;
    let at = clock.stamp(site.created_at, false);
    json!({"data": {"id": integration.id, "type": "account", "attributes": {
        "application": integration.application,
        "label": integration.name,
        "workspace": integration.workspace,
        "createdAt": at,
        "createdBy": "simulator",
        "updatedAt": at,
    }}})
}

pub(super) fn member(member: &Member) -> Value {
    let entitlements: Vec<Value> = member.entitlements.iter().map(|id| entitlement(id)).collect();
    json!({
        "id": user_id(member),
        "type": "user",
        "attributes": {
            "email": member.email,
            "username": member.username,
            "firstName": member.first_name,
            "lastName": member.last_name,
            "role": member.role,
            "status": member.status,
            "invitation": member.invitation,
            "isGuest": member.is_guest,
            "isExempt": member.is_exempt,
            "isMember": member.is_member,
            "entitlements": entitlements,
        },
        "meta": {"dynamicFields": {}},
    })
}

/// A person of the workspace, whatever apps they are in.
pub(super) fn person(person: &Member) -> Value {
    json!({"id": person.id, "type": "user", "attributes": {
        "email": person.email,
        "firstName": person.first_name,
        "lastName": person.last_name,
        "isGuest": person.is_guest,
        "status": person.status,
    }})
}

/// The id by which Cerby has this person, if it has matched them.
fn user_id(member: &Member) -> Option<&str> {
    member.is_matched.then_some(&member.id)
}

fn entitlement(id: &str) -> Value {
    let attributes = json!({"group": "primary", "key": id, "label": id, "value": id});
    json!({"id": id, "type": "entitlement", "attributes": attributes})
}

/// The answer about a job that was just requested.
pub(super) fn new_job(id: &str) -> Value {
    json!({"data": {"type": "job", "id": id, "attributes": {"status": "created"}}})
}

pub(super) fn job(job: &Job, site: &Site, status: &str, clock: &Clock) -> Value {
    let error = job.end.as_ref().and_then(|end| end.as_ref().err());
    let details = error.map_or(json!({}), |error| {
        json!({
            "errorType": error.code,
            "screenshotUrl": format!("https://screenshots.example/{}.png", job.id),
            "userRequired": error.user_required,
        })
    });
    let attributes = json!({
        "account": {
            "entity": "account",
            "id": job.place.integration,
            "name": site.integration.name,
            "provider": site.integration.application,
        },
        "canRetry": error.is_some_and(|error| error.can_retry),
        "createdAt": clock.stamp(job.created_at, job.naive),
        "createdBy": {"id": "simulator", "name": "Simulator"},
        "errorDetails": details,
        "hasMoreDetails": error.is_some(),
        "payload": payload(&job.work),
        "response": {},
        "status": status,
        "trigger": "manual",
        "updatedAt": clock.stamp(job.updated_at(), job.naive),
        "workflowType": job.work.workflow(),
    });
    let link = format!("/{}/api/v1/jobs/{}", job.place.workspace, job.id);
    json!({
        "data": {"id": job.id, "type": "job", "attributes": attributes},
        "links": {"self": link},
        "meta": {},
    })
}

/// What the job was asked for, as the request says it that starts one.
fn payload(work: &Work) -> Value {
    let Work::Change { operation, changes } = work else {
        return json!({});
    };
    let ids: Vec<_> = changes.iter().map(|(member, _)| member.id.as_str()).collect();
    let Some((first, _)) = changes.first().filter(|_| *operation != Operation::Remove) else {
        return json!({"userIds": ids});
    };
    let role = match first.role {
        HubRole::Owner => "account_owner",
        HubRole::Collaborator => "account_collaborator",
    };
    json!({"userIds": ids, "entitlements": self::ids(first), "role": role})
}

/// `page_size` is the most members that one page of the app's own list holds.
pub(super) fn report(report: &Report, page_size: usize, clock: &Clock) -> Value {
    let mut new = Vec::new();
    let mut removed = Vec::new();
    let mut roles = Vec::new();
    for difference in &report.differences {
        match difference {
            Difference::New(member) => new.push(listed(member)),
            Difference::Removed(member) => removed.push(listed(member)),
            Difference::Role { known, read } => roles.push(json!({
                "id": user_id(read),
                "email": read.email,
                "username": read.username,
                "from": ids(known),
                "to": ids(read),
            })),
        }
    }
    json!({"data": {"id": report.id, "type": "update_report", "attributes": {
        "status": if report.is_applied { "applied" } else { "ready" },
        "createdAt": clock.stamp(report.created_at, report.naive),
        "pages": report.snapshot.len().div_ceil(page_size).max(1),
        "membersRead": report.snapshot.len(),
        "membersTotal": report.snapshot.total,
        "newUsers": new,
        "removedUsers": removed,
        "updatedRoles": roles,
    }}})
}

fn listed(member: &Member) -> Value {
    json!({
        "id": user_id(member),
        "email": member.email,
        "username": member.username,
        "entitlements": ids(member),
    })
}

fn ids(member: &Member) -> Vec<Value> {
    member.entitlements.iter().map(|id| json!({"id": id})).collect()
}
