//! The listener of probes and metrics. A peer that stalls must not keep a place for long, and many peers must not take
//! the process's file descriptors. So a connection carries one request, within a limited time, and their number is
//! limited.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Later connections wait until one of these ends.
const MOST_CONNECTIONS: usize = 256;

/// From its start to the last byte of the answer.
const CONNECTION_LASTS: Duration = Duration::from_secs(10);

/// Answers requests until `stop`.
pub(super) async fn serve(mut listener: TcpListener, routes: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let answering = async {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            // Goes on after errors, with a pause while there are too many open files.
            let (stream, _) = Listener::accept(&mut listener).await;
            let answer = answer(stream, routes.clone());
            tokio::spawn(async move {
                answer.await;
                drop(place);
            });
        }
    };
    stop.run_until_cancelled(answering).await;
}

/// Answers the one request of a connection. A peer that went away or is too slow gets nothing more.
async fn answer(stream: TcpStream, routes: Router) {
    let service = TowerToHyperService::new(routes);
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(CONNECTION_LASTS, connection).await;
}
