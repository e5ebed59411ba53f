//! Records frequent outcomes together, because a transaction for one costs as much as a transaction for ten. All
//! outcomes that arrive while one batch is written go into the next. A lone outcome is written at once; outcomes that
//! follow each other closely wait for more. An outcome that a batch leaves out is recorded by itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::inbox::{Inbox, LARGEST};
use super::outcome::Recorder;
use super::{frequent, not_recorded, traces};
use crate::database::Transaction;
use crate::emit;
use crate::retry::record::Breakers;
use crate::retry::{ClaimedTask, TaskOutcome};
use crate::store::{StoreError, begin, with_timeout};
use crate::telemetry::chain;

/// Batches written at the same time: while one waits for the disk, the next is prepared.
const WRITERS: usize = 2;

struct Entry {
    task: Arc<ClaimedTask>,
    next: TaskOutcome,
    result: oneshot::Sender<BatchResult>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchResult {
    Written,
    /// It was not written, and has to be recorded by itself.
    LeftOut,
    /// The commit has no known result. Recording the outcome again could count an attempt twice. The lease ends, and
    /// the next claim reads the member again.
    Unknown,
}

/// The sending end of the batches. Their writers end when it is dropped.
pub(super) struct Batches {
    entries: mpsc::Sender<Entry>,
}

impl Batches {
    pub(super) fn start(recorder: Arc<Recorder>, query_timeout: Duration) -> Self {
        let (entries, received) = mpsc::channel(LARGEST);
        let inbox = Arc::new(Mutex::new(Inbox::new(received)));
        for _ in 0..WRITERS {
            tokio::spawn(write_all(Arc::clone(&recorder), Arc::clone(&inbox), query_timeout));
        }
        Self { entries }
    }

    /// Records an outcome in the next batch.
    pub(super) async fn record(&self, task: &Arc<ClaimedTask>, next: &TaskOutcome) -> BatchResult {
        if !fits(task, next) {
            return BatchResult::LeftOut;
        }
        let (result, is_written) = oneshot::channel();
        let entry = Entry { task: Arc::clone(task), next: next.clone(), result };
        if self.entries.send(entry).await.is_err() {
            return BatchResult::LeftOut;
        }
        is_written.await.unwrap_or(BatchResult::Unknown)
    }
}

/// Only successes and polled jobs fit, unless they come from a probe: a probe moves a breaker, and that needs a
/// decision under the breaker's lock.
fn fits(task: &ClaimedTask, next: &TaskOutcome) -> bool {
    frequent::is_frequent(next) && !task.is_probe
}

async fn write_all(
    recorder: Arc<Recorder>,
    inbox: Arc<Mutex<Inbox<Entry>>>,
    query_timeout: Duration,
) {
    loop {
        let entries = inbox.lock().await.take().await;
        if entries.is_empty() {
            return;
        }
        let trace = traces::batch(entries.iter().map(|entry| &*entry.task));
        let results = trace.around(write(&recorder, &entries, query_timeout)).await;
        for (entry, result) in entries.into_iter().zip(results) {
            if result == BatchResult::Written {
                // Here, outside the span of the step: its fields would be in the line a second time, and formatting
                // them takes longer than the rest of the line.
                frequent::log(&entry.task, &entry.next);
                frequent::count(&entry.task, &entry.next);
            }
            // The receiver may have run out of time. The outcome is written all the same.
            let _ = entry.result.send(result);
        }
    }
}

/// Writes the entries that it can in one transaction.
async fn write(
    recorder: &Recorder,
    entries: &[Entry],
    query_timeout: Duration,
) -> Vec<BatchResult> {
    let (tx, written) = match with_timeout(query_timeout, prepare(recorder, entries)).await {
        Ok(prepared) => prepared,
        Err(error) => {
            emit!(BATCH_NOT_RECORDED, tasks = entries.len(), error = %chain(&error),
                  "The batch was not recorded; its tasks are recorded one by one");
            return vec![BatchResult::LeftOut; entries.len()];
        }
    };
    let committed = with_timeout(query_timeout, async { Ok(tx.commit().await?) }).await;
    if let Err(error) = &committed {
        not_recorded("tasks", entries.len(), error);
    }
    let result = |entry: &Entry| match (&committed, written.contains(&entry.task.id)) {
        (_, false) => BatchResult::LeftOut,
        (Ok(()), true) => BatchResult::Written,
        (Err(_), true) => BatchResult::Unknown,
    };
    entries.iter().map(result).collect()
}

/// Does everything but the commit. Returns the ids of the tasks that the commit will write.
async fn prepare(
    recorder: &Recorder,
    entries: &[Entry],
) -> Result<(Transaction, HashSet<i64>), StoreError> {
    let mut tx = begin(&recorder.pool).await?;
    let outcomes: Vec<_> = entries.iter().map(|entry| (&*entry.task, &entry.next)).collect();
    let written = frequent::write(&mut tx, recorder, &outcomes, Breakers::Nobody).await?;
    Ok((tx, written))
}
