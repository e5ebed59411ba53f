//! A way to the database on which connections can be frozen: they stay open, take what is sent, and pass nothing on in
//! either direction. New ones work.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What comes over connections: that they freeze, and later that they break.
#[derive(Clone, Default)]
struct Winter {
    frost: CancellationToken,
    end: CancellationToken,
}

pub(crate) struct Freezer {
    pub(crate) address: SocketAddr,
    /// Of the connections made since the last freeze.
    newest: Arc<Mutex<Winter>>,
    _proxy: JoinSet<()>,
}

impl Freezer {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), server).await
    }

    pub(crate) async fn at(address: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let newest = Arc::<Mutex<Winter>>::default();
        let winter = Arc::clone(&newest);
        let mut proxy = JoinSet::new();
        proxy.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let winter = winter.lock().unwrap().clone();
                connections.spawn(pass_on(client, server, winter));
            }
        });
        Self { address, newest, _proxy: proxy }
    }

    /// Freezes what is connected, for ever or until the token that comes back is cancelled: then it breaks.
    pub(crate) fn freeze(&self) -> CancellationToken {
        let Winter { frost, end } = std::mem::take(&mut *self.newest.lock().unwrap());
        frost.cancel();
        end
    }
}

async fn pass_on(client: TcpStream, server: SocketAddr, Winter { frost, end }: Winter) {
    // A server that is down is not there for the client either.
    let Ok(server) = TcpStream::connect(server).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let both = async {
        tokio::join!(
            one_way(from_client, to_server, &frost),
            one_way(from_server, to_client, &frost)
        )
    };
    end.run_until_cancelled(both).await;
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
