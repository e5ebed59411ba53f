//! The loop: claim what is due, make one step of each claim, record its outcome.
//!
//! The loop does not know the flow; [`Stage`] binds it to tasks and to syncs. Claims are made ahead only as fast as
//! steps end. So fast steps never wait for the database, and slow steps do not leave claims waiting until their leases
//! end. A slot is free again when its step has ended. An outcome that is not yet recorded counts as in flight, and the
//! number of claims in flight is bounded.

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
use crate::telemetry::traces;

/// Claims are made ahead for this time, at the rate at which steps end.
const AHEAD_FOR: Duration = Duration::from_millis(50);

/// Small enough that steps go on with some claims while the next are made.
const LARGEST_CLAIM: usize = 500;

/// A small claim costs as much as a large one, so this time passes between claims while little room is free or little
/// is due.
const MIN_CLAIM_INTERVAL: Duration = Duration::from_millis(5);

/// After a claim that found nothing, a step that ended leads to another claim only after this time.
const EMPTY_CLAIM_PAUSE: Duration = Duration::from_millis(50);

/// A claim that gets no slot in this time is handed back: its lease is for working, not for waiting.
const WAITS_AT_MOST: Duration = Duration::from_secs(1);

pub trait Stage: Send + Sync + 'static {
    type Claim: Send + Sync + 'static;

    /// What a step returns for a claim.
    type Outcome: Send;

    fn claim(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self::Claim>, StoreError>> + Send;

    /// Works on one claim; `None` leaves the claim until its lease ends.
    fn step(&self, claim: &Self::Claim) -> impl Future<Output = Option<Self::Outcome>> + Send;

    fn record(&self, claim: Self::Claim, outcome: Self::Outcome)
    -> impl Future<Output = ()> + Send;

    /// Hands back claims whose work has not begun.
    fn hand_back(&self, claims: Vec<Self::Claim>) -> impl Future<Output = ()> + Send;

    /// The span of one claim's work in the log.
    fn span(&self, claim: &Self::Claim) -> tracing::Span;

    /// The span of one claim's work in a trace.
    fn trace(&self, _claim: &Self::Claim) -> traces::Span {
        traces::Span::default()
    }
}

pub struct Worker<S: Stage> {
    pub stage: Arc<S>,
    /// Steps made at a time.
    pub max_in_flight: usize,
    /// Claims made ahead at most.
    pub max_ahead: usize,
    /// Notified when there may be new work.
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
                // A notification during a claim is kept for later: the claim may have read before the new work was
                // there.
                () = dispatcher.worker.new_work.notified(), if dispatcher.claiming.is_none() => dispatcher.rests_until = None,
                () = dispatcher.shared.moved.notified() => dispatcher.claim_again_soon(),
                () = sleep_until(wake) => dispatcher.wake().await,
            }
        }
        dispatcher.drain().await;
    }
}

type Claims<S> = Result<Vec<<S as Stage>::Claim>, StoreError>;

/// What the loop shares with the work that it began.
struct Shared {
    /// Notified when a step or a record ended.
    moved: Notify,
    /// Claims that are not recorded yet, or still wait for a slot.
    in_flight_claims: AtomicUsize,
    /// Steps that ended since the last claim.
    ended: AtomicUsize,
}

/// A claim whose work has begun. When the work ends, even by a panic, the claim is no longer in flight.
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

/// The state of a running loop.
struct Dispatcher<S: Stage> {
    worker: Worker<S>,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    in_flight: TaskTracker,
    /// Claims that wait for a slot, with the time since when they wait.
    waiting: VecDeque<(Instant, S::Claim)>,
    // A task of its own and not a branch of the select: a claim that is cancelled half-way would be lost until its
    // lease ends.
    claiming: Option<JoinHandle<Claims<S>>>,
    claimed_at: Instant,
    /// How many rows the last claim could have taken.
    asked: usize,
    /// Whether it took that many: then there may be more.
    may_be_more: bool,
    /// How many claims are made ahead.
    ahead: usize,
    rests_until: Option<Instant>,
    /// Whether a step or a record ended since the last claim began.
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
        let (span, trace) = (stage.span(&claim), stage.trace(&claim));
        let work = async move {
            let outcome = stage.step(&claim).await;
            drop(slot);
            in_flight_claims.0.ended.fetch_add(1, Ordering::SeqCst);
            in_flight_claims.0.moved.notify_one();
            if let Some(outcome) = outcome {
                stage.record(claim, outcome).await;
            }
        };
        self.in_flight.spawn(trace.around(work.instrument(span)));
    }

    /// How many claims may be made now.
    fn room(&self) -> usize {
        self.most().saturating_sub(self.shared.in_flight_claims.load(Ordering::SeqCst))
    }

    /// How many claims may be in flight: those that have a slot, those that are claimed ahead, and as many again that
    /// are being recorded.
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

    /// A step that ended may admit other work, for example the next task of an app with a limit.
    fn claim_again_soon(&mut self) {
        self.worker.poll_interval.on_progress();
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

    /// When the oldest claim that waits for a slot is handed back.
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

/// How many claims to make ahead after `ended` steps ended in `time`. The number rises at once and falls slowly.
fn ahead(before: usize, ended: usize, time: Duration) -> usize {
    let rate = ended as f64 / time.as_secs_f64().max(0.001);
    let now = (rate * AHEAD_FOR.as_secs_f64()).min(1e6) as usize;
    now.max(before - before.div_ceil(8))
}

/// Waits for the claim that is being made; for ever, if there is none.
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

/// Runs `step` within the time that its lease has left; `None` if that ran out.
pub async fn within<T>(left: Duration, step: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(left, step).await.ok()
}

#[cfg(test)]
mod tests;
