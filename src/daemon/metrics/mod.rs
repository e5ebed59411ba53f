//! `/metrics`. What the process counts is there at once. What the tables hold is read at most every 15 seconds, by one
//! scrape at a time, within a limited time; the other scrapes get what was read before, and never wait.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::probes::{Health, unready};
use crate::database::PgPool;
use crate::store::with_timeout;
use crate::telemetry::metrics::{self, ProcessState};

mod store;

const READ_EVERY: Duration = Duration::from_secs(15);
const READ_WITHIN: Duration = Duration::from_secs(2);

/// Older gauges would be taken for the present.
const GAUGES_LAST: Duration = Duration::from_secs(300);

/// A monitoring system asks once at a time, and perhaps from two servers.
const MOST_SCRAPES: usize = 4;

/// What scrapes share.
#[derive(Debug, Clone)]
pub(super) struct Scrapes {
    places: Arc<Semaphore>,
    /// When the latest reading began. Who holds it reads.
    began: Arc<tokio::sync::Mutex<Option<Instant>>>,
    /// When the gauges of the database were read.
    read_at: Arc<Mutex<Option<Instant>>>,
}

impl Scrapes {
    pub(super) fn new() -> Self {
        let places = Arc::new(Semaphore::new(MOST_SCRAPES));
        Self { places, began: Arc::default(), read_at: Arc::default() }
    }

    fn gauges_age(&self) -> Option<Duration> {
        let read_at = self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        read_at.map(|at| at.elapsed())
    }

    async fn read(&self, pool: &PgPool) {
        if let Ok(state) = with_timeout(READ_WITHIN, store::read(pool)).await {
            state.publish();
            *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

pub(super) async fn scrape(State(health): State<Health>) -> Response {
    let Ok(_place) = health.scrapes.places.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once\n").into_response();
    };
    look(&health).await;
    let gauges_age = health.scrapes.gauges_age();
    process_state(&health, gauges_age).publish();
    let page = metrics::encode(gauges_age.is_some_and(|age| age < GAUGES_LAST));
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response()
}

/// Looks whether the daemon is ready, and reads the gauges of the database, unless that was done a short while ago or
/// another scrape does it now.
async fn look(health: &Health) {
    let Ok(mut began) = health.scrapes.began.try_lock() else { return };
    if began.is_some_and(|began| began.elapsed() < READ_EVERY) {
        return;
    }
    // Before the reading, so that scrapes that are broken off do not repeat it.
    *began = Some(Instant::now());
    metrics::set_ready(unready(health).await.is_none());
    if let Some(pool) = health.pool.get() {
        health.scrapes.read(pool).await;
    }
}

fn process_state(health: &Health, gauges_age: Option<Duration>) -> ProcessState {
    let pool = health.pool.get().map(PgPool::usage).unwrap_or_default();
    // While the daemon stops, its loops end.
    let is_stopping = health.stopping.load(Ordering::SeqCst);
    ProcessState {
        loops: if is_stopping { Vec::new() } else { health.loops.ages() },
        connections_in_use: pool.in_use,
        connections_idle: pool.idle,
        max_connections: pool.max,
        gauges_age,
    }
}
