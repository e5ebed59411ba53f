//! Bodies that no client reads to their end.

use std::io;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_LENGTH;
use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_util::io::ReaderStream;

use super::Handle;

const PACE: Duration = Duration::from_millis(10);
const PIPE: usize = 4096;

/// The same response, one byte at a time. The last byte never comes.
pub(super) async fn trickled(response: Response, handle: &Handle) -> Response {
    let (mut head, body) = response.into_parts();
    // The simulator's answer is already in memory.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    let (mut out, trickle) = duplex(PIPE);
    pour(handle, async move {
        for byte in body.iter().take(body.len().saturating_sub(1)) {
            out.write_u8(*byte).await?;
            tokio::time::sleep(PACE).await;
        }
        // Ends once the client is gone.
        out.read(&mut [0]).await.map(drop)
    });
    Response::from_parts(head, Body::from_stream(ReaderStream::new(trickle)))
}

/// A list of members that begins and does not end.
pub(super) fn endless(handle: &Handle) -> Body {
    let (mut out, list) = duplex(PIPE);
    pour(handle, async move {
        out.write_all(b"{\"data\": [").await?;
        loop {
            out.write_all(&[b' '; PIPE]).await?;
        }
    });
    Body::from_stream(ReaderStream::new(list))
}

/// Writes a body until its client is gone or the simulator stops.
fn pour(handle: &Handle, filling: impl Future<Output = io::Result<()>> + Send + 'static) {
    let handle = handle.clone();
    tokio::spawn(async move { handle.unless_stopped(async { drop(filling.await) }).await });
}
