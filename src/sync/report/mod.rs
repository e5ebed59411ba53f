//! The differences between the app, as a snapshot shows it, and the desired state, as classes. Pure.
//!
//! Every person who was seen, desired or lost has one class. Absence counts only in a complete snapshot. People read
//! the report, so it holds only ids, roles and names that the app itself shows, and only of those who differ.

pub mod store;

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::backend::{Reported, Snapshot, UpdateReport};
use crate::identity::{Directory, Identity, Keys};
use crate::member::watch::Watch;
use crate::membership::{
    Desired, Entitlements, Membership, Observation, Observed, Operation, SeenMember, people,
};
use crate::text::hex;

/// The number of people whom a stored report names at most, the most important classes first. Its counts include
/// everybody.
const MOST_DIFFERENCES: usize = 10_000;

/// How a person differs from the desired state, the most important class first. A person who fits several classes has
/// the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Desired or known, and not in the app.
    Missing,
    /// Not distinguishable from another member: same id or same email.
    Ambiguous,
    /// In the app although they should not be: to be removed, with grants left over, or unknown to Cerby.
    Unexpected,
    Exempt,
    /// From outside the directory.
    Guest,
    /// Invited, but the invitation can no longer be accepted, or its state is unknown.
    ExpiredInvite,
    /// Invited, but has not accepted yet.
    PendingInvite,
    /// Has other roles than desired.
    WrongRole,
    Matched,
}

impl Class {
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::Ambiguous,
        Self::Unexpected,
        Self::Exempt,
        Self::Guest,
        Self::ExpiredInvite,
        Self::PendingInvite,
        Self::WrongRole,
        Self::Matched,
    ];
}

/// The latest request of a member that has had its turn. Older requests have lost, and blocked requests are not part of
/// the desired state yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestIntent {
    /// The task of the request.
    pub task: i64,
    pub desired: Desired,
    /// When automation or a person last worked on it in the app; `None` if nobody has yet.
    pub worked_at: Option<DateTime<Utc>>,
}

/// A person who is not in the desired state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub class: Class,
    /// The Cerby user id, if Cerby has matched them.
    pub member_id: Option<String>,
    /// The email in the app or in the task.
    pub email: Option<String>,
    pub username: Option<String>,
    /// The roles in the app, if they were seen there.
    pub roles: Option<Entitlements>,
    /// The task of the intent that decides.
    pub task_id: Option<i64>,
    /// The reason, in words for people.
    pub why: String,
}

/// A member of the integration as Cerby knows them.
#[derive(Debug)]
pub struct KnownMember {
    pub identity: Identity,
    /// Their desired state, if there is one.
    pub intent: Option<LatestIntent>,
    /// Whether it took effect.
    pub took_effect: bool,
    /// Whether they are watched for an invite, and their removal was requested later, whatever became of that.
    pub was_to_go: bool,
    pub watch: Option<Watch>,
    /// What the snapshot before showed of them.
    pub observed: Option<Observed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The hash of everybody seen, in any order: two snapshots with the same hash showed the same.
    pub hash: String,
    pub counts: BTreeMap<Class, u64>,
    /// Those who are not `matched`.
    pub differences: Vec<Difference>,
}

