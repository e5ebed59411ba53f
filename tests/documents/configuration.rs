//! What may be set, what is refused, and what is never shown.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use cerby_reconciler::config::{Config, ConfigError};
use cerby_reconciler::telemetry::chain;
use config::{File, FileFormat};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

const SECRET: &str = "hunter2";
const DEFAULTS: &str = include_str!("../../config/default.toml");

fn variables(settings: &[(&str, &str)]) -> HashMap<String, String> {
    let named = |(key, value): &(&str, &str)| (variable(key), (*value).to_owned());
    settings.iter().map(named).collect()
}

fn variable(key: &str) -> String {
    format!("RECONCILER__{}", key.replace('.', "__").to_uppercase())
}

fn load(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_sources(None, Some(variables(settings)))
}

/// A file of this test alone.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("configuration-{}-{name}", std::process::id()));
    fs::write(&path, text).expect("a file in the target folder");
    path
}

fn load_file(name: &str, text: &str) -> Result<Config, ConfigError> {
    let path = file(name, text);
    let config = Config::from_sources(Some(&path), Some(HashMap::new()));
    fs::remove_file(path).expect("the file is still there");
    config
}

/// All that anybody could be shown of a refusal, after a look that no secret is in it.
fn refusal(outcome: Result<Config, ConfigError>) -> String {
    let error = outcome.expect_err("such a configuration is refused");
    let text = chain(&error).to_string();
    let mut debugged = format!("{error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        debugged.push_str(&format!("{error:?}"));
        cause = error.source();
    }
    for shown in [&text, &debugged] {
        assert!(!shown.contains(SECRET), "a secret is told: {shown}");
    }
    text
}

fn assert_names(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// A TOML text as JSON.
fn parsed(toml: &str) -> Value {
    config::Config::builder()
        .add_source(File::from_str(toml, FileFormat::Toml))
        .build()
        .and_then(config::Config::try_deserialize)
        .expect("TOML")
}

/// Every key below a table, dotted, with its value.
fn leaves(prefix: &str, table: &Map<String, Value>) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(table) => found.extend(leaves(&key, table)),
            // 60 and 60.0 are the same number.
            Value::Number(number) if number.as_u64().is_some() => {
                found.push((key, json!(number.as_f64())));
            }
            value => found.push((key, value.clone())),
        }
    }
    found
}

fn keys_of(toml: &str) -> Vec<(String, Value)> {
    leaves("", parsed(toml).as_object().expect("a table"))
}

// ---- what may be set ----

#[test]
fn the_defaults_alone_are_a_configuration() {
    let config = load(&[]).unwrap();
    assert_eq!(keys_of(&config.effective().unwrap()), keys_of(DEFAULTS));
}

#[test]
fn the_three_required_keys_are_named_with_their_variables_where_they_are_missing() {
    let config = load(&[]).unwrap();
    let missing = [
        config.database.url().map(drop),
        config.backend.base_url().map(drop),
        config.backend.api_key().map(drop),
    ];
    let keys = [
        ["database.url", "RECONCILER__DATABASE__URL", "RECONCILER__DATABASE__URL_FILE"],
        ["backend.base_url", "RECONCILER__BACKEND__BASE_URL", "set "],
        ["backend.api_key", "RECONCILER__BACKEND__API_KEY", "RECONCILER__BACKEND__API_KEY_FILE"],
    ];
    for (missing, words) in missing.into_iter().zip(keys) {
        assert_names(&missing.unwrap_err().to_string(), &words);
    }
}

