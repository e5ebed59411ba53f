//! The program as a process: its command line, several replicas, and surroundings that fail, metrics.

mod api;
mod cli;
mod log_lines;
mod metrics;
mod migrate;
mod outages;
mod program;
mod replicas;
mod secrets;
mod sessions;
mod stalled;
mod surroundings;
mod tls;
mod traces;
mod upgrade;

#[path = "../support/mod.rs"]
mod support;
