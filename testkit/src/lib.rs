//! Tools to try and to test the product, which are never shipped: a simulated Cerby backend with its apps over real
//! HTTP, a private PostgreSQL, a proxy that breaks connections at any request, and the demo, which runs the whole flow
//! on them.

// Both macros panic if the reader of the output has gone, so output is written through
// `cerby_reconciler::operator::cli::terminal`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod demo;
pub mod fault_proxy;
pub mod http_server;
pub mod private_postgres;
pub mod simulator;
