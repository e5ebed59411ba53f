//! What the drivers in Rust share: their orders, the word of their first handler, and how long a pickup takes.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// After a pickup, before the next insert: time for its completion to be written, and then nothing to do.
const IDLE: Duration = Duration::from_millis(20);
/// Added in part, evenly spread, so that the inserts do not follow the beat of anybody's timer.
const SPREAD: Duration = Duration::from_millis(10);
const INSERTS: u32 = 1_000;
const STARTING: Duration = Duration::from_secs(1);
const LONGEST_PICKUP: Duration = Duration::from_secs(30);

static FIRST_SAID: AtomicBool = AtomicBool::new(false);
static STARTS: OnceLock<UnboundedSender<Instant>> = OnceLock::new();

pub enum Order {
    /// Install the schema, enqueue the tasks, say the settings.
    Prepare,
    Run,
    /// Measure how long pickups take.
    Latency,
}

/// The command line and the environment.
pub struct Orders {
    pub order: Order,
    pub database_url: String,
    pub tasks: usize,
    pub concurrency: usize,
    pub ordered: bool,
}

impl Orders {
    pub fn read() -> anyhow::Result<Self> {
        let order = match std::env::args().nth(1).as_deref() {
            Some("prepare") => Order::Prepare,
            Some("run") => Order::Run,
            Some("latency") => Order::Latency,
            other => bail!("prepare, run or latency, not {other:?}"),
        };
        let variable = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
        Ok(Self {
            order,
            database_url: variable("DATABASE_URL")?,
            tasks: variable("TASKS")?.parse()?,
            concurrency: variable("CONCURRENCY")?.parse()?,
            ordered: variable("ORDERED")? == "1",
        })
    }
}

/// To be called first by every handler.
pub fn handler_started() {
    if let Some(starts) = STARTS.get() {
        // Whoever measures waits for it, or has given up and ends.
        let _ = starts.send(Instant::now());
    } else if !FIRST_SAID.load(Ordering::Relaxed) && !FIRST_SAID.swap(true, Ordering::Relaxed) {
        println!("first");
    }
}

/// Measures from the return of each insert to the start of its handler, and prints the percentiles.
pub async fn measure_pickups(
    mut insert: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (sender, mut starts) = unbounded_channel();
    STARTS.set(sender).ok().context("measured once")?;
    tokio::time::sleep(STARTING).await;
    let mut pickups = Vec::new();
    for number in 0..INSERTS {
        let part = (f64::from(number) * 0.618_033_988_75).fract();
        tokio::time::sleep(IDLE + SPREAD.mul_f64(part)).await;
        insert().await?;
        let inserted = Instant::now();
        let start = tokio::time::timeout(LONGEST_PICKUP, starts.recv()).await;
        let started = start.context("nobody picked it up")?.context("the sender is static")?;
        pickups.push(started.saturating_duration_since(inserted).as_secs_f64() * 1_000.0);
    }
    println!("{}", percentiles(&mut pickups)?);
    Ok(())
}

fn percentiles(pickups: &mut [f64]) -> anyhow::Result<String> {
    pickups.sort_by(f64::total_cmp);
    let at = |percent: usize| pickups[(pickups.len() * percent / 100).min(pickups.len() - 1)];
    let values = [("p50_ms", at(50)), ("p95_ms", at(95)), ("p99_ms", at(99)), ("max_ms", at(100))];
    Ok(serde_json::to_string(&BTreeMap::from(values))?)
}
