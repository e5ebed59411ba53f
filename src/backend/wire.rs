//! The format of the backend's JSON: tolerant of additions, strict about the values that the daemon draws conclusions
//! from.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, TimeDelta, Utc};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::text;
use super::{Failure, Gap, Job, Progress, Reported, UpdateReport};
use crate::identity::normal;
use crate::membership::{Marks, Membership, SeenMember};

/// A JSON object. serde's own structs also accept arrays, which the API never promises.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = T;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

/// The envelope of every answer with one object.
#[derive(Debug, Deserialize)]
pub(super) struct One<T> {
    pub(super) data: Object<T>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) data: Vec<Entry>,
    #[serde(default)]
    links: Option<Object<Links>>,
    #[serde(default)]
    meta: Option<Object<Meta>>,
}

/// One entry of a page. An entry that cannot be read is a gap in the snapshot and does not hide the others.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seen: Result<SeenMember, Gap>,
    is_object: bool,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let user = serde_json::from_str::<Object<User>>(text.get());
        Ok(Self {
            seen: user.map_err(|_| Gap::UnreadableMember).and_then(|user| user.0.seen()),
            is_object: text.get().starts_with('{'),
        })
    }
}

/// A value, or its default if it cannot be read. A value that cannot be read does not hide the values beside it.
#[derive(Debug, Default)]
pub(super) struct Readable<T>(pub(super) T);

impl<'de, T: DeserializeOwned + Default> Deserialize<'de> for Readable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(text.get()).unwrap_or_default()))
    }
}

impl Page {
    /// Whether none of its entries could be a member.
    pub(super) fn is_of_something_else(&self) -> bool {
        !self.data.is_empty() && !self.data.iter().any(|entry| entry.is_object)
    }

    pub(super) fn has_next(&self) -> bool {
        let next = self.links.as_ref().and_then(|links| links.0.next.as_deref());
        next.is_some_and(|next| !next.trim().is_empty())
    }

    /// How many members there are on all pages, according to the API.
    pub(super) fn total(&self) -> Option<u64> {
        self.meta.as_ref()?.0.page.as_ref()?.0.total
    }
}

#[derive(Debug, Default, Deserialize)]
struct Links {
    #[serde(default)]
    next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    page: Option<Object<PageMeta>>,
}

#[derive(Debug, Default, Deserialize)]
struct PageMeta {
    #[serde(default, deserialize_with = "count")]
    total: Option<u64>,
}

