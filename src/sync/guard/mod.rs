//! Whether a report may be applied. Pure.
//!
//! An apply removes members from Cerby, and from the app by automation. A truncated snapshot once deleted
//! whole directories at a peer (awslabs/ssosync#194, slashdevops/idp-scim-sync#70), so a report is applied
//! only if it is whole, fresh and this very one, and only up to a few removals that nobody asked for.

pub mod store;

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::report::{Intent, Listed, Wishes};
use crate::backend::{Snapshot, UpdateReport};
use crate::config;
use crate::membership::{Membership, Operation, SeenMember};

/// What is known of a report before its apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// How old it is, if it says.
    pub age: Option<Duration>,
    /// Members read and members there are, by the backend's word.
    pub read_of_total: Option<(u64, u64)>,
    /// Members it removes.
    pub removed: u32,
    /// Those of them whose removal nobody asked for.
    pub unexpected: u32,
    /// Unexpected removals applied for this integration in the last 24 hours.
    pub unexpected_before: u32,
    /// Those of the unexpected who are exempt or guests.
    pub protected: u32,
    /// Whether it removes the account that the automation logs in with.
    pub own_account: bool,
    /// Whether it leaves no administrator where there is one.
    pub last_administrator: bool,
    /// Those of the removed who were let in since the snapshot began: it is older than they are.
    pub let_in_meanwhile: u32,
    /// Whether what Cerby knows is not what the report starts from, or could not be read whole.
    pub changed_underneath: bool,
    /// Whether a person approved exactly this report.
    pub approved: bool,
}

/// What the members that Cerby knows, the wishes and the integration say of a report's removals.
#[derive(Debug)]
pub struct Removals<'a> {
    /// The report.
    pub update: &'a UpdateReport,
    /// What Cerby knows, read before the apply.
    pub known: &'a Snapshot,
    /// The latest wishes of the integration's members.
    pub intents: &'a [Intent],
    /// When the snapshot that the report rests on was asked for.
    pub started_at: DateTime<Utc>,
    /// The email, name in the app or id of the account that the automation logs in with.
    pub own_account: Option<&'a str>,
    /// Roles that make an administrator, by id, whatever their case.
    pub administrator_roles: &'a [String],
}

impl Removals<'_> {
    /// The facts, but for the report's own numbers and the past.
    pub fn judge(&self, facts: Facts) -> Facts {
        let (listed, wishes) =
            (Listed::new(&self.update.removed_members), Wishes::new(self.intents));
        let (removed, kept): (Vec<_>, Vec<_>) =
            self.known.members.iter().partition(|seen| listed.holds(seen));
        let wish = |seen: &SeenMember| wishes.of(seen);
        let unexpected: Vec<_> = removed
            .iter()
            .filter(|seen| wish(seen).is_none_or(|one| one.wanted.operation != Operation::Remove))
            .collect();
        let let_in = unexpected.iter().filter(|seen| {
            wish(seen).and_then(|one| one.worked_at).is_some_and(|at| at >= self.started_at)
        });
        let protected =
            unexpected.iter().filter(|seen| seen.marks.is_exempt || seen.marks.is_guest);
        let administrates = |seen: &&SeenMember| self.is_administrator(seen);
        Facts {
            unexpected: count(unexpected.len()),
            protected: count(protected.count()),
            let_in_meanwhile: count(let_in.count()),
            own_account: removed.iter().any(|seen| self.is_own_account(seen)),
            last_administrator: removed.iter().any(administrates)
                && !kept.iter().any(administrates),
            changed_underneath: !self.known.is_complete()
                || removed.len() != self.update.removed_members.len(),
            ..facts
        }
    }

    fn is_administrator(&self, seen: &SeenMember) -> bool {
        let is_one = |role: &String| {
            self.administrator_roles.iter().any(|known| known.trim().eq_ignore_ascii_case(role))
        };
        seen.membership == Membership::Joined
            && (seen.marks.is_owner || seen.entitlements.iter().any(is_one))
    }

    fn is_own_account(&self, seen: &SeenMember) -> bool {
        let names = [&seen.member, &seen.email, &seen.username];
        self.own_account.is_some_and(|own| {
            names.iter().any(|name| name.as_deref().is_some_and(|it| it.eq_ignore_ascii_case(own)))
        })
    }
}

pub(super) fn count(people: usize) -> u32 {
    u32::try_from(people).unwrap_or(u32::MAX)
}

/// What the guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Apply it.
    Apply,
    /// A person decides.
    Hold(String),
    /// Not this one: read anew. No approval helps.
    Refuse(String),
}

/// Rules on one report.
pub fn rule(limits: &config::Guard, max_age: Duration, facts: &Facts) -> Ruling {
    if let Some(refused) = refused(max_age, facts) {
        return Ruling::Refuse(refused);
    }
    match doubt(limits, facts) {
        Some(doubt) if !facts.approved => Ruling::Hold(doubt),
        _ => Ruling::Apply,
    }
}

/// What no approval helps against: the report does not speak of the app as it is.
fn refused(max_age: Duration, facts: &Facts) -> Option<String> {
    if let Some(age) = facts.age.filter(|age| *age > max_age && !facts.approved) {
        return Some(format!("the report is {} s old", age.as_secs()));
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

/// What a person must decide.
fn doubt(limits: &config::Guard, facts: &Facts) -> Option<String> {
    if facts.removed == 0 {
        return None;
    }
    if facts.own_account {
        return Some(
            "Applying this would remove the account that the automation logs in with".to_owned(),
        );
    }
    if facts.last_administrator {
        return Some("Applying this would leave no administrator".to_owned());
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
    too_many(limits, facts, total)
}

/// More unexpected removals than the guard lets through in 24 hours, by count or by percentage.
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
