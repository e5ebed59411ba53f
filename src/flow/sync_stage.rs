//! The stage of syncs: claims syncs with a step due, runs the step, and records its outcome.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::sync_outcome::{record_sync, start_sync};
use super::sync_recorder::SyncRecorder;
use super::{judging, not_recorded};
use crate::backend::{Client, Opening, Scope};
use crate::config::Config;
use crate::database::PgPool;
use crate::emit;
use crate::lease::LeaseLost;
use crate::manual_action::instructions::Library;
use crate::store::{StoreError, with_timeout};
use crate::sync::store::Quota;
use crate::sync::{self, ClaimedSync};
use crate::telemetry::metrics::{self, Leased};
use crate::telemetry::traces;
use crate::worker::{Stage, within};

pub struct SyncStage {
    recorder: SyncRecorder,
    /// How long a claim lasts unless it is renewed.
    lease: Duration,
    /// How long one step may take.
    longest_step: Duration,
    /// How long the database may take to answer.
    query_timeout: Duration,
}

impl SyncStage {
    pub fn new(config: &Config, library: Arc<Library>, pool: PgPool, backend: Client) -> Arc<Self> {
        Arc::new(Self {
            recorder: SyncRecorder {
                pool,
                backend,
                policy: sync::SyncPolicy::new(config),
                deadlines: config.manual_action.clone(),
                library,
            },
            lease: Duration::from_secs(config.worker.sync_lease_s),
            longest_step: Duration::from_secs(config.worker.sync_step_s),
            query_timeout: config.database.query_timeout(),
        })
    }

    /// Claims a sync for each workspace or app whose outage may be over, as is done for tasks.
    async fn claim_openings(
        &self,
        quota: &Quota,
        syncs: &mut Vec<ClaimedSync>,
    ) -> Result<(), StoreError> {
        for Opening { scope, .. } in self.recorder.backend.openings() {
            if usize::try_from(quota.syncs).is_ok_and(|most| syncs.len() >= most) {
                return Ok(());
            }
            let key = scope.key();
            let unavailable =
                quota.unavailable.iter().filter(|one| **one != key).cloned().collect();
            let quota = Quota { syncs: 1, unavailable, only: Some(key) };
            let claiming = sync::store::claim(&self.recorder.pool, &quota, self.lease);
            let claimed = with_timeout(self.query_timeout, claiming).await?;
            self.recorder.backend.let_through(&scope, claimed.len());
            syncs.extend(claimed);
        }
        Ok(())
    }

    /// Starts a requested sync, then runs a step of it.
    async fn start_and_step(
        &self,
        sync: &ClaimedSync,
    ) -> Result<Result<sync::SyncOutcome, LeaseLost>, StoreError> {
        if sync.state == sync::SyncState::Requested
            && let Err(lost) =
                with_timeout(self.query_timeout, start_sync(&self.recorder, sync)).await?
        {
            return Ok(Err(lost));
        }
        let step = sync::step::Step {
            backend: &self.recorder.backend,
            policy: &self.recorder.policy,
            pool: &self.recorder.pool,
            sync,
        };
        match within(self.longest_step, self.run_and_renew(step)).await {
            Some(next) => next,
            None => Ok(Ok(sync::SyncOutcome::RetryLater {
                why: "the snapshot took longer than worker.sync_step_s".to_owned(),
                waits: false,
                min_wait: Duration::ZERO,
            })),
        }
    }

    /// Runs a step, and renews the lease meanwhile. Reading many thousands of members takes longer than another worker
    /// should wait for a sync whose worker died.
    async fn run_and_renew(
        &self,
        step: sync::step::Step<'_>,
    ) -> Result<Result<sync::SyncOutcome, LeaseLost>, StoreError> {
        let sync = step.sync;
        let mut run = pin!(step.run());
        loop {
            if let Some(next) = within(self.lease / 3, &mut run).await {
                return Ok(Ok(next?));
            }
            let renewing = sync::store::renew(&self.recorder.pool, sync, self.lease);
            if let Err(lost) = with_timeout(self.query_timeout, renewing).await? {
                return Ok(Err(lost));
            }
        }
    }
}

impl Stage for SyncStage {
    type Claim = ClaimedSync;
    type Outcome = sync::SyncOutcome;

    async fn claim(&self, limit: usize) -> Result<Vec<ClaimedSync>, StoreError> {
        let unavailable = self.recorder.backend.unavailable();
        let quota = Quota {
            syncs: i64::try_from(limit).unwrap_or(i64::MAX),
            unavailable: unavailable.iter().map(Scope::key).collect(),
            only: None,
        };
        let claiming = sync::store::claim(&self.recorder.pool, &quota, self.lease);
        let mut syncs = with_timeout(self.query_timeout, claiming).await?;
        if !unavailable.is_empty() {
            self.claim_openings(&quota, &mut syncs).await?;
        }
        let again = syncs.iter().filter(|sync| sync.unreleased_claims > 1);
        again.for_each(|_| metrics::lease_lost(Leased::Sync));
        if traces::are_on() {
            for sync in &mut syncs {
                // A sync without its links is worked on all the same.
                let found = judging::traceparents(&self.recorder.pool, sync).await;
                sync.traceparents = found.unwrap_or_default();
            }
        }
        Ok(syncs)
    }

    async fn step(&self, sync: &ClaimedSync) -> Option<sync::SyncOutcome> {
        if self.recorder.backend.pauses(&sync.workspace, &sync.integration) {
            self.hand_back(vec![sync.clone()]).await;
            return None;
        }
        match self.start_and_step(sync).await {
            Ok(Ok(next)) => Some(next),
            Ok(Err(LeaseLost)) => {
                log_lost(sync);
                None
            }
            Err(error) => {
                not_recorded("sync", sync.id, &error);
                None
            }
        }
    }

    async fn record(&self, sync: ClaimedSync, next: sync::SyncOutcome) {
        super::traces::sync_ended(&next);
        match with_timeout(self.query_timeout, record_sync(&self.recorder, &sync, next)).await {
            Ok(Ok(())) => {}
            Ok(Err(LeaseLost)) => log_lost(&sync),
            Err(error) => not_recorded("sync", sync.id, &error),
        }
    }

    async fn hand_back(&self, syncs: Vec<ClaimedSync>) {
        let handed =
            with_timeout(self.query_timeout, sync::store::hand_back(&self.recorder.pool, &syncs));
        if let Err(error) = handed.await {
            not_recorded("syncs", syncs.len(), &error);
        }
    }

    fn span(&self, sync: &ClaimedSync) -> tracing::Span {
        tracing::info_span!("sync.step", sync.id = sync.id, integration.id = sync.integration)
    }

    fn trace(&self, sync: &ClaimedSync) -> traces::Span {
        super::traces::sync(sync)
    }
}

fn log_lost(sync: &ClaimedSync) {
    metrics::write_was_stale(Leased::Sync);
    emit!(LEASE_LOST, sync.id = sync.id, "The sync was claimed again meanwhile")
}
