//! What is written beside the code says what the code does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cerby_reconciler::manual_action::returns::ReturnState;
use cerby_reconciler::manual_action::status::ActionStatus;
use cerby_reconciler::membership::{IntegrationKind, Operation, Trigger};
use cerby_reconciler::operator::api;
use cerby_reconciler::operator::cli::shape;
use cerby_reconciler::sync::{HeldDecision, Procedure, SyncEnd, SyncState};
use cerby_reconciler::telemetry::events;

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn text(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder.
pub(super) fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn the_page_of_events_is_current() {
    let current = events::as_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join("docs/events.md"), &current).unwrap();
    }
    assert!(
        text("docs/events.md") == current,
        "docs/events.md is not what src/telemetry/events.rs says: run the tests once with UPDATE_DOCS=1"
    );
}

#[test]
fn the_schemas_of_log_lines_of_what_commands_print_and_of_the_api_are_current() {
    for (page, schema) in [
        ("docs/events.schema.json", events::as_schema()),
        ("docs/output.schema.json", shape::schema()),
        ("docs/api.openapi.json", api::document()),
    ] {
        let current = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(root().join(page), &current).unwrap();
        }
        assert!(
            text(page) == current,
            "{page} is not what the code says: run the tests once with UPDATE_DOCS=1"
        );
    }
}

#[test]
fn every_event_is_emitted_somewhere() {
    let list = text("src/telemetry/events.rs");
    let rest: String = sources(&root().join("src"))
        .iter()
        .filter(|path| !path.ends_with("telemetry/events.rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let words: BTreeSet<_> = rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').collect();
    for event in events::ALL {
        let line = list.lines().find(|line| line.contains(&format!(" = \"{}\"", event.name)));
        let constant = line.unwrap().split_whitespace().next().unwrap();
        assert!(words.contains(constant), "nothing emits {} ({constant})", event.name);
    }
}

#[test]
fn every_event_says_what_to_do_in_a_table_that_holds() {
    for event in events::ALL {
        assert!(!event.meaning.is_empty() && !event.action.is_empty(), "{}", event.name);
        let cells = [event.meaning, event.fields, event.action].concat();
        assert!(!cells.contains(['|', '\n']), "{} would break its row", event.name);
    }
}

#[test]
fn the_glossary_has_every_word_that_a_status_may_be() {
    let page = text("docs/glossary.md");
    let explained: BTreeSet<_> = page
        .lines()
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .collect();
    let all = [
        ActionStatus::WORDS,
        IntegrationKind::WORDS,
        Operation::WORDS,
        Trigger::WORDS,
        Procedure::WORDS,
        SyncState::WORDS,
        SyncEnd::WORDS,
        HeldDecision::WORDS,
        ReturnState::WORDS,
    ];
    for word in all.into_iter().flatten() {
        assert!(explained.contains(word), "docs/glossary.md does not have {word}");
    }
}

/// The lines of config/default.toml with the table that each is in.
fn defaults() -> Vec<(String, String)> {
    let mut table = String::new();
    let text = text("config/default.toml");
    let lines = text.lines().map(|line| {
        if let Some(head) = line.strip_prefix('[') {
            table = head.split(']').next().unwrap_or_default().to_owned();
        }
        (table.clone(), line.to_owned())
    });
    lines.collect()
}

#[test]
fn every_key_of_the_defaults_is_explained() {
    let mut keys = 0;
    for (table, line) in defaults() {
        // Their keys are explained at [retry.invite] and [backend.paths].
        let explained_above =
            ["retry.change_role", "retry.remove", "backend.paths"].contains(&table.as_str());
        let Some((key, rest)) = line.split_once(" = ") else { continue };
        if table.is_empty() || explained_above {
            continue;
        }
        keys += 1;
        let comment = rest.rsplit_once("# ").map_or("", |(_, comment)| comment).trim();
        assert!(comment.len() > 10, "{table}.{key} has no comment on its line");
    }
    assert!(keys > 40, "only {keys} keys were found");
}

#[test]
fn times_and_sizes_of_the_defaults_have_a_unit() {
    for (table, line) in defaults() {
        let Some((key, comment)) = line.split_once(" = ") else { continue };
        let unit = match key.rsplit_once('_') {
            Some((_, "s")) => "second",
            Some((_, "ms")) => "millisecond",
            Some((_, "kib")) => "KiB",
            Some((_, "days")) => "day",
            _ => continue,
        };
        if !["retry.change_role", "retry.remove"].contains(&table.as_str()) {
            let same = comment.contains("the same");
            assert!(same || comment.contains(unit), "{table}.{key} does not name its unit: {unit}");
        }
    }
}

/// A path template with its placeholders left blank: their names are each document's own.
fn blank(template: &str) -> String {
    let mut blank = String::new();
    for part in template.split('{') {
        blank.push_str(part.split_once('}').map_or(part, |(_, rest)| rest));
        blank.push_str("{}");
    }
    blank
}

#[test]
fn the_paths_of_the_defaults_are_those_of_the_api_document() {
    let configured: BTreeSet<_> = defaults()
        .into_iter()
        .filter(|(table, _)| table == "backend.paths")
        .filter_map(|(_, line)| Some(blank(line.split_once(" = ")?.1.trim_matches('"'))))
        .collect();
    let document = text("docs/backend-api.yaml");
    let documented: BTreeSet<_> = document
        .lines()
        .filter_map(|line| line.strip_prefix("  /")?.strip_suffix(':'))
        .map(|path| blank(&format!("/{path}")))
        .collect();
    assert_eq!(configured.len(), 9);
    assert_eq!(configured, documented);
}
