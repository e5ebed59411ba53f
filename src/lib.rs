//! Handles the tasks that membership automation failed to do.
//!
//! ```text
//! backend inserts ──▶ automation task ──succeeds──▶ succeeded
//!                       │  ▲ backoff │
//!                       │  └─────────┘
//!                       │ only a person can / attempts used / no automation for it
//! IdP deprovision ────▶ manual action: open ─▶ in progress ─▶ done ─┐
//!                       ▲                                           ▼
//!                       │ contradicted                            sync ─▶ verdict ─confirmed─▶ verified
//!                       └───────────────────────────────────────────┘
//! ```
//!
//! The modules are listed in the order of the flow. Stages ([`retry`], [`manual_action`], [`sync`]) do not import each
//! other; only [`flow`] joins them. `ARCHITECTURE.md` says where a change goes.

// Both macros panic if the reader of the output has gone, so output is written through `operator::cli::terminal`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

// The domain and the edges
pub mod backend;
pub mod catalogue;
pub mod identity;
pub mod membership;
pub mod text;

// The flow, in order
pub mod breaker;
pub mod flow;
pub mod intake;
pub mod integration;
pub mod manual_action;
pub mod member;
pub mod reports;
pub mod retry;
pub mod sync;
pub mod upkeep;

// The interfaces
pub mod access;
pub mod daemon;
pub mod operator;

// Mechanics that do not know the flow
pub mod backoff;
pub mod config;
pub mod database;
pub mod history;
pub mod http_client;
pub mod lease;
pub mod poll_interval;
pub mod replies;
pub mod saved_views;
pub mod scan_start;
pub mod schema;
pub mod sessions;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tokens;
pub mod wakeup;
pub mod worker;
