//! Where a manual action stands, and what its end says of its request and of its member. Pure.

use crate::membership::words;

/// What the end of a manual action says of its request and of the member: the one place where a status is given a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionEnd {
    /// The change was made, or was there already: no older request may undo it.
    pub took_effect: bool,
    /// A person may have made the change, and nothing has proven it.
    pub by_hand: bool,
    /// A person says that what was tried before has been undone.
    pub undoes: bool,
    /// The request no longer counts as what should be true.
    pub withdrawn: bool,
    /// The request goes back to automation.
    pub returned: bool,
}

impl ActionEnd {
    /// The meaning of a status; `None` while the action is unfinished.
    pub fn of(status: ActionStatus) -> Option<Self> {
        let nothing = Self {
            took_effect: false,
            by_hand: false,
            undoes: false,
            withdrawn: false,
            returned: false,
        };
        Some(match status {
            ActionStatus::Open | ActionStatus::InProgress | ActionStatus::Done => return None,
            ActionStatus::Verified | ActionStatus::NotNeeded => {
                Self { took_effect: true, ..nothing }
            }
            ActionStatus::Attested => {
                Self { took_effect: true, by_hand: true, undoes: true, ..nothing }
            }
            ActionStatus::Dismissed => Self { by_hand: true, withdrawn: true, ..nothing },
            ActionStatus::Superseded => Self { by_hand: true, ..nothing },
            ActionStatus::Returned => Self { by_hand: true, returned: true, ..nothing },
        })
    }
}

words! {
    /// Where a manual action stands.
    ActionStatus {
        /// For a person to do.
        Open = "open",
        /// Somebody works on it.
        InProgress = "in_progress",
        /// A person says that it was done.
        Done = "done",
        /// Proven by a snapshot.
        Verified = "verified",
        /// The app cannot be read: the person's word must do.
        Attested = "attested",
        /// Found as desired already.
        NotNeeded = "not_needed",
        /// A person decided against it.
        Dismissed = "dismissed",
        /// A later request made it pointless.
        Superseded = "superseded",
        /// Sent back to automation.
        Returned = "returned",
    }
}

impl ActionStatus {
    /// Whether the action has not ended.
    pub fn is_unfinished(self) -> bool {
        ActionEnd::of(self).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_meaning() {
        use ActionStatus as S;
        let flags = |status| {
            ActionEnd::of(status)
                .map(|end| [end.took_effect, end.by_hand, end.undoes, end.withdrawn, end.returned])
        };
        let table = [
            (S::Open, None),
            (S::InProgress, None),
            (S::Done, None),
            (S::Verified, Some([true, false, false, false, false])),
            (S::NotNeeded, Some([true, false, false, false, false])),
            (S::Attested, Some([true, true, true, false, false])),
            (S::Dismissed, Some([false, true, false, true, false])),
            (S::Superseded, Some([false, true, false, false, false])),
            (S::Returned, Some([false, true, false, false, true])),
        ];
        for (status, expected) in table {
            assert_eq!(flags(status), expected, "{status}");
            assert_eq!(status.is_unfinished(), expected.is_none(), "{status}");
        }
    }
}
