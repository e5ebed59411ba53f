//! The words of the domain: the desired state of a member, and what a snapshot of the app shows.
//!
//! Pure: no I/O, no time. Retry and sync both judge with [`Desired::compare`], so "already so" and "proven" mean the
//! same.

use std::collections::{BTreeSet, HashSet};

use crate::identity::{Identity, Keys};

/// A set of roles in an app, by id. Labels are for people and are never compared.
pub type Entitlements = BTreeSet<String>;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            pub const WORDS: &'static [&'static str] = &[$($text,)*];

            /// The word as it is written in tables, logs and on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::membership::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::membership::UnknownWord::new(stringify!($name), text)),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some(Self::WORDS.iter().copied()))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

pub(crate) use words;

/// A value that is none of the known words.
#[derive(Debug, thiserror::Error)]
#[error("{word:?} is not a known {kind}")]
pub struct UnknownWord {
    kind: &'static str,
    word: String,
}

impl UnknownWord {
    pub(crate) fn new(kind: &'static str, word: &str) -> Self {
        Self { kind, word: word.to_owned() }
    }
}

words! {
    Operation {
        /// Make a person a member.
        Invite = "invite",
        Remove = "remove",
        /// Give a member another set of roles.
        ChangeRole = "change_role",
    }
}

words! {
    /// What a manual action asks for.
    ActionOperation {
        Invite = "invite",
        Remove = "remove",
        ChangeRole = "change_role",
        /// Fix the login of an integration.
        Reconnect = "reconnect",
    }
}

impl Operation {
    /// Whether a later request of this operation supersedes an older one. `took_effect` says whether the later change
    /// was seen in the app, or automation reported that it made it.
    ///
    /// A request that has not taken effect closes no older request of another operation, unless it is a removal. If it
    /// were dismissed or cancelled, nothing would be left, and a member who was to be removed would stay.
    pub fn overrules(self, older: Self, took_effect: bool) -> bool {
        match (self, older) {
            (Self::Remove, _)
            | (Self::Invite, Self::Invite)
            | (Self::ChangeRole, Self::ChangeRole) => true,
            // The older request is too late: it would undo the effect of the newer one.
            (Self::Invite | Self::ChangeRole, Self::Remove) | (Self::Invite, Self::ChangeRole) => {
                took_effect
            }
            (Self::ChangeRole, Self::Invite) => false,
        }
    }
}

words! {
    /// What kind of connection an integration is. It decides how the app is read.
    IntegrationKind {
        /// Read by a check for updates, whose report is applied.
        App = "app",
        BusinessHub = "business_hub",
    }
}

words! {
    /// Why an operation was requested.
    Trigger {
        Manual = "manual",
        WorkspacePolicy = "workspace_policy",
        System = "system",
        UserDeprovisioned = "user_deprovisioned",
    }
}

impl Trigger {
    /// Whether automation is behind a task: false only for a deprovisioning without a failed job.
    pub fn has_job(self, job: Option<&str>) -> bool {
        self != Self::UserDeprovisioned || job.is_some()
    }
}

/// The key of a member of an integration. Ordered, so that locks can be taken in one order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey {
    pub workspace: String,
    pub integration: String,
    pub member: String,
}

/// Members as parallel arrays, as SQL's `unnest` takes them.
#[derive(Debug, Default)]
pub struct MemberKeys {
    pub workspaces: Vec<String>,
    pub integrations: Vec<String>,
    pub members: Vec<String>,
}

impl MemberKeys {
    pub fn push(&mut self, workspace: String, integration: String, member: String) {
        self.workspaces.push(workspace);
        self.integrations.push(integration);
        self.members.push(member);
    }
}

impl<'a> FromIterator<&'a MemberKey> for MemberKeys {
    fn from_iter<I: IntoIterator<Item = &'a MemberKey>>(keys: I) -> Self {
        let mut arrays = Self::default();
        for key in keys {
            arrays.push(key.workspace.clone(), key.integration.clone(), key.member.clone());
        }
        arrays
    }
}

/// How a person stands in an app, the strongest standing first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    Joined,
    /// Invited, but has not accepted yet.
    Invited,
    /// The invitation has an unknown state. That proves neither that they are in the app nor that they are not.
    InvitationUnclear,
    /// No longer a member, but grants on the app's assets are left.
    AssetsOnly,
    /// Invited, but the invitation can no longer be accepted.
    InvitationExpired,
}

