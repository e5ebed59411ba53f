//! The rules of intents, written from the design and not from the daemon's code. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use testkit::simulator::{Author, Effect, Operation};

use super::plan::{FORMER_ROLE, Key};

type Time = DateTime<Utc>;
/// The roles of somebody who is in the app.
pub(super) type Roles = BTreeSet<String>;

/// What every member really was, at any time.
#[derive(Debug)]
pub(super) struct History {
    before: BTreeMap<Key, bool>,
    changes: BTreeMap<Key, Vec<Effect>>,
}

impl History {
    /// From who was there before and what was changed since.
    pub(super) fn new(before: &[(Key, bool)], effects: &[Effect]) -> Self {
        let mut changes: BTreeMap<Key, Vec<_>> = BTreeMap::new();
        for effect in effects {
            changes.entry(key_of(effect)).or_default().push(effect.clone());
        }
        Self { before: before.iter().cloned().collect(), changes }
    }

    /// Whether a member was, at some time between these two, as the operation wants it.
    pub(super) fn was_as_wanted(
        &self,
        key: &Key,
        operation: Operation,
        roles: &Roles,
        (from, to): (Time, Time),
    ) -> bool {
        let changes = self.changes.get(key).map_or(&[][..], Vec::as_slice);
        let first = changes.iter().rfind(|change| change.at <= from);
        let former = self.before.get(key).copied().unwrap_or_default();
        let former = former.then(|| Roles::from([FORMER_ROLE.to_owned()]));
        let first = first.map_or(former.as_ref(), roles_after);
        let later = changes.iter().filter(|change| change.at > from && change.at <= to);
        std::iter::once(first)
            .chain(later.map(roles_after))
            .any(|state| is_as_wanted(operation, roles, state))
    }
}

impl History {
    /// When automation did this elsewhere.
    pub(super) fn done_elsewhere_at(
        &self,
        key: &Key,
        operation: Operation,
        roles: &Roles,
        requested_at: Time,
    ) -> Option<Time> {
        let is_it = |change: &&Effect| {
            change.author == Author::Elsewhere
                && change.operation == operation
                && (operation == Operation::Remove || change.entitlements == *roles)
                // Rows hold microseconds.
                && change.at >= requested_at - TimeDelta::microseconds(1)
        };
        self.changes.get(key)?.iter().find(is_it).map(|change| change.at)
    }

    /// Whether anything but automation elsewhere changed the member between these two.
    pub(super) fn was_changed(&self, key: &Key, (from, to): (Time, Time)) -> bool {
        let mut changes = self.changes.get(key).into_iter().flatten();
        changes.any(|one| one.author != Author::Elsewhere && one.at > from && one.at < to)
    }
}

fn roles_after(effect: &Effect) -> Option<&Roles> {
    (effect.operation != Operation::Remove).then_some(&effect.entitlements)
}

/// The member that an effect changed.
pub(super) fn key_of(effect: &Effect) -> Key {
    Key {
        workspace: effect.place.workspace.clone(),
        integration: effect.place.integration.clone(),
        member: effect.member.clone(),
    }
}

fn is_as_wanted(operation: Operation, desired: &Roles, state: Option<&Roles>) -> bool {
    match operation {
        Operation::Invite => state.is_some(),
        Operation::Remove => state.is_none(),
        Operation::ChangeRole => state == Some(desired),
    }
}

/// Whether a later intent ends an older one, whatever has become of either: rule 1's second sentence.
pub(super) fn supersedes(later: Operation, older: Operation) -> bool {
    later == Operation::Remove || later == older
}

/// What became of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fortune {
    /// It was made true, or found so.
    Effective,
    /// It was made true by an attempt of automation.
    Attempted,
    /// Automation made it true elsewhere: whatever was there before.
    Elsewhere,
    /// Automation made it true elsewhere, and before that was known, something older was done after it.
    Undone,
    /// A person said that it must not be.
    Dismissed,
    /// A later one won, or somebody called it off.
    Pointless,
}

/// What a member must be in the end; `None` where the intents do not tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) present: Option<bool>,
    pub(super) roles: Option<Roles>,
}

