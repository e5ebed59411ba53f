//! `/livez` and `/readyz`, which say in a line why they are not well, and the listener that they share with `/metrics`.
//!
//! A restart helps against a loop that has stalled, and against nothing else. So `/livez` fails only where the database
//! answers a fresh connection and a loop makes no progress all the same, and never for an outage.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::listener;
use super::metrics::{self, Scrapes};
use crate::database::PgPool;
use crate::emit;
use crate::poll_interval::{Loops, Stalled};

const DATABASE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What readiness depends on.
#[derive(Debug, Clone)]
pub(super) struct Health {
    /// Empty until the database can be used.
    pub(super) pool: Arc<OnceLock<PgPool>>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) loops: Loops,
    stalled_after: Duration,
    /// Whether a stalled loop was logged.
    is_told: Arc<AtomicBool>,
    /// Held by the probe that asks the database: any number of probes use one connection of the pool.
    asks: Arc<Mutex<()>>,
    pub(super) scrapes: Scrapes,
}

impl Health {
    pub(super) fn new(stalled_after: Duration) -> Self {
        Self {
            pool: Arc::default(),
            stopping: Arc::default(),
            loops: Loops::default(),
            stalled_after,
            is_told: Arc::default(),
            asks: Arc::default(),
            scrapes: Scrapes::new(),
        }
    }
}

pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("http.listen = {address} cannot be taken: choose another address"))
}

/// Answers probes and scrapes until `stop`.
pub(super) async fn serve(listener: TcpListener, health: Health, stop: CancellationToken) {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::scrape))
        .with_state(health);
    listener::serve(listener, routes, stop).await;
}

/// Live unless a loop has stalled although the database answers. While the daemon stops, its loops end.
async fn livez(State(health): State<Health>) -> (StatusCode, String) {
    let is_stopping = health.stopping.load(Ordering::SeqCst);
    let stalled = health.loops.stalled(health.stalled_after).filter(|_| !is_stopping);
    let (Some(stalled), Some(pool)) = (stalled, health.pool.get()) else {
        return (StatusCode::OK, "live\n".to_owned());
    };
    let is_answered = pool.answers_afresh(DATABASE_ANSWERS_WITHIN).await.is_ok();
    if is_answered && !health.is_told.swap(true, Ordering::SeqCst) {
        let since_s = stalled.since.as_secs();
        emit!(SERVICE_STALLED, r#loop = stalled.name.as_str(), since_s, "A loop makes no progress");
    }
    liveness(stalled, is_answered)
}

/// Of a daemon with a stalled loop. Pure.
fn liveness(stalled: Stalled, is_answered: bool) -> (StatusCode, String) {
    let (name, since_s) = (stalled.name, stalled.since.as_secs());
    match is_answered {
        true => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the loop {name} has made no progress for {since_s} s\n"),
        ),
        false => (StatusCode::OK, "live; the database does not answer\n".to_owned()),
    }
}

/// Ready while not stopping, while the database can be written to, and while no work has failed since it last worked.
async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    match unready(&health).await {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

/// Why the daemon is not ready; `None` if it is.
pub(super) async fn unready(health: &Health) -> Option<String> {
    if health.stopping.load(Ordering::SeqCst) {
        return Some("the daemon stops".to_owned());
    }
    let Some(pool) = health.pool.get() else {
        return Some("the daemon waits for the database".to_owned());
    };
    let can_write = async {
        let _one = health.asks.lock().await;
        pool.can_write().await
    };
    match tokio::time::timeout(DATABASE_ANSWERS_WITHIN, can_write).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Some("the database is read-only".to_owned()),
        _ => return Some("the database does not answer".to_owned()),
    }
    match health.loops.failing() {
        Some(name) => Some(format!("the loop {name} fails")),
        None => pool.is_refused().then(|| "the database refuses a statement".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use sqlx::postgres::PgConnectOptions;

    use super::*;
    use crate::database::{Limits, Sessions};
    use crate::telemetry::metrics::LoopName;

    #[tokio::test]
    async fn any_number_of_probes_use_one_connection() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((connection, _)) = silent.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                open.push(connection);
            }
        });
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
        let within = Duration::from_secs(10);
        let limits = Limits { connections: 9, acquire_within: within, answer_within: within };
        let health = Health::new(Duration::from_secs(300));
        let sessions = Sessions { options, renewal: None, settings: None };
        health.pool.set(PgPool::lazy(sessions, limits)).expect("it is the first");
        let probes = std::iter::repeat_with(|| {
            let health = health.clone();
            tokio::spawn(async move { unready(&health).await })
        });
        for probe in probes.take(50).collect::<Vec<_>>() {
            assert_eq!(probe.await.unwrap().as_deref(), Some("the database does not answer"));
        }
        // When the time of all is over, the next one may just have begun.
        assert!(asked.load(Ordering::SeqCst) <= 3, "{asked:?} connections");
    }

    #[test]
    fn a_stalled_loop_is_a_reason_for_a_restart_and_an_outage_is_none() {
        let stalled = Stalled { name: LoopName::Syncs, since: Duration::from_secs(312) };
        let (status, line) = liveness(stalled, true);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(line, "the loop syncs has made no progress for 312 s\n");
        let (status, line) = liveness(stalled, false);
        assert_eq!(status, StatusCode::OK);
        assert_eq!(line, "live; the database does not answer\n");
    }
}
