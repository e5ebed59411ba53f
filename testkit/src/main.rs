//! The demo, and a database for programs that need one.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use cerby_reconciler::operator::cli::terminal::complain;
use clap::{Parser, Subcommand};
use testkit::{demo, private_postgres};

/// Shows and tests cerby-reconciler, whose program has to be built beside this one.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play the whole flow on a private PostgreSQL with a simulated backend
    Demo(demo::Options),
    /// Serve the simulated backend, and report its failed tasks to a database
    Simulate(demo::Simulate),
    /// Run a command with DATABASE_URL set to a private PostgreSQL, unless it is set
    WithPostgres {
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = if is_called(demo::OPERATE) {
        demo::operate(demo::Operate::parse()).await.map(|()| 0)
    } else {
        run(Cli::parse().command).await
    };
    match ended {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The demo links to this program under the name of what people type. A script would not run where its folder forbids
/// programs.
fn is_called(name: &str) -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|called| Path::new(&called).file_name() == Some(name.as_ref()))
}

async fn run(command: Command) -> anyhow::Result<i32> {
    match command {
        Command::Demo(options) => demo::run(options).await.map(|()| 0),
        Command::Simulate(options) => demo::simulate(options).await.map(|()| 0),
        Command::WithPostgres { command } => private_postgres::with_postgres(command).await,
    }
}