/// What a member must be after these intents, the oldest first.
pub(super) fn ending<'a>(
    before: bool,
    intents: impl Iterator<Item = (Operation, &'a Roles, Fortune)>,
) -> Ending {
    use Fortune::{Attempted, Dismissed, Effective, Elsewhere, Pointless, Undone};
    use Operation::{ChangeRole, Invite, Remove};
    let mut end = Ending {
        present: Some(before),
        roles: before.then(|| Roles::from([FORMER_ROLE.to_owned()])),
    };
    // An attempt of a pointless intent may have given something before that was known.
    let mut something_given = false;
    for (operation, roles, fortune) in intents {
        match (operation, fortune) {
            (_, Undone) => end = Ending::default(),
            (Remove, Effective | Attempted | Elsewhere) => {
                end = Ending { present: Some(false), roles: None };
                something_given = false;
            }
            (Invite, Effective | Attempted) => {
                if end.present == Some(false) {
                    end.roles = (!something_given).then(|| roles.clone());
                } else if fortune == Attempted {
                    // Nobody knew that they were there, as after an invitation by hand into an app that nobody
                    // can read; the app decides which roles a second invitation leaves.
                    end.roles = None;
                }
                end.present = Some(true);
            }
            (Invite, Elsewhere) | (ChangeRole, Effective | Attempted | Elsewhere) => {
                end = Ending { present: Some(true), roles: Some(roles.clone()) };
            }
            (Invite | Remove, Dismissed) => end = Ending::default(),
            (ChangeRole, Dismissed) => end.roles = None,
            (Remove, Pointless) => {}
            (Invite | ChangeRole, Pointless) => {
                something_given = true;
                end.roles = None;
            }
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use Fortune::{Attempted, Dismissed, Effective, Elsewhere, Pointless, Undone};
    use Operation::{ChangeRole, Invite, Remove};

    fn roles(of: &str) -> Roles {
        [of.to_owned()].into()
    }

    fn end(before: bool, intents: &[(Operation, &str, Fortune)]) -> Ending {
        let intents: Vec<_> =
            intents.iter().map(|(op, of, what)| (*op, roles(of), *what)).collect();
        ending(before, intents.iter().map(|(op, of, what)| (*op, of, *what)))
    }

    #[test]
    fn the_last_effective_intent_decides() {
        let known =
            |present, of: Option<&str>| Ending { present: Some(present), roles: of.map(roles) };
        assert_eq!(end(true, &[]), known(true, Some(FORMER_ROLE)));
        assert_eq!(end(true, &[(Remove, "", Effective)]), known(false, None));
        assert_eq!(end(true, &[(Invite, "a", Effective)]), known(true, Some(FORMER_ROLE)));
        let again = [(Remove, "", Effective), (Invite, "a", Effective)];
        assert_eq!(end(true, &again), known(true, Some("a")));
        let changed = [(Invite, "a", Effective), (ChangeRole, "b", Effective)];
        assert_eq!(end(false, &changed), known(true, Some("b")));
    }

    #[test]
    fn what_was_done_elsewhere_counts_unless_something_older_came_after_it() {
        let given = Ending { present: Some(true), roles: Some(roles("a")) };
        let gone = Ending { present: Some(false), roles: None };
        assert_eq!(end(true, &[(Remove, "", Pointless), (Invite, "a", Elsewhere)]), given);
        assert_eq!(end(true, &[(Invite, "a", Elsewhere), (Remove, "", Elsewhere)]), gone);
        assert_eq!(end(true, &[(Invite, "a", Undone)]), Ending::default());
        assert_eq!(end(true, &[(Invite, "a", Undone), (Remove, "", Effective)]), gone);
    }

    #[test]
    fn what_people_or_later_intents_left_open_is_not_decided() {
        let dismissed = [(Remove, "", Effective), (Invite, "a", Dismissed)];
        assert_eq!(end(true, &dismissed), Ending::default());
        let unknown = [(Invite, "a", Effective), (Invite, "b", Attempted)];
        assert_eq!(end(false, &unknown), Ending { present: Some(true), roles: None });
        let overtaken = [(Invite, "a", Pointless), (Invite, "b", Effective)];
        assert_eq!(end(false, &overtaken), Ending { present: Some(true), roles: None });
    }
}
