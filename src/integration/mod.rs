//! Integrations: what they are called, what people set of them, and how their work stands.
//!
//! Whether their tasks are admitted is decided in [`crate::breaker`].

pub mod store;
