//! What every command prints with, and what standard output is: a terminal of some size, or a file or pipe.

mod list;
mod table;

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use anstream::{AutoStream, ColorChoice};
use anyhow::Context;
use chrono::Utc;
use serde::Serialize;

use crate::config::shell;
use crate::history::TrailLine;
use crate::operator::desk::Names;
use crate::text::{is_printable, printable};

pub(super) use crate::operator::clock::{Clock, span};
pub(super) use list::{CardFormat, List, ListFormat};
pub(super) use table::table;

/// What standard output is.
#[derive(Debug, Clone, Copy)]
struct Screen {
    /// Columns and lines; `None` for a file or a pipe.
    size: Option<(usize, usize)>,
    has_colors: bool,
    clock: Clock,
}

#[expect(clippy::disallowed_methods, reason = "a person reads how far a time is from theirs")]
static SCREEN: LazyLock<Screen> = LazyLock::new(|| {
    let stdout = std::io::stdout();
    let is_terminal = stdout.is_terminal();
    let size = terminal_size::terminal_size().filter(|_| is_terminal);
    Screen {
        size: size.map(|(columns, lines)| (columns.0.into(), lines.0.into())),
        // It knows NO_COLOR and TERM=dumb.
        has_colors: AutoStream::choice(&stdout) != ColorChoice::Never,
        clock: if is_terminal { Clock::Person { now: Utc::now() } } else { Clock::Utc },
    }
});

/// The clock for what a person reads now.
pub(super) fn clock() -> Clock {
    SCREEN.clock
}

/// How to see the rest of a list, where there may be more of it.
pub(super) fn more(shown: usize, limit: u32, last: Option<impl Display>) -> String {
    match last {
        Some(last) if shown as u64 >= u64::from(limit) => format!("More: --after {last}\n"),
        _ => String::new(),
    }
}

/// What is known of one row, a fact on each line; what is not known is left out.
pub(super) fn facts(facts: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    let known = facts.into_iter().filter_map(|(name, fact)| Some((name, fact?)));
    known.map(|(name, fact)| format!("{name:<18}{fact}\n")).collect()
}

/// The facts of a line of the trail that are shown, with what stands before each.
const TOLD: [(&str, &str); 4] =
    [("reason", ""), ("note", ""), ("verdict", "verdict: "), ("observed", "")];

/// The trail of what is shown, with notes, reasons and what was observed. Every line of the trail has the facts as they
/// were then, so a fact is shown where it is new.
pub(super) fn happened(trail: &[TrailLine], names: &Names) -> String {
    let mut text = "\nWhat happened:\n".to_owned();
    let mut told = [const { None }; TOLD.len()];
    for line in trail {
        let at = clock().moment(line.at);
        let what = format!("  {at}  {:<24}{}", line.what, printable(names.of(&line.actor)));
        text.push_str(what.trim_end());
        text.push('\n');
        for ((key, before), told) in TOLD.iter().zip(&mut told) {
            let fact = line.detail.get(key).and_then(|fact| fact.as_str()).map(printable);
            if let Some(fact) = fact.as_ref().filter(|_| fact != *told) {
                text.push_str(&format!("      {before}{fact}\n"));
            }
            *told = fact;
        }
    }
    text
}

/// One JSON object per line. What would turn text or break a terminal is escaped, and stays what it was to a parser.
fn json(lines: &[impl Serialize]) -> Result<String, serde_json::Error> {
    lines.iter().map(|line| Ok(escaped(&serde_json::to_string(line)?) + "\n")).collect()
}

fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_printable(c) {
            escaped.push(c);
            continue;
        }
        // JSON names a character outside the first plane by a pair.
        for unit in c.encode_utf16(&mut [0; 2]) {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
    }
    escaped
}

/// Writes to stdout, through a pager where it is a terminal with too few lines for the text.
pub(super) fn page(text: &str) -> anyhow::Result<()> {
    let is_long = SCREEN.size.is_some_and(|(_, lines)| text.lines().count() >= lines);
    if is_long && paged(text).is_ok() { Ok(()) } else { print(text) }
}

/// Shows the text with `$PAGER`, or `less`; fails if there is none.
fn paged(text: &str) -> std::io::Result<()> {
    let pager = shell("PAGER").unwrap_or_else(|| "less -FRX".to_owned());
    let mut words = pager.split_whitespace();
    let mut pager =
        Command::new(words.next().unwrap_or("less")).args(words).stdin(Stdio::piped()).spawn()?;
    // A reader who quits early closes the pipe.
    if let Some(mut input) = pager.stdin.take() {
        let _ = input.write_all(text.as_bytes());
    }
    pager.wait().map(drop)
}

/// Writes to stdout. A reader who has seen enough, such as `head`, is no failure: the command ends as it would have ended.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("stdout cannot be written"),
    }
}

/// Writes a line to stderr. Nobody is left to tell where that fails.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_the_same_value_and_has_no_character_that_is_not_seen() {
        let value = "Jo\u{202e}\u{2028}\u{200b}\u{e0041} Li";
        let written = json(&[value]).unwrap();
        assert_eq!(written, "\"Jo\\u202e\\u2028\\u200b\\udb40\\udc41 Li\"\n");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), value);
    }

    #[test]
    fn a_story_says_a_note_once_and_a_verdict_with_what_was_observed() {
        let line = |what: &str, detail| TrailLine {
            at: "2026-03-01T10:00:00Z".parse().unwrap(),
            actor: "kim".to_owned(),
            what: what.to_owned(),
            detail,
        };
        let said = serde_json::json!({ "note": "removed\u{202e}", "done_by": "kim" });
        let judged = serde_json::json!({
            "note": "removed\u{202e}", "verdict": "contradicted", "observed": "jo is there as EDITOR"
        });
        let trail = [
            line("action.done", said.clone()),
            line("action.judged", said),
            line("action.contradicted", judged),
        ];
        let story = happened(&trail, &Names::default());
        let lines: Vec<_> = story.lines().skip(2).map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "2026-03-01 10:00:00 UTC  action.done             kim",
                "removed",
                "2026-03-01 10:00:00 UTC  action.judged           kim",
                "2026-03-01 10:00:00 UTC  action.contradicted     kim",
                "verdict: contradicted",
                "jo is there as EDITOR",
            ]
        );
    }
}
