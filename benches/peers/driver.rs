//! The driver programs as processes.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::drain::Load;
use super::systems::System;

const START_LIMIT: Duration = Duration::from_secs(60);
const END_LIMIT: Duration = Duration::from_secs(600);
const ERROR_LETTERS: usize = 400;

/// A system and what it has to do.
pub(super) struct Task<'a> {
    pub(super) system: &'a System,
    pub(super) url: String,
    pub(super) load: Load,
}

impl Task<'_> {
    /// Has the schema installed and the tasks enqueued. The settings.
    pub(super) async fn prepare(&self) -> anyhow::Result<Value> {
        self.to_the_end("prepare").await
    }

    /// Has pickups measured. The percentiles.
    pub(super) async fn latency(&self) -> anyhow::Result<Value> {
        self.to_the_end("latency").await
    }

    pub(super) async fn run(&self) -> anyhow::Result<Running> {
        let mut errors = tempfile::tempfile()?;
        let mut child = self.command("run", &mut errors)?.spawn()?;
        let output = child.stdout.take().context("its output is piped")?;
        Ok(Running { child, lines: BufReader::new(output).lines(), errors })
    }

    /// Follows an order that ends. The last line of its output.
    async fn to_the_end(&self, order: &str) -> anyhow::Result<Value> {
        let mut errors = tempfile::tempfile()?;
        let output = self.command(order, &mut errors)?.output();
        let output = tokio::time::timeout(END_LIMIT, output)
            .await
            .with_context(|| format!("{order} did not end in {END_LIMIT:?}"))??;
        ensure!(output.status.success(), "{order}: {}: {}", output.status, tail(&mut errors)?);
        let output = String::from_utf8(output.stdout)?;
        let last = output.lines().last().with_context(|| format!("{order} says nothing"))?;
        serde_json::from_str(last).with_context(|| format!("{order} says {last}"))
    }

    fn command(&self, order: &str, errors: &mut File) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.system.program);
        command
            .args(&self.system.arguments)
            .arg(order)
            .current_dir(&self.system.folder)
            .env("DATABASE_URL", &self.url)
            .env("TASKS", self.load.tasks.to_string())
            .env("CONCURRENCY", self.load.concurrency.to_string())
            .env("ORDERED", if self.load.ordered { "1" } else { "0" })
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?)
            .kill_on_drop(true);
        Ok(command)
    }
}

/// A driver at work.
pub(super) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: File,
}

impl Running {
    /// Waits for its first handler.
    pub(super) async fn first(&mut self) -> anyhow::Result<Instant> {
        loop {
            let line = tokio::time::timeout(START_LIMIT, self.lines.next_line());
            match line.await.context("no handler started")?? {
                Some(line) if line == "first" => return Ok(Instant::now()),
                Some(_) => {}
                None => bail!("it ended before a handler started: {}", tail(&mut self.errors)?),
            }
        }
    }

    /// The id of its process.
    pub(super) fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("it ended")
    }

    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended with work left: {status}: {}", tail(&mut self.errors)?);
        }
        Ok(())
    }

    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

fn tail(errors: &mut File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    errors.rewind()?;
    errors.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let from = text.trim().char_indices().rev().nth(ERROR_LETTERS).map_or(0, |(index, _)| index);
    Ok(text.trim()[from..].to_owned())
}
