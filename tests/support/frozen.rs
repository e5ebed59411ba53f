//! A way to the database on which connections can be frozen: they stay open, take what is sent, and pass nothing on in
//! either direction. New ones work.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) struct Freezer {
    pub(crate) address: SocketAddr,
    /// Of the connections made since the last freeze.
    frost: Arc<Mutex<CancellationToken>>,
    _proxy: JoinSet<()>,
}

impl Freezer {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), server).await
    }

    pub(crate) async fn at(address: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let frost = Arc::<Mutex<CancellationToken>>::default();
        let newest = Arc::clone(&frost);
        let mut proxy = JoinSet::new();
        proxy.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let frost = newest.lock().unwrap().clone();
                connections.spawn(pass_on(client, server, frost));
            }
        });
        Self { address, frost, _proxy: proxy }
    }

    /// Freezes what is connected.
    pub(crate) fn freeze(&self) {
        std::mem::take(&mut *self.frost.lock().unwrap()).cancel();
    }
}

async fn pass_on(client: TcpStream, server: SocketAddr, frost: CancellationToken) {
    let server = TcpStream::connect(server).await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(one_way(from_client, to_server, &frost), one_way(from_server, to_client, &frost));
}

/// Frozen, it goes on reading and keeps the other end open, whatever comes.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    frost: &CancellationToken,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut bytes).await {
        if frost.is_cancelled() {
            if count == 0 {
                std::future::pending::<()>().await;
            }
        } else if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
