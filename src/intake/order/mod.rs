//! Who goes first: the order of one member's intents. Pure.
//!
//! A later intent wins. A later `remove` supersedes everything older; a later `invite` or `change_role`
//! supersedes an older one of the same operation; and whatever arrives late, after a newer intent has
//! taken effect, is superseded by it. Anything else waits its turn in the order of `requested_at`, also
//! behind a newer intent that is on its way or with a person: it runs if that comes to nothing, and its
//! claim sees if that took effect.

use chrono::{DateTime, Utc};

use crate::membership::Operation;

/// One intent of a member: a task, new or known, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub task: i64,
    pub operation: Operation,
    /// When it was requested.
    pub requested_at: DateTime<Utc>,
    pub standing: Standing,
}

/// Where an intent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Arrived,
    Waiting,
    /// Its turn, and nothing of it is on its way.
    Head,
    /// Its turn, and an attempt of it is or may be on its way.
    InFlight {
        /// The intent that superseded it meanwhile.
        superseded_by: Option<i64>,
    },
    Action(i64),
    /// Closed, and its effect stands.
    Effective,
    /// Closed without effect: cancelled, dismissed, or itself superseded.
    Void,
}

/// One intent losing against a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superseded {
    pub task: i64,
    pub by: i64,
}

/// What to write for one member.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Tasks to close as superseded now.
    pub closed: Vec<Superseded>,
    /// Tasks in flight: marked now, closed when nothing of them is on its way any more.
    pub marked: Vec<Superseded>,
    /// Manual actions to end, with the winner's task.
    pub ended_actions: Vec<(i64, i64)>,
    pub waiting: Vec<i64>,
    /// The task whose turn it is.
    pub head: Option<i64>,
}

/// Orders all unfinished intents of one member, given those closed ones that are newer than a new one.
pub fn order(intents: &[Intent]) -> Order {
    let mut order = Order::default();
    let mut queue: Vec<&Intent> = Vec::new();
    let mut blocked = false;
    for intent in intents {
        let winner = winner_over(intent, intents);
        match (intent.standing, winner) {
            (Standing::Effective | Standing::Void, _) => {}
            (Standing::Action(action), Some(by)) => order.ended_actions.push((action, by)),
            (Standing::Action(_), None) => blocked = true,
            (Standing::InFlight { superseded_by }, winner) => {
                order.head = Some(intent.task);
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
    if order.head.is_none() && !blocked {
        order.head = queue.next();
    }
    order.waiting = queue.collect();
    order
}

/// The latest intent that makes `intent` pointless.
fn winner_over(intent: &Intent, all: &[Intent]) -> Option<i64> {
    all.iter()
        .filter(|later| age(later) > age(intent) && wins(later, intent))
        .max_by_key(|later| age(later))
        .map(|later| later.task)
}

fn wins(later: &Intent, older: &Intent) -> bool {
    // A removal that a person dismissed was asked for all the same: what is older never brings the member back.
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
