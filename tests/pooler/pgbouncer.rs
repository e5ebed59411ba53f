//! A PgBouncer of its own in front of a private server.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::private_postgres::PrivatePostgres;

pub(crate) struct PgBouncer {
    program: PathBuf,
    folder: TempDir,
    /// Whom it runs as: it refuses to run as root.
    account: (u32, u32),
    port: u16,
    process: Child,
}

impl PgBouncer {
    /// Starts the PgBouncer of a suite of Debian, with these lines in its configuration.
    pub(crate) fn start(suite: &str, server: &PrivatePostgres, settings: &str) -> Self {
        let poolers = std::env::var("POOLERS").expect("run by make test-pgbouncer");
        let program = PathBuf::from(poolers).join(suite).join("pgbouncer");
        let owner = fs::metadata(server.data_dir()).unwrap();
        let account = (owner.uid(), owner.gid());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        chown(folder.path(), Some(account.0), Some(account.1)).unwrap();
        let url = reqwest::Url::parse(&server.url()).unwrap();
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} user=postgres password={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 5\n{settings}",
            server.port(),
            url.password().unwrap(),
        );
        fs::write(folder.path().join("pgbouncer.ini"), text).unwrap();
        let process = spawn(&program, &folder, account);
        let pooler = Self { program, folder, account, port, process };
        pooler.wait();
        pooler
    }

    pub(crate) fn url(&self, server: &PrivatePostgres) -> String {
        server.url().replace(&format!(":{}/", server.port()), &format!(":{}/", self.port))
    }

    pub(crate) fn kill_and_start(&mut self) {
        self.kill();
        self.process = spawn(&self.program, &self.folder, self.account);
        self.wait();
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn wait(&self) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "PgBouncer does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn spawn(program: &PathBuf, folder: &TempDir, (uid, gid): (u32, u32)) -> Child {
    Command::new(program)
        .arg("--quiet")
        .arg(folder.path().join("pgbouncer.ini"))
        .uid(uid)
        .gid(gid)
        .stdin(Stdio::null())
        .spawn()
        .expect("PgBouncer runs")
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.kill();
    }
}
