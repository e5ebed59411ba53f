//! What a job is about that the daemon did not start, and the people of a workspace.
//!
//! The published API has the integration, the kind of work and the trigger of a job. Who is changed, and to what, is in its
//! `payload`, whose fields are our agreement with the backend: those of the requests that start such a job.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::wire::{self, JobObject, Object, Readable};
use super::{BackendError, Progress};
use crate::membership::{Entitlements, Operation};

/// A job as far as it tells what automation was asked to do.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedJob {
    pub progress: Progress,
    /// `None` for work that changes no members, or is unknown.
    pub operation: Option<Operation>,
    /// Its integration, with the name and the application.
    pub integration: Option<String>,
    pub integration_name: Option<String>,
    pub application: Option<String>,
    /// The ids of the people whom it changes.
    pub members: Vec<String>,
    pub entitlements: Entitlements,
    pub hub_role: Option<String>,
    pub trigger: Option<String>,
    /// When it was asked for, by the backend's clock.
    pub created_at: Option<DateTime<Utc>>,
    pub created_by: Option<String>,
}

/// A job, and the same text read for what it is about.
#[derive(Debug, Deserialize)]
pub(super) struct Described {
    data: Twice,
}

#[derive(Debug)]
struct Twice {
    job: JobObject,
    about: About,
}

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let job = serde_json::from_str::<Object<JobObject>>(text.get());
        let about = serde_json::from_str::<Object<About>>(text.get());
        let wrong = |error: serde_json::Error| serde::de::Error::custom(error);
        Ok(Self { job: job.map_err(wrong)?.0, about: about.map_err(wrong)?.0 })
    }
}

#[derive(Debug, Deserialize)]
struct About {
    attributes: Object<Attributes>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    #[serde(default)]
    account: Readable<Account>,
    #[serde(default)]
    created_at: Readable<Value>,
    #[serde(default)]
    created_by: Readable<Creator>,
    #[serde(default)]
    payload: Option<Object<Payload>>,
    #[serde(default)]
    trigger: Readable<Option<String>>,
    #[serde(default)]
    workflow_type: Readable<Option<String>>,
}

#[derive(Debug, Default, Deserialize)]
struct Account {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    provider: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Creator {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

/// Strict, because an entry that was left out would be a member or a role that nobody works on.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    #[serde(default)]
    user_ids: Vec<String>,
    #[serde(default)]
    entitlements: Vec<Object<wire::Identified>>,
    #[serde(default)]
    role: Option<String>,
}

impl Described {
    pub(super) fn id(&self) -> Option<&str> {
        self.data.job.id.as_deref()
    }

    pub(super) fn described(
        self,
        now: Option<DateTime<Utc>>,
    ) -> Result<DescribedJob, BackendError> {
        let attributes = self.data.about.attributes.0;
        let payload = attributes.payload.map(|payload| payload.0).unwrap_or_default();
        let texts = [&attributes.account.0.id, &attributes.account.0.name, &payload.role];
        let texts = texts.into_iter().flatten().chain(&payload.user_ids);
        if texts.into_iter().any(|text| !wire::is_storable(text)) {
            let what = "a job with control characters in a name or an id";
            return Err(BackendError::UnexpectedResponse(what.to_owned()));
        }
        let (account, creator) = (attributes.account.0, attributes.created_by.0);
        Ok(DescribedJob {
            progress: self.data.job.job(now).progress,
            operation: attributes.workflow_type.0.as_deref().and_then(operation),
            integration: account.id,
            integration_name: account.name,
            application: account.provider,
            members: payload.user_ids,
            entitlements: payload.entitlements.into_iter().map(|role| role.0.id).collect(),
            hub_role: payload.role,
            trigger: attributes.trigger.0,
            created_at: wire::time(&attributes.created_at.0),
            created_by: wire::name(creator.name).or(wire::name(creator.id)),
        })
    }
}

/// The published kinds of work that change members.
fn operation(workflow: &str) -> Option<Operation> {
    match workflow {
        "provide_access" | "provide_native_partner_access" => Some(Operation::Invite),
        "update_access" => Some(Operation::ChangeRole),
        "revoke_access" | "revoke_native_partner_access" => Some(Operation::Remove),
        _ => None,
    }
}

/// A person of a workspace, who may be a member of no app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub email: Option<String>,
    pub name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PersonObject {
    #[serde(default)]
    pub(super) id: Option<String>,
    attributes: Object<PersonAttributes>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersonAttributes {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    first_name: Readable<Option<String>>,
    #[serde(default)]
    last_name: Readable<Option<String>>,
}

impl PersonObject {
    pub(super) fn person(self) -> Person {
        let attributes = self.attributes.0;
        let names = [attributes.first_name.0, attributes.last_name.0];
        let names: Vec<_> = names.into_iter().flatten().collect();
        Person { email: wire::name(attributes.email), name: wire::name(Some(names.join(" "))) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn described(attributes: &Value) -> Result<DescribedJob, String> {
        let text = json!({"data": {"id": "j1", "attributes": attributes}}).to_string();
        let job: Described = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        job.described(None).map_err(|error| error.to_string())
    }

    #[test]
    fn the_published_kinds_of_work_are_operations_and_others_are_none() {
        let table = [
            ("provide_access", Some(Operation::Invite)),
            ("provide_native_partner_access", Some(Operation::Invite)),
            ("update_access", Some(Operation::ChangeRole)),
            ("revoke_access", Some(Operation::Remove)),
            ("revoke_native_partner_access", Some(Operation::Remove)),
            ("password_rotation", None),
            ("get_business", None),
        ];
        for (workflow, expected) in table {
            let job = described(&json!({"status": "error", "workflowType": workflow}));
            assert_eq!(job.unwrap().operation, expected, "{workflow}");
        }
    }

    #[test]
    fn a_job_without_its_details_is_read_and_a_payload_that_cannot_be_read_is_no_empty_one() {
        let bare =
            described(&json!({"status": "finished", "trigger": 7, "account": null})).unwrap();
        assert_eq!((bare.progress, bare.members.len()), (Progress::Finished, 0));
        assert_eq!((bare.trigger, bare.integration), (None, None));
        for payload in [
            json!({"userIds": "jo"}),
            json!({"userIds": ["jo", 7]}),
            json!({"entitlements": [{"id": ""}]}),
            json!({"userIds": ["j\u{0}o"]}),
            json!(["jo"]),
        ] {
            let job = described(&json!({"status": "error", "payload": payload}));
            assert!(job.is_err(), "{payload}");
        }
    }

    #[test]
    fn a_person_is_named_by_what_there_is_of_the_name() {
        let person = |attributes: Value| {
            let text = json!({"id": "jo", "attributes": attributes}).to_string();
            serde_json::from_str::<PersonObject>(&text).unwrap().person()
        };
        let jo = person(json!({"email": "jo@example.com", "firstName": "Jo", "lastName": null}));
        assert_eq!((jo.email.as_deref(), jo.name.as_deref()), (Some("jo@example.com"), Some("Jo")));
        assert_eq!(person(json!({"email": null})), Person { email: None, name: None });
    }
}
