//! Entry point: parse the command line, run the command, say how it ended.

use std::process::ExitCode;

use cerby_reconciler::operator::cli::{Cli, run};
use clap::Parser;
use mimalloc::MiMalloc;

/// A third of the daemon's processor time went into glibc's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await
}
