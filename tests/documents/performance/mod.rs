//! What `make bench-report` makes of a file of measurements.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod batches;
mod pages;
mod plots;
mod targets;

#[path = "../../../benches/report/document/mod.rs"]
mod document;

use std::fs;
use std::path::Path;

use document::{Documents, documents};
use serde_json::{Value, json};

const OWN: &str = "cerby-reconciler";
const FOLDER: &str = "performance";

/// One run's shape, system, setting, value and unit.
type Measured = (&'static str, &'static str, &'static str, f64, &'static str);

/// A file of measurements, one a second.
#[derive(Default)]
struct Sample {
    lines: Vec<Value>,
}

impl Sample {
    fn new(rows: &[(&str, &str, &str, f64, &str)]) -> Self {
        let mut sample = Self::default();
        for (shape, system, setting, value, unit) in rows {
            sample.add([shape, system, setting, unit], 1, *value);
        }
        sample
    }

    fn drain(runs: &[(u32, f64)]) -> Self {
        let mut sample = Self::default();
        for (run, value) in runs {
            sample.add(["drain", OWN, "concurrency 32", "tasks/s"], *run, *value);
        }
        sample
    }

    fn add(&mut self, [shape, system, setting, unit]: [&str; 4], run: u32, value: f64) {
        let second = self.lines.len();
        let (minute, second) = (second / 60, second % 60);
        self.lines.push(json!({
            "at": format!("2026-03-01T10:{minute:02}:{second:02}Z"),
            "machine": {"cpu": "A", "cores": 2, "memory_gib": 8, "kernel": "6.1", "postgresql": "15.18"},
            "shape": shape, "system": system, "setting": setting,
            "run": run, "unit": unit, "value": value, "stolen": 0.4, "details": {},
        }));
    }

    fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn documents(&self) -> Documents {
        documents(&self.text(), &page(), FOLDER).unwrap()
    }

    fn refusal(&self) -> String {
        refusal(&self.text(), &page())
    }
}

fn refusal(lines: &str, page: &str) -> String {
    documents(lines, page, FOLDER).err().expect("it is refused").to_string()
}

fn docs(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(path)).unwrap()
}

/// The page that is filled in earnest.
fn page() -> String {
    docs("performance.md")
}

/// What stands in the shape's place.
fn block<'a>(page: &'a str, shape: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<!-- measured:{shape} -->\n")).unwrap();
    rest.split_once("<!-- /measured -->").unwrap().0
}

/// The cells of the lines that hold values, or of those that hold verdicts.
fn rows(page: &str, shape: &str, head: &str) -> Vec<Vec<String>> {
    let lines = block(page, shape).lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let lines = lines.take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let line = line.strip_prefix("| ").unwrap().strip_suffix(" |").unwrap();
        line.split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    lines.map(cells).collect()
}

fn values(page: &str, shape: &str) -> Vec<Vec<String>> {
    rows(page, shape, "| setting | system |")
}

fn verdicts(page: &str, shape: &str) -> Vec<Vec<String>> {
    rows(page, shape, "| setting | target |")
}