impl Membership {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Invited => "invited",
            Self::InvitationUnclear => "invitation_unclear",
            Self::InvitationExpired => "invitation_expired",
            Self::AssetsOnly => "assets_only",
        }
    }
}

/// One person, as a snapshot of the app shows them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct SeenMember {
    /// The Cerby user id; `None` if Cerby has not matched this person.
    pub member: Option<String>,
    /// The email in the app, if it shows one.
    pub email: Option<String>,
    /// The name in the app, if it differs from the email.
    pub username: Option<String>,
    pub entitlements: Entitlements,
    pub membership: Membership,
    pub marks: Marks,
}

impl SeenMember {
    pub fn keys(&self) -> Keys<'_> {
        Keys::new(self.member.as_deref(), self.email.as_deref(), self.username.as_deref())
    }
}

/// What Cerby knows of a person beside their standing in the app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Marks {
    /// A person outside the directory.
    pub is_guest: bool,
    pub is_exempt: bool,
    /// An owner of the integration's account.
    pub is_owner: bool,
}

/// The desired state of one member, by one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    pub operation: Operation,
    pub member: String,
    pub email: String,
    /// The member's name in the app, if it differs from the email.
    pub username: Option<String>,
    /// The complete set of roles.
    pub entitlements: Entitlements,
}

/// How a snapshot compares with a desired state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    AsDesired,
    /// No such person is in the app.
    Absent,
    InvitationExpired,
    /// The app reports an unknown state of the invitation.
    InvitationUnclear,
    /// A member who was to be removed is there, or an invitation that would bring them back.
    StillThere(Membership),
    OtherRoles(Entitlements),
    /// The member is not found by id, and the list shows them without an id: automation cannot reach them.
    Unmatched(Membership),
    /// The member is not found by id, and the list cannot show whether they are there without an id.
    NotFoundById,
}

impl Observation {
    /// The observation in words for people, without names.
    pub fn describe(&self, operation: Operation) -> String {
        match self {
            Self::AsDesired => match operation {
                Operation::Remove => "No longer a member".to_owned(),
                Operation::Invite => "A member or invited".to_owned(),
                Operation::ChangeRole => "Has the desired roles".to_owned(),
            },
            Self::Absent => "No such member and no invitation".to_owned(),
            Self::InvitationExpired => "The invitation has expired".to_owned(),
            Self::InvitationUnclear | Self::StillThere(Membership::InvitationUnclear) => {
                "An invitation in an unknown state".to_owned()
            }
            Self::StillThere(Membership::Invited) => {
                "A pending invitation is still there".to_owned()
            }
            Self::StillThere(Membership::AssetsOnly) => {
                "Grants on assets of the app are still there".to_owned()
            }
            Self::StillThere(_) => "Still a member".to_owned(),
            Self::Unmatched(_) => "In the app, and not matched to the member in Cerby".to_owned(),
            Self::NotFoundById => "Not found by id; the list cannot tell more".to_owned(),
            Self::OtherRoles(roles) if roles.is_empty() => "A member without roles".to_owned(),
            Self::OtherRoles(roles) => {
                let ids: Vec<_> = roles.iter().map(String::as_str).collect();
                format!("A member with roles {}", ids.join(", "))
            }
        }
    }
}

/// The observed state of a member, as their row stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// How they stand in the app, or `absent`.
    pub membership: String,
    /// Their roles in the app, in order.
    pub entitlements: Vec<String>,
}

impl Desired {
    pub fn keys(&self) -> Keys<'_> {
        Keys::new(Some(&self.member), Some(&self.email), self.username.as_deref())
    }

    pub fn identity(&self) -> Identity {
        Identity {
            member: self.member.clone(),
            email: self.email.clone(),
            username: self.username.clone(),
        }
    }

    /// Compares the desired state with what was seen of this person; `None` is proven absence.
    pub fn compare(&self, seen: Option<&SeenMember>) -> Observation {
        let Some(seen) = seen else {
            return match self.operation {
                Operation::Remove => Observation::AsDesired,
                Operation::Invite | Operation::ChangeRole => Observation::Absent,
            };
        };
        match (self.operation, seen.membership) {
            // An expired invitation cannot bring the person in, so they are not a member (kubernetes/test-infra#20872).
            (Operation::Remove, Membership::InvitationExpired) => Observation::AsDesired,
            (Operation::Remove, standing) => Observation::StillThere(standing),
            (_, Membership::InvitationExpired) => Observation::InvitationExpired,
            (_, Membership::InvitationUnclear) => Observation::InvitationUnclear,
            (_, Membership::AssetsOnly) => Observation::Absent,
            (Operation::Invite, _) => Observation::AsDesired,
            (Operation::ChangeRole, _) if seen.entitlements == self.entitlements => {
                Observation::AsDesired
            }
            (Operation::ChangeRole, _) => Observation::OtherRoles(seen.entitlements.clone()),
        }
    }
}

