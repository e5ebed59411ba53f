//! From a signal to a stop: SIGTERM or SIGINT begins it, a second one or the end of grace cuts it short.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask for a stop, heard from when this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to hear signals; they no longer end the process by themselves.
    pub fn hear() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal; its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
