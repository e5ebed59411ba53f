//! What exists before the simulator starts: integrations, their members, and people to invite.

use std::collections::BTreeSet;

use serde::Serialize;

use cerby_reconciler::catalogue;

/// The place of a member: one integration of one workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    pub workspace: String,
    pub integration: String,
}

impl Place {
    pub fn new(workspace: impl Into<String>, integration: impl Into<String>) -> Self {
        Self { workspace: workspace.into(), integration: integration.into() }
    }
}

/// How Cerby learns who is a member: by a checked and applied report, or by a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Cerby learns by a check for updates, and then by applying its report.
    App,
    /// Cerby learns by a sync.
    BusinessHub,
}

/// What the automation of an integration supports; the rest is answered `operation_not_supported`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    pub sync: bool,
    pub invite: bool,
    pub remove: bool,
    pub change_role: bool,
}

impl Capabilities {
    /// Everything: the assumption for an app outside the catalogue.
    pub const ALL: Self = Self { sync: true, invite: true, remove: true, change_role: true };

    fn of(application: &str) -> Self {
        catalogue::find(application).map_or(Self::ALL, |app| Self {
            sync: app.can_sync,
            invite: app.can_invite,
            remove: app.can_remove,
            change_role: app.can_change_role,
        })
    }
}

/// The connection to one external app.
#[derive(Clone, Debug)]
pub struct Integration {
    pub workspace: String,
    /// Unique in the workspace.
    pub id: String,
    pub name: String,
    /// How Cerby learns who is a member.
    pub kind: Kind,
    /// The id of the app, such as `youtube_tenant`.
    pub application: String,
    /// Taken from the catalogue by [`Integration::new`]; may be changed afterwards.
    pub capabilities: Capabilities,
    /// Whether the app sends a second invitation while the first is pending, instead of refusing with `AlreadyMember`.
    /// A client that asks twice is then visible in `duplicate_effects`.
    pub resends_invitations: bool,
    /// Whether a sync or a check that is requested while another runs is answered with the running job, whose snapshot
    /// may be older than the request.
    pub coalesces_snapshots: bool,
}

impl Integration {
    /// An integration with the capabilities that the catalogue gives its application.
    pub fn new(workspace: &str, id: &str, name: &str, kind: Kind, application: &str) -> Self {
        Self {
            workspace: workspace.to_owned(),
            id: id.to_owned(),
            name: name.to_owned(),
            kind,
            application: application.to_owned(),
            capabilities: Capabilities::of(application),
            resends_invitations: false,
            coalesces_snapshots: false,
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::new(&self.workspace, &self.id)
    }
}

/// The state of an invitation that was not accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Invitation {
    /// Sent and valid.
    Pending,
    /// Sent and no longer valid; an invite replaces it.
    Expired,
}

/// The role on the integration's account, in addition to the entitlements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HubRole {
    Owner,
    #[default]
    Collaborator,
}

/// The status of the person in the workspace; it says nothing about the membership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PersonStatus {
    #[default]
    Live,
    /// Provisioned, but never logged in.
    Pending,
    Disabled,
}

/// A person in the external app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The Cerby user id; only the simulator knows it where Cerby has not matched this person.
    pub id: String,
    pub email: String,
    /// The name in the app, where it differs from the email.
    pub username: Option<String>,
    pub first_name: String,
    pub last_name: String,
    pub role: HubRole,
    pub status: PersonStatus,
    /// The ids of the roles held in the app.
    pub entitlements: BTreeSet<String>,
    pub invitation: Option<Invitation>,
    /// Whether the workspace's policies exclude this member.
    pub is_exempt: bool,
    /// Whether the app has this person as a guest.
    pub is_guest: bool,
    /// `false` for a person who is no longer a member, but still holds the entitlements on the app's assets.
    pub is_member: bool,
    /// Whether Cerby has matched this person.
    pub is_matched: bool,
}

impl Member {
    /// A joined member without entitlements.
    pub fn new(id: &str, email: &str) -> Self {
        Self {
            id: id.to_owned(),
            email: email.to_owned(),
            username: None,
            first_name: String::new(),
            last_name: String::new(),
            role: HubRole::default(),
            status: PersonStatus::default(),
            entitlements: BTreeSet::new(),
            invitation: None,
            is_exempt: false,
            is_guest: false,
            is_member: true,
            is_matched: true,
        }
    }

    /// Whether the other one has the same roles and the same membership in the app.
    pub(super) fn stands_as(&self, other: &Self) -> bool {
        self.entitlements == other.entitlements
            && self.invitation == other.invitation
            && self.is_member == other.is_member
    }

    /// The same member holding exactly these entitlements.
    pub fn with(mut self, entitlements: &[&str]) -> Self {
        self.entitlements = entitlements.iter().map(|id| (*id).to_owned()).collect();
        self
    }

    /// The same member under this name in the app.
    pub fn named(mut self, username: &str) -> Self {
        self.username = Some(username.to_owned());
        self
    }
}

/// Everything that exists when the simulator starts.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub(super) integrations: Vec<Integration>,
    pub(super) members: Vec<(Place, Member)>,
    pub(super) people: Vec<(String, Member)>,
}

impl World {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an integration; a later one of the same workspace and id replaces it.
    pub fn integration(mut self, integration: Integration) -> Self {
        self.integrations.push(integration);
        self
    }

    /// Adds a member whom both the app and Cerby know. Its integration must be part of the world when the simulator
    /// starts.
    pub fn member(mut self, workspace: &str, integration: &str, member: Member) -> Self {
        self.members.push((Place::new(workspace, integration), member));
        self
    }

    /// Adds a person of the workspace: an invite by that id takes email and names from here. For any other id, an
    /// invite makes an email from the id.
    pub fn person(mut self, workspace: &str, person: Member) -> Self {
        self.people.push((workspace.to_owned(), person));
        self
    }
}