/// Another value that the checks accept, as in the environment and as in the file.
fn another(key: &str, value: &Value) -> (String, Value) {
    match (key, value) {
        ("http.listen", _) => ("127.0.0.1:9999".to_owned(), json!("127.0.0.1:9999")),
        ("telemetry.format", _) => ("json".to_owned(), json!("json")),
        ("job.within_s", _) => ("900".to_owned(), json!(900.0)),
        ("backend.page_size", _) => ("7".to_owned(), json!(7.0)),
        ("guard.administrator_roles", _) => ("BOSS, CHIEF".to_owned(), json!(["BOSS", "CHIEF"])),
        (key, Value::Array(_)) if key.starts_with("operators.oidc.") => {
            ("openid, more".to_owned(), json!(["openid", "more"]))
        }
        (_, Value::Array(_)) => ("60,3600".to_owned(), json!([60, 3600])),
        (_, Value::Bool(value)) => ((!value).to_string(), json!(!value)),
        ("telemetry.filter", _) => ("debug".to_owned(), json!("debug")),
        (_, Value::String(text)) => (format!("{text}/x"), json!(format!("{text}/x"))),
        (_, Value::Number(number)) if key.ends_with(".jitter") => {
            assert_eq!(number.as_f64(), Some(0.2));
            ("0.5".to_owned(), json!(0.5))
        }
        (_, Value::Number(number)) => {
            let more = number.as_f64().expect("a number") + 1.0;
            (more.to_string(), json!(more))
        }
        (key, value) => panic!("{key} = {value} is of a kind unknown to this test"),
    }
}

#[test]
fn every_key_can_be_set_by_the_environment_and_changes_nothing_else() {
    let defaults = keys_of(DEFAULTS);
    assert!(defaults.len() > 60, "{}", defaults.len());
    for (index, (key, value)) in defaults.iter().enumerate() {
        let (text, expected) = another(key, value);
        let config = load(&[(key, &text)]).unwrap_or_else(|error| panic!("{key}: {error:?}"));
        let mut desired = defaults.clone();
        desired[index].1 = expected;
        assert_eq!(keys_of(&config.effective().unwrap()), desired, "{key} = {text}");
    }
}

#[test]
fn a_list_of_one_or_with_blanks_is_a_list() {
    for (text, expected) in
        [("60", vec![60]), ("60, 120 ,3600", vec![60, 120, 3600]), ("0", vec![0])]
    {
        assert_eq!(load(&[("sync.rereads_s", text)]).unwrap().sync.rereads_s, expected, "{text}");
    }
}

#[test]
fn the_environment_goes_over_the_file_and_the_file_over_the_defaults() {
    let path = file("layers.toml", "[retry.remove]\nattempts = 3\nfirst_s = 1\n");
    let variables = variables(&[("retry.remove.attempts", "4")]);
    let config = Config::from_sources(Some(&path), Some(variables)).unwrap();
    fs::remove_file(path).unwrap();
    let remove = config.retry.remove;
    assert_eq!((remove.attempts, remove.first_s, remove.max_s), (4, 1.0, 900.0));
}

#[test]
fn other_variables_are_not_ours() {
    let others = ["RECONCILER_CONFIG", "RECONCILER", "PATH", "RECONCILERS__X", "DATABASE_URL"];
    let variables = others.map(|name| (name.to_owned(), "x".to_owned())).into();
    Config::from_sources(None, Some(variables)).unwrap();
}

// ---- what is refused ----

