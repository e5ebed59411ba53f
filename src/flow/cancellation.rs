//! Tasks that a person cancelled. A task that is not in flight ends at once, without a request to the backend. A task
//! in flight is marked, and its worker ends it once none of its attempts is in flight, as it does with a superseded
//! task.

use crate::database::PgConnection;
use crate::emit;
use crate::manual_action::nudges::Nudge;
use crate::member::store::{Member, Ordered, forget_desire, give_turn, lock, write_order};
use crate::membership::Operation;
use crate::retry::cancel::{self, Cancelled};
use crate::store::{StoreError, take_exclusive};
use crate::telemetry::metrics::{self, TaskEnd};

/// Applies cancellations. Returns the tasks that have ended, to be logged after the commit, and the nudges that came
/// too early because their tasks are still unordered.
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

/// Whether this transaction holds the lock for ordering, so that nobody else orders rows until it ends.
async fn may_order(connection: &mut PgConnection) -> Result<bool, StoreError> {
    take_exclusive(connection, &["intake"]).await
}

/// Cancels one task. Returns whether it has ended: a task in flight is only marked.
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

/// The order of the member without the cancelled task, unless that is in flight.
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

/// The `closed_reason` of a cancelled task.
pub(super) fn closed_reason(reason: &str) -> String {
    format!("Cancelled by a person: {reason}")
}

pub(super) fn log_ended(task: i64, integration: &str) {
    metrics::task_ended(TaskEnd::Cancelled);
    emit!(TASK_CANCELLED, task.id = task, integration.id = integration, "Not to be tried any more");
}

/// Logs a task that ended at once.
pub(super) fn say(cancelled: &Cancelled) {
    log_ended(cancelled.task, &cancelled.key.integration);
}
