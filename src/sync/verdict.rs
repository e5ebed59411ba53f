//! What a snapshot says of one action. Pure.
//!
//! Presence proves something even in an incomplete snapshot; absence only in a complete one. An invitation
//! that does not show is not disproved yet; a removed member who shows is.

use std::collections::HashMap;

use crate::backend::Snapshot;
use crate::membership::{Identity, Observation, Observed, Operation, SeenMember, Wanted};

/// What a sync says of one done action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is as wanted.
    Confirmed,
    /// It may still become so: read again.
    NotYet,
    /// It is not so: the action opens again.
    Contradicted,
    /// This snapshot cannot tell: read again.
    Unverifiable,
}

impl Verdict {
    /// The word in tables and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::NotYet => "not_yet",
            Self::Contradicted => "contradicted",
            Self::Unverifiable => "unverifiable",
        }
    }
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What was observed of the member, for people.
    pub observed: String,
}

/// What a snapshot shows of one person.
#[derive(Debug)]
pub enum Sighting<'a> {
    /// They are there.
    Present(&'a SeenMember),
    /// They are not there: the snapshot is complete.
    Absent,
    /// The snapshot cannot tell, and why.
    Unclear(String),
}

/// A snapshot, by whom its entries are about: a member is found without reading all of it.
#[derive(Debug)]
pub struct Sightings<'a> {
    snapshot: &'a Snapshot,
    by_id: HashMap<&'a str, Vec<&'a SeenMember>>,
    /// Entries that Cerby has not matched, by email and by name in the app.
    unmatched: HashMap<String, Vec<&'a SeenMember>>,
}

impl<'a> Sightings<'a> {
    /// Indexes a snapshot.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let mut by_id: HashMap<_, Vec<_>> = HashMap::new();
        let mut unmatched: HashMap<_, Vec<_>> = HashMap::new();
        for seen in &snapshot.members {
            if let Some(id) = &seen.member {
                by_id.entry(id.as_str()).or_default().push(seen);
                continue;
            }
            for name in [&seen.email, &seen.username].into_iter().flatten() {
                unmatched.entry(name.to_ascii_lowercase()).or_default().push(seen);
            }
        }
        Self { snapshot, by_id, unmatched }
    }

    /// Looks for a person.
    pub fn of(&self, identity: &Identity) -> Sighting<'a> {
        let mut matching: Vec<&'a SeenMember> =
            self.by_id.get(identity.member.as_str()).cloned().unwrap_or_default();
        for name in [Some(&identity.email), identity.username.as_ref()].into_iter().flatten() {
            let named = self.unmatched.get(&name.to_ascii_lowercase()).into_iter().flatten();
            for seen in named.filter(|seen| identity.is_of(seen)) {
                if !matching.iter().any(|one| std::ptr::eq(*one, *seen)) {
                    matching.push(seen);
                }
            }
        }
        match matching[..] {
            [] if self.snapshot.is_complete() => Sighting::Absent,
            [] => Sighting::Unclear(format!(
                "Not found in an incomplete snapshot ({})",
                gaps(self.snapshot)
            )),
            [one] => Sighting::Present(one),
            _ => Sighting::Unclear(format!("{} members match this person", matching.len())),
        }
    }

    /// What is to be remembered of a person; `None` if the snapshot cannot tell.
    pub fn observed(&self, identity: &Identity) -> Option<Observed> {
        match self.of(identity) {
            Sighting::Unclear(_) => None,
            Sighting::Absent => {
                Some(Observed { membership: "absent".to_owned(), entitlements: Vec::new() })
            }
            Sighting::Present(seen) => Some(Observed {
                membership: seen.membership.as_str().to_owned(),
                entitlements: seen.entitlements.iter().cloned().collect(),
            }),
        }
    }
}

/// Judges one action by one snapshot. `last_snapshot` says that the schedule of snapshots ends with this one.
pub fn judge(wanted: &Wanted, sightings: &Sightings<'_>, last_snapshot: bool) -> Judgement {
    let seen = match sightings.of(&wanted.identity()) {
        Sighting::Unclear(observed) => {
            return Judgement { verdict: Verdict::Unverifiable, observed };
        }
        Sighting::Absent => None,
        Sighting::Present(one) => Some(one),
    };
    let observation = wanted.compare(seen);
    let verdict = match (&observation, wanted.operation) {
        (Observation::AsWanted, _) => Verdict::Confirmed,
        (Observation::Absent, Operation::Invite) if !last_snapshot => Verdict::NotYet,
        _ => Verdict::Contradicted,
    };
    Judgement { verdict, observed: observation.describe(wanted.operation) }
}

fn gaps(snapshot: &Snapshot) -> String {
    let mut names: Vec<_> = snapshot.gaps.iter().map(|gap| format!("{gap:?}")).collect();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::Gap;
    use crate::membership::{Marks, Membership};

    fn wanted(operation: Operation) -> Wanted {
        Wanted {
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
        use Membership::{InvitationExpired, Invited, Joined};
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
            let judgement = judge(&wanted(operation), &Sightings::new(&snapshot), false);
            assert_eq!(judgement.verdict, expected, "{operation} by {snapshot:?}");
        }
    }

    #[test]
    fn an_invitation_that_never_shows_is_contradicted_by_the_last_snapshot() {
        let snapshot = snapshot(Vec::new(), Vec::new());
        assert_eq!(
            judge(&wanted(Operation::Invite), &Sightings::new(&snapshot), true).verdict,
            Verdict::Contradicted
        );
    }

    #[test]
    fn two_members_who_match_cannot_be_told_apart() {
        let mut unmatched = member("x", Membership::Joined, "X");
        unmatched.member = None;
        unmatched.email = Some("JO@example.com".to_owned());
        let snapshot = snapshot(vec![member("m1", Membership::Joined, "X"), unmatched], Vec::new());
        assert_eq!(
            judge(&wanted(Operation::Remove), &Sightings::new(&snapshot), false).verdict,
            Verdict::Unverifiable
        );
    }

    proptest! {
        #[test]
        fn absence_from_an_incomplete_snapshot_never_proves_a_removal(others in 0_usize..20) {
            let members = (0..others).map(|n| member(&format!("other{n}"), Membership::Joined, "X")).collect();
            let snapshot = snapshot(members, vec![Gap::EndlessPages]);
            prop_assert_ne!(judge(&wanted(Operation::Remove), &Sightings::new(&snapshot), false).verdict, Verdict::Confirmed);
        }
    }
}
