//! The private server starts, answers, restarts, and leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};
use testkit::private_postgres::{Options, PrivatePostgres, Shutdown};

async fn start() -> PrivatePostgres {
    PrivatePostgres::start(Options::default()).await.expect("a private server")
}

async fn ask(url: &str, query: &'static str) -> String {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let row = sqlx::query(query).fetch_one(&mut connection).await.expect("a row");
    row.get(0)
}

async fn run(url: &str, statement: &'static str) {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    sqlx::query(statement).execute(&mut connection).await.expect("a result");
}

fn server_pid(data_dir: &Path) -> Pid {
    let file = fs::read_to_string(data_dir.join("postmaster.pid")).expect("a pid file");
    let pid = file.lines().next().and_then(|line| line.parse().ok());
    Pid::from_raw(pid.expect("a pid"))
}

fn is_alive(pid: Pid) -> bool {
    kill(pid, None) != Err(Errno::ESRCH)
}

fn wait_until_gone(pid: Pid, root: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_alive(pid) || root.exists() {
        assert!(Instant::now() < deadline, "{pid} or {root:?} was left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn answers_with_the_promised_settings() {
    let server = start().await;
    let url = server.url();
    assert_eq!(ask(&url, "show timezone").await, "UTC");
    assert_eq!(ask(&url, "show max_connections").await, "200");
    assert_eq!(ask(&url, "show fsync").await, "off");
    assert_eq!(ask(&url, "show server_encoding").await, "UTF8");
    assert!(server.bin_dir().join("initdb").is_file());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn flushes_when_durable() {
    let server = PrivatePostgres::start(Options { durable: true }).await.unwrap();
    assert_eq!(ask(&server.url(), "show fsync").await, "on");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn wants_its_password_over_tcp_and_none_in_its_own_directory() {
    let server = start().await;
    let wrong = format!("postgres://postgres:x@127.0.0.1:{}/postgres", server.port());
    assert!(PgConnection::connect(&wrong).await.is_err());
    let options = PgConnectOptions::new()
        .socket(server.socket_dir())
        .port(server.port())
        .username("postgres")
        .database("postgres");
    assert!(PgConnection::connect_with(&options).await.is_ok());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn restarts_on_the_same_port_with_its_data() {
    let mut server = start().await;
    let url = server.url();
    run(&url, "create table kept (word text)").await;
    run(&url, "insert into kept values ('kept')").await;
    for shutdown in [Shutdown::Fast, Shutdown::Immediate] {
        let before = server_pid(server.data_dir());
        server.restart(shutdown).await.unwrap();
        assert_ne!(server_pid(server.data_dir()), before);
        assert_eq!(server.url(), url);
        assert_eq!(ask(&url, "select word from kept").await, "kept");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn leaves_nothing_when_stopped() {
    let server = start().await;
    let root = server.data_dir().parent().unwrap().to_owned();
    let pid = server_pid(server.data_dir());
    assert!(root.exists() && is_alive(pid));
    server.stop().await.unwrap();
    assert!(!root.exists() && !is_alive(pid));
}

#[tokio::test]
async fn leaves_nothing_when_dropped() {
    let server = start().await;
    let root = server.data_dir().parent().unwrap().to_owned();
    let pid = server_pid(server.data_dir());
    drop(server);
    assert!(!root.exists() && !is_alive(pid));
}

#[tokio::test]
async fn two_at_once_do_not_meet() {
    let (one, two) = tokio::join!(start(), start());
    assert_ne!(one.port(), two.port());
    run(&one.url(), "create table mine ()").await;
    let mine = "select coalesce(to_regclass('mine')::text, 'none')";
    assert_eq!(ask(&one.url(), mine).await, "mine");
    assert_eq!(ask(&two.url(), mine).await, "none");
    one.stop().await.unwrap();
    assert_eq!(ask(&two.url(), "select 'still here'").await, "still here");
    two.stop().await.unwrap();
}

#[tokio::test]
async fn leaves_nothing_when_its_owner_is_killed() {
    // The command tells its database, then waits for an input that ends with this test.
    let mut owner = Command::new(env!("CARGO_BIN_EXE_testkit"))
        .args(["with-postgres", "--", "sh", "-c", r#"echo "url=$DATABASE_URL"; exec cat"#])
        .env_remove("DATABASE_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let url = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("url=")?.1.to_owned()))
        .unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let data_dir: String =
        sqlx::query_scalar("show data_directory").fetch_one(&mut connection).await.unwrap();
    let data_dir = PathBuf::from(data_dir);
    let pid = server_pid(&data_dir);
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until_gone(pid, data_dir.parent().unwrap());
}
