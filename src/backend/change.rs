//! The requests that change a member. They are built in one place, for the client that sends them and for people who
//! want to see them first.

use reqwest::Method;
use serde_json::{Value, json};

use crate::config::Paths;
use crate::membership::{Desired, Entitlements, MemberKey, Operation};

pub(super) struct Change {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

/// Describes the request that asks for the desired state.
pub fn describe(paths: &Paths, key: &MemberKey, hub_role: &str, desired: &Desired) -> String {
    let change = match desired.operation {
        Operation::Invite => invitation(paths, key, hub_role, &desired.entitlements),
        Operation::ChangeRole => change_of_role(paths, key, &desired.entitlements),
        Operation::Remove => removal(paths, key),
    };
    let body = change.body.map(|body| format!(" {}", body["data"]["attributes"]));
    format!("{} {}{}", change.method, change.path, body.unwrap_or_default())
}

pub(super) fn invitation(
    paths: &Paths,
    key: &MemberKey,
    hub_role: &str,
    entitlements: &Entitlements,
) -> Change {
    let attributes = json!({
        "role": hub_role,
        "entitlements": as_objects(entitlements),
        "userIds": [key.member],
    });
    let body = json!({"data": {"type": "invite_tenant_users", "attributes": attributes}});
    let path = of_integration(&paths.users, key);
    Change { method: Method::POST, path, body: Some(body) }
}

pub(super) fn change_of_role(
    paths: &Paths,
    key: &MemberKey,
    entitlements: &Entitlements,
) -> Change {
    let attributes = json!({"entitlements": as_objects(entitlements)});
    let body = json!({"data": {"type": "update_user_entitlement", "attributes": attributes}});
    Change { method: Method::PATCH, path: of_member(paths, key), body: Some(body) }
}

pub(super) fn removal(paths: &Paths, key: &MemberKey) -> Change {
    Change { method: Method::DELETE, path: of_member(paths, key), body: None }
}

pub(super) fn of_member(paths: &Paths, key: &MemberKey) -> String {
    of_integration(&paths.user, key).replace("{member}", &encoded(&key.member))
}

fn of_integration(template: &str, key: &MemberKey) -> String {
    template.replace("{integration}", &encoded(&key.integration))
}

fn as_objects(entitlements: &Entitlements) -> Vec<Value> {
    entitlements.iter().map(|id| json!({"id": id})).collect()
}

/// Encodes a value as one segment of a path, so that it cannot add a segment or a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
