//! Runs of the same thing become one row: a median with its spread.

use std::collections::BTreeMap;

use anyhow::ensure;

use super::line::{Line, Measured};

/// The name of what is measured here; its peers have other names.
const OWN: &str = "cerby-reconciler";

/// The latest batch of runs of one system in one setting.
pub(super) struct Row {
    pub(super) shape: String,
    pub(super) system: String,
    pub(super) setting: String,
    pub(super) unit: String,
    pub(super) runs: Vec<Line>,
}

/// The rows in the order in which they are shown. A batch is a run 1 and all that follows it in time until the next
/// run 1 of the same shape, system, setting and unit. Only the latest one counts, even if it has fewer runs.
pub(super) fn latest(mut lines: Vec<Line>) -> anyhow::Result<Vec<Row>> {
    lines.sort_by_key(|line| line.measured.at);
    let mut batches: BTreeMap<_, Vec<Line>> = BTreeMap::new();
    for line in lines {
        let Measured { shape, system, setting, unit, run, .. } = &line.measured;
        let key = (shape.clone(), system.clone(), setting.clone(), unit.clone());
        let first = *run == 1;
        let batch = batches.entry(key).or_default();
        if first {
            batch.clear();
        }
        batch.push(line);
    }
    let rows = batches.into_iter().map(|((shape, system, setting, unit), runs)| {
        complete(&runs)?;
        Ok(Row { shape, system, setting, unit, runs })
    });
    let mut rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    rows.sort_by_cached_key(|row| (row.shape.clone(), natural(&row.setting), !row.is_own()));
    Ok(rows)
}

/// A batch without its first run, or with a run that comes twice, is two batches or a part of one.
fn complete(batch: &[Line]) -> anyhow::Result<()> {
    let mut last = 0;
    for Line { number, measured, .. } in batch {
        let Measured { run, shape, system, setting, .. } = measured;
        let follows = if last == 0 { *run == 1 } else { *run > last };
        ensure!(
            follows,
            "line {number}: run {run} of {shape}, {system}, {setting} follows {}",
            if last == 0 { "no run 1".to_owned() } else { format!("run {last}") }
        );
        last = *run;
    }
    Ok(())
}

impl Row {
    pub(super) fn is_own(&self) -> bool {
        self.system.split(' ').next() == Some(OWN)
    }

    pub(super) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        }
    }

    pub(super) fn least(&self) -> f64 {
        self.sorted()[0]
    }

    pub(super) fn most(&self) -> f64 {
        self.sorted()[self.runs.len() - 1]
    }

    /// What neighbours took of the processors in the run that they disturbed most, in percent. Nothing if it
    /// was not counted in one of them.
    pub(super) fn stolen(&self) -> Option<f64> {
        self.runs
            .iter()
            .try_fold(0.0, |most, run| run.measured.stolen.map(|stolen| stolen.max(most)))
    }

    fn sorted(&self) -> Vec<f64> {
        let mut values: Vec<_> = self.runs.iter().map(|run| run.measured.value).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

/// Puts 32 before 100.
fn natural(text: &str) -> Vec<Part> {
    let chars: Vec<_> = text.chars().collect();
    let parts = chars.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let parts = parts.map(|part| part.iter().collect::<String>());
    parts.map(|part| part.parse().map_or(Part::Text(part), Part::Number)).collect()
}
