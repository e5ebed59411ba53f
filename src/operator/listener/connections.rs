//! A bounded number of connections, and none that waits for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For the head of a request, and between two requests of a connection.
const HEAD_WITHIN: Duration = Duration::from_secs(15);

/// The longest head of a request.
const LONGEST_HEAD: usize = 32 * 1024;

/// The pause after a connection could not be accepted: too many files are open.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Answers until `stop`. Further connections wait until one of `most` ends.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    most: u32,
    stop: CancellationToken,
) {
    let (places, connections) = (Arc::new(Semaphore::new(most as usize)), TaskTracker::new());
    while let Some(Ok(place)) = stop.run_until_cancelled(places.clone().acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        let Ok((socket, peer)) = accepted else {
            tokio::time::sleep(AFTER_FAILURE).await;
            continue;
        };
        let routes = routes.clone().layer(axum::Extension(ConnectInfo(peer)));
        let stop = stop.clone();
        connections.spawn(async move {
            answer(socket, routes, stop).await;
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
    stop.cancelled().await;
}

async fn answer(socket: TcpStream, routes: Router, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes));
    let mut connection = std::pin::pin!(connection);
    // A client that breaks the protocol or goes away ends its own connection, and is no failure of the listener.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
