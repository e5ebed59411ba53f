//! What an installation puts beside the program: completions of shells, and pages for `man`.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use super::terminal::print;

const NAME: &str = "cerby-reconciler";

/// Prints the completions of a shell.
pub(super) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Writes one page for each command into a folder.
pub(super) fn manual(folder: &Path) -> anyhow::Result<()> {
    let context = || format!("the pages cannot be written to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(context)?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(context)
}
