//! The built program as a process: `serve` with its log lines as they come.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use testkit::simulator::Simulator;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::eventually;

/// The number of log lines that a failed test shows.
const LINES_SHOWN: usize = 60;

pub(crate) struct Replica {
    process: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    reading: JoinHandle<()>,
}

impl Replica {
    /// Starts `serve` with seconds in place of minutes, and waits until it says that it is up.
    pub(crate) async fn start(
        database_url: &str,
        apps: &Simulator,
        changes: &[(&str, &str)],
    ) -> Self {
        let replica = Self::spawn(database_url, apps, changes);
        eventually("service.started", async || replica.count("service.started") == 1).await;
        replica
    }

    /// Starts `serve`, and does not wait.
    pub(crate) fn spawn(database_url: &str, apps: &Simulator, changes: &[(&str, &str)]) -> Self {
        Self::of(serve(database_url, apps, changes))
    }

    /// Runs this command, which is a `serve`, and does not wait.
    pub(crate) fn of(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let written = Arc::clone(&lines);
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                let line =
                    serde_json::from_str(&line).expect("every line on stdout is one JSON object");
                written.lock().unwrap().push(line);
            }
        });
        Self { process, lines, reading }
    }

    /// How often an event was logged.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line["event"] == event).count()
    }

    /// The lines of an event.
    pub(crate) fn lines(&self, event: &str) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| line["event"] == event).cloned().collect()
    }

    /// Whether an event was logged that has this number in this field.
    pub(crate) fn has_said(&self, event: &str, field: &str, number: i64) -> bool {
        let lines = self.lines.lock().unwrap();
        lines.iter().any(|line| line["event"] == event && line[field] == number)
    }

    /// The last line of an event.
    pub(crate) fn last(&self, event: &str) -> Option<Value> {
        self.lines.lock().unwrap().iter().rfind(|line| line["event"] == event).cloned()
    }

    /// The log so far, for a failed assertion.
    pub(crate) fn log(&self) -> String {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.process.id().expect("it runs");
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// The exit code, once it has ended by itself and its last line was read; `None` if a signal ended it.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let code = self.process.wait().await.unwrap().code();
        if !self.reading.is_finished() {
            let read = (&mut self.reading).await;
            assert!(read.is_ok() || code.is_none(), "only a kill cuts a line off: {}", self.log());
        }
        code
    }

    /// The address of its probes.
    pub(crate) fn listen(&self) -> String {
        let started = self.last("service.started").unwrap();
        started["http.listen"].as_str().unwrap().to_owned()
    }

    /// The status line of a GET on the listener.
    pub(crate) async fn get(&self, path: &str) -> String {
        get(&self.listen(), path).await.unwrap()
    }
}

/// A test that fails shows what the replica logged last.
impl Drop for Replica {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = lines.len().saturating_sub(LINES_SHOWN);
            eprintln!("the last lines of a replica:\n{}", lines[last..].join("\n"));
        }
    }
}

/// The status line of a GET.
pub(crate) async fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// `serve` with seconds in place of minutes, and with these changes to its environment.
pub(crate) fn serve(database_url: &str, apps: &Simulator, changes: &[(&str, &str)]) -> Command {
    serve_by(env!("CARGO_BIN_EXE_cerby-reconciler").as_ref(), database_url, apps, changes)
}

/// The same by this program.
pub(crate) fn serve_by(
    program: &Path,
    database_url: &str,
    apps: &Simulator,
    changes: &[(&str, &str)],
) -> Command {
    let mut command = Command::new(program);
    command
        .arg("serve")
        .env("RECONCILER__DATABASE__URL", database_url)
        .env("RECONCILER__BACKEND__BASE_URL", apps.base_url())
        .env("RECONCILER__BACKEND__API_KEY", apps.api_key())
        .env("RECONCILER__BACKEND__REQUEST_TIMEOUT_S", "1")
        .env("RECONCILER__BACKEND__CONNECT_TIMEOUT_S", "1")
        .env("RECONCILER__WORKER__LEASE_S", "4")
        .env("RECONCILER__WORKER__SYNC_LEASE_S", "5")
        .env("RECONCILER__WORKER__MAX_TASKS_IN_FLIGHT", "8")
        .env("RECONCILER__WAKEUP__POLL_MS", "100")
        .env("RECONCILER__RETRY__SETTLE_S", "2")
        .env("RECONCILER__JOB__WITHIN_S", "2")
        .env("RECONCILER__JOB__POLL_FIRST_S", "0.05")
        .env("RECONCILER__JOB__POLL_MAX_S", "0.2")
        .env("RECONCILER__HTTP__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for operation in ["INVITE", "REMOVE", "CHANGE_ROLE"] {
        command.env(format!("RECONCILER__RETRY__{operation}__FIRST_S"), "0.1");
        command.env(format!("RECONCILER__RETRY__{operation}__MAX_S"), "1");
    }
    command.envs(changes.iter().copied());
    command
}
