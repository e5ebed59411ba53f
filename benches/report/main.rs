//! Turns the measurements in `target/bench/results.jsonl`, or in the file given as first argument, into
//! `docs/performance.md` and the files in `docs/performance/`, or into the page and folder that the second argument names.

mod document;

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::Context;

use document::Documents;

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    let input = arguments.next().map_or_else(measured_here, PathBuf::from);
    let name = arguments.next().unwrap_or_else(|| "performance".to_owned());
    let lines = read(&input).context("there are no measurements")?;
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = docs.join(format!("{name}.md"));
    let documents = document::documents(&lines, &read(&page)?, &name)
        .with_context(|| input.display().to_string())?;
    fs::write(page, &documents.page)?;
    write_folder(&docs.join(&name), &documents)?;
    println!("docs/{name}.md shows {}", input.display());
    Ok(())
}

/// Where `benches/record` puts its lines.
fn measured_here() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench").join("results.jsonl")
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Leaves no plot behind of something that these results do not show.
fn write_folder(folder: &Path, documents: &Documents) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            fs::remove_file(path)?;
        }
    }
    fs::write(folder.join("results.jsonl"), &documents.results)?;
    for (name, svg) in &documents.plots {
        fs::write(folder.join(name), svg)?;
    }
    Ok(())
}
