//! The stage of tasks that have their turn: claim, step, record.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch::{BatchResult, Batches};
use super::outcome::Recorder;
use super::{RECORDING, not_recorded, traces};
use crate::backend::{Client, Opening, Scope};
use crate::config::Config;
use crate::database::PgPool;
use crate::emit;
use crate::lease::LeaseLost;
use crate::manual_action::instructions::Library;
use crate::retry::claim::Quota;
use crate::retry::lanes::{DueFrom, Lanes};
use crate::retry::step::Steps;
use crate::retry::{self, ClaimedTask};
use crate::store::{StoreError, with_timeout};
use crate::telemetry::metrics::{self, AttemptClass, Leased};
use crate::telemetry::traces::Span;
use crate::worker::{Stage, within};

pub struct RetryStage {
    steps: Steps,
    lease: Duration,
    query_timeout: Duration,
    recorder: Arc<Recorder>,
    batches: Batches,
    lanes: Mutex<Lanes>,
}

impl RetryStage {
    pub fn new(config: &Config, library: Arc<Library>, pool: PgPool, backend: Client) -> Arc<Self> {
        let recorder = Arc::new(Recorder::new(config, library, pool));
        let query_timeout = config.database.query_timeout();
        Arc::new(Self {
            steps: Steps { backend, policy: retry::RetryPolicy::new(config) },
            lease: config.worker.lease(),
            query_timeout,
            batches: Batches::start(Arc::clone(&recorder), query_timeout),
            recorder,
            lanes: Mutex::default(),
        })
    }

    /// Claims a few tasks for workspaces and apps whose outage may be over. Their result decides whether other tasks
    /// are admitted.
    async fn claim_openings(
        &self,
        quota: Quota,
        limit: usize,
        tasks: &mut Vec<Arc<ClaimedTask>>,
    ) -> Result<(), StoreError> {
        let backend = &self.steps.backend;
        for Opening { scope, room } in backend.openings() {
            let room = i64::from(room).min(i64::try_from(limit - tasks.len()).unwrap_or(0));
            if room == 0 {
                return Ok(());
            }
            let key = scope.key();
            let unavailable =
                quota.unavailable.iter().filter(|one| **one != key).cloned().collect();
            let due_from = DueFrom::default();
            let quota = Quota { tasks: room, unavailable, only: Some(key), due_from, ..quota };
            let claiming = retry::claim::claim(&self.recorder.pool, &quota, self.lease);
            let claimed = with_timeout(self.query_timeout, claiming).await?.tasks;
            backend.let_through(&scope, claimed.len());
            tasks.extend(claimed);
        }
        Ok(())
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage for RetryStage {
    /// In an `Arc`, because a claimed task is large and is moved often.
    type Claim = Arc<ClaimedTask>;
    type Outcome = retry::TaskOutcome;

    async fn claim(&self, limit: usize) -> Result<Vec<Arc<ClaimedTask>>, StoreError> {
        let began = Instant::now();
        let unavailable = self.steps.backend.unavailable();
        let quota = Quota {
            tasks: i64::try_from(limit).unwrap_or(i64::MAX),
            max_in_flight: self.recorder.breaker.max_in_flight(),
            starts_per_minute: self.recorder.breaker.starts_per_minute(),
            unavailable: unavailable.iter().map(Scope::key).collect(),
            only: None,
            due_from: self.lanes().at(began),
        };
        let claiming = retry::claim::claim(&self.recorder.pool, &quota, self.lease);
        let claimed = with_timeout(self.query_timeout, claiming).await?;
        let may_be_more = claimed.may_be_more || claimed.tasks.len() >= limit;
        self.lanes().advance(&claimed.tasks, may_be_more, began);
        let mut tasks = claimed.tasks;
        if !unavailable.is_empty() {
            self.claim_openings(quota, limit, &mut tasks).await?;
        }
        tasks.iter().for_each(|task| count_claim(task));
        Ok(tasks)
    }

    /// If the time runs out, nothing is recorded. The next claim treats the outcome as unknown.
    async fn step(&self, task: &Arc<ClaimedTask>) -> Option<retry::TaskOutcome> {
        let (workspace, integration) = (&task.key.workspace, &task.key.integration);
        if self.steps.backend.pauses(workspace, integration) {
            self.hand_back(vec![Arc::clone(task)]).await;
            return None;
        }
        let left = task.lease.left().saturating_sub(RECORDING);
        within(left, self.steps.step(task)).await
    }

    async fn record(&self, task: Arc<ClaimedTask>, next: retry::TaskOutcome) {
        traces::attempt_ended(&next);
        let attempt = retry::decide::ended_attempt(&task, &next);
        match self.batches.record(&task, &next).await {
            BatchResult::Written => {
                count_attempt(&task, attempt);
                return self.recorder.decide_returns(&task).await;
            }
            BatchResult::Unknown => return,
            BatchResult::LeftOut => {}
        }
        // On the heap: this case is rare, and otherwise every step would carry its size.
        let recorded = Box::pin(self.recorder.record(&task, next));
        match with_timeout(self.query_timeout, recorded).await {
            Ok(Ok(())) => count_attempt(&task, attempt),
            Ok(Err(LeaseLost)) => {
                metrics::write_was_stale(Leased::Task);
                emit!(LEASE_LOST, task.id = task.id, "The task was claimed again meanwhile")
            }
            Err(error) => not_recorded("task", task.id, &error),
        }
    }

    async fn hand_back(&self, tasks: Vec<Arc<ClaimedTask>>) {
        self.lanes().forget(&tasks);
        let handed =
            with_timeout(self.query_timeout, retry::claim::hand_back(&self.recorder.pool, &tasks));
        if let Err(error) = handed.await {
            not_recorded("tasks", tasks.len(), &error);
        }
    }

    fn span(&self, task: &Arc<ClaimedTask>) -> tracing::Span {
        tracing::info_span!(
            "retry.step",
            task.id = task.id,
            task.attempts = task.attempts,
            integration.id = task.key.integration
        )
    }

    fn trace(&self, task: &Arc<ClaimedTask>) -> Span {
        traces::attempt(task)
    }
}

fn count_claim(task: &ClaimedTask) {
    if let Some(waited) = task.pickup {
        metrics::picked_up_after(waited);
    }
    if task.unreleased_claims > 1 {
        metrics::lease_lost(Leased::Task);
    }
}

fn count_attempt(task: &ClaimedTask, ended: Option<AttemptClass>) {
    if let Some(class) = ended {
        metrics::attempt_ended(task.desired.operation, class);
    }
}
