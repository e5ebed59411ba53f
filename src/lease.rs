//! The right to write a row: a token that grows with every claim, and the time it lasts.
//!
//! Every write by a worker names its token; after another claim it matches nothing, so a late worker
//! changes nothing. No heartbeat: a step of a task is shorter than its lease by construction. A sync may read many thousands
//! of members, and renews its lease while it does.

use std::time::{Duration, Instant};

/// The hold on one claimed row.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Grows by one with every claim of the row.
    pub token: i64,
    /// When it ends by our monotonic clock, counted from before the claim was sent, so never too late.
    pub ends: Instant,
}

impl Lease {
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

/// The row was claimed by somebody else meanwhile; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLost;

/// Whether a write that named its token hit its row.
pub fn fenced(rows_affected: u64) -> Result<(), LeaseLost> {
    if rows_affected == 1 { Ok(()) } else { Err(LeaseLost) }
}