/// Classifies a snapshot by the desired state, and by the app's own update report if there is one.
pub fn classify(
    snapshot: &Snapshot,
    intents: &[LatestIntent],
    update: Option<&UpdateReport>,
) -> Report {
    let latest = LatestIntents::new(intents);
    let update = Update::new(update);
    let keys: Vec<_> = snapshot.members.iter().map(SeenMember::keys).collect();
    let emails = shared(keys.iter().map(Keys::email));
    let ids = shared(snapshot.members.iter().map(|seen| seen.member.as_deref()));
    let mut differences = Vec::new();
    let mut matched = 0;
    let mut seen_tasks = HashSet::new();
    for (seen, keys) in snapshot.members.iter().zip(&keys) {
        if update.removed.holds(keys) {
            continue;
        }
        let intent = latest.of(keys);
        seen_tasks.extend(intent.map(|intent| intent.task));
        let (class, why) = if keys.email().is_some_and(|email| emails.contains(email))
            || seen.member.as_deref().is_some_and(|id| ids.contains(id))
        {
            (Class::Ambiguous, "another member has the same id or email".to_owned())
        } else {
            class_of(seen, keys, intent, &update)
        };
        match class {
            Class::Matched => matched += 1,
            class => differences.push(difference(class, seen, intent, why)),
        }
    }
    if snapshot.is_complete() {
        let unseen = intents.iter().filter(|intent| !seen_tasks.contains(&intent.task));
        differences.extend(unseen.filter_map(missing));
    }
    differences.extend(update.lost(&latest));
    differences
        .sort_by(|a, b| (a.class, &a.member_id, &a.email).cmp(&(b.class, &b.member_id, &b.email)));
    let mut counts: BTreeMap<_, _> = Class::ALL.into_iter().map(|class| (class, 0)).collect();
    counts.insert(Class::Matched, matched);
    for difference in &differences {
        *counts.entry(difference.class).or_default() += 1;
    }
    Report { hash: hash(&snapshot.members), counts, differences }
}

/// A report as the row stores it. `update` is the app's own report; `snapshot` shows how complete the snapshot is.
pub fn stored(snapshot: &Snapshot, found: &Report, update: Option<&UpdateReport>) -> Value {
    json!({
        "update": update,
        "snapshot": {
            "members": snapshot.members.len(), "people": people(&snapshot.members), "pages": snapshot.pages, "total": snapshot.total,
            "complete": snapshot.is_complete(), "gaps": snapshot.gaps, "hash": found.hash,
        },
        "counts": found.counts,
        "differences": &found.differences[..found.differences.len().min(MOST_DIFFERENCES)],
    })
}

fn class_of(
    seen: &SeenMember,
    keys: &Keys<'_>,
    intent: Option<&LatestIntent>,
    update: &Update<'_>,
) -> (Class, String) {
    let said = |class, why: &str| (class, why.to_owned());
    let observed =
        intent.map(|intent| (intent.desired.operation, intent.desired.compare(Some(seen))));
    if let Some((Operation::Remove, observed @ Observation::StillThere(_))) = &observed {
        return (
            Class::Unexpected,
            format!("Should be removed: {}", observed.describe(Operation::Remove)),
        );
    }
    let lets_in = matches!(observed, Some((Operation::Invite | Operation::ChangeRole, _)));
    match seen.membership {
        _ if seen.marks.is_exempt => said(Class::Exempt, "left alone on purpose"),
        _ if seen.marks.is_guest => said(Class::Guest, "from outside the directory"),
        Membership::AssetsOnly => {
            said(Class::Unexpected, "no member any more, with grants on assets left over")
        }
        Membership::InvitationExpired => said(Class::ExpiredInvite, "the invitation has expired"),
        Membership::InvitationUnclear => {
            said(Class::ExpiredInvite, "an invitation in an unknown state")
        }
        Membership::Invited => said(Class::PendingInvite, "invited, not accepted yet"),
        Membership::Joined if seen.member.is_none() => {
            said(Class::Unexpected, "nobody whom Cerby knows")
        }
        Membership::Joined if update.new.holds(keys) && !lets_in => {
            said(Class::Unexpected, "joined without Cerby")
        }
        Membership::Joined => match observed {
            Some((Operation::ChangeRole, observed @ Observation::OtherRoles(_))) => {
                (Class::WrongRole, observed.describe(Operation::ChangeRole))
            }
            Some((Operation::ChangeRole, _)) => said(Class::Matched, ""),
            _ if update.changed.holds(keys) => {
                said(Class::WrongRole, "has other roles than Cerby knew")
            }
            _ => said(Class::Matched, ""),
        },
    }
}

