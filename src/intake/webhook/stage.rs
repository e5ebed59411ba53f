//! The loop's part: claims events whose job has to be read, and records what became of each.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::resolve::{Resolution, Unresolved, resolve};
use super::store::{self, Open, Problem, Quota};
use crate::backend::{Client, Opening, Scope};
use crate::backoff::delay;
use crate::config::{Backoff, Config};
use crate::database::PgPool;
use crate::emit;
use crate::store::{StoreError, with_timeout};
use crate::telemetry::chain;
use crate::telemetry::metrics::{self, WebhookEnd};
use crate::worker::Stage;

/// Events of one workspace at a time: a backend that hangs must not take every slot.
const PER_WORKSPACE: i32 = 4;

/// Longer than the work and its record.
const LEASE: Duration = Duration::from_secs(180);

/// A job may be unknown for a moment after its event. So many attempts fail before that is logged.
const ATTEMPTS_BEFORE_A_WARNING: i32 = 3;

/// The delays between attempts.
const DELAYS: Backoff =
    Backoff { first_s: 5.0, factor: 4.0, max_s: 3600.0, attempts: 10, within_s: 0, jitter: 0.2 };

/// Reads the jobs of webhooks.
#[derive(Debug)]
pub struct WebhookStage {
    pool: PgPool,
    backend: Client,
    query_timeout: Duration,
    kept_days: i32,
    /// The workspace of each event in work.
    busy: Arc<Mutex<Vec<String>>>,
}

/// An event in work.
#[derive(Debug)]
pub struct Claim {
    open: Open,
    busy: Arc<Mutex<Vec<String>>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = busy.iter().position(|one| *one == self.open.workspace) {
            busy.swap_remove(place);
        }
    }
}

impl WebhookStage {
    pub const MAX_IN_FLIGHT: usize = 16;

    pub fn new(config: &Config, pool: PgPool, backend: Client) -> Arc<Self> {
        Arc::new(Self {
            pool,
            backend,
            query_timeout: config.database.query_timeout(),
            kept_days: i32::try_from(config.retention.finished_tasks_days).unwrap_or(i32::MAX),
            busy: Arc::default(),
        })
    }

    /// The workspaces for which the backend gives no usable answer: those that rest, and those whose outage may be over.
    fn down(&self) -> (Vec<String>, Vec<String>) {
        let of_all = |scope: Scope| scope.integration.is_none().then_some(scope.workspace);
        let is_down = |workspace: &String| self.backend.is_down(workspace, "");
        let openings = self.backend.openings().into_iter().map(|Opening { scope, .. }| scope);
        let open: Vec<_> = openings.filter_map(of_all).filter(is_down).collect();
        let down = self.backend.unavailable().into_iter().filter_map(of_all).filter(is_down);
        (down.filter(|workspace| !open.contains(workspace)).collect(), open)
    }

    async fn end(&self, open: &Open, end: WebhookEnd) -> Result<(), StoreError> {
        if store::end(&self.pool, open, end).await? {
            metrics::webhook_ended(end);
        }
        Ok(())
    }

    async fn written(&self, open: &Open, resolution: Resolution) -> Result<(), StoreError> {
        match resolution {
            Resolution::Tasks(tasks) => {
                self.end(open, WebhookEnd::Tasks).await?;
                log_resolved(open, tasks);
            }
            Resolution::NoMembers => {
                self.end(open, WebhookEnd::NoMembers).await?;
                log_resolved(open, 0);
            }
            Resolution::Unfinished => {
                let (text, wait) = ("members of the job are left", Duration::ZERO);
                let problem = Problem { text, wait, attempts: 0, is_told: false };
                store::put_off(&self.pool, open, &problem).await?;
            }
            Resolution::Problem(unresolved) => self.put_off(open, &unresolved).await?,
        }
        Ok(())
    }

