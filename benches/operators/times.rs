//! What was measured, and what of it misses the promise.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use crate::filling::Sizes;
use crate::record::{Machine, Measurement, record};

const WARM_UP: usize = 2;
const RUNS: usize = 30;
/// Of each of the many combinations of filters: enough for a session to keep a plan, which it does after five.
const RUNS_OF_A_COMBINATION: usize = 6;
const RUNS_OF_A_COMMAND: usize = 20;

/// What is very slow is asked less often.
const AT_MOST: Duration = Duration::from_secs(2);
const RUNS_AT_LEAST: usize = 3;

/// The slowest lines that are printed, beside those that miss the promise.
const SLOWEST: usize = 30;

/// Lists of one kind, which share a promise and a row of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    promise: Duration,
    runs: usize,
}

impl Group {
    /// What is asked of the database.
    pub(crate) const fn query(name: &'static str) -> Self {
        Self { name, promise: Duration::from_millis(20), runs: RUNS }
    }

    /// The same, of which there are very many.
    pub(crate) const fn combinations(name: &'static str) -> Self {
        Self { runs: RUNS_OF_A_COMBINATION, ..Self::query(name) }
    }

    /// Pages of the console and answers of the API, over HTTP.
    pub(crate) const fn page(name: &'static str) -> Self {
        Self { promise: Duration::from_millis(50), ..Self::query(name) }
    }

    /// What is a process of its own.
    pub(crate) const fn command(name: &'static str) -> Self {
        Self { name, promise: Duration::from_millis(100), runs: RUNS_OF_A_COMMAND }
    }
}

struct Line {
    group: Group,
    name: String,
    rows: usize,
    /// From the shortest to the longest.
    took: Vec<Duration>,
}

#[derive(Default)]
pub(crate) struct Times(Vec<Line>);

impl Times {
    /// Asks again and again; `ask` says how many rows there are.
    pub(crate) async fn ask(
        &mut self,
        group: Group,
        name: impl Into<String>,
        mut ask: impl AsyncFnMut() -> anyhow::Result<usize>,
    ) -> anyhow::Result<()> {
        let name = name.into();
        let (mut took, mut rows) = (Vec::new(), 0);
        let began = Instant::now();
        for _ in 0..WARM_UP {
            rows = ask().await.with_context(|| format!("{}: {name}", group.name))?;
        }
        while took.len() < group.runs && (took.len() < RUNS_AT_LEAST || began.elapsed() < AT_MOST) {
            let asked = Instant::now();
            rows = ask().await?;
            took.push(asked.elapsed());
        }
        self.push(group, name, rows, took);
        Ok(())
    }

    /// Runs a command again and again; `run` says how many lines it printed.
    pub(crate) fn run(
        &mut self,
        group: Group,
        name: &str,
        mut run: impl FnMut() -> anyhow::Result<usize>,
    ) -> anyhow::Result<()> {
        let (mut took, mut rows) = (Vec::new(), run()?);
        for _ in 0..group.runs {
            let began = Instant::now();
            rows = run()?;
            took.push(began.elapsed());
        }
        self.push(group, name.to_owned(), rows, took);
        Ok(())
    }

    fn push(&mut self, group: Group, name: String, rows: usize, mut took: Vec<Duration>) {
        took.sort();
        self.0.push(Line { group, name, rows, took });
    }

    /// The slowest lines, and all that miss the promise.
    pub(crate) fn print(&mut self) {
        self.0.sort_by_key(|line| std::cmp::Reverse(line.worst()));
        let missed = self.0.iter().filter(|line| line.is_missed()).count();
        println!(
            "\n{} lists, {missed} of them above their promise at the median; the slowest:",
            self.0.len()
        );
        println!(
            "{:<26}{:<60}{:>6}{:>10}{:>10}{:>10}",
            "", "", "rows", "best ms", "p50 ms", "worst ms"
        );
        for (place, line) in self.0.iter().enumerate() {
            if place < SLOWEST || line.is_missed() || line.group.is_a_command() {
                line.print();
            }
        }
    }

    /// Writes the slowest list of each group: by its median, and by its slowest run.
    pub(crate) fn record(&self, machine: &Machine, sizes: &Sizes) -> anyhow::Result<()> {
        let mut groups: BTreeMap<Group, Vec<&Line>> = BTreeMap::new();
        for line in &self.0 {
            groups.entry(line.group).or_default().push(line);
        }
        for (group, lines) in groups {
            for (what, of) in
                [("p50", Line::median as fn(&Line) -> Duration), ("worst", Line::worst)]
            {
                let Some(slowest) = lines.iter().max_by_key(|line| of(line)) else { continue };
                let missed = lines.iter().filter(|line| line.is_missed()).count();
                record(
                    machine,
                    &measurement(
                        group,
                        what,
                        ms(of(slowest)),
                        json!({
                            "actions": sizes.actions, "lists": lines.len(), "missed": missed, "slowest": slowest.name,
                            "runs": slowest.took.len(),
                        }),
                    ),
                )?;
            }
        }
        Ok(())
    }
}

fn measurement(group: Group, what: &str, value: f64, details: serde_json::Value) -> Measurement {
    Measurement {
        shape: group.shape().to_owned(),
        system: "cerby-reconciler".to_owned(),
        setting: format!("{}, {what}", group.name),
        run: 1,
        unit: "ms".to_owned(),
        value,
        details,
    }
}

impl Group {
    fn is_a_command(self) -> bool {
        self.promise == Self::command("").promise
    }

    /// Where the report has it.
    fn shape(self) -> &'static str {
        match self.promise {
            _ if self.is_a_command() => "commands of operators",
            promise if promise == Self::page("").promise => "pages of operators",
            _ => "lists of operators",
        }
    }
}

impl Line {
    fn median(&self) -> Duration {
        self.took[self.took.len() / 2]
    }

    fn worst(&self) -> Duration {
        self.took[self.took.len() - 1]
    }

    fn is_missed(&self) -> bool {
        self.median() >= self.group.promise
    }

    fn print(&self) {
        let promise = self.group.promise;
        let verdict = match (self.median() < promise, self.worst() < promise) {
            (true, true) => String::new(),
            (true, false) => format!("  worst above {} ms", promise.as_millis()),
            (false, _) => format!("  MISSED: {} ms", promise.as_millis()),
        };
        let [best, median, worst] = [self.took[0], self.median(), self.worst()].map(ms);
        println!(
            "{:<26}{:<60}{:>6}{best:>10.1}{median:>10.1}{worst:>10.1}{verdict}",
            self.group.name, self.name, self.rows
        );
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
