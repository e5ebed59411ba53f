//! Lists and cards in the form that was asked for.

use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use super::table::aligned;
use super::{Clock, SCREEN, clock, json, page, print};
use crate::operator::sheet::csv;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ListOutput {
    /// The columns that matter most, aligned; cut to the width of a terminal
    Table,
    /// All columns, never cut
    Wide,
    /// One JSON object per line, as docs/output.schema.json describes it
    Json,
    /// Comma-separated values with a line of heads, for a spreadsheet
    Csv,
    /// The ids alone, for the standard input of another command
    Id,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(in crate::operator::cli) struct ListFormat {
    /// How to print the list
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: ListOutput,
    /// Print the list again every two seconds, on a terminal, until it is interrupted
    #[arg(long)]
    watch: bool,
}

/// A list for people and for programs.
pub(in crate::operator::cli) struct List<'a, T, const N: usize> {
    pub(in crate::operator::cli) lines: &'a [T],
    pub(in crate::operator::cli) heads: [&'static str; N],
    /// The heads of columns that a table leaves out.
    pub(in crate::operator::cli) wide: &'a [&'static str],
    pub(in crate::operator::cli) cells: fn(&T, Clock) -> [String; N],
    /// What people read where the list is empty.
    pub(in crate::operator::cli) nothing: &'a str,
    /// What people read below a list.
    pub(in crate::operator::cli) below: String,
}

impl<T: Serialize, const N: usize> List<'_, T, N> {
    fn rendered(&self, output: ListOutput) -> anyhow::Result<String> {
        Ok(match output {
            ListOutput::Json => json(self.lines)?,
            ListOutput::Csv => {
                csv(Some(self.heads), self.lines.iter().map(|line| (self.cells)(line, Clock::Utc)))?
            }
            ListOutput::Id => {
                let ids = self.lines.iter().map(|line| (self.cells)(line, Clock::Utc));
                ids.filter_map(|cells| Some(cells.into_iter().next()? + "\n")).collect()
            }
            ListOutput::Table | ListOutput::Wide if self.lines.is_empty() => {
                format!("{}\n", self.nothing)
            }
            ListOutput::Table => self.table(self.wide, SCREEN.size.map(|(width, _)| width)),
            ListOutput::Wide => self.table(&[], None),
        })
    }

    /// The table, as people see it.
    pub(in crate::operator::cli) fn shown(&self) -> anyhow::Result<String> {
        self.rendered(ListOutput::Table)
    }

    fn table(&self, left_out: &[&str], available: Option<usize>) -> String {
        let kept = |cells: Vec<String>| -> Vec<String> {
            let cells = self.heads.iter().zip(cells);
            cells.filter(|(head, _)| !left_out.contains(head)).map(|(_, cell)| cell).collect()
        };
        let heads = kept(self.heads.map(str::to_owned).to_vec());
        let rows: Vec<_> =
            self.lines.iter().map(|line| kept((self.cells)(line, clock()).to_vec())).collect();
        aligned(&heads, &rows, available, SCREEN.has_colors) + &self.below
    }
}

impl ListFormat {
    /// Whether people read it, so that what stands below is worth a query.
    pub(in crate::operator::cli) fn is_for_people(self) -> bool {
        matches!(self.output, ListOutput::Table | ListOutput::Wide)
    }

    pub(in crate::operator::cli) fn render<T: Serialize, const N: usize>(
        self,
        list: &List<'_, T, N>,
    ) -> anyhow::Result<String> {
        list.rendered(self.output)
    }

    /// Prints a list; with `--watch` again and again.
    pub(in crate::operator::cli) async fn show(
        self,
        read: impl AsyncFn() -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        if !self.watch {
            return page(&read().await?);
        }
        if SCREEN.size.is_none() || !self.is_for_people() {
            bail!("--watch needs a terminal and a table");
        }
        loop {
            let text = read().await?;
            print(&format!("\u{1b}[2J\u{1b}[H{text}"))?;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CardOutput {
    /// A page for people
    Text,
    /// One JSON object, as docs/output.schema.json describes it
    Json,
}

/// How one row is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(in crate::operator::cli) struct CardFormat {
    /// How to print it
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: CardOutput,
}

impl CardFormat {
    pub(in crate::operator::cli) fn print<T: Serialize>(
        self,
        card: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        match self.output {
            CardOutput::Json => print(&json(&[card])?),
            CardOutput::Text => page(&text(card)),
        }
    }
}
