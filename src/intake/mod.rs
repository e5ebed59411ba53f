//! Intake: turns new rows into requests of their members, in order.
//!
//! The backend inserts rows in any order, in batches, and from transactions that may be open for minutes. Intake places
//! each row: the request gets its turn, is blocked behind another, or is closed because a later request won. For that
//! it needs the member's row and its few unfinished requests, never its history. One replica orders at a time.
//!
//! A row that cannot be ordered must not stop the others. A batch that fails is split until the bad row is alone. That
//! row is quarantined with a WARN and tried again later. Likewise, the rows of a member wait while a person has the
//! member's manual action locked.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::catalogue;
use crate::config::Config;
use crate::database::{PgConnection, PgPool};
use crate::emit;
use crate::manual_action;
use crate::member;
use crate::member::store::{Member, Ordered, Request, let_sleep};
use crate::membership::{MemberKey, MemberKeys, Operation};
use crate::poll_interval::PollInterval;
use crate::retry;
use crate::retry::decide::{Arrival, Beginning, first_due};
use crate::store::{StoreError, begin, begin_exclusive, in_parts, with_timeout};
use crate::sync;
use crate::telemetry::chain;
use crate::wakeup::Wakeups;

pub mod inbound;
pub mod order;
mod scan_start;
mod store;

use order::{Intent, Order, Standing};
use scan_start::ScanStart;
use store::{Arrived, First, Known, Misfit, OpenAction, Placed};

/// A row that could not be ordered is tried again after this long. A person has to fix it.
const BAD_ROW_PAUSE: Duration = Duration::from_secs(60);

