//! Measurements as documents: which of them count, their tables, their targets, their plots. Pure: text comes in, text
//! goes out, the same for the same input.

mod line;
mod number;
mod page;
mod plot;
mod row;
mod table;
mod target;

use std::collections::BTreeMap;

/// What is written below `docs/`.
pub(super) struct Documents {
    /// The lines that count, in the order of the tables.
    pub(super) results: String,
    /// The page, with what stands between its markers renewed.
    pub(super) page: String,
    /// The plots by their file names.
    pub(super) plots: BTreeMap<String, String>,
}

/// The documents for these lines of measurements; all of the page that is outside of its markers stays. The plots come
/// into a folder beside the page.
pub(super) fn documents(lines: &str, page: &str, folder: &str) -> anyhow::Result<Documents> {
    let rows = row::latest(line::read(lines)?)?;
    let plots = plot::all(&rows)?;
    let page = page::fill(page, folder, &rows)?;
    let results = rows.iter().flat_map(|row| &row.runs).map(|run| format!("{}\n", run.text));
    Ok(Documents { results: results.collect(), page, plots })
}
