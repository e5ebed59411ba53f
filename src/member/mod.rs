//! The unit of work: one row per member of an integration. The row holds the desired state, the observed state, which
//! request has its turn, and what former attempts and people may still change.
//!
//! Everything that excludes, orders or casts doubt is a column of that row, so that one lock and one read are enough.

use chrono::{DateTime, Utc};

use crate::membership::Operation;

use store::Request;

pub mod store;
pub mod watch;

/// What former attempts and people may have changed without a snapshot having shown it. A time counts only while it is
/// later than the latest snapshot of the integration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doubts {
    /// When a person may last have removed the member by hand.
    pub removed_by_hand_at: Option<DateTime<Utc>>,
    /// When a person may last have invited the member or changed their role by hand.
    pub admitted_by_hand_at: Option<DateTime<Utc>>,
    /// Until when a removal that ended without success may have taken effect.
    pub removal_tried_until: Option<DateTime<Utc>>,
    /// Until when an invite or a change of role that ended without success may have taken effect.
    pub admission_tried_until: Option<DateTime<Utc>>,
    /// When the latest snapshot of the integration began.
    pub snapshot_at: Option<DateTime<Utc>>,
}

impl Doubts {
    /// Whether a person may have made the opposite of `operation` by hand after the app was last read and after
    /// automation last worked on the member. What the backend knows of the member may be older than that.
    pub fn touched_by_hand(&self, operation: Operation) -> bool {
        self.is_open(match operation {
            Operation::Remove => self.admitted_by_hand_at,
            Operation::Invite | Operation::ChangeRole => self.removed_by_hand_at,
        })
    }

    /// Whether a task that ended without success, or this one before it was returned, tried the same change, and no
    /// snapshot has shown the result since.
    pub fn tried_before(&self, operation: Operation) -> bool {
        self.is_open(match operation {
            Operation::Remove => self.removal_tried_until,
            Operation::Invite | Operation::ChangeRole => self.admission_tried_until,
        })
    }

    fn is_open(&self, time: Option<DateTime<Utc>>) -> bool {
        time.is_some_and(|time| self.snapshot_at.is_none_or(|snapshot| time > snapshot))
    }
}

/// The latest requests of a member that took effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effects {
    pub invite: Option<Request>,
    pub role: Option<Request>,
}

impl Effects {
    /// The later request that supersedes this one, because it took effect while this one was blocked behind it.
    pub fn over(&self, operation: Operation, request: Request) -> Option<i64> {
        let is_later = |(task, at): Request| (at, task) > (request.1, request.0);
        let known = [(Operation::Invite, self.invite), (Operation::ChangeRole, self.role)];
        let winners = known.into_iter().filter_map(|(winner, later)| {
            later.filter(|later| is_later(*later) && winner.overrules(operation, true))
        });
        winners.max_by_key(|(task, at)| (*at, *task)).map(|(task, _)| task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(second, 0)
    }

    #[test]
    fn what_was_done_by_hand_casts_doubt_on_the_opposite_until_a_later_snapshot() {
        use Operation::{ChangeRole, Invite, Remove};
        let removed = Doubts { removed_by_hand_at: at(10), ..Doubts::default() };
        let admitted = Doubts { admitted_by_hand_at: at(10), ..Doubts::default() };
        for (operation, by_removal, by_admission) in
            [(Invite, true, false), (ChangeRole, true, false), (Remove, false, true)]
        {
            assert_eq!(removed.touched_by_hand(operation), by_removal, "{operation}");
            assert_eq!(admitted.touched_by_hand(operation), by_admission, "{operation}");
        }
        for (snapshot, touched) in [(9, true), (10, false), (11, false)] {
            let doubts = Doubts { snapshot_at: at(snapshot), ..removed };
            assert_eq!(doubts.touched_by_hand(Invite), touched, "{snapshot}");
        }
    }

    #[test]
    fn what_was_tried_casts_doubt_on_the_same_until_a_later_snapshot() {
        use Operation::{ChangeRole, Invite, Remove};
        let removal = Doubts { removal_tried_until: at(10), ..Doubts::default() };
        let admission = Doubts { admission_tried_until: at(10), ..Doubts::default() };
        for (operation, by_removal, by_admission) in
            [(Invite, false, true), (ChangeRole, false, true), (Remove, true, false)]
        {
            assert_eq!(removal.tried_before(operation), by_removal, "{operation}");
            assert_eq!(admission.tried_before(operation), by_admission, "{operation}");
        }
        let read_since = Doubts { snapshot_at: at(11), ..removal };
        assert!(!read_since.tried_before(Remove));
    }

    #[test]
    fn what_took_effect_makes_older_requests_pointless_that_waited_behind_it() {
        use Operation::{ChangeRole, Invite, Remove};
        let request = |minute: i64| (minute, at(minute * 60).expect("a time of this century"));
        let invited = Effects { invite: Some(request(5)), role: None };
        let changed = Effects { invite: None, role: Some(request(6)) };
        let both = Effects { invite: invited.invite, role: changed.role };
        let table = [
            (invited, Remove, 4, Some(5)),
            (invited, ChangeRole, 4, Some(5)),
            (invited, Invite, 4, Some(5)),
            (invited, Remove, 6, None),
            // The request itself, tried again.
            (invited, Invite, 5, None),
            (changed, Remove, 4, Some(6)),
            (changed, Invite, 4, None),
            (both, Remove, 4, Some(6)),
            (Effects::default(), Remove, 4, None),
        ];
        for (effects, operation, minute, expected) in table {
            assert_eq!(effects.over(operation, request(minute)), expected, "{operation} {minute}");
        }
    }
}
