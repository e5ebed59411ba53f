//! Decides whether a report may be applied. Pure.
//!
//! An apply removes members from Cerby, and through automation from the app. Elsewhere, a truncated snapshot deleted
//! whole directories (awslabs/ssosync#194, slashdevops/idp-scim-sync#70). Therefore a report is applied only if it is
//! complete, fresh and exactly the one that was judged, and only if it removes few members whose removal nobody
//! requested.

pub mod store;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::report::{LatestIntent, LatestIntents, Listed};
use crate::backend::{Reported, Snapshot, UpdateReport};
use crate::config;
use crate::identity::{Directory, Keys, normal};
use crate::membership::{Entitlements, Membership, Operation, SeenMember};

/// What is known of a report before its apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The age of the report by the backend's own clock; `None` if it is unknown.
    pub age: Option<Duration>,
    /// Whether it was made before this sync asked for it.
    pub is_older_than_question: bool,
    /// The number of members read and the number of members that exist, as the backend reports them.
    pub read_of_total: Option<(u64, u64)>,
    pub removed: u32,
    /// The removed members whose removal nobody requested.
    pub unexpected: u32,
    /// Unexpected removals applied for this integration in the last 24 hours.
    pub unexpected_before: u32,
    /// The unexpected ones who are exempt or guests.
    pub protected: u32,
    /// Whether it removes the account with which the automation logs in.
    pub own_account: bool,
    /// Whether it leaves no administrator where there is one now, by removing them or by changing their roles.
    pub last_administrator: bool,
    /// The unexpected ones on whom automation or a person worked since the snapshot began: the snapshot is older than
    /// that.
    pub let_in_meanwhile: u32,
    /// The removed members whom the report does not distinguish from other members.
    pub ambiguous: u32,
    /// Whether what Cerby knows differs from what the report starts from, or could not be read completely.
    pub changed_underneath: bool,
    pub approved: bool,
}

/// What is known about the members that a report removes or changes.
#[derive(Debug)]
pub struct Removals<'a> {
    pub update: &'a UpdateReport,
    /// What Cerby knows, read before the apply.
    pub known: &'a Snapshot,
    pub intents: &'a [LatestIntent],
    /// When this sync asked for the snapshot that the report rests on.
    pub started_at: DateTime<Utc>,
    /// The email, name in the app, or id of the account with which the automation logs in.
    pub own_account: Option<&'a str>,
    /// The ids of the roles that make an administrator, in any case.
    pub administrator_roles: &'a [String],
}

/// A person whom a report removes, with all entries of what Cerby knows: one person may have several.
#[derive(Default)]
struct Removed<'a> {
    entries: Vec<(&'a Keys<'a>, &'a SeenMember)>,
}

impl<'a> Removed<'a> {
    fn is_any(&self, is_one: impl Fn(&SeenMember) -> bool) -> bool {
        self.entries.iter().any(|(_, seen)| is_one(seen))
    }

    /// Whether the entries may be of several people, so that it is unclear whom the report means.
    fn is_ambiguous(&self) -> bool {
        let several = |key: fn(&'a Keys<'a>) -> Option<&'a str>| {
            let mut keys = self.entries.iter().filter_map(|(keys, _)| key(keys));
            let first = keys.next();
            keys.any(|other| Some(other) != first)
        };
        several(Keys::id) || several(Keys::email)
    }
}

