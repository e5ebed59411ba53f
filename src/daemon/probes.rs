//! `/livez` and `/readyz`, which report only up or down.

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
use tokio_util::sync::CancellationToken;

use crate::database::PgPool;
use crate::emit;
use crate::poll_interval::Failing;
use crate::telemetry::chain;

const DATABASE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What readiness depends on.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    /// Empty until the database can be used.
    pub(super) pool: Arc<OnceLock<PgPool>>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) failing: Failing,
}

pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("http.listen = {address} cannot be taken: choose another address"))
}

/// Answers probes until `stop`.
pub(super) async fn serve(listener: TcpListener, health: Health, stop: CancellationToken) {
    let routes = Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(readyz))
        .with_state(health);
    let served =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned()).await;
    if let Err(error) = served {
        emit!(PROBES_FAILED, error = %chain(&error), "The listener of the probes broke");
    }
    // An open keep-alive connection must not delay the stop, and this loop must not end before the stop.
    stop.cancelled().await;
}

/// Ready while not stopping, while the database can be written to, and while no work has failed since it last worked.
async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    match unready(&health).await {
        None => (StatusCode::OK, "ready\n"),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn unready(health: &Health) -> Option<&'static str> {
    if health.stopping.load(Ordering::SeqCst) {
        return Some("stopping\n");
    }
    let Some(pool) = health.pool.get() else { return Some("starting\n") };
    match tokio::time::timeout(DATABASE_ANSWERS_WITHIN, pool.can_write()).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Some("the database is read-only\n"),
        _ => return Some("the database does not answer\n"),
    }
    (health.failing.are_some() || pool.is_refused()).then_some("work fails\n")
}
