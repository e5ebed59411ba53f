//! The status of a manual action, and what its end means for its request and its member. Pure.

use crate::membership::words;

/// What the end of a manual action means for its request and its member. This is the one place that gives a status a
/// meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionEnd {
    /// The change was made, or was there already: no older request may undo it.
    pub took_effect: bool,
    /// A person may have made the change, and nothing has proven it.
    pub by_hand: bool,
    /// A person says that the change was made, which undoes the opposite change if that was tried before.
    pub undoes: bool,
    /// The request no longer counts as the desired state.
    pub withdrawn: bool,
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
    ActionStatus {
        Open = "open",
        /// A person works on it.
        InProgress = "in_progress",
        /// A person says that the change was made.
        Done = "done",
        Verified = "verified",
        /// The app cannot be read, so the person's word closed the action.
        Attested = "attested",
        /// A snapshot shows the desired state although nobody marked the action done.
        NotNeeded = "not_needed",
        Dismissed = "dismissed",
        Superseded = "superseded",
        Returned = "returned",
    }
}

impl ActionStatus {
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