impl Removals<'_> {
    /// Fills in the facts, except the report's own numbers and the past.
    pub fn judge(&self, facts: Facts) -> Facts {
        let listed = Listed::new(&self.update.removed_members);
        let intents = LatestIntents::new(self.intents);
        let known: Vec<_> = self.known.members.iter().map(|seen| (seen.keys(), seen)).collect();
        let mut found: HashSet<usize> = HashSet::new();
        let mut removed: BTreeMap<usize, Removed<'_>> = BTreeMap::new();
        let mut kept = Vec::new();
        for (keys, seen) in &known {
            let places = listed.places(keys);
            found.extend(&places);
            // A person whom the report lists twice is one person.
            match places.first() {
                Some(place) => removed.entry(*place).or_default().entries.push((keys, seen)),
                None => kept.push((keys, *seen)),
            }
        }
        let gone: Directory<'_, ()> = removed
            .values()
            .flat_map(|one| &one.entries)
            .map(|(keys, _)| ((*keys).clone(), ()))
            .collect();
        // Another entry of a removed person does not count as an administrator.
        kept.retain(|(keys, _)| gone.find(keys, |entry| entry.fit(keys)).is_empty());

        let of = |keys: &Keys<'_>| intents.of(keys);
        let is_asked_for = |one: &&Removed<'_>| {
            let mut intents = one.entries.iter().filter_map(|(keys, _)| of(keys)).peekable();
            intents.peek().is_some()
                && intents.all(|one| one.desired.operation == Operation::Remove)
        };
        let unexpected: Vec<_> = removed.values().filter(|one| !is_asked_for(one)).collect();
        let let_in = unexpected.iter().filter(|one| {
            let mut worked_at = one.entries.iter().filter_map(|(keys, _)| of(keys)?.worked_at);
            worked_at.any(|at| at >= self.started_at)
        });
        let is_protected = |seen: &SeenMember| seen.marks.is_exempt || seen.marks.is_guest;
        let administrates = |seen: &SeenMember| self.is_administrator(seen);
        let changed = Listed::new(&self.update.changed_members);
        // If the report does not name the new roles of a member, they may have lost their administrator role.
        let still_administrates = |(keys, seen): &(&Keys<'_>, &SeenMember)| {
            let places = changed.places(keys);
            let keeps = |place: &usize| {
                let roles = &self.update.changed_members[*place].roles;
                seen.marks.is_owner
                    || roles.as_ref().is_some_and(|roles| self.is_any_administrative(roles))
            };
            administrates(seen) && places.iter().all(keeps)
        };
        let is_new_one = |one: &Reported| {
            one.roles.as_ref().is_some_and(|roles| self.is_any_administrative(roles))
        };
        let is_any_left =
            kept.iter().any(still_administrates) || self.update.new_members.iter().any(is_new_one);
        Facts {
            unexpected: count(unexpected.len()),
            protected: count(unexpected.iter().filter(|one| one.is_any(is_protected)).count()),
            let_in_meanwhile: count(let_in.count()),
            ambiguous: count(removed.values().filter(|one| one.is_ambiguous()).count()),
            own_account: self.is_own_account_removed(&removed),
            last_administrator: known.iter().any(|(_, seen)| administrates(seen)) && !is_any_left,
            changed_underneath: !self.known.is_complete()
                || found.len() != self.update.removed_members.len(),
            ..facts
        }
    }

    /// Whether one of the removed is the own account, by any name that Cerby or the report has. Holding one report too
    /// many is better than removing the account.
    fn is_own_account_removed(&self, removed: &BTreeMap<usize, Removed<'_>>) -> bool {
        let Some(own) = self.own_account.map(normal) else { return false };
        let is_own = |keys: &Keys<'_>| keys.show(&own);
        removed.values().flat_map(|one| &one.entries).any(|(keys, _)| is_own(keys))
            || self.update.removed_members.iter().any(|one| is_own(&one.keys()))
    }

    fn is_administrator(&self, seen: &SeenMember) -> bool {
        seen.membership == Membership::Joined
            && (seen.marks.is_owner || self.is_any_administrative(&seen.entitlements))
    }

    fn is_any_administrative(&self, roles: &Entitlements) -> bool {
        let is_one = |role: &String| {
            self.administrator_roles.iter().any(|known| normal(known) == normal(role))
        };
        roles.iter().any(is_one)
    }
}

pub(super) fn count(people: usize) -> u32 {
    u32::try_from(people).unwrap_or(u32::MAX)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    Apply,
    Hold(String),
    /// Do not apply this report: read the app again. An approval does not change that.
    Refuse(String),
}

pub fn rule(limits: &config::Guard, max_age: Duration, facts: &Facts) -> Ruling {
    if let Some(refused) = refused(max_age, facts) {
        return Ruling::Refuse(refused);
    }
    match doubt(limits, facts) {
        Some(doubt) if !facts.approved => Ruling::Hold(doubt),
        _ => Ruling::Apply,
    }
}

/// The reasons that also apply to an approved report: it does not describe the app as it is. Only its age is not
/// checked again after an approval.
fn refused(max_age: Duration, facts: &Facts) -> Option<String> {
    if let Some(age) = facts.age.filter(|age| *age > max_age && !facts.approved) {
        return Some(format!("the report is {} s old", age.as_secs()));
    }
    if facts.is_older_than_question {
        return Some("the report was made before this sync asked for it".to_owned());
    }
    if facts.removed == 0 {
        return None;
    }
    if let Some((read, total)) = facts.read_of_total.filter(|(read, total)| read != total) {
        return Some(format!("the report rests on {read} of {total} members"));
    }
    if facts.changed_underneath {
        return Some("what Cerby knows changed after the report".to_owned());
    }
    let let_in = facts.let_in_meanwhile;
    (let_in > 0).then(|| format!("{let_in} of the removed were let in while the app was read"))
}

/// The reasons to hold a report until a person decides.
fn doubt(limits: &config::Guard, facts: &Facts) -> Option<String> {
    if facts.last_administrator {
        return Some("Applying this would leave no administrator".to_owned());
    }
    if facts.removed == 0 {
        return None;
    }
    if facts.own_account {
        return Some(
            "Applying this would remove the account that the automation logs in with".to_owned(),
        );
    }
    if facts.age.is_none() {
        return Some("The report does not say how old it is".to_owned());
    }
    let Some((_, total)) = facts.read_of_total else {
        return Some("The report does not say whether its snapshot was complete".to_owned());
    };
    if facts.protected > 0 {
        return Some(format!(
            "Applying this would remove {} exempt members or guests",
            facts.protected
        ));
    }
    if facts.ambiguous > 0 {
        return Some(format!(
            "Applying this would remove {} who cannot be told from other members",
            facts.ambiguous
        ));
    }
    too_many(limits, facts, total)
}

/// More unexpected removals in 24 hours than the guard allows, by count or by percentage.
fn too_many(limits: &config::Guard, facts: &Facts, total: u64) -> Option<String> {
    let unexpected = facts.unexpected.saturating_add(facts.unexpected_before);
    // The total counts those who are still there; the removed were members before.
    let members = total.saturating_add(u64::from(facts.removed));
    let percent = u64::from(unexpected) * 100;
    let too_many = unexpected > limits.max_unexpected_removals
        || percent > members.saturating_mul(u64::from(limits.max_unexpected_percent));
    (facts.unexpected > 0 && too_many)
        .then(|| format!("{unexpected} unexpected removals in 24 hours among {members} members"))
}

#[cfg(test)]
mod tests;
