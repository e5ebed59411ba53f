//! What the queue costs, shape by shape.
//!
//! Run with `cargo bench --bench queue [-- SHAPE…]`, all shapes by default. Prints every run and appends it to the file
//! of measurements.
//!
//! Variables set sizes: RUNS and TASKS everywhere; STEP_MS, BLOCKED, PAUSED, LATER, FINISHED, EXPIRED, TASKS_PER_SECOND,
//! MINUTES, READER_S, IDLE_S, LOADED_S, WORKSPACES and SECONDS where a shape has them. What is not set is as it is reported.

mod backlog;
#[path = "../bed/mod.rs"]
mod bed;
mod blocked_member;
mod consoles;
mod drain;
mod driver;
mod http;
mod idle;
mod intake;
mod limit;
mod many_workspaces;
mod memory;
mod paused_integration;
mod pickup;
mod process;
#[path = "../record/mod.rs"]
mod record;
mod replicas;
mod retention;
mod rows;
mod shape;
mod slow_handlers;
mod steady_load;
mod tasks;
mod traces;

use anyhow::Context;
use mimalloc::MiMalloc;
use record::Machine;
use shape::Shape;

/// Drivers have the allocator of the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Their names; on the command line with hyphens.
const SHAPES: &[&str] = &[
    "drain",
    "limit",
    "blocked member",
    "paused integration",
    "backlog and history",
    "intake",
    "pickup",
    "many workspaces",
    "slow handlers",
    "steady load",
    "replicas",
    "memory",
    "idle",
    "retention",
    "http",
    "traces",
    "consoles",
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [first, part] = arguments.as_slice()
        && first == "driver"
    {
        return driver::drive(part).await;
    }
    let shapes = desired(&arguments)?;
    let bed = bed::Bed::start().await?;
    let machine = Machine::with_postgresql(bed.version())?;
    println!("{}", serde_json::to_string(&machine)?);
    println!("server: defaults and {:?}", bed::SERVER_SETTINGS);
    for name in shapes {
        measure(&Shape { bed: &bed, machine: &machine, name }).await?;
    }
    bed.stop().await
}

fn desired(arguments: &[String]) -> anyhow::Result<Vec<&'static str>> {
    if arguments.is_empty() {
        return Ok(SHAPES.to_vec());
    }
    let known = |argument: &String| {
        let name = argument.replace('-', " ");
        let shape = SHAPES.iter().copied().find(|shape| *shape == name);
        shape.with_context(|| format!("no shape is called {argument}"))
    };
    arguments.iter().map(known).collect()
}

async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    match shape.name {
        "drain" => drain::measure(shape.bed, shape.machine).await,
        "blocked member" => blocked_member::measure(shape).await,
        "paused integration" => paused_integration::measure(shape).await,
        "limit" => limit::measure(shape).await,
        "backlog and history" => backlog::measure(shape).await,
        "intake" => intake::measure(shape).await,
        "pickup" => pickup::measure(shape).await,
        "many workspaces" => many_workspaces::measure(shape).await,
        "slow handlers" => slow_handlers::measure(shape).await,
        "steady load" => steady_load::measure(shape).await,
        "memory" => memory::measure(shape).await,
        "idle" => idle::measure(shape).await,
        "retention" => retention::measure(shape).await,
        "http" => http::measure(shape).await,
        "traces" => traces::measure(shape).await,
        "consoles" => consoles::measure(shape).await,
        "replicas" => replicas::measure(shape).await,
        other => unreachable!("{other} is in no list"),
    }
}
