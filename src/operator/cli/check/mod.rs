//! `check`: one verdict for each part, with its cause and what to do, so that a failed start is explained.

mod backend;
mod database;
mod probes;

use std::path::Path;
use std::process::ExitCode;

use super::terminal::print;
use crate::config::{self, Config};
use crate::manual_action::instructions::Library;
use crate::telemetry::chain;

/// What is said of a part.
enum Verdict {
    Ok(String),
    /// Something else has to be right first, or to be given.
    Skipped(String),
    Failed {
        why: String,
        remedy: String,
    },
}

impl Verdict {
    fn failed(why: impl ToString, remedy: impl Into<String>) -> Self {
        Self::Failed { why: why.to_string(), remedy: remedy.into() }
    }

    fn is_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// Prints `ok`, `FAILED` or `skipped` for each part; fails if one failed.
pub(super) async fn run(file: Option<&Path>, workspace: Option<&str>) -> ExitCode {
    match checked(file, workspace).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// Whether all is well; fails where standard output cannot be written.
async fn checked(file: Option<&Path>, workspace: Option<&str>) -> anyhow::Result<bool> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            let remedy = "Correct it in the file or the environment; config/default.toml explains every key.";
            say("configuration", &Verdict::failed(chain(&error), remedy))?;
            return Ok(false);
        }
    };
    let known = Verdict::Ok(format!("every key is known and fits the others{}", readable(&config)));
    let mut is_well = say("configuration", &known)?;
    if let Some(folder) = &config.instructions.folder {
        is_well &= say("instructions", &instructions(folder, &config.instructions))?;
    }
    let database = database::check(&config.database).await;
    for (part, verdict) in &database.verdicts {
        is_well &= say(part, verdict)?;
    }
    is_well &= say("probes", &probes::check(config.http.listen).await)?;
    let workspace = match workspace {
        Some(workspace) => Some(workspace.to_owned()),
        None => database.workspace,
    };
    is_well &= say("backend", &backend::check(&config.backend, workspace.as_deref()).await)?;
    Ok(is_well)
}

/// The folder of instructions: every file that cannot be used, with its line.
fn instructions(folder: &str, config: &config::Instructions) -> Verdict {
    match Library::new(config) {
        Ok(library) => {
            let (texts, pictures) = library.count();
            Verdict::Ok(format!("{folder}: texts: {texts}, pictures: {pictures}"))
        }
        Err(error) => Verdict::failed(
            chain(&error),
            "Mend these lines; `serve` refuses to start with them. docs/instructions.md explains the form.",
        ),
    }
}

/// Secrets that others may read.
fn readable(config: &Config) -> String {
    let files = config.world_readable_secrets();
    let files = files.iter().map(|(key, path)| {
        format!("; every account may read {path} ({key}): take that right from others, chmod o-r")
    });
    files.collect()
}

/// Prints a verdict; returns whether the part has not failed.
fn say(part: &str, verdict: &Verdict) -> anyhow::Result<bool> {
    print(&match verdict {
        Verdict::Ok(text) => format!("ok       {part}: {text}\n"),
        Verdict::Skipped(text) => format!("skipped  {part}: {text}\n"),
        Verdict::Failed { why, remedy } => format!("FAILED   {part}: {why}\n         {remedy}\n"),
    })?;
    Ok(!verdict.is_failed())
}
