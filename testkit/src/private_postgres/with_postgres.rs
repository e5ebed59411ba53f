//! Runs a command with a database.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::{Options, PrivatePostgres};

const DATABASE_URL: &str = "DATABASE_URL";
/// Prefixes of the variables in which `cargo run` describes the package. Build scripts watch these variables, so if the
/// command is cargo, it would build their crates again.
const OF_CARGO_RUN: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// Runs a command to its end. Returns its exit code, or 128 and the signal's number if a signal ended it.
///
/// The command finds a database in `DATABASE_URL`: the given one, or else a private server that lives as long as the
/// command. SIGINT and SIGTERM are passed on to the command.
///
/// # Errors
/// When the command cannot be run, or the private server cannot be started or stopped.
pub async fn with_postgres(command: Vec<OsString>) -> anyhow::Result<i32> {
    let (program, arguments) = command.split_first().context("no command to run")?;
    let mut command = Command::new(program);
    command.args(arguments);
    forget_cargo_run(&mut command);
    if std::env::var_os(DATABASE_URL).is_some() {
        return run(command).await;
    }
    let server = PrivatePostgres::start(Options::default()).await?;
    command.env(DATABASE_URL, server.url());
    let code = run(command).await;
    server.stop().await?;
    code
}

fn forget_cargo_run(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let of_cargo_run = |prefix: &&str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        if OF_CARGO_RUN.iter().any(of_cargo_run) {
            command.env_remove(name);
        }
    }
}

async fn run(mut command: Command) -> anyhow::Result<i32> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let program = command.as_std().get_program().to_owned();
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit_code(status?)),
            // A terminal sends its interrupt to the command as well.
            _ = interrupts.recv() => if !std::io::stdin().is_terminal() {
                pass_on(&child, Signal::SIGINT)?;
            },
            _ = terminations.recv() => pass_on(&child, Signal::SIGTERM)?,
        }
    }
}

fn pass_on(child: &Child, signal: Signal) -> anyhow::Result<()> {
    if let Some(id) = child.id() {
        kill(Pid::from_raw(i32::try_from(id)?), signal)?;
    }
    Ok(())
}

fn exit_code(status: ExitStatus) -> i32 {
    let by_signal = || 128 + status.signal().unwrap_or_default();
    status.code().unwrap_or_else(by_signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str) -> i32 {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command).await.unwrap()
    }

    #[tokio::test]
    async fn returns_the_exit_code() {
        assert_eq!(shell("exit 0").await, 0);
        assert_eq!(shell("exit 7").await, 7);
    }

    #[tokio::test]
    async fn returns_128_and_the_signal() {
        assert_eq!(shell("kill -TERM $$").await, 143);
        assert_eq!(shell("kill -KILL $$").await, 137);
    }

    #[tokio::test]
    async fn names_a_command_that_does_not_exist() {
        let error = run(Command::new("no-such-command")).await.unwrap_err();
        assert!(error.to_string().contains("no-such-command"), "{error}");
    }

    #[tokio::test]
    async fn refuses_an_empty_command() {
        assert!(with_postgres(Vec::new()).await.is_err());
    }
}
