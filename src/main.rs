//! Entry point: parses the command line, runs the command, and reports its result.

use std::process::ExitCode;

use cerby_reconciler::operator::cli::{Cli, run};
use clap::Parser;
use mimalloc::MiMalloc;

/// mimalloc instead of glibc's allocator, which used a third of the daemon's processor time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await
}
