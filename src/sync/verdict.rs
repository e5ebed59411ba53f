//! The verdict of a snapshot on one action. Pure.
//!
//! Presence proves something even in an incomplete snapshot; absence does so only in a complete one. An invite that
//! does not show yet is not contradicted; a removed member who shows is.

use crate::backend::Snapshot;
use crate::identity::{Directory, Identity, Keys};
use crate::membership::{Desired, Observation, Observed, Operation, SeenMember};

/// The verdict of a sync on one action, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The member is in the desired state.
    Confirmed,
    /// The member may still reach the desired state: read again.
    NotYet,
    /// This snapshot cannot show it: read again.
    Unverifiable,
    /// The member is not in the desired state: the action opens again.
    Contradicted,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::NotYet => "not_yet",
            Self::Contradicted => "contradicted",
            Self::Unverifiable => "unverifiable",
        }
    }
}

/// A verdict, and the observation that it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// What was observed of the member, in words for people.
    pub observed: String,
}

/// What a snapshot shows of one person.
#[derive(Debug)]
pub enum Sighting<'a> {
    /// They are there, with all the entries about them, of which there is at least one.
    Present(Vec<&'a SeenMember>),
    /// They are not there: the snapshot is complete.
    Absent,
    /// The snapshot cannot show it, with the reason.
    Unclear(String),
}

/// A snapshot, indexed by the person that its entries are about, so that a member is found without scanning all
/// entries.
#[derive(Debug)]
pub struct Sightings<'a> {
    snapshot: &'a Snapshot,
    entries: Directory<'a, &'a SeenMember>,
}

impl<'a> Sightings<'a> {
    pub fn new(snapshot: &'a Snapshot) -> Self {
        // Every person who is searched for has an id. If an entry has an id too, its names do not matter.
        let keys = |seen: &'a SeenMember| match &seen.member {
            Some(id) => Keys::new(Some(id), None, None),
            None => seen.keys(),
        };
        let entries = snapshot.members.iter().map(|seen| (keys(seen), seen)).collect();
        Self { snapshot, entries }
    }

    pub fn of(&self, identity: &Identity) -> Sighting<'a> {
        let keys = identity.keys();
        let matching = self.entries.find(&keys, |entry| keys.are_of(entry));
        match matching.is_empty() {
            false => Sighting::Present(matching.into_iter().copied().collect()),
            true if self.snapshot.is_complete() => Sighting::Absent,
            true => Sighting::Unclear(format!(
                "Not found, in a list that proves no absence: {}",
                gaps(self.snapshot)
            )),
        }
    }

    /// The observed state of a person, which is the strongest of several entries; `None` if the snapshot cannot show
    /// it.
    pub fn observed(&self, identity: &Identity) -> Option<Observed> {
        match self.of(identity) {
            Sighting::Unclear(_) => None,
            Sighting::Absent => {
                Some(Observed { membership: "absent".to_owned(), entitlements: Vec::new() })
            }
            Sighting::Present(entries) => {
                // The result must not depend on the order in which the app lists them.
                let strongest = entries.into_iter().min_by(|a, b| {
                    (a.membership, &b.entitlements).cmp(&(b.membership, &a.entitlements))
                });
                strongest.map(|seen| Observed {
                    membership: seen.membership.as_str().to_owned(),
                    entitlements: seen.entitlements.iter().cloned().collect(),
                })
            }
        }
    }
}

/// Judges one action by one snapshot. If there are several entries about the member, the worst decides. `last_snapshot`
/// says that this is the last snapshot of the schedule.
pub fn judge(desired: &Desired, sightings: &Sightings<'_>, last_snapshot: bool) -> Judgement {
    let judged = |seen: Option<&SeenMember>| of_entry(desired, seen, last_snapshot);
    match sightings.of(&desired.identity()) {
        Sighting::Unclear(observed) => Judgement { verdict: Verdict::Unverifiable, observed },
        Sighting::Absent => judged(None),
        Sighting::Present(entries) => {
            let all = entries.into_iter().map(|seen| judged(Some(seen)));
            all.max_by_key(|one| one.verdict).unwrap_or_else(|| judged(None))
        }
    }
}

