//! The rules of the house: who may import whom, who writes which table, and where what may appear.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cerby_reconciler::telemetry::events;

/// What each module may import. The stages (`retry`, `manual_action`, `sync`) know nothing of each other: `flow` joins them.
const IMPORTS: &[(&str, &str)] = &[
    ("access", "membership"),
    ("backend", "config http_client identity membership telemetry"),
    ("backoff", "config"),
    ("breaker", "backoff config database membership store"),
    ("catalogue", ""),
    ("config", ""),
    (
        "daemon",
        "backend config database flow intake manual_action poll_interval schema shutdown store telemetry upkeep wakeup worker",
    ),
    ("database", "telemetry"),
    (
        "flow",
        "backend breaker catalogue config database history lease manual_action member membership poll_interval retry store \
         sync telemetry wakeup worker",
    ),
    ("history", "database membership store"),
    ("http_client", ""),
    ("identity", ""),
    (
        "intake",
        "backend backoff catalogue config database manual_action member membership poll_interval retry scan_start store sync \
         telemetry wakeup worker",
    ),
    ("integration", "database membership store"),
    ("lease", ""),
    ("manual_action", "backend catalogue config database membership store text"),
    ("member", "database membership store"),
    ("membership", "identity"),
    (
        "operator",
        "access backend catalogue config daemon database history http_client intake integration manual_action membership replies retry schema \
         reports saved_views sessions store sync telemetry text tokens",
    ),
    ("poll_interval", "store telemetry"),
    (
        "retry",
        "backend backoff breaker catalogue config database lease member membership scan_start store telemetry worker",
    ),
    ("replies", "database store"),
    ("reports", "database store"),
    ("saved_views", "database store"),
    ("scan_start", ""),
    ("schema", "config database"),
    ("sessions", "access database store"),
    ("shutdown", ""),
    ("store", "access database membership"),
    (
        "sync",
        "backend catalogue config database identity lease member membership store telemetry text",
    ),
    ("telemetry", "config http_client membership"),
    ("text", ""),
    ("tokens", "access database store"),
    (
        "upkeep",
        "catalogue config database flow intake manual_action member membership poll_interval replies sessions store telemetry",
    ),
    ("wakeup", "database poll_interval scan_start store telemetry"),
    ("worker", "poll_interval store telemetry"),
];

/// Which modules write a table. Retention and healing are `upkeep`'s, and may touch what they keep in order.
const WRITERS: &[(&str, &str)] = &[
    ("action_figures", "upkeep"),
    ("arrivals", "intake retry"),
    ("automation_tasks", "intake member retry upkeep"),
    ("events", "breaker history intake manual_action retry upkeep"),
    ("integration_settings", "intake"),
    ("integration_states", "breaker intake manual_action member retry sync upkeep"),
    ("integrations", "integration"),
    ("manual_actions", "flow manual_action upkeep"),
    ("members", "intake member retry upkeep"),
    ("nudges", "manual_action"),
    ("outages", "flow"),
    ("people", "sessions"),
    ("replies", "replies"),
    ("returns", "manual_action"),
    ("saved_views", "saved_views"),
    ("schema_migrations", "schema"),
    ("sessions", "sessions"),
    ("syncs", "sync upkeep"),
    ("tokens", "tokens"),
    ("used_sign_ins", "sessions"),
    ("webhook_events", "intake"),
];

/// Where a word may appear in code.
const PLACES: &[(&str, &[&str])] = &[
    (
        "reqwest::",
        &[
            "backend/",
            "http_client.rs",
            "schema/",
            "config/",
            "telemetry/traces/",
            "operator/issuer/",
        ],
    ),
    ("openidconnect", &["operator/issuer/"]),
    ("opentelemetry", &["telemetry/traces/"]),
    (" ::backoff::", &["backoff.rs"]),
    ("std::env", &["config/read.rs"]),
    (
        "std::fs",
        &[
            "config/folder.rs",
            "config/read.rs",
            "operator/cli/generate.rs",
            "operator/cli/import.rs",
        ],
    ),
    ("Utc::now", &["backend/wire/", "backend/wire.rs", "operator/cli/terminal/"]),
    (
        "sqlx::query",
        &[
            "store.rs",
            "intake/store/",
            "member/store/",
            "sync/store/",
            "upkeep/store/",
            "database/",
            "schema/",
            "history.rs",
            "wakeup.rs",
            "flow/judging.rs",
            "flow/outages.rs",
            "intake/inbound.rs",
            "intake/webhook/review.rs",
            "intake/webhook/store.rs",
            "manual_action/",
            "member/watch.rs",
            "replies.rs",
            "retry/again.rs",
            "retry/cancel.rs",
            "retry/claim/",
            "retry/record/",
            "retry/review.rs",
            "saved_views.rs",
            "sessions.rs",
            "sync/review.rs",
            "tokens.rs",
        ],
    ),
];

/// Statements of more than sixty lines, each with its reason.
const LONG_STATEMENTS: &[(&str, &str)] = &[
    (
        "claim_tasks",
        "one trip decides what is due, admitted and leased; parts would race with other replicas",
    ),
    ("end_requests", "a request's end, its trail and the next turn are one write"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path, extension)),
            false if path.extension().is_some_and(|one| one == extension) => found.push(path),
            false => {}
        }
    }
    found
}

