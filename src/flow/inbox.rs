//! Collects entries that are recorded together, and decides how long they wait: a transaction for one costs as much as
//! for ten.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// The largest batch. The limit keeps the transaction short, and with it the time for which its rows are locked.
pub(super) const LARGEST: usize = 500;

/// This many entries are worth a transaction at once.
const LARGE: usize = 100;

/// Fewer entries wait until this time has passed since the batch before.
const GATHERS_FOR: Duration = Duration::from_millis(10);

/// The receiving end. An entry that comes alone is taken at once; entries that follow each other closely wait for more.
pub(super) struct Inbox<T> {
    entries: mpsc::Receiver<T>,
    taken_at: Option<Instant>,
}

impl<T> Inbox<T> {
    pub(super) fn new(entries: mpsc::Receiver<T>) -> Self {
        Self { entries, taken_at: None }
    }

    /// The next batch; empty when the stream has ended.
    pub(super) async fn take(&mut self) -> Vec<T> {
        let mut batch = Vec::new();
        self.entries.recv_many(&mut batch, LARGEST).await;
        let until = self.taken_at.map_or_else(Instant::now, |taken_at| taken_at + GATHERS_FOR);
        while !batch.is_empty() && batch.len() < LARGE {
            let room = LARGEST - batch.len();
            match timeout_at(until, self.entries.recv_many(&mut batch, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.taken_at = Some(Instant::now());
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes batches until everything that was sent is taken. Returns when each was taken, and its size.
    async fn batches(sent: &[(u64, usize)]) -> Vec<(u128, usize)> {
        let (entries, received) = mpsc::channel(LARGEST);
        let mut inbox = Inbox::new(received);
        let began = Instant::now();
        let sent = sent.to_vec();
        let sending = tokio::spawn(async move {
            for (at, count) in sent {
                tokio::time::sleep_until(began + Duration::from_millis(at)).await;
                for _ in 0..count {
                    entries.send(()).await.unwrap();
                }
            }
        });
        let mut batches = Vec::new();
        loop {
            let batch = inbox.take().await;
            if batch.is_empty() {
                break;
            }
            batches.push((began.elapsed().as_millis(), batch.len()));
        }
        sending.await.unwrap();
        batches
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_alone_is_taken_at_once() {
        assert_eq!(batches(&[(0, 1), (50, 1), (100, 3)]).await, [(0, 1), (50, 1), (100, 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_follows_closely_waits_for_more_but_not_for_long() {
        let sent = [(0, 1), (2, 1), (4, 2), (9, 1), (12, 1), (40, 1)];
        assert_eq!(batches(&sent).await, [(0, 1), (10, 4), (20, 1), (40, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_as_are_worth_a_transaction_do_not_wait() {
        assert_eq!(batches(&[(0, 1), (2, LARGE)]).await, [(0, 1), (2, LARGE)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_stream_ends_the_wait() {
        assert_eq!(batches(&[(0, 1), (2, 1)]).await, [(0, 1), (2, 1)]);
    }
}
