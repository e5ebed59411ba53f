//! The loop: claim what is due, make one step of each claim, record what it said.
//!
//! Knows nothing of the flow; [`Stage`] binds it to tasks and to syncs. Claims are made ahead only as fast as steps end,
//! so that fast steps never wait for the database and slow ones never let a lease run down in
//! a queue of ours. A slot is free again when its step has ended; what is not yet recorded counts as in flight, and
//! there is only so much of that.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::emit;
use crate::poll_interval::PollInterval;
use crate::store::StoreError;

/// Claims are made ahead for as long as this, at the rate at which steps end.
const AHEAD_FOR: Duration = Duration::from_millis(50);

/// Few enough that steps go on with some claims while the next are made.
const LARGEST_CLAIM: usize = 500;

/// Small claims cost as much as large ones: while little room is free or little is due, this long between them.
const MIN_CLAIM_INTERVAL: Duration = Duration::from_millis(5);

/// After a claim that found nothing: this long until what ended meanwhile is a reason for another.
const EMPTY_CLAIM_PAUSE: Duration = Duration::from_millis(50);

/// A claim that no slot came free for in this time goes back: its lease is for working, not for waiting.
const WAITS_AT_MOST: Duration = Duration::from_secs(1);

/// What the loop works on.
pub trait Stage: Send + Sync + 'static {
    type Claim: Send + Sync + 'static;

    /// What a step says of a claim.
    type Outcome: Send;

    /// Claims up to `limit` rows.
    fn claim(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self::Claim>, StoreError>> + Send;

    /// Works on one claim; `None` leaves it to the end of its lease.
    fn step(&self, claim: &Self::Claim) -> impl Future<Output = Option<Self::Outcome>> + Send;

    fn record(&self, claim: Self::Claim, outcome: Self::Outcome)
    -> impl Future<Output = ()> + Send;

    /// Hands claims back that no work was begun for.
    fn hand_back(&self, claims: Vec<Self::Claim>) -> impl Future<Output = ()> + Send;

    /// The span of one claim's work.
    fn span(&self, claim: &Self::Claim) -> tracing::Span;
}

/// A loop over one stage.
pub struct Worker<S: Stage> {
    /// What it works on.
    pub stage: Arc<S>,
    /// Steps made at a time.
    pub max_in_flight: usize,
    /// Claims made ahead at most.
    pub max_ahead: usize,
    /// Rings when there may be new work.
    pub new_work: Arc<Notify>,
    pub poll_interval: PollInterval,
}

impl<S: Stage> Worker<S> {
    /// Runs until `stop`, then waits for the work in flight.
    pub async fn run(self, stop: CancellationToken) {
        let mut dispatcher = Dispatcher::new(self);
        while !stop.is_cancelled() {
            dispatcher.begin_steps();
            dispatcher.begin_claim();
            let wake = dispatcher.wake_at();
            tokio::select! {
                () = stop.cancelled() => {}
                claims = claimed(&mut dispatcher.claiming) => dispatcher.take(claims),
                // A ring while a claim is made is kept: the claim may have looked before what it rings for was there.
                () = dispatcher.worker.new_work.notified(), if dispatcher.claiming.is_none() => dispatcher.rests_until = None,
                () = dispatcher.shared.moved.notified() => dispatcher.look_again_soon(),
                () = sleep_until(wake) => dispatcher.wake().await,
            }
        }
        dispatcher.drain().await;
    }
}

type Claims<S> = Result<Vec<<S as Stage>::Claim>, StoreError>;

/// What the loop shares with the work that it began.
struct Shared {
    /// A step or a record ended.
    moved: Notify,
    /// Claims that are not recorded yet, or still wait for a slot.
    in_flight_claims: AtomicUsize,
    /// Steps that ended since the last claim.
    ended: AtomicUsize,
}

/// A claim that work was begun for. However the work ends, by a panic too, it is no longer in flight then.
struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if std::thread::panicking() {
            emit!(WORKER_PANICKED, "The work on a row panicked");
        }
        self.0.in_flight_claims.fetch_sub(1, Ordering::SeqCst);
        self.0.moved.notify_one();
    }
}

/// The loop at work.
struct Dispatcher<S: Stage> {
    worker: Worker<S>,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    in_flight: TaskTracker,
    /// Claims that wait for a slot, since when.
    waiting: VecDeque<(Instant, S::Claim)>,
    // Not under a select: a claim that was cancelled half-way would be lost until its lease ends.
    claiming: Option<JoinHandle<Claims<S>>>,
    claimed_at: Instant,
    /// How many the last claim could have taken.
    asked: usize,
    /// Whether it took as many: then there may be more.
    may_be_more: bool,
    /// Claims that are made ahead.
    ahead: usize,
    rests_until: Option<Instant>,
    /// Whether something ended since the last claim was begun.
    has_moved: bool,
}

impl<S: Stage> Dispatcher<S> {
    fn new(worker: Worker<S>) -> Self {
        let shared = Shared {
            moved: Notify::new(),
            in_flight_claims: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
        };
        Self {
            slots: Arc::new(Semaphore::new(worker.max_in_flight)),
            shared: Arc::new(shared),
            worker,
            in_flight: TaskTracker::new(),
            waiting: VecDeque::new(),
            claiming: None,
            claimed_at: Instant::now(),
            asked: 0,
            may_be_more: true,
            ahead: 0,
            rests_until: None,
            has_moved: false,
        }
    }

    fn begin_steps(&mut self) {
        while !self.waiting.is_empty() {
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
            if let Some((_, claim)) = self.waiting.pop_front() {
                self.begin_step(claim, slot);
            }
        }
    }

