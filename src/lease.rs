//! The right to write a row: a token that grows with every claim, and a time limit.
//!
//! Every write of a worker names its token. After another claim the token matches no row, so a worker whose lease has
//! ended changes nothing. There is no heartbeat: a step of a task is always shorter than its lease. A sync may read
//! many thousands of members, and renews its lease while it does.

use std::time::{Duration, Instant};

/// The lease of one claimed row.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Grows with every claim of the row and is never issued twice for it: the tokens of members come from a sequence,
    /// the token of a sync grows by one.
    pub token: i64,
    /// When the lease ends by the process's monotonic clock. It is counted from before the claim was sent, so it never
    /// ends too late.
    pub ends: Instant,
}

impl Lease {
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

/// Another worker has claimed the row meanwhile; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLost;

/// Checks that a write with a token changed its row.
pub fn fenced(rows_affected: u64) -> Result<(), LeaseLost> {
    if rows_affected == 1 { Ok(()) } else { Err(LeaseLost) }
}
