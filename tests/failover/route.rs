//! An address that leads to one server, and then to another, as the address of a cluster does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) struct Route {
    port: u16,
    server: Arc<AtomicU16>,
    _proxy: JoinSet<()>,
}

impl Route {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(AtomicU16::new(server));
        let target = Arc::clone(&server);
        let mut proxy = JoinSet::new();
        proxy.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass_on(client, target.load(Ordering::SeqCst)));
            }
        });
        Self { port, server, _proxy: proxy }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another server.
    pub(crate) fn lead_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
    }
}

async fn pass_on(mut client: TcpStream, server: u16) {
    // A server that is down is not there for the client either.
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
