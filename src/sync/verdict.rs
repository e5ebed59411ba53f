//! What a snapshot says of one action. Pure.
//!
//! Presence proves something even in an incomplete snapshot; absence only in a complete one. An invitation
//! that does not show is not disproved yet; a removed member who shows is.

use crate::backend::Snapshot;
use crate::membership::{Observation, Operation, SeenMember, Wanted};

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

impl<'a> Sighting<'a> {
    /// Looks for whom `wanted` is about.
    pub fn of(wanted: &Wanted, snapshot: &'a Snapshot) -> Self {
        let mut matching = snapshot.members.iter().filter(|seen| wanted.is_about(seen));
        match (matching.next(), matching.count()) {
            (None, _) if snapshot.is_complete() => Self::Absent,
            (None, _) => {
                Self::Unclear(format!("Not found in an incomplete snapshot ({})", gaps(snapshot)))
            }
            (Some(one), 0) => Self::Present(one),
            (Some(_), others) => Self::Unclear(format!("{} members match this person", others + 1)),
        }
    }
}

/// Judges one action by one snapshot. `last_snapshot` says that the schedule of snapshots ends with this one.
pub fn judge(wanted: &Wanted, snapshot: &Snapshot, last_snapshot: bool) -> Judgement {
    let seen = match Sighting::of(wanted, snapshot) {
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
            let judgement = judge(&wanted(operation), &snapshot, false);
            assert_eq!(judgement.verdict, expected, "{operation} by {snapshot:?}");
        }
    }

    #[test]
    fn an_invitation_that_never_shows_is_contradicted_by_the_last_snapshot() {
        let snapshot = snapshot(Vec::new(), Vec::new());
        assert_eq!(
            judge(&wanted(Operation::Invite), &snapshot, true).verdict,
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
            judge(&wanted(Operation::Remove), &snapshot, false).verdict,
            Verdict::Unverifiable
        );
    }

    proptest! {
        #[test]
        fn absence_from_an_incomplete_snapshot_never_proves_a_removal(others in 0_usize..20) {
            let members = (0..others).map(|n| member(&format!("other{n}"), Membership::Joined, "X")).collect();
            let snapshot = snapshot(members, vec![Gap::EndlessPages]);
            prop_assert_ne!(judge(&wanted(Operation::Remove), &snapshot, false).verdict, Verdict::Confirmed);
        }
    }
}
