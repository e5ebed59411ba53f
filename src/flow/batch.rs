//! Records frequent outcomes together, because a transaction for one costs as much as a transaction for ten. All
//! outcomes that arrive while one batch is written go into the next. A lone outcome is written at once; outcomes that
//! follow each other closely wait for more. An outcome that a batch leaves out is recorded by itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::inbox::{Inbox, LARGEST};
use super::not_recorded;
use super::outcome::{Recorder, log_succeeded, log_watched, started_line};
use crate::database::{PgConnection, Transaction};
use crate::emit;
use crate::history::{self, Happened};
use crate::member::store::give_turn;
use crate::retry::record::{Breakers, End, EndState, GoesOn, Release, end, release};
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
    matches!(next, TaskOutcome::Succeed { .. } | TaskOutcome::Watch { .. }) && !task.is_probe
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
        let results = write(&recorder, &entries, query_timeout).await;
        for (entry, result) in entries.into_iter().zip(results) {
            if result == BatchResult::Written {
                say(&entry);
            }
            // The receiver may have run out of time. The outcome is written all the same.
            let _ = entry.result.send(result);
        }
    }
}

/// Logs an outcome here, outside the span of the step. The fields of the span would be in the line a second time, and
/// formatting them takes longer than the rest of the line.
fn say(entry: &Entry) {
    match &entry.next {
        TaskOutcome::Succeed { reason } => log_succeeded(&entry.task, reason),
        TaskOutcome::Watch { job, started, .. } => log_watched(&entry.task, job, *started),
        _ => {}
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
    let mut written = write_successes(&mut tx, recorder, entries).await?;
    written.extend(write_watched(&mut tx, entries).await?);
    Ok((tx, written))
}

async fn write_successes(
    connection: &mut PgConnection,
    recorder: &Recorder,
    entries: &[Entry],
) -> Result<HashSet<i64>, StoreError> {
    let successes: Vec<_> = entries.iter().filter_map(|entry| success(recorder, entry)).collect();
    if successes.is_empty() {
        return Ok(HashSet::new());
    }
    let closed = end(connection, &successes, Breakers::Nobody).await?;
    give_turn(connection, &closed.blocked).await?;
    Ok(closed.tasks.into_keys().collect())
}

async fn write_watched(
    connection: &mut PgConnection,
    entries: &[Entry],
) -> Result<HashSet<i64>, StoreError> {
    let watched: Vec<_> = entries.iter().filter_map(watching).collect();
    if watched.is_empty() {
        return Ok(HashSet::new());
    }
    let held: HashSet<_> = release(connection, &watched).await?.into_iter().collect();
    let trail: Vec<_> = entries
        .iter()
        .filter(|entry| held.contains(&entry.task.id))
        .filter_map(|Entry { task, next, .. }| {
            let TaskOutcome::Watch { job, started, .. } = next else { return None };
            let (what, detail) = started_line(task, job, *started)?;
            Some(Happened { what, workspace: &task.key.workspace, task: task.id, detail })
        })
        .collect();
    history::append(connection, &trail).await?;
    Ok(held)
}

fn success<'a>(recorder: &Recorder, entry: &'a Entry) -> Option<End<'a>> {
    match &entry.next {
        TaskOutcome::Succeed { reason } => {
            Some(recorder.ends(&entry.task, EndState::Succeeded, reason, false))
        }
        _ => None,
    }
}

fn watching(entry: &Entry) -> Option<Release<'_>> {
    match &entry.next {
        TaskOutcome::Watch { job, after, started, found_by_id } => {
            let goes_on = GoesOn::Watch { job, started: *started, found_by_id: *found_by_id };
            Some(Release { task: &entry.task, after: *after, goes_on })
        }
        _ => None,
    }
}
