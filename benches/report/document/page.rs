//! The page: prose by people, and between markers what was measured.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};

use super::line::Measured;
use super::row::Row;
use super::{plot, table};

const OPENS: (&str, &str) = ("<!-- measured:", " -->");
const CLOSES: &str = "<!-- /measured -->";
/// The marker of what is said once for all shapes.
const MACHINE: &str = "machine";
/// The marker of the details of all runs.
const SETTINGS: &str = "settings";

/// The page with what stands between its markers renewed. Everything measured has a place on it.
pub(super) fn fill(page: &str, folder: &str, rows: &[Row]) -> anyhow::Result<String> {
    let mut filled = String::new();
    let mut places = BTreeSet::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        filled += &format!("{line}\n");
        ensure!(line != CLOSES, "a marker is closed that was not opened");
        if let Some(name) = opened(line) {
            ensure!(places.insert(name), "{line} comes twice");
            let closed = lines.find(|line| *line == CLOSES || opened(line).is_some());
            ensure!(closed == Some(CLOSES), "{line} is not closed");
            filled += &format!("\n{}\n{CLOSES}\n", block(name, folder, rows)?);
        }
    }
    if let Some(homeless) = rows.iter().find(|row| !places.contains(row.shape.as_str())) {
        bail!("the page has no marker for {}", homeless.shape);
    }
    Ok(filled)
}

fn opened(line: &str) -> Option<&str> {
    line.strip_prefix(OPENS.0)?.strip_suffix(OPENS.1)
}

fn block(name: &str, folder: &str, rows: &[Row]) -> anyhow::Result<String> {
    if name == MACHINE {
        return machine(rows);
    }
    if name == SETTINGS {
        return Ok(settings(rows));
    }
    let is_plotted = rows.iter().any(|row| row.shape == name) && plot::shows(name);
    let picture = if is_plotted {
        format!("![{name}, measured]({folder}/{})\n\n", plot::file(name))
    } else {
        String::new()
    };
    Ok(picture + &table::of(name, rows))
}

/// Where and when the values were measured. Ratios hold on one machine only.
fn machine(rows: &[Row]) -> anyhow::Result<String> {
    let all: Vec<_> = rows.iter().flat_map(|row| &row.runs).map(|run| &run.measured).collect();
    if all.is_empty() {
        return Ok("Not measured.\n".to_owned());
    }
    let hardware = distinct(&all, |measured| {
        let machine = &measured.machine;
        let (cores, memory) = (machine.cores, machine.memory_gib);
        format!("{}, {cores} cores, {memory} GiB of memory", machine.cpu)
    });
    ensure!(hardware.len() == 1, "measured on different machines: {}", joined(&hardware));
    let kernels = distinct(&all, |measured| measured.machine.kernel.clone());
    let servers = distinct(&all, |measured| measured.machine.postgresql.clone());
    let days = distinct(&all, |measured| measured.at.date_naive().to_string());
    let mut text =
        table::line(["machine", "Linux", "PostgreSQL", "measured"]) + "|---|---|---|---|\n";
    let period: BTreeSet<_> = days.first().into_iter().chain(days.last()).cloned().collect();
    let period = Vec::from_iter(period).join(" to ");
    text += &table::line([&joined(&hardware), &joined(&kernels), &joined(&servers), &period]);
    Ok(text)
}

/// What the runs were made with: each detail with its value, or with all that it had.
fn settings(rows: &[Row]) -> String {
    let mut settings: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let runs = rows.iter().flat_map(|row| &row.runs);
    for (name, value) in runs.filter_map(|run| run.measured.details.as_object()).flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        settings.entry(name).or_default().insert(value);
    }
    let mut text = table::line(["setting", "value"]) + "|---|---|\n";
    text.extend(settings.iter().map(|(name, values)| table::line([name, &joined(values)])));
    text
}

fn distinct(all: &[&Measured], word: impl Fn(&Measured) -> String) -> BTreeSet<String> {
    all.iter().map(|measured| word(measured)).collect()
}

fn joined(words: &BTreeSet<String>) -> String {
    Vec::from_iter(words.iter().map(String::as_str)).join("; ")
}
