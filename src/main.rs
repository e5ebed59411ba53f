//! Entry point: parse the command line, run the command, say how it ended.

use std::process::ExitCode;

use cerby_reconciler::operator::cli::{Cli, run};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await
}
