//! The order of one member's intents. Pure.
//!
//! A later intent wins. A later `remove` supersedes every older intent. A later `invite` or `change_role` supersedes an
//! older intent of the same operation. An intent that arrives late, after a newer intent took effect, is superseded by
//! the newer one if it would undo its effect. All other intents wait for their turn in the order of `requested_at`,
//! even behind a newer intent that is in flight or has a manual action. Such an intent runs if the newer one has no
//! effect; if the newer one took effect, the claim notices that.

use chrono::{DateTime, Utc};

use crate::membership::Operation;

/// One intent of a member: a new or known task, and its standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub task: i64,
    pub operation: Operation,
    pub requested_at: DateTime<Utc>,
    pub standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Arrived,
    Blocked,
    /// It has its turn, and nothing of it is in flight.
    Ready,
    /// It has its turn, and an attempt of it is or may be in flight.
    InFlight {
        /// The intent that superseded it meanwhile.
        superseded_by: Option<i64>,
    },
    Action(i64),
    /// Closed, and its effect stands.
    Effective,
    /// Closed, and its effect does not count here: cancelled, dismissed or superseded. The latest removal that is
    /// closed is always passed as this, because a later removal wins whether or not it took effect.
    Void,
}

/// An intent that lost against a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superseded {
    pub task: i64,
    pub by: i64,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Tasks to close as superseded now.
    pub closed: Vec<Superseded>,
    /// Tasks in flight: marked now, and closed when none of their attempts is in flight any more.
    pub marked: Vec<Superseded>,
    /// Manual actions to end, each with the task of the winner.
    pub ended_actions: Vec<(i64, i64)>,
    pub blocked: Vec<i64>,
    /// The task that has its turn.
    pub ready: Option<i64>,
}

/// Orders all unfinished intents of one member. `intents` also holds the latest closed ones, which may win against a
/// new one.
pub fn order(intents: &[Intent]) -> Order {
    let mut order = Order::default();
    let mut queue: Vec<&Intent> = Vec::new();
    let mut is_blocked = false;
    for intent in intents {
        let winner = winner_over(intent, intents);
        match (intent.standing, winner) {
            (Standing::Effective | Standing::Void, _) => {}
            (Standing::Action(action), Some(by)) => order.ended_actions.push((action, by)),
            (Standing::Action(_), None) => is_blocked = true,
            (Standing::InFlight { superseded_by }, winner) => {
                order.ready = Some(intent.task);
                if let (Some(by), None) = (winner, superseded_by) {
                    order.marked.push(Superseded { task: intent.task, by });
                }
            }
            (_, Some(by)) => order.closed.push(Superseded { task: intent.task, by }),
            (_, None) => queue.push(intent),
        }
    }
    queue.sort_by_key(|intent| age(intent));
    let mut queue = queue.into_iter().map(|intent| intent.task);
    if order.ready.is_none() && !is_blocked {
        order.ready = queue.next();
    }
    order.blocked = queue.collect();
    order
}

/// The latest intent that supersedes `intent`.
fn winner_over(intent: &Intent, all: &[Intent]) -> Option<i64> {
    all.iter()
        .filter(|later| age(later) > age(intent) && wins(later, intent))
        .max_by_key(|later| age(later))
        .map(|later| later.task)
}

fn wins(later: &Intent, older: &Intent) -> bool {
    // A removal that a person dismissed was requested all the same: an older intent never brings the member back.
    if later.standing == Standing::Void && later.operation != Operation::Remove {
        return false;
    }
    later.operation.overrules(older.operation, later.standing == Standing::Effective)
}

fn age(intent: &Intent) -> (DateTime<Utc>, i64) {
    (intent.requested_at, intent.task)
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
