//! A private PostgreSQL for tests, the demo and the benchmarks.
//!
//! It lives in a new temporary directory, listens on a free port of 127.0.0.1 with a random password, and leaves
//! neither a process nor a file behind, however its owner ends.

mod account;
mod guard;
mod install;
mod logins;
mod programs;
mod standby;
mod with_postgres;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use account::Account;
pub(crate) use guard::Guard;
use programs::Programs;

pub use with_postgres::with_postgres;

/// The longest directory that leaves room for a socket name within the limits of all systems.
const LONGEST_DIR: usize = 70;
/// Below every system's range for outgoing connections. Otherwise a client that reconnects during a restart could be
/// given the server's own port.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PORT_ATTEMPTS: usize = 20;
const POLL: Duration = Duration::from_millis(20);
const START_LIMIT: Duration = Duration::from_secs(60);
/// A handshake takes long on a busy machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const DROP_LIMIT: Duration = Duration::from_secs(10);

/// How a private server is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Flush to disk as a production server does. Without it everything is faster, and a crash of the machine (not of
    /// the server) loses data.
    pub durable: bool,
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Ends every session, rolls back open transactions, writes a checkpoint.
    Fast,
    /// Ends at once, as in a crash; the next start recovers from the log.
    Immediate,
}

impl Shutdown {
    fn signal(self) -> Signal {
        match self {
            Self::Fast => Signal::SIGINT,
            Self::Immediate => Signal::SIGQUIT,
        }
    }
}

/// A running private server. [`PrivatePostgres::stop`] ends it in order; a drop ends it at once.
#[derive(Debug)]
pub struct PrivatePostgres {
    server: Server,
    files: Files,
}

impl PrivatePostgres {
    /// Starts a server, and first installs PostgreSQL if there is none.
    ///
    /// # Errors
    /// When PostgreSQL 14 or newer is neither there nor installable, or does not start.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let account = Account::for_server()?;
        let programs =
            tokio::task::spawn_blocking(move || programs::find_or_install(account)).await??;
        let files = Files::create(programs, account, secret())?;
        files.initialise(options).await?;
        Self::launch(files).await
    }

    async fn launch(files: Files) -> anyhow::Result<Self> {
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port()?;
            let mut server = Server::spawn(&files, port)?;
            if server.wait_until_ready(&files).await? == Launch::Ready {
                return Ok(Self { server, files });
            }
        }
        bail!("no free port for PostgreSQL after {PORT_ATTEMPTS} attempts")
    }

    /// The URL of its `postgres` database, for the superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.files.url(self.server.port)
    }

    /// The directory of its Unix socket, where the superuser needs no password.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.files.data
    }

    /// The directory of the server's programs.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.files.programs.dir
    }

    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.files.data
    }

    /// The port it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Stops the server and starts it again, on the same port and with its data.
    ///
    /// # Errors
    /// When it does not stop or does not start again.
    pub async fn restart(&mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        self.halt(shutdown).await?;
        self.resume().await
    }

    /// Stops the server and keeps its data, for [`Self::resume`].
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn halt(&mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        self.server.shut_down(shutdown).await
    }

    /// Starts the server that was halted, on the same port and with its data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            self.server = Server::spawn(&self.files, self.server.port)?;
            if self.server.wait_until_ready(&self.files).await? == Launch::Ready {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("port {} was taken while PostgreSQL restarted", self.port())
    }

    /// Stops the server and removes its directory.
    ///
    /// # Errors
    /// When the server does not end in time or its directory cannot be removed; both are then tried once more with
    /// force.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.server.shut_down(Shutdown::Fast).await?;
        self.files.remove()
    }
}

/// The files of the server. The directory is removed when this is dropped, or when this process dies.
#[derive(Debug)]
struct Files {
    programs: Programs,
    account: Account,
    password: String,
    data: PathBuf,
    root: TempDir,
    _guard: Guard,
}

