//! One thing hurts only itself: who does the bad thing × what must go on. Every case is measured against an undisturbed
//! round of the same work in the same test.

#![expect(clippy::unwrap_used, reason = "a case that cannot be set up has failed")]

mod env;
mod locks;
mod odd_rows;
mod sizes;
mod syncs;

#[path = "../support/mod.rs"]
mod support;
