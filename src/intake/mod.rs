//! Intake: turns new rows into requests of their members, in order.
//!
//! The backend inserts rows in any order, in batches, and from transactions that may be open for minutes. Intake places
//! each row: the request gets its turn, is blocked behind another, or is closed because a later request won. For that
//! it needs the member's row and its few unfinished requests, never its history. One replica orders at a time.
//!
//! A row that cannot be ordered must not stop the others. A batch that fails is split until the bad row is alone. That
//! row is quarantined with a WARN and tried again later. Likewise, the rows of a member wait while a person has the
//! member's manual action locked.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::catalogue;
use crate::config::Config;
use crate::database::{PgConnection, PgPool};
use crate::member;
use crate::member::store::raise_next_due_times;
use crate::membership::{MemberKey, Operation};
use crate::poll_interval::PollInterval;
use crate::retry;
use crate::retry::decide::{Arrival, Beginning, first_due};
use crate::scan_start::ScanStart;
use crate::store::{StoreError, begin, begin_exclusive, in_parts, with_timeout};
use crate::sync;
use crate::telemetry::chain;
use crate::wakeup::Wakeups;

pub mod inbound;
mod known;
mod log;
pub mod order;
mod store;
pub mod webhook;

use known::order_known;
use log::{Batch, log_quarantined};
use store::{Arrived, First};

/// A row that could not be ordered is tried again after this long. A person has to fix it.
const BAD_ROW_PAUSE: Duration = Duration::from_secs(60);

/// The rows of a member whose action a person has locked are tried again after this long.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// Ids are assigned before their rows are committed, so a row can appear before rows that were ordered. A scan starts this
/// many ids before the highest one that was ordered, and finds most of these rows without a full scan.
const STAYS_BEHIND: i64 = 10_000;

/// How often the due times of integrations are raised after rows were ordered.
const RAISE_EVERY: Duration = Duration::from_secs(1);

/// The configured values that decide how new rows begin.
#[derive(Debug)]
pub struct IntakePolicy {
    retry: retry::RetryPolicy,
    sync: sync::SyncPolicy,
}

impl IntakePolicy {
    pub fn new(config: &Config) -> Self {
        Self { retry: retry::RetryPolicy::new(config), sync: sync::SyncPolicy::new(config) }
    }

    /// The time until the first check of a member whom automation removed elsewhere, because an attempt in flight may
    /// still bring them back. `None` if the member is not watched.
    fn first_watch(&self, task: &Arrived) -> Option<Duration> {
        let is_watched =
            task.operation == Operation::Remove && catalogue::is_readable(&task.application);
        self.sync.next_watch(task.operation, 0).filter(|_| is_watched)
    }
}

/// Orders new rows as they come, until `stop`.
pub async fn run(
    pool: PgPool,
    config: Config,
    wakeups: Wakeups,
    mut poll_interval: PollInterval,
    stop: CancellationToken,
) {
    let policy = IntakePolicy::new(&config);
    let mut start = ScanStart::new(Instant::now());
    let full = usize::try_from(config.intake.batch).unwrap_or(usize::MAX);
    let (mut highest, mut raises) = (0, RaiseSchedule::default());
    while !stop.is_cancelled() {
        let began = Instant::now();
        let after = start.at(began);
        let ordering = order_some(&pool, &policy, after, config.intake.batch);
        match with_timeout(config.database.query_timeout(), ordering).await {
            Ok(ids) => {
                poll_interval.on_success();
                if !ids.is_empty() {
                    wakeups.tasks.notify_one();
                }
                let is_full = ids.len() >= full;
                highest = ids.iter().copied().fold(highest, i64::max);
                start.advance((!is_full).then_some(highest - STAYS_BEHIND), is_full, began);
                if is_full {
                    // Only a full scan shares the rows out between workspaces.
                    start.restart(began);
                } else if let Some(after) = start.at(Instant::now()) {
                    wakeups.ordered_up_to.store(after, Ordering::Relaxed);
                }
                raises.any_ordered |= !ids.is_empty();
                if is_full {
                    continue;
                }
                if raises.is_due()
                    && let Err(error) =
                        with_timeout(config.database.query_timeout(), raise_next_due_times(&pool))
                            .await
                {
                    poll_interval.on_failure(&error);
                }
            }
            Err(error) => poll_interval.on_failure(&error),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = wakeups.intake.notified() => {}
            () = tokio::time::sleep(poll_interval.next()) => {}
        }
    }
}

/// Decides when to raise the due times of integrations. New rows lower them, and claims scan every integration whose time
/// has come.
#[derive(Debug, Default)]
struct RaiseSchedule {
    any_ordered: bool,
    raised_at: Option<Instant>,
}

impl RaiseSchedule {
    fn is_due(&mut self) -> bool {
        let is_due =
            self.any_ordered && self.raised_at.is_none_or(|last| last.elapsed() >= RAISE_EVERY);
        if is_due {
            *self = Self { any_ordered: false, raised_at: Some(Instant::now()) };
        }
        is_due
    }
}

