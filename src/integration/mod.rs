//! Integrations: their names, the settings that people make, and the state of their work.
//!
//! [`crate::breaker`] decides whether their tasks are admitted.

pub mod store;
