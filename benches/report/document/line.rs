//! One line of the file: one measured value of one run.

use anyhow::{anyhow, ensure};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

/// A line as it was read.
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
    pub(super) measured: Measured,
}

/// What `benches/record` writes, and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measured {
    pub(super) at: DateTime<Utc>,
    pub(super) machine: Machine,
    pub(super) shape: String,
    pub(super) system: String,
    pub(super) setting: String,
    pub(super) run: u32,
    pub(super) unit: String,
    pub(super) value: f64,
    /// Percent of the processors' time that neighbours took meanwhile, where that was counted.
    pub(super) stolen: Option<f64>,
    pub(super) details: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_gib: u64,
    pub(super) kernel: String,
    pub(super) postgresql: String,
}

/// All lines, or the number of the first broken one with the reason.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Line>> {
    let numbered = text.lines().zip(1..);
    numbered
        .map(|(text, number)| {
            let measured = parse(text).map_err(|reason| anyhow!("line {number}: {reason}"))?;
            Ok(Line { number, text: text.to_owned(), measured })
        })
        .collect()
}

fn parse(text: &str) -> anyhow::Result<Measured> {
    let measured: Measured = serde_json::from_str(text)
        .map_err(|error| anyhow!(error.to_string().replace(" at line 1 column ", " at column ")))?;
    let Measured { shape, system, setting, unit, .. } = &measured;
    for (name, word) in [("shape", shape), ("system", system), ("setting", setting), ("unit", unit)]
    {
        let shown = !word.is_empty() && !word.contains(char::is_control);
        ensure!(shown, "{name} is empty or holds control characters");
    }
    ensure!(measured.run > 0, "runs count from 1");
    ensure!(measured.value >= 0.0, "value is below zero");
    let is_percentage = measured.stolen.is_none_or(|stolen| (0.0..=100.0).contains(&stolen));
    ensure!(is_percentage, "stolen is no percentage");
    if let Some(place) = place(&measured.details) {
        return Err(anyhow!("details name a place on the machine: {place}"));
    }
    Ok(measured)
}

/// A path or an address among the details. They are published, and of the machine they say nothing.
fn place(details: &Value) -> Option<&str> {
    match details {
        Value::String(text) => text.split_whitespace().find(|word| {
            let path = word.strip_prefix('/').is_some_and(|rest| rest.contains('/'));
            path || word.contains("://")
        }),
        Value::Array(values) => values.iter().find_map(place),
        Value::Object(fields) => fields.values().find_map(place),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}