/// Orders one batch of new rows, shared out between workspaces. Returns how many rows it dealt with.
pub async fn order_arrivals(
    pool: &PgPool,
    policy: &IntakePolicy,
    batch: i64,
) -> Result<usize, StoreError> {
    Ok(order_some(pool, policy, None, batch).await?.len())
}

/// Orders one batch: the oldest rows after the id `after`, or without it any rows, shared out between workspaces.
/// Returns the ids of the rows that it dealt with.
async fn order_some(
    pool: &PgPool,
    policy: &IntakePolicy,
    after: Option<i64>,
    batch: i64,
) -> Result<Vec<i64>, StoreError> {
    let Some(mut tx) = begin_exclusive(pool, &["intake"]).await? else { return Ok(Vec::new()) };
    let ids = match after {
        Some(after) => store::oldest(&mut tx, after, batch).await?,
        None => store::shared_out(&mut tx, batch).await?,
    };
    if ids.is_empty() {
        return Ok(ids);
    }
    match order_batch(&mut tx, policy, &ids).await {
        Ok(batch) => {
            tx.commit().await?;
            batch.log();
            Ok(batch.ids)
        }
        Err(error) if error.is_about_rows() => {
            drop(tx);
            let order = |part| order_part(pool, policy, part);
            let parts = in_parts(ids, error, order, |id, error| quarantine(pool, id, error));
            Ok(parts.await?.concat())
        }
        Err(error) => Err(error),
    }
}

async fn order_part(
    pool: &PgPool,
    policy: &IntakePolicy,
    ids: Vec<i64>,
) -> Result<Option<Vec<i64>>, StoreError> {
    let Some(mut tx) = begin_exclusive(pool, &["intake"]).await? else { return Ok(None) };
    // Another replica may have ordered some of the rows between the transactions of two parts.
    let ids = store::still_arrived(&mut tx, &ids).await?;
    let batch = order_batch(&mut tx, policy, &ids).await?;
    tx.commit().await?;
    batch.log();
    Ok(Some(batch.ids))
}

async fn quarantine(pool: &PgPool, id: i64, error: StoreError) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    store::quarantine(&mut tx, &[id], BAD_ROW_PAUSE).await?;
    tx.commit().await?;
    log_quarantined(id, &chain(&error).to_string());
    Ok(())
}

async fn order_batch(
    connection: &mut PgConnection,
    policy: &IntakePolicy,
    ids: &[i64],
) -> Result<Batch, StoreError> {
    let (arrived, unreadable) = store::read(connection, ids).await?;
    let bad: Vec<_> = unreadable.iter().map(|(id, _)| *id).collect();
    store::quarantine(connection, &bad, BAD_ROW_PAUSE).await?;
    let there: HashSet<_> = arrived.iter().map(|task| task.id).chain(bad.iter().copied()).collect();
    let gone: Vec<_> = ids.iter().filter(|id| !there.contains(id)).copied().collect();
    store::take_off(connection, &gone).await?;
    let strangers: Vec<_> =
        arrived.iter().filter(|task| !task.is_introduced).map(|task| task.id).collect();
    let introduced = store::introduce_integrations(connection, &strangers).await?;
    let misfits = store::misfits(connection, &strangers).await?;
    store::hold(connection, &misfits, BAD_ROW_PAUSE).await?;
    let held: HashSet<_> = misfits.iter().map(|misfit| misfit.id).collect();
    let ids = bad.iter().chain(&gone).chain(&held).copied().collect();
    let mut batch = Batch { ids, unreadable, gone, misfits, introduced, ..Batch::default() };
    let arrived: Vec<_> = arrived.into_iter().filter(|task| !held.contains(&task.id)).collect();
    let (firsts, others) = firsts_and_others(&arrived);
    order_known(connection, policy, &others, &mut batch).await?;
    let placed: Vec<_> = firsts
        .iter()
        .map(|task| First { task: task.id, begins: beginning(policy, task) })
        .collect();
    let due = store::place_first(connection, &placed).await?;
    member::store::lower_next_due_times(connection, &due).await?;
    let firsts = firsts.iter().map(|task| task.id);
    batch.ids.extend(firsts.clone());
    batch.ordered.extend(firsts);
    Ok(batch)
}

/// Splits the rows into single requests of unknown members, which no other request can conflict with, and the others.
fn firsts_and_others(arrived: &[Arrived]) -> (Vec<&Arrived>, Vec<&Arrived>) {
    let mut count: HashMap<&MemberKey, usize> = HashMap::new();
    for task in arrived {
        *count.entry(&task.key).or_default() += 1;
    }
    arrived.iter().partition(|task| !task.is_known && !task.has_succeeded && count[&task.key] == 1)
}

fn beginning(policy: &IntakePolicy, task: &Arrived) -> Beginning {
    first_due(
        &policy.retry,
        &Arrival {
            operation: task.operation,
            application: &task.application,
            has_automation: task.has_automation,
            failure: &task.failure,
        },
    )
}
