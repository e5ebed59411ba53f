//! What former attempts and people may have changed: the member's row knows all of it.

use cerby_reconciler::member::Doubts;
use cerby_reconciler::membership::Operation;

use super::{DOUBT, Found};
use crate::record::{DoubtsAtClaim, Record};

/// Whatever is in doubt by all that ever happened to a member is so by its row.
pub(super) fn nothing_is_forgotten(record: &Record, at_claim: &DoubtsAtClaim, found: &mut Found) {
    let (touched, tried) = by_row(at_claim);
    let pairs = [
        ("touched by hand", at_claim.touched_by_hand, touched),
        ("tried before", at_claim.tried_before, tried),
    ];
    for (what, by_history, by_row) in pairs {
        let Some(task) = record.tasks.get(&at_claim.task_id) else { continue };
        if by_history && !by_row {
            let what =
                format!("claim {}: {what}, and its member's row does not say so", at_claim.token);
            found.of(DOUBT, task, what);
        }
    }
}

/// The claims that were more careful than all that ever happened to their member asks for.
pub(crate) fn stricter(record: &Record) -> Vec<&DoubtsAtClaim> {
    let is_stricter = |at_claim: &&DoubtsAtClaim| {
        by_row(at_claim) != (at_claim.touched_by_hand, at_claim.tried_before)
    };
    record.doubts.iter().filter(is_stricter).collect()
}

fn by_row(at_claim: &DoubtsAtClaim) -> (bool, bool) {
    let doubts = Doubts {
        removed_by_hand_at: at_claim.removed_by_hand_at,
        admitted_by_hand_at: at_claim.admitted_by_hand_at,
        removal_tried_until: at_claim.removal_tried_until,
        admission_tried_until: at_claim.admission_tried_until,
        snapshot_at: at_claim.snapshot_at,
    };
    let operation: Operation = at_claim.operation.parse().unwrap();
    (doubts.touched_by_hand(operation), doubts.tried_before(operation))
}