    async fn put_off(&self, open: &Open, unresolved: &Unresolved) -> Result<(), StoreError> {
        let is_warned = unresolved.is_about_event && open.attempts + 1 >= ATTEMPTS_BEFORE_A_WARNING;
        let is_told = (is_warned || open.is_old) && !open.is_told;
        let attempts = u32::try_from(open.attempts).unwrap_or_default();
        let wait = delay(&DELAYS, attempts).max(unresolved.asked);
        let problem = Problem { text: &unresolved.text, wait, attempts: 1, is_told };
        store::put_off(&self.pool, open, &problem).await?;
        if is_told {
            emit!(
                WEBHOOK_UNRESOLVED,
                workspace.id = open.workspace,
                webhook.id = open.event,
                job.id = open.job,
                error = unresolved.text,
                "No tasks were made of an event yet"
            );
        }
        if open.is_outdated {
            self.end(open, WebhookEnd::GivenUp).await?;
            emit!(
                WEBHOOK_GIVEN_UP,
                workspace.id = open.workspace,
                webhook.id = open.event,
                job.id = open.job,
                error = unresolved.text,
                "No tasks will be made of an event"
            );
        }
        Ok(())
    }
}

impl Stage for WebhookStage {
    type Claim = Claim;
    type Outcome = Resolution;

    async fn claim(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (resting, probed) = self.down();
        let quota = Quota {
            events: i64::try_from(limit).unwrap_or(i64::MAX),
            per_workspace: PER_WORKSPACE,
            busy: &busy,
            resting: &resting,
            probed: &probed,
        };
        let claiming = store::claim(&self.pool, &quota, LEASE, self.kept_days);
        let open = with_timeout(self.query_timeout, claiming).await?;
        for workspace in probed.iter().filter(|id| open.iter().any(|one| one.workspace == **id)) {
            let scope = Scope { workspace: workspace.clone(), integration: None };
            self.backend.let_through(&scope, 1);
        }
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.extend(open.iter().map(|open| open.workspace.clone()));
        Ok(open.into_iter().map(|open| Claim { open, busy: self.busy.clone() }).collect())
    }

    async fn step(&self, claim: &Claim) -> Option<Resolution> {
        let open = &claim.open;
        // It was claimed before the outage began.
        if self.backend.pauses(&open.workspace, "") {
            let (workspace, event) = (open.workspace.clone(), open.event.clone());
            let handed = async { store::hand_back(&self.pool, &[workspace], &[event]).await };
            note(open, with_timeout(self.query_timeout, handed).await);
            return None;
        }
        match resolve(&self.pool, &self.backend, open).await {
            Ok(resolution) => Some(resolution),
            Err(error) => {
                note(open, Err(error));
                None
            }
        }
    }

    async fn record(&self, claim: Claim, resolution: Resolution) {
        let written = self.written(&claim.open, resolution);
        note(&claim.open, with_timeout(self.query_timeout, written).await);
    }

    async fn hand_back(&self, claims: Vec<Claim>) {
        let (workspaces, events): (Vec<_>, Vec<_>) = claims
            .iter()
            .map(|claim| (claim.open.workspace.clone(), claim.open.event.clone()))
            .unzip();
        let handed = store::hand_back(&self.pool, &workspaces, &events);
        if let Err(error) = with_timeout(self.query_timeout, handed).await {
            not_recorded(events.join(","), &error);
        }
    }

    fn span(&self, claim: &Claim) -> tracing::Span {
        tracing::info_span!("webhook.step", webhook.id = claim.open.event)
    }
}

/// What was not written is done again when the lease ends.
fn note(open: &Open, written: Result<(), StoreError>) {
    if let Err(error) = written {
        not_recorded(&open.event, &error);
    }
}

fn not_recorded(id: impl std::fmt::Display, error: &StoreError) {
    emit!(OUTCOME_NOT_RECORDED, subject = "webhook", %id, error = %chain(error), "The outcome was not recorded; the lease will end");
}

fn log_resolved(open: &Open, tasks: u64) {
    emit!(
        WEBHOOK_RESOLVED,
        workspace.id = open.workspace,
        webhook.id = open.event,
        job.id = open.job,
        tasks,
        "The job of an event was read"
    );
}
