//! Owns what happens after a membership automation failed.

pub mod catalogue;
#[cfg(feature = "simulator")]
pub mod simulator;