#[test]
fn an_unknown_key_is_named_wherever_it_stands() {
    for (key, word) in [
        ("backend.request_timeout", "request_timeout"),
        ("backends.base_url", "backends"),
        ("retry.remove.attempt", "attempt"),
        ("verbose", "verbose"),
    ] {
        assert_names(&refusal(load(&[(key, "5")])), &[&format!("`{word}`"), "expected one of"]);
        let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
        let head = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
        let text = refusal(load_file(&format!("{key}.toml"), &format!("{head}{name} = 5\n")));
        assert_names(&text, &[&format!("`{word}`"), "expected one of"]);
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_named_by_key_and_value() {
    for (key, value) in [
        ("backend.request_timeout_s", "soon"),
        ("backend.request_timeout_s", "-5"),
        ("retry.invite.factor", "four"),
        ("retry.remove.attempts", "99999999999"),
        ("wakeup.listen", "perhaps"),
        ("http.listen", "localhost"),
        ("telemetry.format", "xml"),
    ] {
        assert_names(&refusal(load(&[(key, value)])), &[key, value]);
    }
    assert_names(&refusal(load(&[("sync.rereads_s", "60,soon")])), &["sync.rereads_s", "soon"]);
}

#[test]
fn a_value_of_the_wrong_kind_in_a_file_is_named_by_key() {
    for (name, text, key) in [
        ("text", "[worker]\nlease_s = \"long\"\n", "worker.lease_s"),
        ("list", "[worker]\nlease_s = [1]\n", "worker.lease_s"),
        ("scalar", "[sync]\nrereads_s = true\n", "sync.rereads_s"),
        ("table", "[database]\nurl = { password = \"hunter2\" }\n", "database.url"),
        ("sequence", "[backend]\napi_key = [\"hunter2\"]\n", "backend.api_key"),
        ("value", "retry = 5\n", "retry"),
    ] {
        assert_names(&refusal(load_file(&format!("{name}.toml"), text)), &[key]);
    }
}

#[test]
fn contradictions_say_what_would_be_right() {
    for (settings, words) in [
        (
            vec![("worker.lease_s", "40")],
            vec!["worker.lease_s = 40", "longer than two requests", "= 40)"],
        ),
        (
            vec![("worker.sync_lease_s", "60")],
            vec!["worker.sync_lease_s = 60", "longer than three requests"],
        ),
        (
            vec![("backend.connect_timeout_s", "21")],
            vec!["backend.connect_timeout_s = 21", "backend.request_timeout_s = 20"],
        ),
        (vec![("shutdown.grace_s", "19")], vec!["shutdown.grace_s = 19", "at least"]),
        (
            vec![("http.listen", "0.0.0.0:8087")],
            vec!["http.listen = 0.0.0.0:8087", "loopback", "http.expose_probes = true"],
        ),
        (vec![("http.listen", "[::]:8087")], vec!["http.listen = [::]:8087", "loopback"]),
        (
            vec![("operators.listen", "0.0.0.0:8088")],
            vec!["operators.listen", "loopback", "operators.public_url"],
        ),
        (
            vec![
                ("operators.listen", "0.0.0.0:8088"),
                ("operators.public_url", "http://x.example"),
            ],
            vec!["operators.public_url", "https"],
        ),
        (vec![("operators.public_url", "https://x.example/?a")], vec!["operators.public_url"]),
        (vec![("operators.public_url", "https://x.example/console")], vec!["a path"]),
        (vec![("database.max_connections", "3")], vec!["database.max_connections = 3", "4"]),
        (vec![("backend.page_size", "101")], vec!["backend.page_size = 101", "1 to 100"]),
        (vec![("backend.max_pages", "0")], vec!["backend.max_pages = 0", "at least 1"]),
        (vec![("retention.events_days", "29")], vec!["retention.events_days = 29", "30"]),
        (vec![("guard.max_unexpected_percent", "101")], vec!["max_unexpected_percent = 101"]),
        (vec![("job.poll_first_s", "61")], vec!["job.poll_first_s = 61", "60"]),
        (
            vec![("retry.settle_s", "1799")],
            vec!["retry.settle_s = 1799", "at least job.within_s = 1800"],
        ),
        (vec![("retry.remove.first_s", "901")], vec!["retry.remove.first_s = 901", "max_s"]),
        (vec![("retry.invite.factor", "0.5")], vec!["retry.invite.factor = 0.5", "at least 1"]),
        (vec![("retry.invite.factor", "inf")], vec!["retry.invite.factor"]),
        (vec![("retry.invite.factor", "NaN")], vec!["retry.invite.factor"]),
        (vec![("retry.invite.first_s", "NaN")], vec!["retry.invite.first_s"]),
        (vec![("job.poll_max_s", "inf")], vec!["job.poll_max_s"]),
        (vec![("retry.change_role.jitter", "1")], vec!["retry.change_role.jitter = 1"]),
        (vec![("retry.change_role.max_s", "1e9")], vec!["retry.change_role.max_s", "30 days"]),
        (vec![("retry.remove.attempts", "0")], vec!["retry.remove.attempts = 0"]),
        (
            vec![("backend.paths.user", "/users/{member}")],
            vec!["backend.paths.user", "{integration}"],
        ),
        (vec![("backend.paths.job", "jobs/{job}")], vec!["backend.paths.job", "start with /"]),
        (vec![("backend.base_url", "ftp://x.example")], vec!["backend.base_url", "https"]),
        (vec![("backend.base_url", "x.example/api")], vec!["backend.base_url", "https"]),
        (vec![("backend.base_url", "https://u:hunter2@x.example")], vec!["backend.base_url"]),
        (vec![("backend.base_url", "https://x.example/v1?k=hunter2")], vec!["backend.base_url"]),
        (vec![("backend.base_url", "https://x.example/v1#hunter2")], vec!["backend.base_url"]),
    ] {
        assert_names(&refusal(load(&settings)), &words);
    }
}

/// All numbers of the defaults, those of lists too, by key.
fn numbers() -> Vec<String> {
    let is_number = |value: &Value| {
        let is_of_numbers =
            |list: &Vec<Value>| !list.is_empty() && list.iter().all(Value::is_number);
        value.is_number() || value.as_array().is_some_and(is_of_numbers)
    };
    keys_of(DEFAULTS)
        .into_iter()
        .filter(|(_, value)| is_number(value))
        .map(|(key, _)| key)
        .collect()
}

#[test]
fn every_number_has_a_range() {
    let keys = numbers();
    assert!(keys.len() > 60, "{}", keys.len());
    for key in keys {
        for value in ["-1", "1e15", "100000000000000", "18446744073709551615", "nan", "inf", "-inf"]
        {
            assert_names(&refusal(load(&[(&key, value)])), &[&key]);
        }
    }
}

#[test]
fn a_value_out_of_its_range_is_told_with_the_range() {
    for (key, value, words) in [
        ("backend.outage_retry_max_s", "-1", ["= -1", "at least 0"]),
        ("backend.outage_retry_max_s", "nan", ["not a number", "from 0"]),
        ("breaker.cooldown_max_s", "inf", ["not a number", "30 days"]),
        ("manual_action.due_remove_s", "100000000000000", ["= 100000000000000", "366 days"]),
        ("worker.lease_s", "18446744073709551615", ["1 to 86400", "1 days"]),
        ("intake.batch", "100001", ["= 100001", "1 to 100000"]),
    ] {
        assert_names(&refusal(load(&[(key, value)])), &[key, words[0], words[1]]);
    }
    let text = refusal(load(&[("breaker.cooldown_first_s", "4000")]));
    assert_names(&text, &["breaker.cooldown_first_s = 4000", "breaker.cooldown_max_s = 3600"]);
}

#[test]
fn a_filter_of_logs_that_would_silence_errors_is_refused() {
    for filter in [
        "inof",
        "",
        "off",
        "debug,inof",
        "info,warn",
        "sqlx=debug",
        "info,cerby_reconciler=off",
        "info,cerby=off",
        "info,=debug",
        "info,sqlx=loud",
        "12345",
        "info,[span]=debug",
    ] {
        assert_names(
            &refusal(load(&[("telemetry.filter", filter)])),
            &["telemetry.filter", "info"],
        );
    }
    for filter in [
        "info",
        "WARN",
        "cerby_reconciler=debug,info",
        "info, sqlx=off",
        "error,cerby_reconciler::flow=trace",
    ] {
        load(&[("telemetry.filter", filter)]).unwrap();
    }
}

#[test]
fn a_key_in_clear_over_the_network_is_sent_only_on_demand() {
    for url in
        ["http://{workspace}.example/api", "http://10.0.0.1/api", "http://localhost.example/api"]
    {
        let text = refusal(load(&[("backend.base_url", url)]));
        assert_names(&text, &["backend.base_url", "plain http", "backend.allow_plain_http = true"]);
        load(&[("backend.base_url", url), ("backend.allow_plain_http", "true")]).unwrap();
    }
    for url in [
        "http://127.0.0.1:1/{workspace}",
        "http://[::1]:1/",
        "http://localhost/",
        "https://x.example",
    ] {
        load(&[("backend.base_url", url)]).unwrap();
    }
    let proxy = ("backend.proxy", "http://proxy.example:3128");
    load(&[("backend.base_url", "https://x.example"), proxy]).unwrap();
    assert_names(
        &refusal(load(&[("backend.base_url", "http://localhost/"), proxy])),
        &["plain http"],
    );
    for proxy in ["proxy.example", "http://u:hunter2@proxy.example", "ftp://proxy.example"] {
        assert_names(&refusal(load(&[("backend.proxy", proxy)])), &["backend.proxy"]);
    }
}

#[test]
fn a_file_of_a_secret_holds_one_line() {
    for text in ["first\nhunter2\n", "hunter2\rsecond", "", " \n", "hunter2\u{0}"] {
        for key in ["database.url", "backend.api_key"] {
            let path = file("lines", text);
            let told = refusal(load(&[(&format!("{key}_file"), path.to_str().unwrap())]));
            fs::remove_file(&path).unwrap();
            assert_names(&told, &[key, path.to_str().unwrap(), "exactly one line"]);
            assert!(!told.contains("first"), "{told}");
        }
    }
}

#[test]
fn a_file_of_a_secret_that_cannot_be_one_is_refused_with_the_reason() {
    let name = |name| {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("secret-{}-{name}", std::process::id()))
    };
    let (folder, pipe) = (name("folder"), name("pipe"));
    fs::create_dir(&folder).unwrap();
    let long = file("long", &"x".repeat(64 * 1024 + 1));
    let not_text = file("not-text", "");
    fs::write(&not_text, [b'h', 0xff]).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, why) in [
        (&PathBuf::from("/no/such/file"), "No such file"),
        (&folder, "not a file"),
        (&pipe, "not a file"),
        (&long, "longer than 64 KiB"),
        (&not_text, "not UTF-8"),
    ] {
        for key in ["database.url_file", "backend.api_key_file"] {
            let told = refusal(load(&[(key, path.to_str().unwrap())]));
            assert_names(&told, &[key, path.to_str().unwrap(), why]);
            assert_eq!(told.matches(why).count(), 1, "{told}");
        }
    }
    fs::remove_dir(folder).unwrap();
    for path in [long, not_text, pipe] {
        fs::remove_file(path).unwrap();
    }
    let longest = file("longest", &"x".repeat(64 * 1024));
    load(&[("backend.api_key_file", longest.to_str().unwrap())]).unwrap();
    fs::remove_file(longest).unwrap();
}

