//! Our queue and its peers side by side: how fast each drains what waits, with and without an order per key, and how
//! long a pickup takes.
//!
//! Run with `make bench-peers`, which installs the peers. Each has a driver program (in the folders here) with three
//! orders: `prepare` installs its schema, enqueues the tasks, and prints its settings as a line of JSON; `run` works
//! until it is killed and prints `first` when its first handler starts; `latency` prints percentiles of its pickups.
//! The clock of a drain starts at `first` and stops when the database says that nothing is unfinished. All runs are
//! on one private PostgreSQL that flushes to disk, each in a database of its own, and systems take turns.

#[path = "../bed/mod.rs"]
mod bed;
mod drain;
mod driver;
mod pickup;
#[path = "../record/mod.rs"]
mod record;
mod server;
mod summary;
mod systems;

use anyhow::{Context, ensure};
use record::{Machine, Measurement};
use serde_json::Value;

use drain::Load;
use server::Server;
use summary::Summary;
use systems::System;

const CONCURRENCIES: [u32; 3] = [32, 100, 500];
const ORDERED_CONCURRENCY: u32 = 100;
const PICKUP_CONCURRENCY: u32 = 32;

/// How much is measured.
struct Extent {
    tasks: u32,
    runs: u32,
    shapes: Vec<String>,
}

struct Bench {
    server: Server,
    machine: Machine,
    summary: Summary,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let extent = Extent {
        tasks: variable("PEERS_TASKS", "200000").parse().context("PEERS_TASKS")?,
        runs: variable("PEERS_RUNS", "5").parse().context("PEERS_RUNS")?,
        shapes: words(&variable("PEERS_SHAPES", "drain,drain ordered,pickup")),
    };
    let systems = systems::installed(&words(&variable("PEERS_ONLY", "")))?;
    ensure!(!systems.is_empty(), "nothing to measure");
    let mut server = Server::start().await?;
    let machine = Machine::with_postgresql(server.version())?;
    server.print_settings().await?;
    let mut bench = Bench { server, machine, summary: Summary::default() };
    bench.measure(&extent, &systems).await?;
    bench.summary.print();
    bench.server.stop().await
}

impl Bench {
    async fn measure(&mut self, extent: &Extent, systems: &[System]) -> anyhow::Result<()> {
        let loads = CONCURRENCIES.map(|concurrency| (concurrency, false));
        for (concurrency, ordered) in loads.into_iter().chain([(ORDERED_CONCURRENCY, true)]) {
            for run in 1..=extent.runs {
                for system in systems.iter().filter(|system| system.keeps_order || !ordered) {
                    let tasks =
                        system.most_tasks.map_or(extent.tasks, |most| extent.tasks.min(most));
                    let load = Load { tasks, concurrency, ordered };
                    if extent.shapes.iter().any(|shape| shape == load.shape()) {
                        self.drain(system, load, run).await?;
                    }
                }
            }
        }
        if extent.shapes.iter().any(|shape| shape == "pickup") {
            for run in 1..=extent.runs {
                for system in systems {
                    self.pickup(system, run).await?;
                }
            }
        }
        Ok(())
    }

    async fn drain(&mut self, system: &System, load: Load, run: u32) -> anyhow::Result<()> {
        let setting = format!("concurrency {}", load.concurrency);
        let labels = Labels { shape: load.shape(), system, setting: &setting, run };
        match drain::drain(&mut self.server, system, load).await {
            Ok((rate, details)) => self.note(&labels, "tasks/s", rate, details),
            Err(error) => self.leave_out(&labels, &error).await,
        }
    }

    async fn pickup(&mut self, system: &System, run: u32) -> anyhow::Result<()> {
        let labels = |setting| Labels { shape: "pickup", system, setting, run };
        match pickup::pickup(&mut self.server, system, PICKUP_CONCURRENCY).await {
            Ok((percentiles, details)) => {
                for (setting, value) in percentiles {
                    self.note(&labels(setting), "ms", value, details.clone())?;
                }
                Ok(())
            }
            Err(error) => self.leave_out(&labels("all"), &error).await,
        }
    }

    /// A run that failed has no value, and is seen as one run less; without the server, nobody else could do better.
    async fn leave_out(
        &mut self,
        labels: &Labels<'_>,
        error: &anyhow::Error,
    ) -> anyhow::Result<()> {
        let Labels { shape, system, setting, run } = labels;
        println!("{shape} {} {setting} run {run} failed: {error:#}", system.label);
        self.server.ping().await.context("the server is gone")
    }

    fn note(
        &mut self,
        labels: &Labels,
        unit: &str,
        value: f64,
        details: Value,
    ) -> anyhow::Result<()> {
        if labels.run == 1 {
            println!("{} {}: {details}", labels.system.label, labels.setting);
        }
        let measurement = Measurement {
            shape: labels.shape.to_owned(),
            system: labels.system.label.to_owned(),
            setting: labels.setting.to_owned(),
            run: labels.run,
            unit: unit.to_owned(),
            value,
            details,
        };
        record::record(&self.machine, &measurement)?;
        self.summary.add(measurement);
        Ok(())
    }
}

/// What tells a measurement from the others.
struct Labels<'a> {
    shape: &'a str,
    system: &'a System,
    setting: &'a str,
    run: u32,
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn words(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