fn of_entry(desired: &Desired, seen: Option<&SeenMember>, last_snapshot: bool) -> Judgement {
    let observation = desired.compare(seen);
    let verdict = match (&observation, desired.operation) {
        (Observation::AsDesired, _) => Verdict::Confirmed,
        (Observation::Absent | Observation::InvitationUnclear, Operation::Invite)
            if !last_snapshot =>
        {
            Verdict::NotYet
        }
        (
            Observation::Absent
            | Observation::InvitationExpired
            | Observation::InvitationUnclear
            | Observation::StillThere(_)
            | Observation::OtherRoles(_)
            | Observation::Unmatched(_)
            | Observation::NotFoundById,
            _,
        ) => Verdict::Contradicted,
    };
    Judgement { verdict, observed: observation.describe(desired.operation) }
}

fn gaps(snapshot: &Snapshot) -> String {
    let mut words: Vec<_> = snapshot.gaps.iter().map(|gap| gap.words()).collect();
    words.sort_unstable();
    words.dedup();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::Gap;
    use crate::membership::{Marks, Membership};

    fn desired(operation: Operation) -> Desired {
        Desired {
            operation,
            member: "m1".to_owned(),
            email: "jo@example.com".to_owned(),
            username: None,
            entitlements: ["EDITOR".to_owned()].into(),
        }
    }

    fn member(id: &str, membership: Membership, role: &str) -> SeenMember {
        SeenMember {
            member: Some(id.to_owned()),
            email: Some(format!("{id}@example.com")),
            username: None,
            entitlements: [role.to_owned()].into(),
            membership,
            marks: Marks::default(),
        }
    }

    fn snapshot(members: Vec<SeenMember>, gaps: Vec<Gap>) -> Snapshot {
        Snapshot { members, gaps, pages: 1, total: None }
    }

    #[test]
    fn every_case_has_one_verdict() {
        use Membership::{InvitationExpired, InvitationUnclear, Invited, Joined};
        use Operation::{ChangeRole, Invite, Remove};
        use Verdict::{Confirmed, Contradicted, NotYet, Unverifiable};
        let nobody = Vec::new;
        let jo = |membership, role| vec![member("m1", membership, role)];
        let complete = Vec::new;
        let gap = || vec![Gap::TotalDiffers];
        let table = [
            (Invite, nobody(), complete(), NotYet),
            (Invite, nobody(), gap(), Unverifiable),
            (Invite, jo(Invited, "X"), complete(), Confirmed),
            (Invite, jo(Joined, "X"), gap(), Confirmed),
            (Invite, jo(InvitationExpired, "X"), complete(), Contradicted),
            (Invite, jo(InvitationUnclear, "X"), complete(), NotYet),
            (Remove, jo(InvitationUnclear, "X"), complete(), Contradicted),
            (ChangeRole, jo(InvitationUnclear, "EDITOR"), complete(), Contradicted),
            (Remove, nobody(), complete(), Confirmed),
            (Remove, nobody(), gap(), Unverifiable),
            (Remove, jo(Joined, "X"), complete(), Contradicted),
            (Remove, jo(Joined, "X"), gap(), Contradicted),
            (Remove, jo(Invited, "X"), complete(), Contradicted),
            (Remove, jo(InvitationExpired, "X"), complete(), Confirmed),
            (ChangeRole, jo(Joined, "EDITOR"), gap(), Confirmed),
            (ChangeRole, jo(Joined, "X"), complete(), Contradicted),
            (ChangeRole, nobody(), complete(), Contradicted),
            (ChangeRole, nobody(), gap(), Unverifiable),
        ];
        for (operation, members, gaps, expected) in table {
            let snapshot = snapshot(members, gaps);
            let judgement = judge(&desired(operation), &Sightings::new(&snapshot), false);
            assert_eq!(judgement.verdict, expected, "{operation} by {snapshot:?}");
        }
    }

    #[test]
    fn an_invitation_that_never_shows_is_contradicted_by_the_last_snapshot() {
        let snapshot = snapshot(Vec::new(), Vec::new());
        assert_eq!(
            judge(&desired(Operation::Invite), &Sightings::new(&snapshot), true).verdict,
            Verdict::Contradicted
        );
    }

    fn unmatched(email: &str, username: Option<&str>) -> SeenMember {
        SeenMember {
            member: None,
            email: Some(email.to_owned()),
            username: username.map(str::to_owned),
            ..member("", Membership::Joined, "EDITOR")
        }
    }

    #[test]
    fn whoever_is_there_under_another_spelling_is_not_gone() {
        let spellings = [
            "JÖRG@EXAMPLE.COM",
            "jo\u{308}rg@example.com",
            " jörg@example.com ",
            "jörg\u{200b}@example.com",
            "jörg_example.com#EXT#@tenant.onmicrosoft.com",
        ];
        for spelling in spellings {
            let snapshot = snapshot(vec![unmatched(spelling, None)], Vec::new());
            let desired =
                |operation| Desired { email: "jörg@example.com".to_owned(), ..desired(operation) };
            let verdict =
                |operation| judge(&desired(operation), &Sightings::new(&snapshot), false).verdict;
            assert_eq!(verdict(Operation::Remove), Verdict::Contradicted, "{spelling:?}");
            assert_eq!(verdict(Operation::Invite), Verdict::Confirmed, "{spelling:?}");
        }
    }

    #[test]
    fn a_stranger_with_the_same_name_in_the_app_neither_proves_nor_disproves_anything() {
        let snapshot = snapshot(vec![unmatched("kim@example.com", Some("jo"))], Vec::new());
        let desired = |operation| Desired { username: Some("jo".to_owned()), ..desired(operation) };
        let verdict =
            |operation| judge(&desired(operation), &Sightings::new(&snapshot), false).verdict;
        assert_eq!(verdict(Operation::Invite), Verdict::NotYet);
        assert_eq!(verdict(Operation::ChangeRole), Verdict::Contradicted);
        assert_eq!(verdict(Operation::Remove), Verdict::Confirmed);
    }

    #[test]
    fn several_entries_about_one_person_are_judged_by_the_worst() {
        use Membership::{InvitationExpired, Invited, Joined};
        use Operation::{ChangeRole, Invite, Remove};
        use Verdict::{Confirmed, Contradicted};
        let table = [
            (Remove, [(Joined, "X"), (Invited, "X")], Contradicted),
            (Remove, [(InvitationExpired, "X"), (Joined, "X")], Contradicted),
            (Remove, [(InvitationExpired, "X"), (InvitationExpired, "X")], Confirmed),
            (Invite, [(Joined, "X"), (Invited, "X")], Confirmed),
            (Invite, [(Invited, "X"), (InvitationExpired, "X")], Contradicted),
            (ChangeRole, [(Joined, "EDITOR"), (Invited, "EDITOR")], Confirmed),
            (ChangeRole, [(Joined, "EDITOR"), (Joined, "X")], Contradicted),
        ];
        for (operation, entries, expected) in table {
            let [first, second] = entries.map(|(membership, role)| member("m1", membership, role));
            let unmatched = SeenMember {
                member: None,
                email: Some("JO@example.com ".to_owned()),
                ..second.clone()
            };
            for second in [second, unmatched] {
                let mut members = vec![first.clone(), second];
                for _ in 0..2 {
                    members.reverse();
                    let snapshot = snapshot(members.clone(), Vec::new());
                    let judged = judge(&desired(operation), &Sightings::new(&snapshot), false);
                    assert_eq!(judged.verdict, expected, "{operation} by {members:?}");
                }
            }
        }
    }

    #[test]
    fn of_several_entries_the_strongest_is_remembered() {
        let roles =
            [("A", Membership::Joined), ("B", Membership::Joined), ("C", Membership::Invited)];
        let mut members: Vec<_> = roles.map(|(role, standing)| member("m1", standing, role)).into();
        for _ in 0..2 {
            members.reverse();
            let snapshot = snapshot(members.clone(), Vec::new());
            let observed =
                Sightings::new(&snapshot).observed(&desired(Operation::Remove).identity());
            let expected =
                Observed { membership: "joined".to_owned(), entitlements: vec!["B".to_owned()] };
            assert_eq!(observed, Some(expected));
        }
    }

    proptest! {
        #[test]
        fn absence_from_an_incomplete_snapshot_never_proves_a_removal(others in 0_usize..20) {
            let members = (0..others).map(|n| member(&format!("other{n}"), Membership::Joined, "X")).collect();
            let snapshot = snapshot(members, vec![Gap::EndlessPages]);
            prop_assert_ne!(judge(&desired(Operation::Remove), &Sightings::new(&snapshot), false).verdict, Verdict::Confirmed);
        }
    }
}