impl Files {
    fn create(programs: Programs, account: Account, password: String) -> anyhow::Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("cerby-pg-")
            .tempdir_in(temp_parent(account))
            .context("cannot make a directory for PostgreSQL")?;
        account.own(root.path())?;
        Ok(Self {
            programs,
            account,
            password,
            data: root.path().join("data"),
            _guard: Guard::of_server(root.path())?,
            root,
        })
    }

    async fn initialise(&self, options: Options) -> anyhow::Result<()> {
        let password_file = self.root.path().join("password");
        fs::write(&password_file, &self.password)?;
        self.account.own(&password_file)?;
        let mut command = self.command("initdb");
        command
            .args(["--username=postgres", "--encoding=UTF8", "--locale=C"])
            .args(["--auth-host=scram-sha-256", "--auth-local=trust"])
            .args(["--no-sync", "--no-instructions"])
            .arg(format!("--pwfile={}", password_file.display()))
            .arg(format!("--pgdata={}", self.data.display()));
        run("initdb", command).await?;
        fs::remove_file(password_file)?;
        self.configure(options)
    }

    fn configure(&self, options: Options) -> anyhow::Result<()> {
        let fsync = if options.durable { "on" } else { "off" };
        let sockets = self.data.display();
        let mut file = OpenOptions::new()
            .append(true)
            .open(self.data.join("postgresql.conf"))
            .context("cannot configure PostgreSQL")?;
        write!(
            file,
            "\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{sockets}'\n\
             max_connections = 200\ntimezone = 'UTC'\nlog_timezone = 'UTC'\nfsync = {fsync}\n"
        )?;
        Ok(())
    }

    fn command(&self, program: &str) -> std::process::Command {
        let program = self.programs.dir.join(program);
        self.account.command(&program, self.root.path())
    }

    fn url(&self, port: u16) -> String {
        let password = &self.password;
        format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres")
    }

    fn log_path(&self) -> PathBuf {
        self.root.path().join("server.log")
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn open_log(&self) -> anyhow::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .context("cannot open PostgreSQL's log")
    }

    fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(self.root.path())
            .with_context(|| format!("cannot remove {}", self.root.path().display()))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Launch {
    Ready,
    PortTaken,
}

/// The server's process. A drop ends it at once.
#[derive(Debug)]
struct Server {
    process: Child,
    port: u16,
    log_start: usize,
}

impl Server {
    fn spawn(files: &Files, port: u16) -> anyhow::Result<Self> {
        let log_start = files.log().len();
        let log = files.open_log()?;
        let process = files
            .command("postgres")
            .arg("-D")
            .arg(&files.data)
            .args(["-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot run postgres")?;
        Ok(Self { process, port, log_start })
    }

    async fn wait_until_ready(&mut self, files: &Files) -> anyhow::Result<Launch> {
        let url = files.url(self.port);
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return self.explain_end(files, status);
            }
            match connect(&url).await {
                Ok(()) => return Ok(Launch::Ready),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context("PostgreSQL does not answer"));
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    fn explain_end(&self, files: &Files, status: ExitStatus) -> anyhow::Result<Launch> {
        let log = files.log();
        let log = log.get(self.log_start..).unwrap_or_default();
        if log.contains("could not create any TCP/IP sockets") {
            return Ok(Launch::PortTaken);
        }
        bail!("PostgreSQL ended while starting ({status}):\n{log}")
    }

    async fn shut_down(&mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        let deadline = Instant::now() + STOP_LIMIT;
        self.signal(shutdown.signal())?;
        while self.process.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "PostgreSQL did not stop within {STOP_LIMIT:?}");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.process.try_wait()?.is_none() {
            kill(Pid::from_raw(i32::try_from(self.process.id())?), signal)?;
        }
        Ok(())
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.has_ended() || self.signal(Signal::SIGQUIT).is_err() {
            return;
        }
        let deadline = Instant::now() + DROP_LIMIT;
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        if self.process.kill().is_ok() {
            // There is nobody to report an error to.
            let _ = self.process.wait();
        }
    }
}

/// Runs one of the server's programs to its end.
async fn run(program: &str, command: std::process::Command) -> anyhow::Result<()> {
    let command = tokio::process::Command::from(command).kill_on_drop(true).output();
    let output = command.await.with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {}", said.trim());
    Ok(())
}

/// A string that nobody can guess, in hexadecimal digits.
pub(crate) fn secret() -> String {
    format!("{:032x}", rand::random::<u128>())
}

async fn connect(url: &str) -> anyhow::Result<()> {
    let attempt = tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect(url));
    attempt.await??.close().await?;
    Ok(())
}

fn free_port() -> anyhow::Result<u16> {
    (0..PORT_ATTEMPTS)
        .map(|_| rand::random_range(PORTS))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no free port on 127.0.0.1")
}

/// The system's directory for temporary files, unless the server's account may have no access to it or its name does
/// not fit into a socket's path or the configuration file.
fn temp_parent(account: Account) -> PathBuf {
    let usual = std::env::temp_dir();
    let plain = |path: &str| {
        path.len() < LONGEST_DIR
            && path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c))
    };
    match usual.to_str() {
        Some(path) if plain(path) && !account.is_switched() => usual,
        _ => PathBuf::from("/tmp"),
    }
}