/// Each file of the product by its path below `src`, without comments and without its unit tests.
fn sources() -> BTreeMap<String, String> {
    let src = root().join("src");
    let is_test = |path: &str| ["tests.rs", "histories.rs"].iter().any(|end| path.ends_with(end));
    files(&src, "rs")
        .into_iter()
        .map(|path| (path.strip_prefix(&src).expect("below src").display().to_string(), path))
        .filter(|(name, _)| !is_test(name))
        .map(|(name, path)| {
            let text = fs::read_to_string(path).expect("a source");
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            (name, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

fn module(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

fn words(list: &str) -> BTreeSet<&str> {
    list.split_whitespace().collect()
}

/// The word at the start of a text.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The top modules that a file imports, one by one or in braces.
fn imports(code: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for (_, rest) in
        code.match_indices("crate::").map(|(at, _)| code.split_at(at + "crate::".len()))
    {
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split("};").next().unwrap_or_default();
                found.extend(list.split(',').map(|one| word(one.trim())));
            }
            None => {
                found.insert(word(rest));
            }
        }
    }
    found
}

#[test]
fn nobody_imports_what_it_may_not_know() {
    let allowed: BTreeMap<_, _> = IMPORTS.iter().map(|(who, whom)| (*who, words(whom))).collect();
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let who = module(&path);
        if ["lib", "main"].contains(&who) {
            continue;
        }
        let Some(may) = allowed.get(who) else {
            wrong.push(format!("{who} has no line in IMPORTS"));
            continue;
        };
        let known = |name: &&&str| allowed.contains_key(**name) && **name != who;
        let found = imports(&code);
        wrong.extend(
            found
                .iter()
                .filter(known)
                .filter(|name| !may.contains(**name))
                .map(|name| format!("{path} imports {name}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_table_is_written_by_those_who_own_it() {
    let owners: BTreeMap<_, _> = WRITERS.iter().map(|(table, who)| (*table, words(who))).collect();
    let mut writers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, code) in sources() {
        for verb in ["insert into reconciler.", "update reconciler.", "delete from reconciler."] {
            for (at, _) in code.match_indices(verb) {
                let table = word(&code[at + verb.len()..]).to_owned();
                writers.entry(table).or_default().insert(module(&path).to_owned());
            }
        }
    }
    for (table, found) in &writers {
        let found: BTreeSet<_> = found.iter().map(String::as_str).collect();
        assert_eq!(owners.get(table.as_str()), Some(&found), "{table}");
    }
    assert_eq!(writers.len(), owners.len());
}

#[test]
fn what_belongs_to_an_edge_stays_there() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        for (text, places) in PLACES {
            let is_place =
                places.iter().any(|place| path.starts_with(place) || path.ends_with(place));
            if code.contains(text) && !is_place {
                wrong.push(format!("{path} has {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_statement_begins_with_a_name_of_its_own_and_is_short_or_says_why_not() {
    let mut names = BTreeMap::new();
    for path in files(&root().join(".sqlx"), "json") {
        let record: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(path).expect("a record")).expect("JSON");
        let query = record["query"].as_str().expect("a query").trim();
        let name = query.lines().next().and_then(|line| line.strip_prefix("-- "));
        let name = name.unwrap_or_else(|| panic!("a statement without a name: {query}")).to_owned();
        let lines = query.lines().count();
        let has_reason = LONG_STATEMENTS.iter().any(|(long, _)| *long == name);
        assert!(lines <= 60 || has_reason, "{name} has {lines} lines and no reason");
        assert!(names.insert(name.clone(), lines).is_none(), "two statements are called {name}");
    }
    for (name, _) in LONG_STATEMENTS {
        assert!(names.get(*name).is_some_and(|lines| *lines > 60), "{name} is not long any more");
    }
}

/// The names of fields in an `emit!`, which ends with the message.
fn fields(call: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in call.split(',').map(str::trim) {
        if part.starts_with('"') {
            break;
        }
        let name = part.split('=').next().unwrap_or_default().trim().trim_start_matches(['%', '?']);
        let name = name.replace("r#", "");
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_')
        {
            found.insert(name);
        }
    }
    found
}

#[test]
fn every_log_line_has_the_fields_that_its_page_says_and_no_other() {
    let list = fs::read_to_string(root().join("src/telemetry/events.rs")).expect("the events");
    let mut said: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for event in events::ALL {
        let line = list.lines().find(|line| line.contains(&format!(" = \"{}\"", event.name)));
        let constant = line.and_then(|line| line.split_whitespace().next()).expect("a constant");
        said.insert(constant, event.field_names().map(str::to_owned).collect());
    }
    let mut emitted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, code) in sources() {
        if path == "telemetry/events.rs" {
            continue;
        }
        for (at, _) in code.match_indices("emit!(") {
            let call = code[at + "emit!(".len()..].trim_start();
            let constant = word(call).to_owned();
            let rest = call[constant.len()..].trim_start_matches(',');
            emitted.entry(constant).or_default().extend(fields(rest));
        }
    }
    for (constant, fields) in &emitted {
        let page = said.get(constant.as_str());
        assert_eq!(page, Some(fields), "{constant}: the page says the left, the code the right");
    }
}

#[test]
fn the_architecture_page_names_every_folder() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for top in ["src", "testkit/src", "tests"] {
        for entry in fs::read_dir(root().join(top)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                assert!(
                    page.contains(&format!("{name}/")),
                    "{top}/{name} is not in ARCHITECTURE.md"
                );
            }
        }
    }
}

#[test]
fn each_function_of_the_database_has_a_file_of_its_own() {
    for path in files(&root().join("migrations"), "sql") {
        let text = fs::read_to_string(&path).expect("a migration");
        let functions: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("create function reconciler."))
            .map(word)
            .collect();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        match name.split_once("_function_") {
            // Overloads of one function are one function for whoever calls it.
            Some((_, function)) => {
                assert!(!functions.is_empty(), "{name} has no function");
                assert!(functions.iter().all(|one| *one == function), "{name}: {functions:?}");
            }
            None => assert!(functions.is_empty(), "{name} has {functions:?}"),
        }
    }
}