#[test]
fn a_listener_beyond_loopback_is_allowed_by_a_second_key() {
    for (listen, expose) in [("0.0.0.0:1", "true"), ("[::1]:1", "false")] {
        load(&[("http.listen", listen), ("http.expose_probes", expose)]).unwrap();
    }
}

#[test]
fn a_secret_and_its_file_together_are_refused() {
    let path = file("both", SECRET);
    let path_text = path.to_str().unwrap();
    for key in ["database.url", "backend.api_key"] {
        let text = refusal(load(&[(key, SECRET), (&format!("{key}_file"), path_text)]));
        assert_names(&text, &[key, &format!("{key}_file"), "both", "one of them"]);
    }
    fs::remove_file(path).unwrap();
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let path = file("all", SECRET);
    let text = refusal(load(&[
        ("worker.lease_s", "1"),
        ("http.listen", "0.0.0.0:1"),
        ("retry.remove.attempts", "0"),
        ("backend.api_key", SECRET),
        ("backend.api_key_file", path.to_str().unwrap()),
        ("database.url", SECRET),
        ("database.url_file", path.to_str().unwrap()),
    ]));
    fs::remove_file(path).unwrap();
    assert_names(
        &text,
        &[
            "worker.lease_s",
            "http.listen",
            "retry.remove.attempts",
            "backend.api_key_file",
            "database.url_file",
        ],
    );
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_named() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no-such-configuration.toml");
    assert_names(
        &refusal(Config::from_sources(Some(&path), Some(HashMap::new()))),
        &["no-such-configuration.toml"],
    );
    for (name, text) in [
        ("open", "[backend]\napi_key = \"hunter2\n"),
        ("bare", "[backend]\napi_key = hunter2\n"),
        ("twice", "[backend]\napi_key = \"hunter2\"\napi_key = \"hunter2\"\n"),
        ("first", "api_key: hunter2\n"),
    ] {
        let name = format!("{name}.toml");
        let told = refusal(load_file(&name, text));
        assert_names(&told, &[&name, "line "]);
    }
}

