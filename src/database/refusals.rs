//! Statements that the server refuses for a reason that is not in the rows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;

use super::statement::name;
use crate::emit;

/// A refused statement that was not tried again in this time no longer makes the daemon unready. The time is longer
/// than the lease, after which a row is worked on again.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Classes of SQLSTATE that do not depend on the rows: an object or a privilege is missing, there is no room, or the
/// server's files or the server itself are at fault.
const CLASSES: [&str; 6] = ["42", "3F", "0A", "53", "58", "XX"];

/// Statements that were refused and have not worked since, with the time of the refusal.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The number of entries. Every statement that works reads it, so it can be read without the lock.
    count: AtomicUsize,
    since: Mutex<HashMap<String, Instant>>,
}

impl Refusals {
    fn since(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn are_some(&self) -> bool {
        let mut since = self.since();
        since.retain(|_, refused| refused.elapsed() < REMEMBERED_FOR);
        self.count.store(since.len(), Ordering::SeqCst);
        !since.is_empty()
    }

    pub(super) fn failed(&self, sql: &str, error: &sqlx::Error) {
        let Some(error) = error.as_database_error() else { return };
        let code = DatabaseError::code(error).unwrap_or_default();
        if !CLASSES.contains(&code.get(..2).unwrap_or_default()) {
            return;
        }
        let name = name(sql);
        let mut since = self.since();
        if since.insert(name.to_string(), Instant::now()).is_none() {
            self.count.store(since.len(), Ordering::SeqCst);
            emit!(
                DATABASE_STATEMENT_REJECTED,
                statement = %name,
                error = error.message(),
                "The database refuses a statement ({code})"
            );
        }
    }

    pub(super) fn worked(&self, sql: &str) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let name = name(sql);
        let mut since = self.since();
        if since.remove(name.as_ref()).is_some() {
            // The cause was fixed, most likely for all statements: those that still fail are recorded again.
            since.clear();
            self.count.store(0, Ordering::SeqCst);
            emit!(DATABASE_STATEMENT_ACCEPTED, statement = %name, "The database accepts the statement again");
        }
    }
}
