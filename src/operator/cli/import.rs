//! `import`: failed tasks from a file of JSON lines, all or none.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::desk;
use super::terminal::{complain, print};
use crate::operator::desk::Actor;

/// Imports a file and says what came of it.
pub(super) async fn run(config: Option<&Path>, file: &Path) -> anyhow::Result<()> {
    let text = read(file)?;
    let (_, desk) = desk(config).await?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} rows {elapsed}")
            .expect("a valid template"),
    );
    let progress = |part: usize, all: usize| {
        bar.set_length(all as u64);
        bar.inc(part as u64);
    };
    let imported = desk.import(&Actor::by_login(), &text, progress).await?;
    bar.finish_and_clear();
    if imported.without_zone > 0 {
        complain(&format!(
            "note: requested_at has no zone in {} lines and was read as UTC",
            imported.without_zone
        ));
    }
    print(&format!("{} inserted, {} known already\n", imported.inserted, imported.known))
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("standard input is not readable as UTF-8")?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read as UTF-8", file.display()))
}
