//! Writes log lines to stdout.
//!
//! The reader of stdout may go away or stall. Neither may end the daemon or block it, so lines wait in memory for a
//! thread of their own. Lines that cannot be written, or do not fit into the memory, are dropped and counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::metrics;

/// How many lines may wait.
const MOST: usize = 8192;

/// How long the end of the process waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static LOST: AtomicU64 = AtomicU64::new(0);
static WAY_OUT: OnceLock<SyncSender<Line>> = OnceLock::new();

enum Line {
    Text(Vec<u8>),
    /// Signals that everything before it was written.
    Mark(SyncSender<()>),
}

pub(super) struct Out;

/// The writer of log lines; the first call starts its thread.
pub(super) fn out() -> Out {
    WAY_OUT.get_or_init(|| {
        let (sender, lines) = sync_channel(MOST);
        std::thread::spawn(move || write_all(&lines, io::stdout()));
        sender
    });
    Out
}

fn write_all(lines: &Receiver<Line>, mut to: impl Write) {
    while let Ok(line) = lines.recv() {
        match line {
            Line::Text(text) => {
                if to.write_all(&text).and_then(|()| to.flush()).is_err() {
                    lose();
                }
            }
            // The waiting side may have timed out and gone.
            Line::Mark(written) => drop(written.try_send(())),
        }
    }
}

fn lose() {
    LOST.fetch_add(1, Ordering::SeqCst);
    metrics::log_line_lost();
}

impl Write for Out {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let sent = WAY_OUT.get().map(|out| out.try_send(Line::Text(text.to_vec())));
        if !matches!(sent, Some(Ok(()))) {
            lose();
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until all lines so far are written, but at most for `FLUSH_TIMEOUT`.
pub(super) fn finish() {
    let (mark, written) = sync_channel(1);
    if WAY_OUT.get().is_some_and(|out| out.try_send(Line::Mark(mark)).is_ok()) {
        let _ = written.recv_timeout(FLUSH_TIMEOUT);
    }
}

/// How many lines were lost since the last call.
pub(super) fn take_lost() -> u64 {
    LOST.swap(0, Ordering::SeqCst)
}
