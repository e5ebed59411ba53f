//! What a snapshot shows of a member who is watched after a confirmed change. Pure.
//!
//! A removal that was proven once may not last. Elsewhere, a removed person came back although the job had succeeded,
//! and nobody checked again. An invite is accepted, expires or vanishes after it was proven.

use super::verdict::Sighting;
use crate::membership::{Membership, Operation};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchResult {
    /// In the expected state: check again at the next time.
    CheckAgain,
    /// This snapshot cannot show it: check again soon.
    Retry,
    /// In the expected state, and this was the last check. The watch ends without an event.
    End,
    /// A member who was removed is in the app again.
    Returned,
    Accepted,
    /// The invitation can no longer be accepted: another one is needed.
    Expired,
    /// Neither a member nor an invitation is there any more.
    Vanished,
}

/// Judges what was seen of a watched member. `due` says whether a check is due, `last` whether it is the last one.
/// `None` if nothing is to be done.
pub fn after_snapshot(
    operation: Operation,
    seen: &Sighting<'_>,
    due: bool,
    last: bool,
) -> Option<WatchResult> {
    let membership = match seen {
        Sighting::Unclear(_) => return due.then_some(WatchResult::Retry),
        Sighting::Absent => None,
        // The strongest of several entries decides.
        Sighting::Present(entries) => entries.iter().map(|seen| seen.membership).min(),
    };
    let steady = || due.then_some(if last { WatchResult::End } else { WatchResult::CheckAgain });
    match (operation, membership) {
        (Operation::Remove, None | Some(Membership::InvitationExpired)) => steady(),
        (Operation::Remove, Some(_)) => Some(WatchResult::Returned),
        (_, Some(Membership::Joined)) => Some(WatchResult::Accepted),
        (_, Some(Membership::Invited)) => steady(),
        (_, Some(Membership::InvitationExpired)) => Some(WatchResult::Expired),
        // A change that was proven just now may not show yet.
        (_, None | Some(Membership::AssetsOnly | Membership::InvitationUnclear)) => {
            due.then_some(WatchResult::Vanished)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::{Marks, SeenMember};

    #[test]
    fn every_sight_of_somebody_watched_has_one_outcome() {
        use Membership::{AssetsOnly, InvitationExpired, InvitationUnclear, Invited, Joined};
        use Operation::{Invite, Remove};
        use WatchResult::{Accepted, CheckAgain, End, Expired, Retry, Returned, Vanished};
        let member = |membership| SeenMember {
            member: Some("jo".to_owned()),
            email: None,
            username: None,
            entitlements: [].into(),
            membership,
            marks: Marks::default(),
        };
        // Operation and sight; then the outcome before a check is due, when it is due, and at the last check.
        let table = [
            (Remove, None, [None, Some(CheckAgain), Some(End)]),
            (Remove, Some(InvitationExpired), [None, Some(CheckAgain), Some(End)]),
            (Remove, Some(Joined), [Some(Returned); 3]),
            (Remove, Some(Invited), [Some(Returned); 3]),
            (Remove, Some(AssetsOnly), [Some(Returned); 3]),
            (Remove, Some(InvitationUnclear), [Some(Returned); 3]),
            (Invite, None, [None, Some(Vanished), Some(Vanished)]),
            (Invite, Some(InvitationUnclear), [None, Some(Vanished), Some(Vanished)]),
            (Invite, Some(AssetsOnly), [None, Some(Vanished), Some(Vanished)]),
            (Invite, Some(Invited), [None, Some(CheckAgain), Some(End)]),
            (Invite, Some(Joined), [Some(Accepted); 3]),
            (Invite, Some(InvitationExpired), [Some(Expired); 3]),
        ];
        for (operation, membership, expected) in table {
            let seen = membership.map(member);
            let sight =
                seen.as_ref().map_or(Sighting::Absent, |seen| Sighting::Present(vec![seen]));
            let times = [(false, false), (true, false), (true, true)];
            let outcomes = times.map(|(due, last)| after_snapshot(operation, &sight, due, last));
            assert_eq!(outcomes, expected, "{operation} {membership:?}");
        }
        let twice = [member(Invited), member(Joined)];
        let twice = Sighting::Present(twice.iter().collect());
        assert_eq!(after_snapshot(Remove, &twice, false, false), Some(Returned));
        assert_eq!(after_snapshot(Invite, &twice, false, false), Some(Accepted));
        let unclear = Sighting::Unclear(String::new());
        for operation in [Invite, Remove] {
            assert_eq!(after_snapshot(operation, &unclear, true, true), Some(Retry));
            assert_eq!(after_snapshot(operation, &unclear, false, false), None);
        }
    }
}
