//! Processes that work on a database: drivers of our engine, and the real program.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use testkit::simulator::Simulator;

const PATIENCE: Duration = Duration::from_secs(60);

/// Linux counts a process's time in these, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// A part of the driver.
pub(crate) fn driver(part: &str, url: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["driver", part]).env("DATABASE_URL", url);
    Ok(command)
}

/// The driver at work, with steps that do nothing.
pub(crate) fn worker(url: &str, concurrency: usize) -> anyhow::Result<Command> {
    let mut command = driver("run", url)?;
    command.env("CONCURRENCY", concurrency.to_string());
    Ok(command)
}

/// What a part of the driver says at its end.
pub(crate) fn said(mut command: Command) -> anyhow::Result<Value> {
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "a driver failed");
    let last = output.stdout.rsplit(|byte| *byte == b'\n').find(|line| !line.is_empty());
    Ok(serde_json::from_slice(last.context("a driver said nothing")?)?)
}

pub(crate) fn serve(url: &str, apps: &Simulator) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cerby-reconciler"));
    command
        .arg("serve")
        .env("RECONCILER__DATABASE__URL", url)
        .env("RECONCILER__BACKEND__BASE_URL", apps.base_url())
        .env("RECONCILER__BACKEND__API_KEY", apps.api_key())
        .env("RECONCILER__HTTP__LISTEN", "127.0.0.1:0");
    command
}

/// Processes that have begun. A drop kills them.
pub(crate) struct Working {
    processes: Vec<Process>,
    /// When the first of them began.
    pub(crate) began: Instant,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Working {
    /// Starts them and waits until one writes a first line, of its first step or that it is up.
    pub(crate) fn start(commands: impl IntoIterator<Item = Command>) -> anyhow::Result<Self> {
        let (begins, first) = mpsc::channel();
        let mut processes = Vec::new();
        for mut command in commands {
            let mut process = Process(command.stdout(Stdio::piped()).spawn()?);
            let output = process.0.stdout.take().context("its output is piped")?;
            let begins = begins.clone();
            std::thread::spawn(move || tell_first(output, &begins));
            processes.push(process);
        }
        drop(begins);
        let began = first.recv_timeout(PATIENCE).context("nothing began")?;
        Ok(Self { processes, began })
    }

    /// The id of the first.
    pub(crate) fn id(&self) -> u32 {
        self.processes[0].0.id()
    }

    /// Lets them end in order. Fails if one had not lasted.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        for process in &self.processes {
            kill(Pid::from_raw(process.0.id().try_into()?), Signal::SIGINT)?;
        }
        for process in &mut self.processes {
            let status = process.0.wait()?;
            ensure!(status.success(), "a process ended with {status}");
        }
        Ok(())
    }
}

fn tell_first(output: impl Read, begins: &mpsc::Sender<Instant>) -> std::io::Result<u64> {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    if output.read_line(&mut line)? > 0 {
        // Another may have been first, and nobody waits any more.
        let _ = begins.send(Instant::now());
    }
    std::io::copy(&mut output, &mut std::io::sink())
}

/// A process's memory in MB: `VmRSS` is what it holds, `VmHWM` the most that it ever held.
pub(crate) fn memory_mb(process: u32, which: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(which)).context("Linux tells it")?;
    let kib: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}

/// Seconds of a core that a process has used.
pub(crate) fn core_seconds(process: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("its name is in brackets")?;
    let ticks: Vec<f64> =
        fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}
