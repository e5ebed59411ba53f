//! One integration: the members in the app, what Cerby knows of them, and the latest report.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::world::{Integration, Invitation, Member};

/// The result of a change in the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Made,
    /// A second invitation while the first is pending.
    MadeAgain,
    /// The app was already in that state.
    Already,
    /// There is no such member.
    Absent,
}

impl Change {
    pub(super) fn is_made(self) -> bool {
        matches!(self, Self::Made | Self::MadeAgain)
    }
}

/// The members that were in the app at one moment.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// The moment, in the order of all events.
    at: u64,
    /// The revision of the app that was read.
    revision: u64,
    members: BTreeMap<String, Member>,
    /// How many members there were; more than were read if the snapshot was cut short.
    pub(super) total: usize,
}

impl Snapshot {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn clear(&mut self) {
        self.members.clear();
    }
}

/// A difference of one member between what Cerby knows and what was read.
#[derive(Clone, Debug)]
pub(super) enum Difference {
    New(Member),
    Removed(Member),
    Role { known: Member, read: Member },
}

/// What a check for updates found.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) id: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) naive: bool,
    pub(super) snapshot: Snapshot,
    pub(super) differences: Vec<Difference>,
    pub(super) is_applied: bool,
    /// The job that applies it now.
    pub(super) apply_job: Option<String>,
}

pub(super) struct Site {
    pub(super) integration: Integration,
    pub(super) created_at: DateTime<Utc>,
    pub(super) real: BTreeMap<String, Member>,
    pub(super) known: BTreeMap<String, Member>,
    pub(super) report: Option<Report>,
    /// How many members a check reads at most.
    pub(super) snapshot_limit: Option<usize>,
    /// The list of members ends after this many, with that as its total.
    pub(super) list_limit: Option<usize>,
    revision: u64,
    /// The moment when a job last informed Cerby about a member.
    learned: HashMap<String, u64>,
}

impl Site {
    pub(super) fn new(integration: Integration, created_at: DateTime<Utc>) -> Self {
        Self {
            integration,
            created_at,
            real: BTreeMap::new(),
            known: BTreeMap::new(),
            report: None,
            snapshot_limit: None,
            list_limit: None,
            revision: 0,
            learned: HashMap::new(),
        }
    }

    pub(super) fn invite(&mut self, person: &Member) -> Change {
        let member = self.real.get(&person.id).filter(|member| member.is_member);
        let change = match member.map(|member| member.invitation) {
            None | Some(Some(Invitation::Expired)) => Change::Made,
            Some(Some(Invitation::Pending)) if self.integration.resends_invitations => {
                Change::MadeAgain
            }
            Some(_) => return Change::Already,
        };
        let invitation = Some(Invitation::Pending);
        let invited = Member { invitation, is_member: true, ..person.clone() };
        self.real.insert(person.id.clone(), invited);
        self.revision += 1;
        change
    }

    pub(super) fn remove(&mut self, member: &str) -> Change {
        match self.real.remove(member) {
            None => Change::Absent,
            Some(_) => {
                self.revision += 1;
                Change::Made
            }
        }
    }

    /// Ends a membership and returns which entitlements are left over; `None` without a member.
    pub(super) fn leave_assets(&mut self, member: &str) -> Option<BTreeSet<String>> {
        let member = self.real.get_mut(member).filter(|member| member.is_member)?;
        (member.is_member, member.invitation) = (false, None);
        self.revision += 1;
        Some(member.entitlements.clone())
    }

    pub(super) fn change_role(&mut self, member: &str, entitlements: &BTreeSet<String>) -> Change {
        match self.real.get_mut(member).filter(|member| member.is_member) {
            None => Change::Absent,
            Some(member) if member.entitlements == *entitlements => Change::Already,
            Some(member) => {
                member.entitlements = entitlements.clone();
                self.revision += 1;
                Change::Made
            }
        }
    }

    pub(super) fn read(&self, at: u64, limit: Option<usize>) -> Snapshot {
        let kept = self.real.iter().take(limit.unwrap_or(usize::MAX));
        let members = kept.map(|(id, member)| (id.clone(), member.clone())).collect();
        Snapshot { at, revision: self.revision, members, total: self.real.len() }
    }

    /// Whether the app is still as it was when it was read.
    pub(super) fn is_unchanged_since(&self, snapshot: &Snapshot) -> bool {
        self.revision == snapshot.revision
    }

    /// Cerby learns what was read, except about members whom a job reported later.
    pub(super) fn import(&mut self, snapshot: &Snapshot) {
        for id in self.ids_of(snapshot) {
            match snapshot.members.get(&id) {
                Some(member) => self.known.insert(id, member.clone()),
                None => self.known.remove(&id),
            };
        }
    }

    /// Cerby learns of one member, as the app has it now.
    pub(super) fn learn(&mut self, member: &str, at: u64) {
        self.learned.insert(member.to_owned(), at);
        match self.real.get(member) {
            Some(real) => self.known.insert(member.to_owned(), real.clone()),
            None => self.known.remove(member),
        };
    }

    pub(super) fn differences(&self, snapshot: &Snapshot) -> Vec<Difference> {
        let ids = self.ids_of(snapshot);
        ids.iter()
            .filter_map(|id| match (self.known.get(id), snapshot.members.get(id)) {
                (None, Some(read)) => Some(Difference::New(read.clone())),
                (Some(known), None) => Some(Difference::Removed(known.clone())),
                (Some(known), Some(read)) if !known.stands_as(read) => {
                    Some(Difference::Role { known: known.clone(), read: read.clone() })
                }
                _ => None,
            })
            .collect()
    }

    /// The members that this snapshot informs Cerby about.
    fn ids_of(&self, snapshot: &Snapshot) -> BTreeSet<String> {
        let ids = self.known.keys().chain(snapshot.members.keys());
        let is_news = |id: &&String| self.learned.get(*id).is_none_or(|at| *at < snapshot.at);
        ids.filter(is_news).cloned().collect()
    }
}
