//! What a reading says of one action. Pure.
//!
//! Presence proves something even in an incomplete reading; absence only in a complete one. An invitation
//! that does not show is not disproved yet; a removed member who shows is.

use crate::backend::Reading;
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
    /// This reading cannot tell: read again.
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
    /// What was seen of the member, for people.
    pub seen: String,
}

/// What a reading shows of one person.
#[derive(Debug)]
pub enum Sighting<'a> {
    /// They are there.
    Present(&'a SeenMember),
    /// They are not there: the reading is complete.
    Absent,
    /// The reading cannot tell, and why.
    Unclear(String),
}

impl<'a> Sighting<'a> {
    /// Looks for whom `wanted` is about.
    pub fn of(wanted: &Wanted, reading: &'a Reading) -> Self {
        let mut matching = reading.members.iter().filter(|seen| wanted.is_about(seen));
        match (matching.next(), matching.count()) {
            (None, _) if reading.is_complete() => Self::Absent,
            (None, _) => {
                Self::Unclear(format!("not seen in an incomplete reading ({})", gaps(reading)))
            }
            (Some(one), 0) => Self::Present(one),
            (Some(_), others) => Self::Unclear(format!("{} members match this person", others + 1)),
        }
    }
}

/// Judges one action by one reading. `last_reading` says that the schedule of readings ends with this one.
pub fn judge(wanted: &Wanted, reading: &Reading, last_reading: bool) -> Judgement {
    let seen = match Sighting::of(wanted, reading) {
        Sighting::Unclear(seen) => return Judgement { verdict: Verdict::Unverifiable, seen },
        Sighting::Absent => None,
        Sighting::Present(one) => Some(one),
    };
    let observation = wanted.compare(seen);
    let verdict = match (&observation, wanted.operation) {
        (Observation::AsWanted, _) => Verdict::Confirmed,
        (Observation::Absent, Operation::Invite) if !last_reading => Verdict::NotYet,
        _ => Verdict::Contradicted,
    };
    Judgement { verdict, seen: observation.describe() }
}

fn gaps(reading: &Reading) -> String {
    let mut names: Vec<_> = reading.gaps.iter().map(|gap| format!("{gap:?}")).collect();
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

    fn reading(members: Vec<SeenMember>, gaps: Vec<Gap>) -> Reading {
        Reading { members, gaps, pages: 1, total: None }
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
            let reading = reading(members, gaps);
            let judgement = judge(&wanted(operation), &reading, false);
            assert_eq!(judgement.verdict, expected, "{operation} by {reading:?}");
        }
    }

    #[test]
    fn an_invitation_that_never_shows_is_contradicted_by_the_last_reading() {
        let reading = reading(Vec::new(), Vec::new());
        assert_eq!(
            judge(&wanted(Operation::Invite), &reading, true).verdict,
            Verdict::Contradicted
        );
    }

    #[test]
    fn two_members_who_match_cannot_be_told_apart() {
        let mut unmatched = member("x", Membership::Joined, "X");
        unmatched.member = None;
        unmatched.email = Some("JO@example.com".to_owned());
        let reading = reading(vec![member("m1", Membership::Joined, "X"), unmatched], Vec::new());
        assert_eq!(
            judge(&wanted(Operation::Remove), &reading, false).verdict,
            Verdict::Unverifiable
        );
    }

    proptest! {
        #[test]
        fn absence_from_an_incomplete_reading_never_proves_a_removal(others in 0_usize..20) {
            let members = (0..others).map(|n| member(&format!("other{n}"), Membership::Joined, "X")).collect();
            let reading = reading(members, vec![Gap::EndlessPages]);
            prop_assert_ne!(judge(&wanted(Operation::Remove), &reading, false).verdict, Verdict::Confirmed);
        }
    }
}