// ---- secrets ----

#[test]
fn a_secret_in_a_file_loses_its_line_end_and_nothing_else() {
    for (text, expected) in [
        ("k 1\n", "k 1"),
        ("k1\r\n", "k1"),
        ("k1", "k1"),
        ("  k1 \n\n", "k1"),
        ("\u{feff}k", "\u{feff}k"),
    ] {
        let path = file("trimmed", text);
        let config = load(&[("backend.api_key_file", path.to_str().unwrap())]).unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(config.backend.api_key().unwrap().expose_secret(), expected, "{text:?}");
    }
}

#[test]
fn a_file_of_a_secret_that_cannot_be_read_is_named() {
    for key in ["database.url", "backend.api_key"] {
        let text = refusal(load(&[(&format!("{key}_file"), "/no/such/secret")]));
        assert_names(&text, &[key, "/no/such/secret", "No such file"]);
    }
}

#[test]
fn an_empty_key_is_no_key() {
    let config = load(&[("backend.api_key", "")]).unwrap();
    assert_names(&config.backend.api_key().unwrap_err().to_string(), &["backend.api_key", "empty"]);
}

#[test]
fn text_that_looks_like_something_else_is_taken_as_it_is() {
    for text in [
        "12345", "007", "true", "TRUE", "1e5", "1.50", "0x1f", "NaN", "inf", "a,b", "-0", "+5",
        "1_0",
    ] {
        let config = load(&[("backend.api_key", text), ("database.url", text)]).unwrap();
        assert_eq!(config.backend.api_key().unwrap().expose_secret(), text);
        assert_eq!(config.database.url().unwrap().expose_secret(), text);
    }
}

