//! The arrows between the stages, and the two stages that bind them to the loop. Each arrow is one transaction
//! (`outcome`), or shares one with others of its kind (`batch`).
//! What a snapshot means is in `settlement`, what follows when a confirmed change does not last in `watches`.
//!
//! ```text
//! retry ── escalate ──▶ manual action ── done (by trigger) ──▶ sync ── settle ──▶ manual action
//!   └───── succeed, supersede ──▶ the member's next task gets its turn
//! ```

use std::time::Duration;

use crate::catalogue;
use crate::emit;
use crate::lease::LeaseLost;
use crate::manual_action::AppName;
use crate::retry::record::DisplayNames;
use crate::store::StoreError;
use crate::telemetry::chain;

mod batch;
mod cancellation;
mod inbox;
mod judging;
pub mod nudges;
pub mod outages;
mod outcome;
mod retry_stage;
pub(crate) mod returns;
mod settlement;
mod sync_stage;
mod watches;

pub use retry_stage::RetryStage;
pub use sync_stage::SyncStage;

/// The app of a task, as people know it.
fn app_name(names: &DisplayNames) -> AppName {
    AppName {
        name: names.integration_name.clone(),
        kind: names.kind,
        is_readable: catalogue::is_readable(&names.application),
    }
}

type Recorded = Result<Result<(), LeaseLost>, StoreError>;

/// The part of a lease that is left for recording.
const RECORDING: Duration = Duration::from_secs(2);

/// An outcome that could not be written: the lease ends by itself and the next claim looks again.
fn not_recorded(what: &str, id: impl std::fmt::Display, error: &StoreError) {
    emit!(OUTCOME_NOT_RECORDED, subject = what, %id, error = %chain(error), "The outcome was not recorded; the lease will end");
}
