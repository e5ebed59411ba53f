//! `health`: asks the probes of the daemon in this container, as the container's own health check does.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::probe::ask;
use super::terminal::print;
use crate::config::Config;

/// Prints the answer; fails if the daemon is not live, or is not ready where that is asked for.
pub(super) async fn run(file: Option<&Path>, ready: bool) -> anyhow::Result<ExitCode> {
    let listen = Config::load(file)?.http.listen;
    let path = if ready { "/readyz" } else { "/livez" };
    let answer = ask(listen, path).await;
    let answer = answer.with_context(|| format!("no daemon answers at {listen}"))?;
    if !answer.is_ok {
        bail!(answer.line);
    }
    print(&format!("{}\n", answer.line))?;
    Ok(ExitCode::SUCCESS)
}
