//! What one replica costs: time from start to ready and resident memory while idle, and then the time and the most memory
//! that a snapshot of a very large app takes: by a sync, and by a check for updates with a report that is applied.
//!
//! Run with `cargo bench --bench footprint`; FOOTPRINT_MEMBERS may say how many members the app has, and FOOTPRINT_RUNS how
//! often the replica is started. Prints each run, the medians and the settings. Fails if the snapshot is not complete.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cerby_reconciler::schema;
use sqlx::PgPool;
use testkit::private_postgres::{Options, PrivatePostgres};
use testkit::simulator::{Integration, Kind, Member, Settings, Simulator, World};

const RUNS: usize = 7;
const MEMBERS: usize = 250_000;
const WANTED_GONE: usize = 100;
const LARGE: &str = "large";
const SNAPSHOT_AT_MOST: Duration = Duration::from_secs(1800);
const IDLE: Duration = Duration::from_secs(10);

struct Run {
    ready: Duration,
    resident_kib: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let postgres = PrivatePostgres::start(Options { durable: true }).await?;
    let pool = PgPool::connect(&postgres.url()).await?;
    schema::migrate(&pool.clone().into()).await?;
    let apps = Simulator::start(World::new(), Settings::default()).await?;
    println!("serve, release build, default settings, empty queue, idle for {} s", IDLE.as_secs());
    println!("{:>4}  {:>12}  {:>14}", "run", "ready in ms", "resident MiB");
    let mut runs = Vec::new();
    let count = set("FOOTPRINT_RUNS", RUNS)?.max(1);
    for number in 1..=count {
        let run = measure(&postgres.url(), &apps)?;
        println!("{number:>4}  {:>12}  {:>14.1}", run.ready.as_millis(), mib(run.resident_kib));
        runs.push(run);
    }
    runs.sort_by_key(|run| run.ready);
    let ready = runs[count / 2].ready.as_millis();
    runs.sort_by_key(|run| run.resident_kib);
    let (median, most) = (mib(runs[count / 2].resident_kib), mib(runs[count - 1].resident_kib));
    println!("median: ready in {ready} ms, {median:.1} MiB resident (most {most:.1})");
    apps.stop().await?;
    let members = set("FOOTPRINT_MEMBERS", MEMBERS)?;
    for kind in [Kind::BusinessHub, Kind::App] {
        read_large_app(&postgres.url(), &pool, kind, members).await?;
    }
    pool.close().await;
    postgres.stop().await
}

fn set(name: &str, otherwise: usize) -> anyhow::Result<usize> {
    std::env::var(name).map_or(Ok(otherwise), |text| text.parse()).context(name.to_owned())
}

fn person(number: usize) -> Member {
    let id = format!("member-{number:07}");
    Member::new(&id, &format!("{id}@example.com")).with(&["VIEWER"])
}

/// One snapshot of an app with so many members, a few of whom somebody wants gone. In an app with a report, they have been
/// removed by hand, and a tenth of the members have joined so: of that, Cerby knows nothing before.
async fn read_large_app(
    database_url: &str,
    pool: &PgPool,
    kind: Kind,
    members: usize,
) -> anyhow::Result<()> {
    let (known, word) = match kind {
        Kind::BusinessHub => (members, "business_hub"),
        Kind::App => (members - members / 10, "app"),
    };
    let world =
        World::new().integration(Integration::new(word, LARGE, LARGE, kind, "asana_tenant"));
    let world = (0..known).fold(world, |world, n| world.member(word, LARGE, person(n)));
    let apps = Simulator::start(world, Settings::default()).await?;
    if kind == Kind::App {
        for n in known..members {
            apps.person_invites(word, LARGE, person(n));
        }
        for n in 0..WANTED_GONE {
            apps.person_removes(word, LARGE, &person(n).id);
        }
    }
    sqlx::query(
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
              member_email, operation, trigger, requested_at, failure_code)
         select $1, n::text, $2, $1, $2, 'asana_tenant', 'member-' || lpad(n::text, 7, '0'),
                'member-' || lpad(n::text, 7, '0') || '@example.com', 'remove', 'manual', now(), 'NotEnoughSeats'
         from generate_series(0, $3 - 1) n",
    )
    .bind(word)
    .bind(LARGE)
    .bind(i32::try_from(WANTED_GONE)?)
    .execute(pool)
    .await?;
    let mut replica = serve(database_url, &apps)?;
    let read = snapshot(pool, &mut replica, word).await;
    replica.kill()?;
    replica.wait()?;
    apps.stop().await?;
    let (took, resident, most) = read?;
    println!(
        "a snapshot of {members} members of a kind {word}: {:.1} s; {:.1} MiB resident before, {:.1} MiB at most",
        took.as_secs_f64(),
        mib(resident),
        mib(most)
    );
    Ok(())
}

/// How long a snapshot takes that is asked for now, and the memory before it and at most.
async fn snapshot(
    pool: &PgPool,
    replica: &mut Child,
    workspace: &str,
) -> anyhow::Result<(Duration, u64, u64)> {
    let address = listen_address(replica)?;
    while !is_ready(&address) {}
    let open = "select count(*) = 100 from reconciler.manual_actions where status = 'open' and workspace_id = $1";
    until(pool, open, workspace).await?;
    let resident = memory(replica.id(), "VmRSS:")?;
    let asked = sqlx::query("select reconciler.request_snapshot($1, $2)").bind(workspace);
    asked.bind(LARGE).execute(pool).await?;
    let began = Instant::now();
    let ended = "select exists (select from reconciler.syncs
                                where state in ('held', 'finished', 'failed') and workspace_id = $1)";
    until(pool, ended, workspace).await?;
    let took = began.elapsed();
    let is_whole: bool = sqlx::query_scalar(
        "select coalesce(bool_and(report @> '{\"snapshot\": {\"complete\": true}}'), false) from reconciler.syncs
         where state = 'finished' and workspace_id = $1",
    )
    .bind(workspace)
    .fetch_one(pool)
    .await?;
    if !is_whole {
        bail!("the snapshot is not complete");
    }
    Ok((took, resident, memory(replica.id(), "VmHWM:")?))
}

async fn until(pool: &PgPool, question: &'static str, workspace: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + SNAPSHOT_AT_MOST;
    while !sqlx::query_scalar::<_, bool>(question).bind(workspace).fetch_one(pool).await? {
        if Instant::now() > deadline {
            bail!("after {SNAPSHOT_AT_MOST:?} not yet: {question}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn measure(database_url: &str, apps: &Simulator) -> anyhow::Result<Run> {
    let began = Instant::now();
    let mut replica = serve(database_url, apps)?;
    let outcome = (|| {
        let address = listen_address(&mut replica)?;
        while !is_ready(&address) {}
        let ready = began.elapsed();
        std::thread::sleep(IDLE);
        Ok(Run { ready, resident_kib: memory(replica.id(), "VmRSS:")? })
    })();
    replica.kill()?;
    replica.wait()?;
    outcome
}

fn serve(database_url: &str, apps: &Simulator) -> std::io::Result<Child> {
    Command::new(env!("CARGO_BIN_EXE_cerby-reconciler"))
        .arg("serve")
        .env("RECONCILER__DATABASE__URL", database_url)
        .env("RECONCILER__BACKEND__BASE_URL", apps.base_url())
        .env("RECONCILER__BACKEND__API_KEY", apps.api_key())
        .env("RECONCILER__HTTP__LISTEN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
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

/// A figure of a process's memory in KiB, as Linux tells it.
fn memory(process: u32, figure: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(figure)).context("Linux tells it")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
