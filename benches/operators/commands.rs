//! Commands that list or show, each a process from its start to its end.

use std::process::Command;

use anyhow::ensure;

use crate::person::Person;
use crate::times::{Group, Times};

const COMMANDS: Group = Group::command("commands");

const LINES: [&str; 13] = [
    "actions list",
    "actions list --mine",
    "actions list --all",
    "actions list --overdue --integration app-199",
    "actions next",
    "tasks list",
    "syncs list",
    "syncs list --held",
    "integrations list",
    "events list",
    "returns list",
    "returns show 100",
    "syncs show 10000",
];

pub(crate) fn measure(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    let action = person.examples.unfinished_action;
    let of_rows =
        [format!("actions show {action}"), format!("events list --subject action --id {action}")];
    for line in LINES.into_iter().chain(of_rows.iter().map(String::as_str)) {
        times.run(COMMANDS, line, || run(person, line))?;
    }
    Ok(())
}

/// Runs a command; how many lines it printed.
fn run(person: &Person, line: &str) -> anyhow::Result<usize> {
    let output = Command::new(env!("CARGO_BIN_EXE_cerby-reconciler"))
        .args(line.split(' '))
        .env("RECONCILER__DATABASE__URL", &person.url)
        .output()?;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout.iter().filter(|byte| **byte == b'\n').count())
}
