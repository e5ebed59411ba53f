//! The loop: claim what is due, work on each claim for one step, record what it said.
//!
//! Knows nothing of the flow; [`Stage`] binds it to tasks and to syncs. A claim never takes more than can
//! be worked on at once, so no lease runs down in a queue of ours, and a place is free again only when the
//! result is in the database.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::emit;
use crate::pulse::Pulse;
use crate::store::StoreError;

/// What the loop works on.
pub trait Stage: Send + Sync + 'static {
    /// One claimed row.
    type Claim: Send + Sync + 'static;

    /// Claims up to `limit` rows.
    fn claim(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self::Claim>, StoreError>> + Send;

    /// Works on one claim and records the outcome.
    fn work(&self, claim: Self::Claim) -> impl Future<Output = ()> + Send;

    /// Hands claims back that no work was begun for.
    fn hand_back(&self, claims: Vec<Self::Claim>) -> impl Future<Output = ()> + Send;

    /// The span of one claim's work.
    fn span(&self, claim: &Self::Claim) -> tracing::Span;
}

/// A loop over one stage.
pub struct Worker<S: Stage> {
    /// What it works on.
    pub stage: Arc<S>,
    /// Claims worked on at a time.
    pub max_in_flight: usize,
    /// Rings when there may be new work.
    pub new_work: Arc<Notify>,
    /// Time between looks.
    pub pulse: Pulse,
}

impl<S: Stage> Worker<S> {
    /// Runs until `stop`, then waits for the work in flight.
    pub async fn run(mut self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.max_in_flight));
        let in_flight = TaskTracker::new();
        while !stop.is_cancelled() {
            let Some(Ok(place)) = stop.run_until_cancelled(places.clone().acquire_owned()).await
            else {
                break;
            };
            drop(place); // at least one is free, and this loop is the only taker
            // Not under a select: a claim that was cancelled half-way would be lost until its lease ends.
            let claims = match self.stage.claim(places.available_permits()).await {
                Ok(claims) => {
                    self.pulse.well();
                    claims
                }
                Err(error) => {
                    self.pulse.failed(&error);
                    Vec::new()
                }
            };
            if claims.is_empty() {
                self.rest(&stop).await;
                continue;
            }
            if stop.is_cancelled() {
                self.stage.hand_back(claims).await;
                break;
            }
            for claim in claims {
                let place =
                    places.clone().try_acquire_owned().expect("only this loop takes places");
                let stage = Arc::clone(&self.stage);
                let span = stage.span(&claim);
                let new_work = Arc::clone(&self.new_work);
                in_flight.spawn(async move {
                    let work = async move { stage.work(claim).await }.instrument(span);
                    // In a task of its own, so that a panic ends the work and neither its place nor the news of it.
                    if tokio::spawn(work).await.is_err() {
                        emit!(WORKER_PANICKED, "the work on a row panicked");
                    }
                    drop(place);
                    new_work.notify_one(); // a member's next task may have got its turn
                });
            }
        }
        in_flight.close();
        in_flight.wait().await;
    }

    async fn rest(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.new_work.notified() => {} // a ring while we were busy is kept
            () = tokio::time::sleep(self.pulse.next()) => {}
        }
    }
}

/// Runs `step` under the time its lease leaves; `None` if that ran out.
pub async fn within<T>(left: Duration, step: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(left, step).await.ok()
}

#[cfg(test)]
mod tests;
