//! HTTP/1.1 with bodies of a known length, one request at a time.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use super::{Protocol, Request, Stream, dial};

/// A server whose address may change.
#[derive(Clone)]
pub(super) struct Http(pub(super) Arc<Mutex<SocketAddr>>);

impl Protocol for Http {
    const IS_DATABASE: bool = false;

    type Server = Stream;

    async fn open(&self, _: &mut Stream) -> io::Result<Stream> {
        let address = *self.0.lock().unwrap();
        dial(address).await
    }

    async fn request(_: &mut Stream, client: &mut Stream) -> io::Result<Request> {
        let bytes = message(client).await?;
        let line = String::from_utf8_lossy(&bytes);
        let text = line.split(" HTTP/").next().unwrap_or_default().to_owned();
        Ok(Request { text: Some(text), bytes })
    }

    async fn ask(server: &mut Stream, request: &[u8]) -> io::Result<Vec<u8>> {
        server.write_all(request).await?;
        message(server).await
    }

    /// Every request has been answered, so there is nothing to wait for.
    async fn close(&self, _: Stream) {}
}

async fn message(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut length = 0;
    loop {
        let start = bytes.len();
        if stream.read_until(b'\n', &mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&bytes[start..]).to_ascii_lowercase();
        assert!(!line.starts_with("transfer-encoding"), "a body of unknown length");
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line == "\r\n" {
            break;
        }
    }
    let head = bytes.len();
    bytes.resize(head + length, 0);
    stream.read_exact(&mut bytes[head..]).await?;
    Ok(bytes)
}
