//! Orders the new rows of members that have other requests.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::log::Batch;
use super::order::{Intent, Order, Standing};
use super::store::{Arrived, Known, OpenAction, Placed};
use super::{IntakePolicy, LOCKED_PAUSE, beginning, order, store};
use crate::database::PgConnection;
use crate::manual_action;
use crate::member;
use crate::member::store::{Member, Ordered, Request};
use crate::membership::{MemberKey, MemberKeys, Operation};
use crate::store::StoreError;

/// A member with new requests, and the order of all its requests.
struct Sorted<'a> {
    key: &'a MemberKey,
    member: Member,
    arrived: Vec<&'a Arrived>,
    action: Option<OpenAction>,
    order: Order,
}

pub(super) async fn order_known(
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
    store::quarantine(connection, &early, LOCKED_PAUSE).await?;
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
            (true, false) => Standing::Ready,
            (false, _) => Standing::Blocked,
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
    store::quarantine(connection, &waiting, LOCKED_PAUSE).await?;
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
    batch.succeeded_elsewhere = succeeded.len();
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
        self.member.ready.is_some() && self.order.ready == self.member.ready
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
            place: if self.order.ready == Some(task.id) { "ready" } else { "blocked" },
            begins: beginning(policy, task),
        });
        placed.collect()
    }

    fn ordered(&self, requests: &HashMap<i64, Known>) -> Ordered<'_> {
        let keeps_turn = self.keeps_turn();
        let next = self.order.ready.filter(|_| !keeps_turn);
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
            blocked: next.into_iter().chain(self.order.blocked.iter().copied()).collect(),
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
