//! The transitions between the stages, and the two stages that the worker loop runs. Each transition is one transaction
//! (`outcome`), or shares one with others of its kind (`batch`). `settlement` applies what a snapshot shows. `watches`
//! handles confirmed changes that did not last.
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
mod frequent;
mod inbox;
mod judging;
pub mod nudges;
pub mod outages;
mod outcome;
mod retry_stage;
pub(crate) mod returns;
mod settlement;
mod sync_outcome;
mod sync_recorder;
mod sync_stage;
mod traces;
mod watches;

pub use retry_stage::RetryStage;
pub use sync_stage::SyncStage;

/// The app of a task, by the name that people use.
fn app_name(names: &DisplayNames) -> AppName {
    AppName {
        name: names.integration_name.clone(),
        application: names.application.clone(),
        kind: names.kind,
        is_readable: catalogue::is_readable(&names.application),
    }
}

type Recorded = Result<Result<(), LeaseLost>, StoreError>;

/// The part of a lease that is reserved for recording.
const RECORDING: Duration = Duration::from_secs(2);

/// Logs an outcome that could not be written. The lease ends by itself, and the next claim reads the member again.
fn not_recorded(what: &str, id: impl std::fmt::Display, error: &StoreError) {
    emit!(OUTCOME_NOT_RECORDED, subject = what, %id, error = %chain(error), "The outcome was not recorded; the lease will end");
}
