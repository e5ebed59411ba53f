//! Requests that wait until a test releases them, so that a client can be ended at an exact point.

use std::future::pending;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::faults::Call;

/// A request that is being held. If this is dropped, the request is held until its client goes away or the simulator
/// stops.
#[derive(Debug)]
pub struct Held {
    call: Call,
    release: oneshot::Sender<()>,
}

impl Held {
    /// The operation that it asks for.
    pub fn call(&self) -> Call {
        self.call
    }

    /// Releases the request. Returns whether its client was still there, as far as was noticed yet: a test that ended
    /// the client waits with [`Held::abandoned`].
    pub fn release(self) -> bool {
        self.release.send(()).is_ok()
    }

    /// Waits until its client has gone away. Then nothing more happens to the request.
    pub async fn abandoned(&mut self) {
        self.release.closed().await;
    }
}

/// Hands the held requests over to tests that wait for them, in the order in which they came.
#[derive(Debug)]
pub(super) struct HoldingArea {
    arrive: mpsc::UnboundedSender<Held>,
    arrived: Mutex<mpsc::UnboundedReceiver<Held>>,
}

impl HoldingArea {
    pub(super) fn new() -> Self {
        let (arrive, arrived) = mpsc::unbounded_channel();
        Self { arrive, arrived: Mutex::new(arrived) }
    }

    /// Returns once the request is released.
    pub(super) async fn hold(&self, call: Call) {
        let (release, released) = oneshot::channel();
        let is_noticed = self.arrive.send(Held { call, release }).is_ok();
        if !is_noticed || released.await.is_err() {
            pending::<()>().await;
        }
    }

    pub(super) async fn held(&self) -> Held {
        match self.arrived.lock().await.recv().await {
            Some(held) => held,
            None => pending().await,
        }
    }
}
