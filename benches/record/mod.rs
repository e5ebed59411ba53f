//! The machine-readable file of measurements: one JSON object per line and run, appended to `target/bench/results.jsonl`.
//! Each line stands by itself: what was measured, of which system, with which settings, on which machine, when.

mod stolen;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use stolen::Meter;

/// One measured value of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Measurement {
    /// The shape of the load, such as `drain`.
    pub(crate) shape: String,
    /// What was measured, with its version.
    pub(crate) system: String,
    /// What tells this row of the shape's table from the others, such as `concurrency 100`.
    pub(crate) setting: String,
    /// The run, from 1.
    pub(crate) run: u32,
    /// The unit of the value, such as `tasks/s`.
    pub(crate) unit: String,
    pub(crate) value: f64,
    /// Settings in full, and what was measured beside the value.
    pub(crate) details: Value,
}

#[derive(Serialize)]
struct Line<'a> {
    at: DateTime<Utc>,
    machine: &'a Machine,
    /// Percent of the processors' time that neighbours took meanwhile.
    stolen: f64,
    #[serde(flatten)]
    measurement: &'a Measurement,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    postgresql: String,
    #[serde(skip)]
    meter: Meter,
}

impl Machine {
    /// This machine, with the version of the server under test.
    pub(crate) fn with_postgresql(version: &str) -> anyhow::Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let after = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).map(str::to_owned);
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
        };
        let kib = after(&memory, "MemTotal").context("Linux tells its memory")?;
        let kib: u64 = kib.split_whitespace().next().context("a number")?.parse()?;
        Ok(Self {
            cpu: after(&cpus, "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: kib.div_ceil(1024 * 1024),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            postgresql: version.to_owned(),
            meter: Meter::begin()?,
        })
    }
}

/// Prints a measurement and appends it to the file.
pub(crate) fn record(machine: &Machine, measurement: &Measurement) -> anyhow::Result<()> {
    let Measurement { shape, system, setting, run, unit, value, .. } = measurement;
    let stolen = machine.meter.percent()?;
    println!(
        "{shape:<22}{system:<34}{setting:<34}run {run:<3}{value:>12.2} {unit}   {stolen:.0} % stolen"
    );
    let file = results_file()?;
    fs::create_dir_all(file.parent().context("it lies in a folder")?)?;
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(file, "{}", line(machine, measurement)?)?;
    Ok(())
}

/// A measurement as a line of the file.
pub(crate) fn line(machine: &Machine, measurement: &Measurement) -> anyhow::Result<String> {
    let stolen = machine.meter.percent()?;
    let line = Line { at: SystemTime::now().into(), machine, stolen, measurement };
    Ok(serde_json::to_string(&line)?)
}

/// The file, in the target folder of whoever builds this.
fn results_file() -> anyhow::Result<PathBuf> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()?;
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let target = metadata["target_directory"].as_str().context("cargo tells its target folder")?;
    Ok(PathBuf::from(target).join("bench").join("results.jsonl"))
}