/// The rows of a member whose action a person has locked are tried again after this long.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// How often integrations that arrivals woke are checked, to let them sleep again.
const LET_SLEEP_EVERY: Duration = Duration::from_secs(1);

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
    let mut woken = Woken::default();
    while !stop.is_cancelled() {
        let after = start.at(Instant::now());
        let ordering = order_some(&pool, &policy, after, config.intake.batch);
        match with_timeout(config.database.query_timeout(), ordering).await {
            Ok(ids) => {
                poll_interval.on_success();
                if !ids.is_empty() {
                    wakeups.tasks.notify_one();
                }
                let is_full = ids.len() >= full;
                start.advance(ids.iter().max().copied(), is_full, Instant::now());
                wakeups.ordered_up_to.store(start.settled(), Ordering::Relaxed);
                woken.any |= !ids.is_empty();
                if is_full {
                    continue;
                }
                if woken.may_sleep()
                    && let Err(error) =
                        with_timeout(config.database.query_timeout(), let_sleep(&pool)).await
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

/// Decides when to let integrations sleep again that arrivals woke. Claims scan every integration that is awake.
#[derive(Debug, Default)]
struct Woken {
    any: bool,
    let_sleep: Option<Instant>,
}

impl Woken {
    fn may_sleep(&mut self) -> bool {
        let is_due =
            self.any && self.let_sleep.is_none_or(|last| last.elapsed() >= LET_SLEEP_EVERY);
        if is_due {
            *self = Self { any: false, let_sleep: Some(Instant::now()) };
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
            let parts = in_parts(ids, error, order, |id, error| quarantined(pool, id, error));
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

async fn quarantined(pool: &PgPool, id: i64, error: StoreError) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    store::quarantined(&mut tx, &[id], BAD_ROW_PAUSE).await?;
    tx.commit().await?;
    log_quarantined(id, &chain(&error).to_string());
    Ok(())
}

fn log_quarantined(id: i64, error: &str) {
    emit!(
        TASK_QUARANTINED,
        task.id = id,
        error,
        wait_s = BAD_ROW_PAUSE.as_secs(),
        "This row cannot be worked on; all others go on"
    );
}

/// The result of one batch, logged after the commit.
#[derive(Default)]
struct Batch {
    /// The rows that were dealt with: ordered or quarantined.
    ids: Vec<i64>,
    ordered: Vec<i64>,
    superseded: Vec<order::Superseded>,
    ended_actions: Vec<(i64, i64)>,
    unreadable: Vec<store::Unreadable>,
    /// Rows that are held until a person decides.
    misfits: Vec<Misfit>,
    /// Rows that were deleted before they were placed.
    gone: Vec<i64>,
}

impl Batch {
    fn log(&self) {
        for loser in &self.superseded {
            emit!(
                TASK_SUPERSEDED,
                task.id = loser.task,
                superseded_by = loser.by,
                "Replaced by a newer request"
            );
        }
        for (action, by) in &self.ended_actions {
            emit!(
                ACTION_SUPERSEDED,
                action.id = action,
                superseded_by = by,
                "Stop: replaced by a newer request"
            );
        }
        for id in &self.ordered {
            emit!(TASK_ORDERED, task.id = id, "The task has its place");
        }
        for (id, error) in &self.unreadable {
            log_quarantined(*id, &error.to_string());
        }
        log_held(&self.misfits);
        for id in &self.gone {
            let error = "The row was deleted before it had a place: nothing is left to do";
            emit!(
                TASK_QUARANTINED,
                task.id = id,
                error,
                "This row cannot be worked on; all others go on"
            );
        }
    }
}

/// Logs one WARN for each integration and difference, however many rows have it.
fn log_held(misfits: &[Misfit]) {
    let mut alike: BTreeMap<(&str, &str, &str), Vec<i64>> = BTreeMap::new();
    for Misfit { id, workspace, integration, differs } in misfits {
        alike.entry((workspace, integration, differs)).or_default().push(*id);
    }
    for ((workspace, integration, differs), tasks) in alike {
        emit!(
            TASK_HELD,
            task.id = tasks[0],
            workspace.id = workspace,
            integration.id = integration,
            differs,
            tasks = tasks.len(),
            "The row says another kind or application than its integration has; it waits for a person"
        );
    }
}

async fn order_batch(
    connection: &mut PgConnection,
    policy: &IntakePolicy,
    ids: &[i64],
) -> Result<Batch, StoreError> {
    let (arrived, unreadable) = store::read(connection, ids).await?;
    let bad: Vec<_> = unreadable.iter().map(|(id, _)| *id).collect();
    store::quarantined(connection, &bad, BAD_ROW_PAUSE).await?;
    let there: HashSet<_> = arrived.iter().map(|task| task.id).chain(bad.iter().copied()).collect();
    let gone: Vec<_> = ids.iter().filter(|id| !there.contains(id)).copied().collect();
    store::take_off(connection, &gone).await?;
    let strangers: Vec<_> =
        arrived.iter().filter(|task| !task.is_introduced).map(|task| task.id).collect();
    store::introduce_integrations(connection, &strangers).await?;
    let misfits = store::misfits(connection, &strangers).await?;
    store::hold(connection, &misfits, BAD_ROW_PAUSE).await?;
    let held: HashSet<_> = misfits.iter().map(|misfit| misfit.id).collect();
    let ids = bad.iter().chain(&gone).chain(&held).copied().collect();
    let mut batch = Batch { ids, unreadable, gone, misfits, ..Batch::default() };
    let arrived: Vec<_> = arrived.into_iter().filter(|task| !held.contains(&task.id)).collect();
    let (firsts, others) = firsts_and_others(&arrived);
    order_known(connection, policy, &others, &mut batch).await?;
    let placed: Vec<_> = firsts
        .iter()
        .map(|task| First { task: task.id, begins: beginning(policy, task) })
        .collect();
    let due = store::place_first(connection, &placed).await?;
    member::store::wake(connection, &due).await?;
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

/// A member with new requests, and the order of all its requests.
struct Sorted<'a> {
    key: &'a MemberKey,
    member: Member,
    arrived: Vec<&'a Arrived>,
    action: Option<OpenAction>,
    order: Order,
}

async fn order_known(
    connection: &mut PgConnection,
    policy: &IntakePolicy,
    arrived: &[&Arrived],
    batch: &mut Batch,
) -> Result<(), StoreError> {
    if arrived.is_empty() {
        return Ok(());
    }
    let unknown: Vec<_> =
        arrived.iter().filter(|task| !task.is_known).map(|task| task.id).collect();
    member::store::introduce(connection, &unknown).await?;
    let mut of_member: BTreeMap<&MemberKey, Vec<&Arrived>> = BTreeMap::new();
    for task in arrived {
        of_member.entry(&task.key).or_default().push(task);
    }
    let mut members = member::store::lock(connection, of_member.keys().copied()).await?;
    let (requests, actions) = unfinished(connection, members.values()).await?;
    let (mut sorted, mut early) = (Vec::new(), Vec::new());
    for (key, arrived) in of_member {
        let Some(member) = members.remove(key) else { continue };
        let action = member.open_action.and_then(|id| actions.get(&id)).copied();
        // Its action has ended, but what follows from that is not written yet. The row is ordered afterwards.
        if action.is_some_and(|action| action.has_ended) {
            early.extend(arrived.iter().map(|task| task.id));
            continue;
        }
        let order = order::order(&intents(&member, action, &requests, &arrived));
        sorted.push(Sorted { key, member, arrived, action, order });
    }
    store::quarantined(connection, &early, LOCKED_PAUSE).await?;
    batch.ids.extend(early);
    let sorted = end_actions(connection, sorted, batch).await?;
    write(connection, policy, &sorted, &requests, batch).await
}

async fn unfinished(
    connection: &mut PgConnection,
    members: impl Iterator<Item = &Member> + Clone,
) -> Result<(HashMap<i64, Known>, BTreeMap<i64, OpenAction>), StoreError> {
    let tasks: Vec<_> =
        members.clone().flat_map(|one| one.ready.iter().chain(&one.blocked).copied()).collect();
    let actions: Vec<_> = members.filter_map(|one| one.open_action).collect();
    let requests = store::requests(&mut *connection, &tasks).await?;
    Ok((requests, store::actions(connection, &actions).await?))
}

/// All requests of a member that count for the order.
fn intents(
    member: &Member,
    action: Option<OpenAction>,
    requests: &HashMap<i64, Known>,
    arrived: &[&Arrived],
) -> Vec<Intent> {
    let mut intents: Vec<Intent> = Vec::new();
    let tasks = member.ready.iter().chain(&member.blocked);
    for (task, known) in tasks.filter_map(|task| Some((*task, requests.get(task)?))) {
        let standing = match (member.ready == Some(task), member.in_flight) {
            (true, true) => Standing::InFlight { superseded_by: known.superseded_by },
            (true, false) => Standing::Head,
            (false, _) => Standing::Waiting,
        };
        let (operation, requested_at) = (known.operation, known.requested_at);
        intents.push(Intent { task, operation, requested_at, standing });
    }
    if let Some(OpenAction { task, operation, requested_at, standing, .. }) = action {
        intents.push(Intent { task, operation, requested_at, standing });
    }
    intents.extend(arrived.iter().map(|task| Intent {
        task: task.id,
        operation: task.operation,
        requested_at: task.requested_at,
        standing: if task.has_succeeded { Standing::Effective } else { Standing::Arrived },
    }));
    let closed = [
        (member.removal, Operation::Remove, Standing::Void),
        (member.invite, Operation::Invite, Standing::Effective),
        (member.role, Operation::ChangeRole, Standing::Effective),
    ];
    for (request, operation, standing) in closed {
        if let Some((task, requested_at)) = request
            && !intents.iter().any(|intent| intent.task == task)
        {
            intents.push(Intent { task, operation, requested_at, standing });
        }
    }
    intents
}

/// Ends the actions that later requests superseded. If a person has an action locked, the rows of its member wait for a
/// later batch, and all others go on.
async fn end_actions<'a>(
    connection: &mut PgConnection,
    sorted: Vec<Sorted<'a>>,
    batch: &mut Batch,
) -> Result<Vec<Sorted<'a>>, StoreError> {
    let ended: Vec<_> =
        sorted.iter().flat_map(|one| one.order.ended_actions.iter().copied()).collect();
    if ended.is_empty() {
        return Ok(sorted);
    }
    batch.ended_actions = manual_action::store::supersede(connection, &ended).await?;
    let ended: HashSet<_> = batch.ended_actions.iter().map(|(action, _)| *action).collect();
    let (sorted, locked): (Vec<_>, Vec<_>) = sorted
        .into_iter()
        .partition(|one| one.order.ended_actions.iter().all(|(action, _)| ended.contains(action)));
    let waiting: Vec<_> =
        locked.iter().flat_map(|one| one.arrived.iter().map(|task| task.id)).collect();
    store::quarantined(connection, &waiting, LOCKED_PAUSE).await?;
    batch.ids.extend(waiting);
    Ok(sorted)
}

async fn write(
    connection: &mut PgConnection,
    policy: &IntakePolicy,
    sorted: &[Sorted<'_>],
    requests: &HashMap<i64, Known>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    if sorted.is_empty() {
        return Ok(());
    }
    let closed: Vec<_> = sorted.iter().flat_map(|one| one.order.closed.iter().copied()).collect();
    let marked: Vec<_> = sorted.iter().flat_map(|one| one.order.marked.iter().copied()).collect();
    let stepped: Vec<_> = sorted.iter().filter_map(Sorted::steps_back).collect();
    let done: Vec<_> = sorted.iter().flat_map(Sorted::succeeded).collect();
    let succeeded: Vec<_> = done.iter().map(|task| task.id).collect();
    let watched: Vec<_> = done.iter().map(|task| policy.first_watch(task)).collect();
    let placed: Vec<_> = sorted.iter().flat_map(|one| one.placed(policy)).collect();
    let ids: Vec<_> =
        sorted.iter().flat_map(|one| one.arrived.iter().map(|task| task.id)).collect();

    store::step_back(connection, &stepped).await?;
    store::close_superseded(connection, &closed).await?;
    store::mark_superseded(connection, &marked).await?;
    store::close_succeeded(connection, &succeeded).await?;
    store::place(connection, &placed).await?;
    let ordered: Vec<_> = sorted.iter().map(|one| one.ordered(requests)).collect();
    member::store::write_order(connection, &ordered).await?;
    member::store::desire(connection, &succeeded, &watched).await?;
    store::take_off(connection, &ids).await?;
    let keys: MemberKeys = sorted.iter().map(|one| one.key).collect();
    member::store::give_turn(connection, &keys).await?;
    batch.superseded = closed;
    batch.ordered.extend(placed.iter().map(|one| one.task));
    batch.ids.extend(ids);
    Ok(())
}

impl Sorted<'_> {
    /// The request that loses its turn although it was tried, and since when it was tried.
    fn steps_back(&self) -> Option<(i64, chrono::DateTime<chrono::Utc>)> {
        let ready = self.member.ready.filter(|_| !self.keeps_turn())?;
        Some((ready, self.member.trying_since?))
    }

    fn keeps_turn(&self) -> bool {
        self.member.ready.is_some() && self.order.head == self.member.ready
    }

    fn succeeded(&self) -> impl Iterator<Item = &Arrived> {
        self.arrived.iter().copied().filter(|task| task.has_succeeded)
    }

    /// The new requests that were not superseded at once.
    fn placed(&self, policy: &IntakePolicy) -> Vec<Placed> {
        let lost: BTreeSet<_> = self.order.closed.iter().map(|loser| loser.task).collect();
        let stays = |task: &&&Arrived| !task.has_succeeded && !lost.contains(&task.id);
        let placed = self.arrived.iter().filter(stays).map(|task| Placed {
            task: task.id,
            place: if self.order.head == Some(task.id) { "ready" } else { "blocked" },
            begins: beginning(policy, task),
        });
        placed.collect()
    }

    fn ordered(&self, requests: &HashMap<i64, Known>) -> Ordered<'_> {
        let keeps_turn = self.keeps_turn();
        let next = self.order.head.filter(|_| !keeps_turn);
        let ended = !self.order.ended_actions.is_empty();
        let of_removal = self.action.is_some_and(|action| action.operation == Operation::Remove);
        let was_tried = |removal: bool| {
            let known = self.order.closed.iter().filter_map(|loser| {
                let known = requests.get(&loser.task)?;
                let is_ready = self.member.ready == Some(loser.task);
                let was_tried = known.was_tried || is_ready && self.member.trying_since.is_some();
                Some((known.operation, was_tried))
            });
            known.into_iter().any(|(operation, was_tried)| {
                was_tried && (operation == Operation::Remove) == removal
            })
        };
        Ordered {
            key: self.key,
            keeps_turn,
            is_overtaken: !self.order.marked.is_empty(),
            blocked: next.into_iter().chain(self.order.waiting.iter().copied()).collect(),
            ends_action: ended,
            removed_by_hand: ended && of_removal,
            admitted_by_hand: ended && !of_removal,
            removal_tried: was_tried(true),
            admission_tried: was_tried(false),
            removal: self.latest(Operation::Remove, self.member.removal, |_| true),
            invite: self.latest(Operation::Invite, self.member.invite, |task| task.has_succeeded),
            role: self.latest(Operation::ChangeRole, self.member.role, |task| task.has_succeeded),
        }
    }

    /// The latest new request of an operation, if it is later than the known one.
    fn latest(
        &self,
        operation: Operation,
        known: Option<Request>,
        counts: fn(&Arrived) -> bool,
    ) -> Option<Request> {
        let new = self.arrived.iter().filter(|task| task.operation == operation && counts(task));
        let latest = new.map(|task| (task.requested_at, task.id)).max()?;
        let is_later = known.is_none_or(|(task, at)| latest > (at, task));
        is_later.then_some((latest.1, latest.0))
    }
}