    fn begin_step(&self, claim: S::Claim, slot: OwnedSemaphorePermit) {
        let stage = Arc::clone(&self.worker.stage);
        let in_flight_claims = InFlight(Arc::clone(&self.shared));
        let span = stage.span(&claim);
        let work = async move {
            let outcome = stage.step(&claim).await;
            drop(slot);
            in_flight_claims.0.ended.fetch_add(1, Ordering::SeqCst);
            in_flight_claims.0.moved.notify_one();
            if let Some(outcome) = outcome {
                stage.record(claim, outcome).await;
            }
        };
        self.in_flight.spawn(work.instrument(span));
    }

    /// How many claims may be made now.
    fn room(&self) -> usize {
        self.most().saturating_sub(self.shared.in_flight_claims.load(Ordering::SeqCst))
    }

    /// How many claims may be in flight: as much again as is claimed ahead may be on its way into the database.
    fn most(&self) -> usize {
        self.worker.max_in_flight + 2 * self.ahead
    }

    fn begin_claim(&mut self) {
        let room = self.room();
        let is_large = room >= LARGEST_CLAIM || 4 * room >= self.most();
        let is_time =
            is_large && self.may_be_more || self.claimed_at.elapsed() >= MIN_CLAIM_INTERVAL;
        if room == 0 || !is_time || self.claiming.is_some() || self.rests_until.is_some() {
            return;
        }
        self.has_moved = false;
        let stage = Arc::clone(&self.worker.stage);
        let limit = room.min(LARGEST_CLAIM);
        self.asked = limit;
        self.claiming = Some(tokio::spawn(async move { stage.claim(limit).await }));
    }

    fn take(&mut self, claims: Claims<S>) {
        self.claiming = None;
        let now = Instant::now();
        let ended = self.shared.ended.swap(0, Ordering::SeqCst);
        self.ahead = ahead(self.ahead, ended, now - self.claimed_at).min(self.worker.max_ahead);
        self.claimed_at = now;
        let claims = match claims {
            Ok(claims) => {
                self.worker.poll_interval.on_success();
                claims
            }
            Err(error) => {
                self.worker.poll_interval.on_failure(&error);
                self.has_moved = false;
                Vec::new()
            }
        };
        self.may_be_more = claims.len() >= self.asked;
        if claims.is_empty() {
            let rest =
                if self.has_moved { EMPTY_CLAIM_PAUSE } else { self.worker.poll_interval.next() };
            self.rests_until = Some(self.claimed_at + rest);
        }
        self.shared.in_flight_claims.fetch_add(claims.len(), Ordering::SeqCst);
        self.waiting.extend(claims.into_iter().map(|claim| (self.claimed_at, claim)));
    }

    /// What ended may have let something else through: a limited app's next task, for one.
    fn look_again_soon(&mut self) {
        self.has_moved = true;
        let soon = self.claimed_at + EMPTY_CLAIM_PAUSE;
        self.rests_until = self.rests_until.map(|until| until.min(soon));
    }

    fn wake_at(&self) -> Instant {
        let rests = self.rests_until;
        let claims = (rests.is_none() && self.claiming.is_none() && self.room() > 0)
            .then(|| self.claimed_at + MIN_CLAIM_INTERVAL);
        let never = Instant::now() + Duration::from_secs(60);
        [rests, claims, self.waits_until()].into_iter().flatten().min().unwrap_or(never)
    }

    /// When the oldest claim that waits for a slot goes back.
    fn waits_until(&self) -> Option<Instant> {
        self.waiting.front().map(|(since, _)| *since + WAITS_AT_MOST)
    }

    async fn wake(&mut self) {
        let now = Instant::now();
        if self.rests_until.is_some_and(|until| until <= now) {
            self.rests_until = None;
        }
        if self.waits_until().is_some_and(|until| until <= now) {
            self.ahead = 0;
            self.hand_back().await;
        }
    }

    async fn hand_back(&mut self) {
        let claims: Vec<_> = self.waiting.drain(..).map(|(_, claim)| claim).collect();
        self.shared.in_flight_claims.fetch_sub(claims.len(), Ordering::SeqCst);
        if !claims.is_empty() {
            self.worker.stage.hand_back(claims).await;
        }
    }

    async fn drain(mut self) {
        if self.claiming.is_some() {
            let claims = claimed(&mut self.claiming).await;
            self.take(claims);
        }
        self.hand_back().await;
        self.in_flight.close();
        self.in_flight.wait().await;
    }
}

/// How many claims to make ahead after `ended` steps ended in `time`: up at once, and down little by little.
fn ahead(before: usize, ended: usize, time: Duration) -> usize {
    let rate = ended as f64 / time.as_secs_f64().max(0.001);
    let now = (rate * AHEAD_FOR.as_secs_f64()).min(1e6) as usize;
    now.max(before - before.div_ceil(8))
}

/// Waits for the claim that is being made; for ever, if none is.
async fn claimed<C>(
    claiming: &mut Option<JoinHandle<Result<C, StoreError>>>,
) -> Result<C, StoreError>
where
    C: Default,
{
    match claiming {
        Some(handle) => handle.await.unwrap_or_else(|_| {
            emit!(WORKER_PANICKED, "A claim panicked");
            Ok(C::default())
        }),
        None => std::future::pending().await,
    }
}

/// Runs `step` under the time its lease leaves; `None` if that ran out.
pub async fn within<T>(left: Duration, step: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(left, step).await.ok()
}

#[cfg(test)]
mod tests;
