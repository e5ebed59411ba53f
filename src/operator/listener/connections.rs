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
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For the head of a request, and between two requests of a connection.
const HEAD_WITHIN: Duration = Duration::from_secs(15);

/// The longest head of a request.
const LONGEST_HEAD: usize = 32 * 1024;

/// The pause after a connection could not be accepted: too many files are open.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// How many connections there are at a time, and how long a client may leave an answer unread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) connections: u32,
    pub(super) unread: Duration,
}

/// Answers until `stop`. Further connections wait until one of the present ones ends.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.connections as usize));
    let connections = TaskTracker::new();
    while let Some(Ok(place)) = stop.run_until_cancelled(places.clone().acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        let Ok((socket, peer)) = accepted else {
            tokio::time::sleep(AFTER_FAILURE).await;
            continue;
        };
        let routes = routes.clone().layer(axum::Extension(ConnectInfo(peer)));
        let stop = stop.clone();
        connections.spawn(async move {
            answer(socket, routes, bounds.unread, stop).await;
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
    stop.cancelled().await;
}

async fn answer(socket: TcpStream, routes: Router, unread: Duration, stop: CancellationToken) {
    // A client that reads nothing would keep its place for ever: a write that makes no progress ends the connection.
    let mut socket = TimeoutStream::new(socket);
    socket.set_write_timeout(Some(unread));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(Box::pin(socket)), TowerToHyperService::new(routes));
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
