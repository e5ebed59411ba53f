//! New rows → ordered, one head per member.
//!
//! Rows arrive by a plain insert, in any order, in batches, out of transactions held open for minutes.
//! Intake gives each its place: its turn, behind another, or closed because a later intent won. One
//! replica orders at a time, and the members' rows are locked meanwhile, so that nothing of a member
//! moves while its order is decided.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Instant;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::emit;
use crate::manual_action;
use crate::membership::MemberKey;
use crate::pulse::Pulse;
use crate::retry::Policy;
use crate::retry::decide::{Arrival, first_due};
use crate::store::{StoreError, answered};
use crate::wakeup::Bells;

mod floor;
pub mod order;
mod store;

use floor::Floor;
use order::{Intent, Order, Standing};
use store::{Arrived, Place};

/// Orders new rows as they come, until `stop`.
pub async fn run(
    pool: PgPool,
    config: Config,
    bells: Bells,
    mut pulse: Pulse,
    stop: CancellationToken,
) {
    let policy = Policy::new(&config);
    let mut floor = Floor::new(Instant::now());
    while !stop.is_cancelled() {
        let after = floor.after(Instant::now());
        let ordered = order_after(&pool, &policy, after, config.intake.batch);
        match answered(config.database.patience(), ordered).await {
            Ok(ordered) => {
                pulse.well();
                if !ordered.is_empty() {
                    bells.tasks.notify_one();
                }
                let is_full =
                    ordered.len() >= usize::try_from(config.intake.batch).unwrap_or(usize::MAX);
                floor.found(ordered.last().copied(), is_full, Instant::now());
                bells.ordered_up_to.store(floor.settled(), Ordering::Relaxed);
                if is_full {
                    continue;
                }
            }
            Err(error) => pulse.failed(&error),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = bells.intake.notified() => {}
            () = tokio::time::sleep(pulse.next()) => {}
        }
    }
}

/// Orders one batch of new rows; how many there were.
pub async fn order_arrivals(
    pool: &PgPool,
    policy: &Policy,
    batch: i64,
) -> Result<usize, StoreError> {
    Ok(order_after(pool, policy, 0, batch).await?.len())
}

/// Orders one batch of the new rows after this one; their ids, rising.
async fn order_after(
    pool: &PgPool,
    policy: &Policy,
    after: i64,
    batch: i64,
) -> Result<Vec<i64>, StoreError> {
    let mut tx = store::begin(pool).await?;
    let arrived = store::arrivals(&mut tx, after, batch).await?;
    if arrived.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = arrived.iter().map(|task| task.id).collect();
    let mut intents = of_known_members(&mut tx, &arrived).await?;
    // After the members, as whoever records an outcome locks a task before its integration.
    let strangers: Vec<_> =
        arrived.iter().filter(|task| !task.is_introduced).map(|task| task.id).collect();
    store::introduce_integrations(&mut tx, &strangers).await?;
    for task in &arrived {
        intents.entry(task.key.clone()).or_default().push(Intent {
            task: task.id,
            operation: task.operation,
            requested_at: task.requested_at,
            standing: Standing::Arrived,
        });
    }
    let orders: Vec<Order> = intents.values().map(|intents| order::order(intents)).collect();

    write_known(&mut tx, &orders, &ids.iter().copied().collect()).await?;
    store::place(&mut tx, &places(policy, &arrived, &orders)).await?;
    let actions = manual_action::store::supersede(&mut tx, &ended_actions(&orders)).await?;
    tx.commit().await?;
    log(&arrived, &orders, &actions);
    Ok(ids)
}

/// What is known of the members already. They stay as they are until the transaction ends.
async fn of_known_members(
    connection: &mut PgConnection,
    arrived: &[Arrived],
) -> Result<BTreeMap<MemberKey, Vec<Intent>>, StoreError> {
    let since = oldest_by_member(arrived.iter().filter(|task| !task.is_first));
    if since.is_empty() {
        return Ok(BTreeMap::new());
    }
    store::lock_members(connection, since.keys()).await?;
    store::known_intents(connection, &since).await
}

fn oldest_by_member<'a>(
    arrived: impl Iterator<Item = &'a Arrived>,
) -> BTreeMap<MemberKey, DateTime<Utc>> {
    let mut oldest = BTreeMap::new();
    for task in arrived {
        let time = oldest.entry(task.key.clone()).or_insert(task.requested_at);
        *time = (*time).min(task.requested_at);
    }
    oldest
}

/// Moves what was known before. Losers leave and heads step back before a turn is given: the database allows one head
/// per member.
async fn write_known(
    connection: &mut PgConnection,
    orders: &[Order],
    new: &HashSet<i64>,
) -> Result<(), StoreError> {
    let all = |part: fn(&Order) -> &Vec<order::Superseded>| -> Vec<_> {
        orders.iter().flat_map(|order| part(order).iter().copied()).collect()
    };
    store::close_superseded(connection, &all(|order| &order.closed)).await?;
    store::mark_superseded(connection, &all(|order| &order.marked)).await?;
    let known = |tasks: Vec<i64>| -> Vec<_> {
        tasks.into_iter().filter(|task| !new.contains(task)).collect()
    };
    let waiting = orders.iter().flat_map(|order| order.waiting.iter().copied()).collect();
    store::let_wait(connection, &known(waiting)).await?;
    let heads = orders.iter().filter_map(|order| order.head).collect();
    store::give_turn(connection, &known(heads)).await
}

/// Where the new tasks stand that did not lose at once, and when they are due first.
fn places(policy: &Policy, arrived: &[Arrived], orders: &[Order]) -> Vec<Place> {
    let turns: HashMap<i64, &'static str> = orders
        .iter()
        .flat_map(|order| {
            let waiting = order.waiting.iter().map(|task| (*task, "waiting"));
            waiting.chain(order.head.map(|task| (task, "head")))
        })
        .collect();
    let place = |task: &Arrived| {
        let first_due = first_due(
            policy,
            &Arrival {
                operation: task.operation,
                application: &task.application,
                has_automation: task.has_automation,
                failure: &task.failure,
            },
        );
        Some(Place {
            task: task.id,
            turn: turns.get(&task.id)?,
            first_due,
            is_first: task.is_first,
        })
    };
    arrived.iter().filter_map(place).collect()
}

fn ended_actions(orders: &[Order]) -> Vec<(i64, i64)> {
    orders.iter().flat_map(|order| order.ended_actions.iter().copied()).collect()
}

fn log(arrived: &[Arrived], orders: &[Order], actions: &[(i64, i64)]) {
    for loser in orders.iter().flat_map(|order| &order.closed) {
        emit!(
            TASK_SUPERSEDED,
            task.id = loser.task,
            superseded_by = loser.by,
            "Replaced by a newer request (task {})",
            loser.by
        );
    }
    for (action, by) in actions {
        emit!(
            ACTION_SUPERSEDED,
            action.id = action,
            superseded_by = by,
            "Stop: replaced by a newer request (task {by})"
        );
    }
    for task in arrived {
        emit!(TASK_ORDERED, task.id = task.id, "The task has its place among those of its member");
    }
}
