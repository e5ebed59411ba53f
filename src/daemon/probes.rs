//! `/livez` and `/readyz`: up or down, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::emit;
use crate::telemetry::chain;

const DATABASE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Health {
    pool: PgPool,
    ready: Arc<AtomicBool>,
}

/// Takes the address.
pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("http.listen = {address} cannot be taken: choose another address"))
}

/// Answers probes until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    pool: PgPool,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    let routes = Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(readyz))
        .with_state(Health { pool, ready });
    let served =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned()).await;
    if let Err(error) = served {
        emit!(PROBES_BROKEN, error = %chain(&error), "The listener of the probes broke");
    }
    // A keep-alive connection must not hold up the stop, nor end this loop before it.
    stop.cancelled().await;
}

/// Ready while not stopping and while the database answers.
async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    if !health.ready.load(Ordering::SeqCst) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    let answer = sqlx::query("select 1").execute(&health.pool);
    match tokio::time::timeout(DATABASE_ANSWERS_WITHIN, answer).await {
        Ok(Ok(_)) => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