/// An object of which only the id matters.
#[derive(Debug, Deserialize)]
pub(super) struct Identified {
    #[serde(deserialize_with = "storable")]
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    #[serde(default)]
    id: Option<String>,
    attributes: Object<UserAttributes>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserAttributes {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    entitlements: Option<Vec<Object<Identified>>>,
    #[serde(default)]
    invitation: Option<String>,
    #[serde(default)]
    is_member: Readable<Value>,
    #[serde(default)]
    is_guest: Readable<Value>,
    #[serde(default)]
    is_exempt: Readable<Value>,
    #[serde(default)]
    role: Readable<Value>,
}

impl User {
    /// The person in our terms, or a gap if the entry does not tell who it is or which roles they hold.
    pub(super) fn seen(self) -> Result<SeenMember, Gap> {
        let attributes = self.attributes.0;
        let member = self.id.filter(|id| !id.trim().is_empty());
        let (email, username) = (name(attributes.email), name(attributes.username));
        if member.as_deref().is_some_and(|id| !is_storable(id)) {
            return Err(Gap::UnreadableMember);
        }
        if member.is_none() && email.is_none() && username.is_none() {
            return Err(Gap::UnreadableMember);
        }
        let entitlements = attributes.entitlements.ok_or(Gap::UnreadableMember)?;
        Ok(SeenMember {
            member,
            email,
            username,
            entitlements: entitlements.into_iter().map(|role| role.0.id).collect(),
            membership: membership(attributes.invitation.as_deref(), flag(&attributes.is_member.0)),
            marks: Marks {
                is_guest: flag(&attributes.is_guest.0) == Some(true),
                is_exempt: flag(&attributes.is_exempt.0) == Some(true),
                is_owner: attributes.role.0.as_str() == Some("owner"),
            },
        })
    }
}

/// How the person stands. A word that the contract does not define may mean anything, for example that the person
/// declined.
fn membership(invitation: Option<&str>, is_member: Option<bool>) -> Membership {
    let word = invitation.map(|word| word.trim().to_ascii_lowercase());
    match (word.as_deref().unwrap_or_default(), is_member) {
        ("" | "accepted", Some(false)) => Membership::AssetsOnly,
        ("" | "accepted", _) => Membership::Joined,
        ("pending", _) => Membership::Invited,
        ("expired", _) => Membership::InvitationExpired,
        _ => Membership::InvitationUnclear,
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct JobObject {
    #[serde(default)]
    pub(super) id: Option<String>,
    attributes: Object<JobAttributes>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobAttributes {
    status: String,
    #[serde(default)]
    can_retry: Readable<Value>,
    #[serde(default)]
    created_at: Readable<Value>,
    #[serde(default)]
    error_details: Readable<Option<Object<ErrorDetails>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorDetails {
    #[serde(default)]
    error_type: Readable<Value>,
    #[serde(default)]
    message: Readable<Value>,
    #[serde(default)]
    screenshot_url: Readable<Value>,
    #[serde(default)]
    user_required: Readable<Value>,
}

impl JobObject {
    /// The job as it stands `now` by the backend's clock. Its status tells whether it failed; its other fields count as
    /// far as they can be read.
    pub(super) fn job(self, now: Option<DateTime<Utc>>) -> Job {
        let attributes = self.attributes.0;
        let details = attributes.error_details.0.map(|details| details.0).unwrap_or_default();
        let progress = match attributes.status.as_str() {
            "finished" => Progress::Finished,
            "error" => Progress::Failed(Failure {
                code: details
                    .error_type
                    .0
                    .as_str()
                    .map(text::plain_code)
                    .filter(|it| !it.is_empty()),
                message: details.message.0.as_str().map(readable),
                screenshot_url: details.screenshot_url.0.as_str().and_then(link),
                can_retry: flag(&attributes.can_retry.0),
                user_required: flag(&details.user_required.0),
            }),
            _ => Progress::Running,
        };
        Job { age: age(&attributes.created_at.0, now), progress }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ReportObject {
    id: String,
    attributes: Object<ReportAttributes>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportAttributes {
    status: ReportStatus,
    #[serde(default)]
    created_at: Readable<Value>,
    #[serde(default)]
    members_read: Option<u64>,
    #[serde(default)]
    members_total: Option<u64>,
    new_users: Vec<Object<Reported>>,
    removed_users: Vec<Object<Reported>>,
    updated_roles: Vec<Object<Reported>>,
}

/// A report in any other state cannot be applied.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReportStatus {
    Ready,
    Applied,
}

impl ReportObject {
    /// The report, and its age when it is `now` by the backend's clock.
    pub(super) fn dated(self, now: Option<DateTime<Utc>>) -> (UpdateReport, Option<Duration>) {
        let age = age(&self.attributes.0.created_at.0, now);
        (self.into(), age)
    }
}

impl From<ReportObject> for UpdateReport {
    fn from(report: ReportObject) -> Self {
        let attributes = report.attributes.0;
        let people = |list: Vec<Object<Reported>>| list.into_iter().map(|one| one.0).collect();
        Self {
            id: report.id,
            created_at: time(&attributes.created_at.0),
            members_read: attributes.members_read,
            members_total: attributes.members_total,
            applied: attributes.status == ReportStatus::Applied,
            new_members: people(attributes.new_users),
            removed_members: people(attributes.removed_users),
            changed_members: people(attributes.updated_roles),
        }
    }
}

/// `errors[]`: an answer with this list is never a success. The status is a string or a number.
#[derive(Debug, Deserialize)]
pub(super) struct Errors {
    #[serde(default)]
    pub(super) errors: Option<Vec<Value>>,
}

/// Whether a row can store this id and none of its characters was broken.
pub(super) fn is_storable(id: &str) -> bool {
    !id.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
}

/// An id that a row can store.
fn storable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    if id.trim().is_empty() || !is_storable(&id) {
        return Err(D::Error::custom("an id that is empty or has control characters"));
    }
    Ok(id)
}

/// A count; some servers write it as `3.0`.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    if number.is_some_and(|number| number < 0.0 || number.fract() != 0.0) {
        return Err(D::Error::custom("a count that is none"));
    }
    Ok(number.map(|number| number as u64))
}

/// A boolean, also as a word; `None` for anything else.
fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(word) if word.eq_ignore_ascii_case("true") => Some(true),
        Value::String(word) if word.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// How long ago something was created, by the clock that wrote the time: `now` is the backend's own. A time that is
/// well ahead of it, or of another century, is ignored.
fn age(made: &Value, now: Option<DateTime<Utc>>) -> Option<Duration> {
    let (now, made) = now.zip(time(made).filter(|made| made.year() >= 2000))?;
    // Clocks of one backend differ a little, and headers have whole seconds.
    (made <= now + CLOCKS_DIFFER).then(|| (now - made).to_std().unwrap_or_default())
}

const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(1);

const DATES: [&str; 3] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y%m%dT%H%M%S%.f"];

/// Zoned or naive (taken as UTC), compact, or seconds or milliseconds since 1970. Anything else gives no time, so that
/// the rest of the answer can still be read.
pub(super) fn time(value: &Value) -> Option<DateTime<Utc>> {
    let text = match value {
        Value::Number(number) => return epoch(number.as_f64()?),
        value => value.as_str()?.trim(),
    };
    // UTC may be written as `Z` or `z`; the parser reads neither, so both become `+0000`.
    let text = text
        .strip_suffix(['Z', 'z'])
        .map_or_else(|| text.to_owned(), |time| format!("{time}+0000"));
    let zoned = DATES
        .iter()
        .find_map(|date| DateTime::<FixedOffset>::parse_from_str(&text, &format!("{date}%z")).ok());
    let naive = || DATES.iter().find_map(|date| NaiveDateTime::parse_from_str(&text, date).ok());
    let time = zoned.map(|time| time.to_utc()).or_else(|| naive().map(|time| time.and_utc()));
    time.or_else(|| epoch(text.parse().ok()?))
}

/// Seconds since 1970, or milliseconds where seconds would be thousands of years.
fn epoch(number: f64) -> Option<DateTime<Utc>> {
    let millis = if number.abs() < 1e11 { number * 1000.0 } else { number };
    DateTime::from_timestamp_millis(millis as i64)
}

/// An email or name as the app shows it, without the characters that no row can store and nobody could read.
pub(super) fn name(text: Option<String>) -> Option<String> {
    let text = text?.chars().filter(|c| !c.is_control()).take(400).collect::<String>();
    Some(text).filter(|text| !normal(text).is_empty())
}

/// Text that a row can store and a person can read.
fn readable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').take(2000).collect()
}

/// An address that a browser can open.
fn link(text: &str) -> Option<String> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    let is_plain = text.len() <= 2000 && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    (is_web && is_plain).then(|| text.to_owned())
}
