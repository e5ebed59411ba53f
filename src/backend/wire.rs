//! What the backend's JSON looks like: tolerant of what it adds, strict about what we conclude from.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::answer;
use super::{Failure, Gap, Job, Progress, UpdateReport};
use crate::membership::{Membership, SeenMember};

/// The envelope of every answer with one object.
#[derive(Debug, Deserialize)]
pub(super) struct One<T> {
    pub(super) data: T,
}

/// The envelope of a page.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) data: Vec<User>,
    #[serde(default)]
    pub(super) links: Option<Links>,
    #[serde(default)]
    pub(super) meta: Option<Meta>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Links {
    #[serde(default)]
    pub(super) next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Meta {
    #[serde(default)]
    pub(super) page: Option<PageMeta>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PageMeta {
    #[serde(default)]
    pub(super) total: Option<f64>,
}

/// Something of which only the id matters.
#[derive(Debug, Deserialize)]
pub(super) struct Identified {
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    #[serde(default)]
    id: Option<String>,
    attributes: UserAttributes,
}

#[derive(Debug, Deserialize)]
struct UserAttributes {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    entitlements: Option<Vec<Identified>>,
    #[serde(default)]
    invitation: Option<String>,
}

impl User {
    /// The person in our words, or a gap if nothing tells who it is.
    pub(super) fn seen(self) -> Result<SeenMember, Gap> {
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let (member, email) = (given(self.id), given(self.attributes.email));
        let username = given(self.attributes.username);
        if member.is_none() && email.is_none() && username.is_none() {
            return Err(Gap::UnreadableMember);
        }
        let entitlements = self.attributes.entitlements.unwrap_or_default();
        Ok(SeenMember {
            member,
            email,
            username,
            entitlements: entitlements.into_iter().map(|role| role.id).collect(),
            membership: match self.attributes.invitation.as_deref() {
                None | Some("accepted") => Membership::Joined,
                Some("expired") => Membership::InvitationExpired,
                Some(_) => Membership::Invited,
            },
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct JobObject {
    attributes: JobAttributes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobAttributes {
    status: String,
    #[serde(default)]
    can_retry: Option<bool>,
    #[serde(default, deserialize_with = "lenient_time")]
    created_at: Option<DateTime<Utc>>,
    #[serde(default)]
    error_details: Option<ErrorDetails>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorDetails {
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    screenshot_url: Option<String>,
    #[serde(default)]
    user_required: Option<bool>,
}

impl From<JobObject> for Job {
    fn from(job: JobObject) -> Self {
        let attributes = job.attributes;
        let details = attributes.error_details.unwrap_or_default();
        let progress = match attributes.status.as_str() {
            "finished" => Progress::Finished,
            "error" => Progress::Failed(Failure {
                code: details.error_type.as_deref().map(answer::plain),
                message: details.message,
                screenshot_url: details.screenshot_url,
                can_retry: attributes.can_retry,
                user_required: details.user_required,
            }),
            _ => Progress::Running,
        };
        Self { created_at: attributes.created_at, progress }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ReportObject {
    id: String,
    attributes: ReportAttributes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportAttributes {
    status: String,
    #[serde(default, deserialize_with = "lenient_time")]
    created_at: Option<DateTime<Utc>>,
    #[serde(default)]
    members_read: Option<u64>,
    #[serde(default)]
    members_total: Option<u64>,
    new_users: Vec<Identified>,
    removed_users: Vec<Identified>,
    updated_roles: Vec<Identified>,
}

impl From<ReportObject> for UpdateReport {
    fn from(report: ReportObject) -> Self {
        let attributes = report.attributes;
        let ids = |list: Vec<Identified>| list.into_iter().map(|one| one.id).collect();
        Self {
            id: report.id,
            created_at: attributes.created_at,
            members_read: attributes.members_read,
            members_total: attributes.members_total,
            applied: attributes.status == "applied",
            new_members: ids(attributes.new_users),
            removed_members: ids(attributes.removed_users),
            changed_members: ids(attributes.updated_roles),
        }
    }
}

/// `errors[]`; whatever is in it, it is no success. The status comes as a string or as a number.
#[derive(Debug, Deserialize)]
pub(super) struct Errors {
    pub(super) errors: Vec<Value>,
}

/// Zoned or naive (taken as UTC); anything else is no time rather than no answer.
fn lenient_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| {
        DateTime::parse_from_rfc3339(&text)
            .map(|time| time.to_utc())
            .ok()
            .or_else(|| text.parse::<NaiveDateTime>().map(|time| time.and_utc()).ok())
    }))
}
