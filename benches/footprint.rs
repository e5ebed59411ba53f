//! What one replica costs at rest: time from start to ready, and resident memory while idle.
//!
//! Run with `cargo bench --bench footprint`. Prints each run, the medians and the settings; asserts nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cerby_reconciler::private_postgres::{Options, PrivatePostgres};
use cerby_reconciler::schema;
use cerby_reconciler::simulator::{Settings, Simulator, World};

const RUNS: usize = 7;
const IDLE: Duration = Duration::from_secs(10);

struct Run {
    ready: Duration,
    resident_kib: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let postgres = PrivatePostgres::start(Options { durable: true }).await?;
    let pool = sqlx::PgPool::connect(&postgres.url()).await?;
    schema::migrate(&pool.clone().into()).await?;
    let apps = Simulator::start(World::new(), Settings::default()).await?;
    println!("serve, release build, default settings, empty queue, idle for {} s", IDLE.as_secs());
    println!("{:>4}  {:>12}  {:>14}", "run", "ready in ms", "resident MiB");
    let mut runs = Vec::new();
    for number in 1..=RUNS {
        let run = measure(&postgres.url(), &apps)?;
        println!("{number:>4}  {:>12}  {:>14.1}", run.ready.as_millis(), mib(run.resident_kib));
        runs.push(run);
    }
    runs.sort_by_key(|run| run.ready);
    let ready = runs[RUNS / 2].ready.as_millis();
    runs.sort_by_key(|run| run.resident_kib);
    let (median, most) = (mib(runs[RUNS / 2].resident_kib), mib(runs[RUNS - 1].resident_kib));
    println!("median: ready in {ready} ms, {median:.1} MiB resident (most {most:.1})");
    pool.close().await;
    apps.stop().await?;
    postgres.stop().await
}

fn measure(database_url: &str, apps: &Simulator) -> anyhow::Result<Run> {
    let began = Instant::now();
    let mut replica = Command::new(env!("CARGO_BIN_EXE_cerby-reconciler"))
        .arg("serve")
        .env("RECONCILER__DATABASE__URL", database_url)
        .env("RECONCILER__BACKEND__BASE_URL", apps.base_url())
        .env("RECONCILER__BACKEND__API_KEY", apps.api_key())
        .env("RECONCILER__HTTP__LISTEN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()?;
    let outcome = (|| {
        let address = listen_address(&mut replica)?;
        while !is_ready(&address) {}
        let ready = began.elapsed();
        std::thread::sleep(IDLE);
        Ok(Run { ready, resident_kib: resident_kib(replica.id())? })
    })();
    replica.kill()?;
    replica.wait()?;
    outcome
}

fn listen_address(replica: &mut Child) -> anyhow::Result<String> {
    let output = replica.stdout.take().context("its output is piped")?;
    for line in BufReader::new(output).lines() {
        let line: serde_json::Value = serde_json::from_str(&line?)?;
        if line["event"] == "service.started" {
            return Ok(line["http.listen"].as_str().context("it listens")?.to_owned());
        }
    }
    bail!("it ended before it was up")
}

fn is_ready(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let request = b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains(" 200 ")
}

fn resident_kib(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("Linux tells it")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
