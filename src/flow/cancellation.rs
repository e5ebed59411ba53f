//! Tasks that a person cancelled: what is not in flight ends at once, without a word from the backend; what is in flight
//! is marked, and its worker ends it once nothing of it is on its way, as what a later request overtook.

use crate::database::PgConnection;
use crate::emit;
use crate::manual_action::nudges::Nudge;
use crate::member::store::{Member, Ordered, forget_desire, give_turn, lock, write_order};
use crate::membership::Operation;
use crate::retry::cancel::{self, Cancelled};
use crate::store::{StoreError, take_exclusive};

/// Takes up cancellations; what has ended, to be told once that is committed, and the nudges that are too early, as their
/// tasks have no place yet.
pub(super) async fn take_up(
    connection: &mut PgConnection,
    nudges: &[Nudge],
) -> Result<(Vec<Cancelled>, Vec<i64>), StoreError> {
    let (mut ended, mut early) = (Vec::new(), Vec::new());
    for nudge in nudges {
        let Some((task, reason)) = &nudge.cancelled else { continue };
        let Some(cancelled) = cancel::find(connection, &nudge.workspace, *task).await? else {
            continue; // it has ended meanwhile
        };
        if !cancelled.has_place {
            if cancelled.is_held && may_order(connection).await? {
                cancel::take_off(connection, &cancelled).await?;
                cancel::close(connection, &cancelled, reason, &closed_reason(reason)).await?;
                ended.push(cancelled);
            } else {
                early.push(nudge.id);
            }
        } else if cancel_one(connection, &cancelled, reason).await? {
            ended.push(cancelled);
        }
    }
    Ok((ended, early))
}

/// Whether nobody else orders rows until the transaction ends.
async fn may_order(connection: &mut PgConnection) -> Result<bool, StoreError> {
    take_exclusive(connection, &["intake"]).await
}

/// Whether the task has ended: one in flight is only marked.
async fn cancel_one(
    connection: &mut PgConnection,
    cancelled: &Cancelled,
    reason: &str,
) -> Result<bool, StoreError> {
    let key = &cancelled.key;
    let Some(member) = lock(connection, [key].into_iter()).await?.remove(key) else {
        return Ok(false);
    };
    let is_in_flight = member.ready == Some(cancelled.task) && member.in_flight;
    write_order(connection, &[without(cancelled, &member, is_in_flight)]).await?;
    if is_in_flight {
        cancel::mark(connection, cancelled, reason).await?;
        return Ok(false);
    }
    cancel::close(connection, cancelled, reason, &closed_reason(reason)).await?;
    forget_desire(connection, key, cancelled.task).await?;
    give_turn(connection, &[key].into_iter().collect()).await?;
    Ok(true)
}

/// The requests of the member as they are, without the one that is cancelled unless it is in flight.
fn without<'a>(cancelled: &'a Cancelled, member: &Member, is_in_flight: bool) -> Ordered<'a> {
    let is_ready = member.ready == Some(cancelled.task);
    let was_tried =
        !is_in_flight && (cancelled.was_tried || is_ready && member.trying_since.is_some());
    let is_removal = cancelled.operation == Operation::Remove;
    Ordered {
        key: &cancelled.key,
        keeps_turn: is_in_flight || !is_ready,
        is_overtaken: is_in_flight,
        blocked: member.blocked.iter().copied().filter(|task| *task != cancelled.task).collect(),
        ends_action: false,
        removed_by_hand: false,
        admitted_by_hand: false,
        removal_tried: was_tried && is_removal,
        admission_tried: was_tried && !is_removal,
        removal: None,
        invite: None,
        role: None,
    }
}

/// What the row of a cancelled task says.
pub(super) fn closed_reason(reason: &str) -> String {
    format!("Cancelled by a person: {reason}")
}

/// The line of a task that has ended.
pub(super) fn log_ended(task: i64, integration: &str) {
    emit!(TASK_CANCELLED, task.id = task, integration.id = integration, "Not to be tried any more");
}

/// The same, of one that ended at once.
pub(super) fn say(cancelled: &Cancelled) {
    log_ended(cancelled.task, &cancelled.key.integration);
}
