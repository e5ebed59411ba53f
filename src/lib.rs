//! x
pub mod backend;
pub mod catalogue;
pub mod config;
pub mod flow;
pub mod history;
pub mod intake;
pub mod lease;
pub mod manual_action;
pub mod membership;
pub mod pulse;
pub mod retry;
pub mod shutdown;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod wakeup;
pub mod worker;
