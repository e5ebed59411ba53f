//! What every command prints with: aligned tables, JSON lines, and an end when the reader has seen enough.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::history::TrailLine;
use crate::text::printable;

/// Heads and rows, aligned by column.
pub(super) fn table<const N: usize>(
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let rows: Vec<[String; N]> = std::iter::once(heads.map(str::to_owned)).chain(rows).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let aligned = |row: &[String; N]| {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(aligned).collect()
}

/// How a list is printed; as a table if nothing else is asked for.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(multiple = false)]
pub(super) struct Format {
    /// One JSON object per line
    #[arg(long)]
    pub(super) json: bool,
    /// Comma-separated values with a line of heads, for a spreadsheet
    #[arg(long)]
    pub(super) csv: bool,
}

impl Format {
    pub(super) fn is_table(self) -> bool {
        !self.json && !self.csv
    }

    /// Prints the lines of a list; `table` is what people see.
    pub(super) fn print<T: Serialize, const N: usize>(
        self,
        lines: &[T],
        heads: [&str; N],
        cells: impl Fn(&T) -> [String; N],
        table: String,
    ) -> anyhow::Result<()> {
        print(&match self {
            Self { json: true, .. } => json(lines)?,
            Self { csv: true, .. } => csv(heads, lines.iter().map(cells))?,
            Self { .. } => table,
        })
    }
}

/// A table as comma-separated values. A spreadsheet would run a cell that begins like a formula, so such a cell gets an
/// apostrophe.
fn csv<const N: usize>(
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> anyhow::Result<String> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    lines.write_record(heads)?;
    for row in rows {
        lines.write_record(row.map(
            |cell| match cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                true if cell != "-" => format!("'{cell}"),
                _ => cell,
            },
        ))?;
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}

/// How to see the rest of a list, where there may be more of it.
pub(super) fn more(shown: usize, limit: u32, last: Option<impl Display>) -> String {
    match last {
        Some(last) if shown as u64 >= u64::from(limit) => format!("More: --after {last}\n"),
        _ => String::new(),
    }
}

/// A time to the second.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What is known of one row, a fact on each line; what is not known is left out.
pub(super) fn facts(facts: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    let known = facts.into_iter().filter_map(|(name, fact)| Some((name, fact?)));
    known.map(|(name, fact)| format!("{name:<18}{fact}\n")).collect()
}

/// The trail of what is shown.
pub(super) fn happened(trail: &[TrailLine]) -> String {
    let lines = trail.iter().map(|line| {
        format!("  {}  {:<24}{}\n", moment(line.at), line.what, printable(&line.actor))
    });
    format!("\nWhat happened:\n{}", lines.collect::<String>())
}

/// One JSON object per line. What would turn text or break a terminal is escaped, and stays what it was to a parser.
pub(super) fn json(lines: &[impl Serialize]) -> Result<String, serde_json::Error> {
    lines.iter().map(|line| Ok(escaped(&serde_json::to_string(line)?) + "\n")).collect()
}

fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if printable(c.encode_utf8(&mut [0; 4])).is_empty() {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Writes to stdout. A reader who has seen enough, such as `head`, is no failure: the command ends as it would have ended.
pub fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("stdout cannot be written"),
    }
}

/// Writes a line to stderr. Nobody is left to tell where that fails.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