/// How many people these entries are about. A person who is listed once with an id and once without it counts once.
pub fn people(members: &[SeenMember]) -> u64 {
    let keys = members.iter().map(SeenMember::keys);
    let (matched, unmatched): (Vec<_>, Vec<_>) = keys.partition(|keys| keys.id().is_some());
    let ids: HashSet<_> = matched.iter().filter_map(Keys::id).collect();
    let emails: HashSet<_> = matched.iter().filter_map(Keys::email).collect();
    let (named, nameless): (Vec<_>, Vec<_>) =
        unmatched.iter().map(Keys::email).partition(Option::is_some);
    let others: HashSet<_> =
        named.into_iter().flatten().filter(|email| !emails.contains(email)).collect();
    (ids.len() + others.len() + nameless.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(operation: Operation, roles: &[&str]) -> Desired {
        Desired {
            operation,
            member: "m1".to_owned(),
            email: "Jo@Example.com".to_owned(),
            username: Some("jo".to_owned()),
            entitlements: roles.iter().map(ToString::to_string).collect(),
        }
    }

    fn seen(membership: Membership, roles: &[&str]) -> SeenMember {
        SeenMember {
            member: Some("m1".to_owned()),
            email: Some("jo@example.com".to_owned()),
            username: None,
            entitlements: roles.iter().map(ToString::to_string).collect(),
            membership,
            marks: Marks::default(),
        }
    }

    #[test]
    fn every_operation_and_standing_has_one_observation() {
        use Membership::{AssetsOnly, InvitationExpired, InvitationUnclear, Invited, Joined};
        use Observation as O;
        use Operation::{ChangeRole, Invite, Remove};
        let other = || O::OtherRoles(["A".to_owned()].into());
        let table = [
            (Invite, None, O::Absent),
            (Invite, Some(Joined), O::AsDesired),
            (Invite, Some(Invited), O::AsDesired),
            (Invite, Some(InvitationExpired), O::InvitationExpired),
            (Invite, Some(AssetsOnly), O::Absent),
            (Invite, Some(InvitationUnclear), O::InvitationUnclear),
            (Remove, Some(InvitationUnclear), O::StillThere(InvitationUnclear)),
            (ChangeRole, Some(InvitationUnclear), O::InvitationUnclear),
            (Remove, None, O::AsDesired),
            (Remove, Some(Joined), O::StillThere(Joined)),
            (Remove, Some(Invited), O::StillThere(Invited)),
            (Remove, Some(InvitationExpired), O::AsDesired),
            (Remove, Some(AssetsOnly), O::StillThere(AssetsOnly)),
            (ChangeRole, None, O::Absent),
            (ChangeRole, Some(Joined), other()),
            (ChangeRole, Some(Invited), other()),
            (ChangeRole, Some(InvitationExpired), O::InvitationExpired),
            (ChangeRole, Some(AssetsOnly), O::Absent),
        ];
        for (operation, standing, expected) in table {
            let seen = standing.map(|standing| seen(standing, &["A"]));
            let observed = desired(operation, &["B"]).compare(seen.as_ref());
            assert_eq!(observed, expected, "{operation} of {standing:?}");
        }
    }

    #[test]
    fn roles_are_compared_as_sets_of_ids() {
        let desired = desired(Operation::ChangeRole, &["A", "B"]);
        assert_eq!(
            desired.compare(Some(&seen(Membership::Joined, &["B", "A"]))),
            Observation::AsDesired
        );
        assert_ne!(
            desired.compare(Some(&seen(Membership::Joined, &["A"]))),
            Observation::AsDesired
        );
        assert_ne!(
            desired.compare(Some(&seen(Membership::Joined, &["A", "B", "C"]))),
            Observation::AsDesired
        );
    }
}