fn difference(
    class: Class,
    seen: &SeenMember,
    intent: Option<&LatestIntent>,
    why: String,
) -> Difference {
    Difference {
        class,
        member_id: seen.member.clone(),
        email: seen.email.clone(),
        username: seen.username.clone(),
        roles: Some(seen.entitlements.clone()),
        task_id: intent.map(|intent| intent.task),
        why,
    }
}

/// The difference of a person who should be in the app and was not seen there.
fn missing(intent: &LatestIntent) -> Option<Difference> {
    let desired = &intent.desired;
    (desired.operation != Operation::Remove).then(|| Difference {
        class: Class::Missing,
        member_id: Some(desired.member.clone()),
        email: Some(desired.email.clone()),
        username: desired.username.clone(),
        roles: None,
        task_id: Some(intent.task),
        why: "desired, and not in the app".to_owned(),
    })
}

/// The latest intents, indexed by the person they are about.
pub(super) struct LatestIntents<'a>(Directory<'a, &'a LatestIntent>);

impl<'a> LatestIntents<'a> {
    pub(super) fn new(all: &'a [LatestIntent]) -> Self {
        Self(all.iter().map(|intent| (intent.desired.keys(), intent)).collect())
    }

    /// The intent that decides about an entry: the first that is about the same person.
    pub(super) fn of(&self, entry: &Keys<'_>) -> Option<&'a LatestIntent> {
        self.0.find(entry, |desired| desired.are_of(entry)).first().map(|intent| **intent)
    }
}

/// The lists of an update report, indexed by person.
struct Update<'a> {
    new: Listed<'a>,
    removed: Listed<'a>,
    changed: Listed<'a>,
}

impl<'a> Update<'a> {
    fn new(update: Option<&'a UpdateReport>) -> Self {
        let listed = |list: fn(&UpdateReport) -> &[Reported]| Listed::new(update.map_or(&[], list));
        Self {
            new: listed(|update| &update.new_members),
            removed: listed(|update| &update.removed_members),
            changed: listed(|update| &update.changed_members),
        }
    }

    /// Those whom Cerby knew and the app no longer has. People with an intent are left out, because their intent
    /// decides.
    fn lost(&self, intents: &LatestIntents<'a>) -> Vec<Difference> {
        let undesired = self
            .removed
            .0
            .all()
            .map(|(_, one)| *one)
            .filter(|one| intents.of(&one.keys()).is_none());
        undesired
            .map(|one| Difference {
                class: Class::Missing,
                member_id: one.member.clone(),
                email: one.email.clone(),
                username: one.username.clone(),
                roles: None,
                task_id: None,
                why: "known to Cerby, and no longer in the app".to_owned(),
            })
            .collect()
    }
}

/// People of a report, indexed by the keys that the report and an entry have in common.
pub(super) struct Listed<'a>(Directory<'a, (usize, &'a Reported)>);

impl<'a> Listed<'a> {
    pub(super) fn new(people: &'a [Reported]) -> Self {
        Self(people.iter().enumerate().map(|(place, one)| (one.keys(), (place, one))).collect())
    }

    fn holds(&self, entry: &Keys<'_>) -> bool {
        !self.places(entry).is_empty()
    }

    /// The positions in the list of those whom an entry is about.
    pub(super) fn places(&self, entry: &Keys<'_>) -> Vec<usize> {
        let people = self.0.find(entry, |one| one.fit(entry));
        people.into_iter().map(|(place, _)| *place).collect()
    }
}

fn shared<'a>(keys: impl Iterator<Item = Option<&'a str>>) -> HashSet<&'a str> {
    let mut once = HashSet::new();
    keys.flatten().filter(|key| !once.insert(*key)).collect()
}

/// A hash of everybody seen that does not depend on their order.
pub fn hash(members: &[SeenMember]) -> String {
    let mut digests: Vec<[u8; 32]> =
        members.iter().map(|seen| Sha256::digest(json!(seen).to_string()).into()).collect();
    digests.sort_unstable();
    format!("sha256:{}", hex(&Sha256::digest(digests.as_flattened())))
}

#[cfg(test)]
mod tests;
