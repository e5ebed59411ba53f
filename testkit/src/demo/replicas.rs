//! Two daemons, as processes of the program that is built in the same directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::private_postgres::Guard;

const COUNT: usize = 2;
const ALARMS: [&str; 3] = [r#""level":"ERROR""#, "panicked at", "upkeep.healed"];
const POLL: Duration = Duration::from_millis(50);
const READY_WITHIN: Duration = Duration::from_secs(20);
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// The running daemons. Dropping this kills them.
pub(super) struct Replicas {
    all: Vec<Replica>,
    _guard: Guard,
}

struct Replica {
    process: Child,
    log: PathBuf,
}

impl Replicas {
    /// Starts them with this environment and log files in `dir`, and waits until they are up.
    pub(super) async fn start(
        dir: &Path,
        environment: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let mut all = (1..=COUNT)
            .map(|number| Replica::spawn(dir, number, environment))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let guard = Guard::of_processes(dir, all.iter().filter_map(|each| each.process.id()))?;
        for replica in &mut all {
            replica.wait_until_up().await?;
        }
        Ok(Self { all, _guard: guard })
    }

    /// Waits until one of them ends by itself, which none should.
    pub(super) async fn one_ends(&mut self) -> anyhow::Error {
        loop {
            for replica in &mut self.all {
                match replica.process.try_wait() {
                    Ok(None) => {}
                    Ok(Some(status)) => return replica.ended(status),
                    Err(error) => return error.into(),
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Stops them and waits for their end; returns what went wrong.
    pub(super) async fn stop(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for replica in &self.all {
            if let Err(error) = replica.terminate() {
                wrong.push(format!("a replica could not be told to stop: {error:#}"));
            }
        }
        for replica in &mut self.all {
            if let Err(error) = replica.wait_until_stopped().await {
                wrong.push(format!("{error:#}"));
            }
        }
        wrong
    }

    /// Log lines which show that someone must act on the service, that a worker panicked, or that upkeep repaired
    /// something.
    pub(super) fn alarming_lines(&self) -> Vec<String> {
        let logs = self.all.iter().map(|replica| replica.log_text());
        logs.flat_map(|log| {
            log.lines()
                .filter(|line| ALARMS.iter().any(|alarm| line.contains(alarm)))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
    }
}

/// The program that ships, in the same directory as this one, which never ships.
pub(super) fn daemon() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe().context("this program cannot find itself")?;
    let daemon = here.with_file_name("cerby-reconciler");
    ensure!(daemon.is_file(), "{} is not there; build it: cargo build --locked", daemon.display());
    Ok(daemon)
}

impl Replica {
    fn spawn(dir: &Path, number: usize, environment: &[(String, String)]) -> anyhow::Result<Self> {
        let log = dir.join(format!("replica-{number}.log"));
        let out = File::create(&log).context("a replica's log cannot be written")?;
        let mut command = Command::new(daemon()?);
        std::env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| name.as_encoded_bytes().starts_with(b"RECONCILER"))
            .for_each(|name| {
                command.env_remove(name);
            });
        let process = command
            .arg("serve")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            // Ctrl-C in a terminal reaches only the demo, which then stops its replicas in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("a replica cannot be started")?;
        Ok(Self { process, log })
    }

    async fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.log_text().contains("service.started") {
            if let Some(status) = self.process.try_wait()? {
                return Err(self.ended(status));
            }
            if Instant::now() > deadline {
                bail!("a replica was not up after {} s", READY_WITHIN.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn terminate(&self) -> anyhow::Result<()> {
        match self.process.id() {
            Some(id) => Ok(kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM)?),
            None => Ok(()),
        }
    }

    async fn wait_until_stopped(&mut self) -> anyhow::Result<()> {
        match tokio::time::timeout(STOPS_WITHIN, self.process.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(ExitStatus::success) => Ok(()),
            Ok(status) => Err(self.ended(status?)),
            Err(_) => {
                self.process.kill().await?;
                bail!("a replica did not stop in {} s", STOPS_WITHIN.as_secs())
            }
        }
    }

    fn ended(&self, status: ExitStatus) -> anyhow::Error {
        let log = self.log_text();
        let last = log.lines().last().unwrap_or("no log line");
        anyhow::anyhow!("a replica ended with {status}: {last}")
    }

    fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}
