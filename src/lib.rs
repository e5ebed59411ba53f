//! Owns what happens after a membership automation failed.

#[cfg(feature = "simulator")]
pub mod private_postgres;