#[test]
fn no_secret_is_in_a_refusal_of_something_else() {
    refusal(load(&[
        ("backend.api_key", SECRET),
        ("database.url", "postgres://u:hunter2@h/d"),
        ("worker.lease_s", "1"),
    ]));
    refusal(load(&[
        ("backend.api_key", SECRET),
        ("backend.api_keys", SECRET),
        ("database.url", "postgres://u:hunter2@h/d"),
    ]));
    refusal(load(&[("backend.api_key.extra", SECRET)]));
}

#[cfg(unix)]
#[test]
fn a_secret_that_is_no_text_is_refused_without_being_shown() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_cerby-reconciler"))
        .arg("config")
        .env_clear()
        .env("RECONCILER__BACKEND__API_KEY", OsStr::from_bytes(b"hunter2\xff"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(!told.contains(SECRET), "{told}");
    assert_names(&told.to_lowercase(), &["api_key", "utf-8"]);
}

#[test]
fn neither_debug_nor_the_effective_configuration_shows_a_secret() {
    for url in [
        "postgres://user:hunter2@host:5432/name",
        "postgres://host/name?user=x&password=hunter2",
        "postgres:///name?host=/run&password=hunter2&sslmode=require",
        "host=localhost password=hunter2",
        "user:hunter2@host/name",
        "hunter2",
        "postgres://user:12#hunter2@host/name",
        "postgres://user:12/hunter2@host/name",
        "postgres://user:12?hunter2@host/name",
        "mysql:hunter2",
    ] {
        let config = load(&[("database.url", url), ("backend.api_key", SECRET)]).unwrap();
        for shown in [format!("{config:?}"), config.effective().unwrap()] {
            assert!(!shown.contains(SECRET), "{url} is shown: {shown}");
        }
    }
}

#[test]
fn the_effective_configuration_says_which_secrets_are_set() {
    let url = "postgres://user:hunter2@host:5432/name?sslmode=require";
    let config = load(&[("database.url", url), ("backend.api_key", SECRET)]).unwrap();
    let shown = config.effective().unwrap();
    assert_names(
        &shown,
        &["url = \"postgres://user:redacted@host:5432/name\"", "api_key = \"redacted\""],
    );
}

#[test]
fn a_collector_of_traces_needs_a_whole_url_and_its_secrets_apart_from_it() {
    let endpoint = |url: &str| refusal(load(&[("traces.otlp_endpoint", url)]));
    for url in ["collector:4318", "grpc://collector:4317/x", "http://collector:4318", "nonsense"] {
        assert_names(&endpoint(url), &["traces.otlp_endpoint", "/v1/traces"]);
    }
    for user in [format!("kim:{SECRET}@"), format!("{SECRET}@"), format!(":{SECRET}@")] {
        let text = endpoint(&format!("https://{user}collector/v1/traces"));
        assert_names(&text, &["traces.otlp_endpoint", "traces.otlp_headers_file"]);
    }
    let headers = |url: &str, text: &str| {
        load(&[("traces.otlp_endpoint", url), ("traces.otlp_headers", text)])
    };
    let (far, near) = ("http://collector:4318/v1/traces", "http://127.0.0.1:4318/v1/traces");
    assert_names(
        &refusal(headers(far, &format!("key={SECRET}"))),
        &["traces.otlp_headers", "https"],
    );
    for text in [SECRET, &format!("a name={SECRET}"), &format!("key={SECRET}\u{7f}")] {
        assert_names(&refusal(headers(near, text)), &["traces.otlp_headers", "name=value"]);
    }
    let alone = load(&[("traces.otlp_headers", &format!("key={SECRET}"))]);
    assert_names(&refusal(alone), &["traces.otlp_headers", "traces.otlp_endpoint"]);

    let url = format!("https://collector/v1/traces?key={SECRET}");
    let config = headers(&url, &format!("authorization=Basic {SECRET}==, x-tenant=7")).unwrap();
    assert_eq!(config.traces.headers()["authorization"], format!("Basic {SECRET}=="));
    assert_eq!(config.traces.headers()["x-tenant"], "7");
    let shown = config.effective().unwrap();
    assert_names(
        &shown,
        &["otlp_endpoint = \"https://collector/v1/traces\"", "otlp_headers = \"redacted\""],
    );
    for shown in [shown, format!("{config:?}")] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

#[test]
fn an_issuer_needs_a_client_a_role_for_somebody_and_a_way_that_nobody_reads() {
    let url = "https://login.example";
    let with = |more: &[(&str, &str)]| {
        let right = [("issuer", url), ("client_id", "console"), ("operators", "desk")];
        let kept = right.into_iter().filter(|(key, _)| more.iter().all(|(one, _)| one != key));
        let settings: Vec<_> = kept
            .chain(more.iter().copied())
            .map(|(key, value)| (format!("operators.oidc.{key}"), value))
            .collect();
        load(&settings.iter().map(|(key, value)| (key.as_str(), *value)).collect::<Vec<_>>())
    };
    let config = with(&[("client_secret", SECRET)]).unwrap();
    assert_names(&config.effective().unwrap(), &["client_secret = \"redacted\""]);
    assert!(!format!("{config:?}").contains(SECRET));
    for url in ["http://127.0.0.1:1", "http://[::1]:1/x", "http://localhost:1"] {
        with(&[("issuer", url)]).unwrap();
    }
    for url in [
        "http://login.example",
        "login.example",
        "https://u:hunter2@login.example",
        "https://login.example/?k=hunter2",
        "https://login.example/#hunter2",
    ] {
        assert_names(&refusal(with(&[("issuer", url)])), &["operators.oidc.issuer", "https"]);
    }
    for (key, value, word) in [
        ("client_id", " ", "not set"),
        ("operators", "", "administrators"),
        ("scopes", "email", "openid"),
        ("roles_claim", " ", "the name of a claim"),
        ("workspaces_claim", "", "the name of a claim"),
    ] {
        assert_names(&refusal(with(&[(key, value)])), &[&format!("operators.oidc.{key}"), word]);
    }
    let alone = refusal(load(&[("operators.oidc.client_secret", SECRET)]));
    assert_names(&alone, &["operators.oidc.issuer"]);
}
