//! Stories of requests, people and apps: the stages of the daemon against a simulated backend over HTTP and a real PostgreSQL.

mod access;
mod api;
mod arrivals;
mod breaker;
mod console;
mod desk;
mod faults;
mod flow;
mod instructions;
mod integrations;
mod leases;
mod log_lines;
mod odd_replies;
mod people;
mod psql;
mod reconciliation;
mod reports;
mod restore;
mod returns;
mod sign_in;
mod trail;
mod views;
mod webhooks;

#[path = "../support/mod.rs"]
mod support;

use cerby_reconciler::operator::desk::Desk;
use cerby_reconciler::operator::listener::Doors;

/// The doors of a desk, without webhooks and without texts of a folder.
fn doors_of(desk: Desk) -> Doors {
    Doors { desk, webhooks: None, library: Default::default() }
}
