//! The built program as people and scripts start it.

use std::io::Read;
use std::process::Stdio;

use crate::program::{
    EMAIL, Ended, PASSWORD, Program, assert_names, make_newer, migrated, nobody, nowhere,
};
use crate::support::{APP, HUB, Task, WORKSPACE, World, a_failed, without_logins, work};
use cerby_reconciler::operator::cli::{Cli, shape};
use cerby_reconciler::schema::{self, Usable};
use cerby_reconciler::worker::Stage;
use clap::CommandFactory;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgPool};
use testkit::simulator::{Call, Member, Simulator};
use tokio::io::AsyncWriteExt;

// ---- help and configuration ----

#[tokio::test]
async fn the_help_tells_what_there_is() {
    let help = Program::at("").run(&["--help"]).await.ok();
    insta::assert_snapshot!(help, @r"
    Owns what happens after a membership automation failed: retries, manual actions, and proof

    Usage: cerby-reconciler [OPTIONS] <COMMAND>

    Commands:
      serve         Run the daemon until SIGTERM or SIGINT
      migrate       Bring the database's schema to this program's version
      check         Check configuration, database, schema and backend
      health        Ask the daemon on this machine whether it is live, for a container's health check
      import        Insert failed tasks from a file of JSON lines, all or none
      actions       List, show and work manual actions, or send them back to automation
      tasks         List, show and cancel automation tasks, and say why they wait
      syncs         List, show and request syncs, and decide on held reports
      integrations  List, pause, resume, limit and protect integrations
      instructions  List the instructions of which people reported that the app looks different
      webhooks      List and dismiss events of webhooks that could not be resolved
      returns       List and show returns of several actions to automation
      events        List what happened to every row: who, when, what
      reports       Say which app to fix first, and give the evidence of a month
      tokens        Make, list and revoke the tokens with which programs use the API
      config        Print the configuration in force, secrets redacted
      completions   Print the completions of a shell, for its folder of completions
      man           Write a page for `man` for every command
      help          Print this message or the help of the given subcommand(s)

    Options:
      -c, --config <FILE>  A TOML file over the defaults; the environment (RECONCILER__…) goes over both
                           [env: RECONCILER_CONFIG=]
      -h, --help           Print help
      -V, --version        Print version

    Three things must be set, in the file or in the environment; commands that do not call the backend
    need only the first:
      RECONCILER__DATABASE__URL      postgres://user:password@host/name; or …__URL_FILE, or what a shell
                                     has: DATABASE_URL or PGSERVICE
      RECONCILER__BACKEND__BASE_URL  https://{workspace}.example/api/v1
      RECONCILER__BACKEND__API_KEY   the key for X-API-Key; or …__API_KEY_FILE
    config/default.toml explains every key.
    ");
}

fn assert_described(command: &clap::Command) {
    let name = command.get_name();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    assert!(about.len() > 10, "`{name}` does not say what it does");
    for argument in command.get_arguments() {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.len() > 10, "`{name}` does not say what {} is", argument.get_id());
    }
    for command in command.get_subcommands() {
        assert_described(command);
    }
}

#[tokio::test]
async fn completions_and_pages_are_made_of_the_commands() {
    let program = Program::at("");
    for shell in ["bash", "fish", "zsh"] {
        let text = program.run(&["completions", shell]).await.ok();
        assert_names(&text, &["hand-over", "integrations"]);
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    program.run(&["man", pages.to_str().unwrap()]).await.ok();
    let page = std::fs::read_to_string(pages.join("cerby-reconciler-actions-claim.1")).unwrap();
    assert_names(&page, &["Claim an action", "take\\-over"]);
}

#[test]
fn every_command_and_argument_says_what_it_is() {
    assert_described(&Cli::command());
}

#[tokio::test]
async fn config_prints_what_is_in_force_without_secrets() {
    let program = Program::at(format!("postgres://me:{PASSWORD}@db.example/tasks"))
        .with("RECONCILER__RETRY__REMOVE__ATTEMPTS", "3");
    let shown = program.run(&["config"]).await.ok();
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert_names(
        &shown,
        &[
            "url = \"postgres://me:redacted@db.example/tasks\"",
            "api_key = \"redacted\"",
            "[retry.remove]",
            "attempts = 3",
        ],
    );
}

#[tokio::test]
async fn what_config_prints_is_a_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.toml"), folder.path().join("second.toml"));
    std::fs::write(&first, "[worker]\nlease_s = 50\n").unwrap();
    let program = Program { variables: Vec::new() };
    let shown = program.run(&["config", "--config", first.to_str().unwrap()]).await.ok();
    std::fs::write(&second, &shown).unwrap();
    let again = program.run(&["--config", second.to_str().unwrap(), "config"]).await.ok();
    assert_eq!(shown, again);
    assert_names(&shown, &["lease_s = 50"]);
}

// ---- serve ----

#[tokio::test]
async fn serve_refuses_an_unknown_key_in_one_log_line() {
    let ended = Program::at("").with("RECONCILER__BACKEND__TIMEOUT", "5").run(&["serve"]).await;
    let line = ended.line();
    assert_eq!(line["event"], "service.failed");
    assert_eq!(line["level"], "ERROR");
    assert_names(line["error"].as_str().unwrap(), &["`timeout`", "expected one of"]);
    ended.refusal();
}

#[tokio::test]
async fn serve_names_the_key_that_is_missing() {
    for (missing, key) in [
        ("RECONCILER__DATABASE__URL", "database.url"),
        ("RECONCILER__BACKEND__BASE_URL", "backend.base_url"),
        ("RECONCILER__BACKEND__API_KEY", "backend.api_key"),
    ] {
        let mut program = nowhere();
        program.variables.retain(|(name, _)| *name != missing);
        let ended = program.run(&["serve"]).await;
        assert_eq!(ended.line()["event"], "service.failed");
        assert_names(&ended.refusal(), &[key, missing]);
    }
}

#[tokio::test]
async fn serve_refuses_an_address_that_is_taken_and_names_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = nowhere().with("RECONCILER__HTTP__LISTEN", &address).run(&["serve"]).await;
    assert_eq!(ended.line()["event"], "service.failed");
    let named = format!("http.listen = {address} cannot be taken: choose another address");
    assert_names(&ended.refusal(), &[&named, "in use"]);
}

#[sqlx::test(migrations = false)]
async fn serve_refuses_a_database_without_a_schema(pool: PgPool) {
    let ended = Program::on(&pool).run(&["serve"]).await;
    assert_eq!(ended.line()["event"], "service.failed");
    assert_names(&ended.refusal(), &["no schema", "cerby-reconciler migrate"]);
}

#[sqlx::test(migrations = false)]
async fn serve_refuses_a_schema_that_is_newer_or_older_than_the_program(pool: PgPool) {
    let program = migrated(&pool).await;
    make_newer(&pool).await;
    let ended = program.run(&["serve"]).await;
    assert_eq!(ended.line()["event"], "service.failed");
    assert_names(&ended.refusal(), &["99990101000000", "newer", "run a newer program"]);

    let older = "delete from reconciler.schema_migrations
                 where version >= (select version from reconciler.schema_migrations order by 1 desc offset 1 limit 1)";
    sqlx::query(older).execute(&pool).await.unwrap();
    assert_names(&program.run(&["serve"]).await.refusal(), &["cerby-reconciler migrate"]);
}

#[sqlx::test(migrations = false)]
async fn a_login_that_postgresql_refuses_is_told_without_the_password(pool: PgPool) {
    let mut url: reqwest::Url = pool.connect_options().to_url_lossy();
    url.set_username("no_such_login").unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    for command in [["serve"], ["migrate"], ["check"]] {
        let told = Program::at(url.as_str()).run(&command).await.refusal();
        assert_names(&told, &["PostgreSQL", "no_such_login"]);
    }
}

#[tokio::test]
async fn an_address_that_is_no_database_is_told_without_quoting_it() {
    for url in [
        PASSWORD,
        "",
        "mysql://a-password-nobody-may-see@h/d",
        "postgres://h:a-password-nobody-may-see/d",
    ] {
        let told = Program::at(url).run(&["migrate"]).await.refusal();
        assert_names(&told, &["database.url", "postgres://user:password@host"]);
    }
}

#[sqlx::test(migrations = false)]
async fn a_parameter_that_is_not_known_is_told_by_name_alone(pool: PgPool) {
    for command in [["serve"], ["migrate"], ["check"]] {
        let url = format!("{}&sslpassword={PASSWORD}", pool.connect_options().to_url_lossy());
        let told = Program::at(url).run(&command).await.refusal();
        assert_names(&told, &["database.url", "sslpassword", "sslrootcert"]);
    }
    // A password with a question mark, whose rest looks like a name.
    let url = format!("postgres://h:1?{PASSWORD}@h/d");
    let told = Program::at(url).run(&["migrate"]).await.refusal();
    assert_names(&told, &["database.url has the parameter after ? or &"]);
}

// ---- migrate ----

async fn schema_version(pool: &PgPool) -> i64 {
    match schema::check(&pool.clone().into()).await.expect("a schema") {
        Usable::Own { version } | Usable::Newer { version, .. } => version,
    }
}

#[sqlx::test(migrations = false)]
async fn migrate_twice_is_as_good_as_once(pool: PgPool) {
    let program = Program::on(&pool);
    let first = program.run(&["migrate"]).await.ok();
    let told: Vec<_> = first.lines().collect();
    let [applied @ .., last] = told.as_slice() else { panic!("nothing is told") };
    assert_eq!(applied.len(), schema::migrations().len(), "a line for each");
    for (line, migration) in applied.iter().zip(schema::migrations()) {
        let name = format!("{} {}: ", migration.version, migration.description);
        assert!(line.starts_with(&name) && line.ends_with(" ms"), "{line}");
    }
    assert_eq!(*last, format!("schema is at version {}", schema::needed_version()));
    assert_eq!(program.run(&["migrate"]).await.ok(), format!("{last}\n"));
    assert_eq!(schema_version(&pool).await, schema::needed_version());
}

#[sqlx::test(migrations = false)]
async fn several_migrations_at_the_same_time_all_end_well(pool: PgPool) {
    let program = Program::on(&pool);
    let run = || program.run(&["migrate"]);
    let (a, b, c, d) = tokio::join!(run(), run(), run(), run());
    for ended in [a, b, c, d] {
        ended.ok();
    }
    // Again, where nothing is left to do and nothing keeps them apart.
    for _ in 0..10 {
        let pool = pool.clone().into();
        let run = || schema::migrate(&pool);
        let (a, b, c, d) = tokio::join!(run(), run(), run(), run());
        for ended in [a, b, c, d] {
            assert_eq!(ended.unwrap(), schema::needed_version());
        }
    }
    assert_eq!(schema_version(&pool).await, schema::needed_version());
}

#[sqlx::test(migrations = false)]
async fn migrate_leaves_a_newer_schema_alone(pool: PgPool) {
    let program = migrated(&pool).await;
    make_newer(&pool).await;
    let told = program.run(&["migrate"]).await.refusal();
    assert_names(&told, &["newer", "run a newer program"]);
}

// ---- instructions and webhooks ----

#[tokio::test]
async fn serve_and_check_refuse_instructions_with_file_and_line_and_tell_all_faults() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = "application: asana_tenant\noperation: remove\n1. Remove {{ whom }}.\n3. See.\n";
    std::fs::write(folder.path().join("asana.txt"), wrong).unwrap();
    let program =
        nowhere().with("RECONCILER__INSTRUCTIONS__FOLDER", folder.path().display().to_string());
    let at = |line: u8| format!("{}/asana.txt:{line}: ", folder.path().display());
    let ended = program.run(&["serve"]).await;
    assert_eq!(ended.line()["event"], "service.failed");
    let fault = "step 3 is where step 2 belongs";
    assert_names(&ended.refusal(), &[&at(4), fault]);
    let told = program.run(&["check"]).await.refusal();
    assert_names(&told, &["FAILED   instructions: ", &at(4), fault, "docs/instructions.md"]);
    let right = "application: asana_tenant\noperation: remove\n1. Remove {{ who }}.\n";
    std::fs::write(folder.path().join("asana.txt"), right.replace("who }}", "whom }}")).unwrap();
    std::fs::write(folder.path().join("b.txt"), right.replace("remove", "jump")).unwrap();
    let told = program.run(&["check"]).await.refusal();
    assert_names(&told, &[&at(3), "no placeholder", "b.txt:2: ", "no operation"]);
    std::fs::write(folder.path().join("asana.txt"), right).unwrap();
    std::fs::remove_file(folder.path().join("b.txt")).unwrap();
    let told = program.run(&["check"]).await.refusal();
    assert_names(&told, &["ok       instructions: ", "texts: 1, pictures: 0", "FAILED   database"]);
}

#[sqlx::test(migrations = false)]
async fn a_changed_screen_is_reported_and_listed_at_the_command_line(pool: PgPool) {
    let (_world, program, [app, hub]) = with_actions(pool).await;
    let nothing = program.run(&["instructions", "list"]).await.ok();
    assert_eq!(nothing, "nobody reported that an app looks different from its instructions\n");
    let (app, hub) = (app.to_string(), hub.to_string());
    let report = ["actions", "screen-changed", &app, "--note", "Members is called People"];
    let said = program.run(&[&report[..], &["--as", "kim"]].concat()).await.ok();
    assert_eq!(said, format!("reported for action {app}: see `instructions list`\n"));
    program.run(&["actions", "screen-changed", &hub]).await.ok();
    let listed = program.run(&["instructions", "list", "--workspace", WORKSPACE]).await.ok();
    assert_names(&listed, &["app_remove", "business_hub_remove", "shipped", "asana_tenant"]);
    assert_names(&listed, &["Members is called People"]);
    let shown = program.run(&["actions", "show", &app]).await.ok();
    assert_names(&shown, &["instructions", "app_remove (shipped, sha256:", "by kim via login"]);
    let elsewhere = program.run(&["instructions", "list", "--workspace", "other"]).await.ok();
    assert_eq!(elsewhere, nothing);
}

#[sqlx::test(migrations = false)]
async fn events_of_webhooks_are_listed_and_dismissed_at_the_command_line(pool: PgPool) {
    let program = migrated(&pool).await;
    let event = "insert into reconciler.webhook_events
                     (workspace_id, event_id, event_type, job_id, occurred_at, problem)
                 select 'acme', 'e-' || n, 'automation.failed', 'job-9', now(), 'the job cannot be read'
                 from generate_series(1, 2) n";
    sqlx::query(event).execute(&pool).await.unwrap();
    let listed = program.run(&["webhooks", "list"]).await.ok();
    assert_names(&listed, &["e-1", "job-9", "the job cannot be read", "acme"]);
    let first = program.run(&["webhooks", "list", "--limit", "1", "-o", "id"]).await.ok();
    assert_eq!(first, "e-1\n");
    let after = ["webhooks", "list", "--after", "acme/e-1", "-o", "id"];
    assert_eq!(program.run(&after).await.ok(), "e-2\n");
    let dismiss = |id| ["webhooks", "dismiss", id, "--workspace", "acme", "--reason", "a test"];
    let said = program.run(&dismiss("e-1")).await.ok();
    assert_eq!(said, "event e-1 is dismissed: its job is not read any more\n");
    assert_names(&program.run(&dismiss("e-1")).await.refusal(), &["has ended: it is dismissed"]);
    assert_names(&program.run(&dismiss("e-9")).await.refusal(), &["no webhook event e-9"]);
}

// ---- check ----

#[sqlx::test(migrations = false)]
async fn check_has_a_verdict_for_every_part(pool: PgPool) {
    let apps = Simulator::start(crate::support::apps(), Default::default()).await.unwrap();
    let program = migrated(&pool).await.with_backend(&apps);
    let skipped = program.run(&["check"]).await.ok();
    let verdicts: Vec<_> = skipped.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        verdicts,
        [
            "ok       configuration",
            "ok       database",
            "ok       schema",
            "ok       login",
            "ok       probes",
            "skipped  backend"
        ]
    );
    let asked = program.run(&["check", "--workspace", WORKSPACE]).await.ok();
    assert_names(&asked, &["ok       backend: http://127.0.0.1:", "answers and accepts the key"]);
}

#[sqlx::test(migrations = false)]
async fn check_tells_a_wrong_key_and_a_backend_that_is_away(pool: PgPool) {
    let apps = Simulator::start(crate::support::apps(), Default::default()).await.unwrap();
    let program = migrated(&pool).await.with_backend(&apps);
    let wrong = program.with("RECONCILER__BACKEND__API_KEY", PASSWORD);
    let told = wrong.run(&["check", "--workspace", WORKSPACE]).await.refusal();
    assert_names(&told, &["ok       schema", "FAILED   backend", "rejected the API key", "401"]);
    assert_names(&told, &["Set RECONCILER__BACKEND__API_KEY to a key that is valid."]);
    assert_eq!(told.matches("FAILED").count(), 1, "one thing is wrong: {told}");

    let away = Program::on(&pool).run(&["check", "--workspace", WORKSPACE]).await.refusal();
    assert_names(&away, &["FAILED   backend: http://127.0.0.1:9/", "the backend is not reachable"]);
}

#[sqlx::test(migrations = false)]
async fn check_tells_a_schema_that_is_missing_or_newer(pool: PgPool) {
    let program = Program::on(&pool);
    let told = program.run(&["check"]).await.refusal();
    assert_names(&told, &["ok       database", "FAILED   schema", "cerby-reconciler migrate"]);
    schema::migrate(&pool.clone().into()).await.unwrap();
    make_newer(&pool).await;
    assert_names(&program.run(&["check"]).await.refusal(), &["FAILED   schema", "newer"]);
}

#[tokio::test]
async fn check_goes_on_where_the_database_is_away_and_stops_where_the_configuration_is_wrong() {
    let apps = Simulator::start(crate::support::apps(), Default::default()).await.unwrap();
    let program = nowhere().with_backend(&apps);
    let told = program.run(&["check", "--workspace", WORKSPACE]).await.refusal();
    assert_names(
        &told,
        &["FAILED   database", "skipped  schema", "skipped  login", "ok       backend"],
    );
    assert_names(&told, &["Check the host and port in database.url"]);

    let wrong = nowhere().with("RECONCILER__WORKER__LEASE_S", "1").run(&["check"]).await.refusal();
    assert_names(&wrong, &["FAILED   configuration", "worker.lease_s = 1"]);
    assert!(!wrong.contains("database:"), "{wrong}");
}

#[sqlx::test(migrations = false)]
async fn check_names_the_privileges_that_a_restored_schema_lacks(pool: PgPool) {
    let program = migrated(&pool).await;
    for revoked in ["insert on reconciler.nudges", "select on reconciler.members"] {
        let revoke = format!("revoke {revoked} from reconciler_daemon");
        sqlx::query(sqlx::AssertSqlSafe(revoke)).execute(&pool).await.unwrap();
    }
    let told = program.run(&["check"]).await.refusal();
    let words =
        "FAILED   login: the role reconciler_daemon has no insert on nudges, no select on members";
    assert_names(&told, &[words, "restored without its privileges"]);
}

#[sqlx::test(migrations = false)]
async fn check_tells_who_has_the_address_of_the_probes(pool: PgPool) {
    let program = migrated(&pool).await;
    assert_names(&program.run(&["check"]).await.ok(), &["only this machine reaches it"]);
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap().to_string();
    let program = program.with("RECONCILER__HTTP__LISTEN", address.as_str());
    let answered = async |answer: &str| {
        let ours = async {
            let (mut stream, _) = other.accept().await.unwrap();
            let mut asked = [0; 1_024];
            tokio::io::AsyncReadExt::read(&mut stream, &mut asked).await.unwrap();
            let answer = format!("HTTP/1.0 200 OK\r\n\r\n{answer}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        tokio::join!(program.run(&["check"]), ours).0
    };
    let daemon = answered("ready\n").await.ok();
    assert_names(&daemon, &[&format!("ok       probes: a daemon runs at {address}: ready")]);
    let told = answered("<html>hello</html>").await.refusal();
    assert_names(&told, &[&format!("FAILED   probes: {address} is taken by another program")]);
}

// ---- import ----

fn a_line(source: &str) -> Value {
    json!({
        "workspace_id": "acme", "source_id": source, "job_id": "j1", "integration_id": "app-1",
        "integration_kind": "app", "integration_name": "Asana", "application": "asana_tenant",
        "member_id": source, "member_email": EMAIL, "operation": "remove", "trigger": "manual",
        "requested_at": "2024-08-29T19:31:21Z", "failure_code": "LoginTimeout",
    })
}

fn lines(count: usize) -> Vec<Value> {
    (0..count).map(|number| a_line(&format!("s{number}"))).collect()
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

async fn tasks(pool: &PgPool) -> i64 {
    let count = sqlx::query_scalar("select count(*) from reconciler.automation_tasks");
    count.fetch_one(pool).await.expect("a count")
}

#[sqlx::test(migrations = false)]
async fn an_import_of_the_same_file_twice_inserts_it_once(pool: PgPool) {
    let program = migrated(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.jsonl");
    let mut all = lines(1203);
    all[0]["entitlements"] = json!(["A", "B"]);
    all[0]["operation"] = json!("invite");
    std::fs::write(&path, text(&all).replace('\n', "\r\n\n")).unwrap();
    let path = path.to_str().unwrap();
    let first = program.run(&["import", path]).await.ok();
    assert_eq!(first, "1203 inserted, 0 known already\n");
    let second = program.run(&["import", path]).await.ok();
    assert_eq!(second, "0 inserted, 1203 known already\n");
    assert_eq!(tasks(&pool).await, 1203);
    let roles: Vec<String> = sqlx::query_scalar(
        "select entitlements from reconciler.automation_tasks where source_id = 's0'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(roles, ["A", "B"]);
}

#[sqlx::test(migrations = false)]
async fn an_import_reads_standard_input_and_takes_a_repeated_line_once(pool: PgPool) {
    let program = migrated(&pool).await;
    let input = text(&[a_line("s1"), a_line("s1"), a_line("s2")]);
    let said = program.run_on(&["import", "-"], &input).await.ok();
    assert_eq!(said, "2 inserted, 1 known already\n");
    assert_eq!(program.run_on(&["import", "-"], "").await.ok(), "0 inserted, 0 known already\n");
}

#[sqlx::test(migrations = false)]
async fn a_bad_line_is_named_by_number_and_column_and_nothing_is_inserted(pool: PgPool) {
    let program = migrated(&pool).await;
    let with = |column: &str, value: Value| {
        let mut line = a_line("bad");
        line[column] = value;
        line.to_string()
    };
    let without = |column: &str| {
        let mut line = a_line("bad");
        line.as_object_mut().unwrap().remove(column);
        line.to_string()
    };
    let table = [
        (without("member_id"), vec!["member_id"]),
        (with("member_email", Value::Null), vec!["member_email"]),
        (with("member_mail", json!("x")), vec!["member_mail"]),
        (with("state", json!("succeeded")), vec!["state"]),
        (
            with("can_retry", json!(EMAIL)),
            vec!["can_retry", "invalid type: string, expected a boolean"],
        ),
        (
            with("can_retry", json!(format!("x at line 1, expected {EMAIL}"))),
            vec!["expected a boolean"],
        ),
        (with("member_name", json!([EMAIL])), vec!["member_name", "string"]),
        (with("entitlements", json!(["A", 5])), vec!["entitlements"]),
        (with("entitlements", json!(EMAIL)), vec!["entitlements"]),
        (with("requested_at", json!(EMAIL)), vec!["requested_at"]),
        (with("requested_at", json!("29 August 2024")), vec!["requested_at"]),
        (format!("{0}{0}", a_line("bad")), vec!["more than one object"]),
        (format!("{} {EMAIL}", a_line("bad")), vec!["more than one object"]),
        (format!("\"{EMAIL}\""), vec!["expected"]),
        (format!("{{\"member_email\": \"{EMAIL}"), vec!["EOF"]),
        (EMAIL.to_owned(), vec!["expected"]),
        (with("operation", json!("delete")), vec!["operation_is_invite_remove_or_change_role"]),
        (with("integration_kind", json!("hub")), vec!["integration_kind_is_app_or_business_hub"]),
        (with("hub_role", json!("owner")), vec!["hub_role_is_account_owner"]),
        (with("member_email", json!("nobody-may-see")), vec!["member_email_has_an_at_sign"]),
        (with("requested_at", json!("2999-01-01T00:00:00Z")), vec!["requested_at_is_at_most"]),
        (with("operation", json!("change_role")), vec!["entitlements_are_given_for_change_role"]),
        (with("member_name", json!("a\u{0}b")), vec!["nothing was inserted"]),
    ];
    for (bad, words) in table {
        for (before, after) in [(2, 1), (700, 600)] {
            let good = lines(before + after);
            let input =
                [text(&good[..before]), bad.clone(), "\n".to_owned(), text(&good[before..])];
            let told = program.run_on(&["import", "-"], &input.concat()).await.refusal();
            assert_names(&told, &[&format!("line {}:", before + 1), "nothing was inserted"]);
            assert_names(&told, &words);
            assert_eq!(tasks(&pool).await, 0, "{told}");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn every_bad_line_is_named_but_not_without_end(pool: PgPool) {
    let program = migrated(&pool).await;
    let input = "{}\n".repeat(50);
    let told = program.run_on(&["import", "-"], &input).await.refusal();
    assert_names(&told, &["50 bad lines", "line 1:", "line 20:", "30 more"]);
    assert!(!told.contains("line 21:"), "{told}");
}

#[sqlx::test(migrations = false)]
async fn an_import_that_cannot_begin_says_why(pool: PgPool) {
    let told = Program::on(&pool).run_on(&["import", "-"], "").await.refusal();
    assert_names(&told, &["cerby-reconciler migrate"]);
    let program = migrated(&pool).await;
    let told = program.run(&["import", "/no/such/file.jsonl"]).await.refusal();
    assert_names(&told, &["/no/such/file.jsonl", "No such file"]);
}

#[sqlx::test(migrations = false)]
async fn every_line_that_the_database_refuses_is_named_with_its_column(pool: PgPool) {
    let program = migrated(&pool).await;
    let mut all = lines(6);
    all[1]["operation"] = json!("delete");
    all[4]["requested_at"] = json!("1999-01-01T00:00:00Z");
    let told = program.run_on(&["import", "-"], &text(&all)).await.refusal();
    let words = [
        "2 bad lines, nothing was inserted",
        "line 2: ",
        "operation_is_invite_remove_or_change_role",
        "line 5: ",
        "requested_at_is_at_most_10_years_ago",
    ];
    assert_names(&told, &words);
    assert_eq!(tasks(&pool).await, 0);
}

#[sqlx::test(migrations = false)]
async fn a_byte_order_mark_is_dropped_and_a_time_without_a_zone_is_read_as_utc(pool: PgPool) {
    let program = migrated(&pool).await;
    let mut all = lines(3);
    all[0]["requested_at"] = json!("2024-08-29T19:31:21");
    all[1]["requested_at"] = json!("2024-08-29 19:31:21.5");
    let input = format!("\u{feff}{}", text(&all));
    let ended = program.run_on(&["import", "-"], &input).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "3 inserted, 0 known already\n"));
    assert_eq!(ended.stderr, "note: requested_at has no zone in 2 lines and was read as UTC\n");
    let first = "select requested_at = '2024-08-29 19:31:21Z' from reconciler.automation_tasks where source_id = 's0'";
    assert!(sqlx::query_scalar::<_, bool>(first).fetch_one(&pool).await.unwrap());
}

#[sqlx::test(migrations = false)]
async fn the_login_of_the_backend_imports(pool: PgPool) {
    migrated(&pool).await;
    let login = format!("importer_{}", std::process::id());
    let make = format!(
        "drop role if exists {login}; create role {login} login password 'x' in role reconciler_backend"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&pool).await.unwrap();
    let options = (*pool.connect_options()).clone().username(&login).password("x");
    let program = Program::at(options.to_url_lossy());
    let said = program.run_on(&["import", "-"], &text(&lines(2))).await.ok();
    assert_eq!(said, "2 inserted, 0 known already\n");
    let drop = format!("drop role {login}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&pool).await.unwrap();
}

// ---- actions ----

/// A world with one open action for an app and one for a hub.
async fn with_actions(pool: PgPool) -> (World, Program, [i64; 2]) {
    let world = World::new(pool).await;
    let mut actions = [0; 2];
    for (action, integration) in actions.iter_mut().zip([APP, HUB]) {
        let task = a_failed("remove", integration, "jo").code("NotEnoughSeats");
        let id = world.insert(&task).await;
        world.drive().await;
        *action = world.action_of(id).await;
    }
    let program = Program::on(&world.pool).with_backend(&world.apps);
    (world, program, actions)
}

#[sqlx::test(migrations = false)]
async fn actions_are_listed_as_a_table_and_as_json(pool: PgPool) {
    let (_world, program, [app, hub]) = with_actions(pool).await;
    let table = program.run(&["actions", "list"]).await.ok();
    let rows: Vec<_> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert_names(rows[0], &["ID", "STATUS", "DUE", "OPERATION", "APP", "MEMBER", "WHY"]);
    assert_names(rows[1], &[&app.to_string(), "open", "remove", APP, "jo@example.com"]);
    let wide = program.run(&["actions", "list", "-o", "wide"]).await.ok();
    assert_names(&wide, &["WORKSPACE", "acme", "APP STATUS", "active"]);
    let start = |row: &str, word: &str| row.find(word).unwrap();
    assert_eq!(start(rows[0], "OPERATION"), start(rows[1], "remove"), "columns stand below heads");

    let json = program.run(&["actions", "list", "-o", "json"]).await.ok();
    let objects: Vec<Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = objects.iter().map(|object| object["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [app, hub], "the first due is the first listed");
    assert_eq!(objects[0]["integration_name"], APP);

    let one = program.run(&["actions", "list", "--limit", "1", "-o", "json"]).await.ok();
    assert_eq!(one.lines().count(), 1);
}

#[sqlx::test(migrations = false)]
async fn several_actions_are_shown_first_and_done_with_yes(pool: PgPool) {
    let (world, program, [app, hub]) = with_actions(pool).await;
    let ids = [app, hub].map(|id| id.to_string());
    let [one, other] = ids.each_ref().map(String::as_str);
    let preview = program.run(&["actions", "claim", one, other, "--as", "kim"]).await;
    assert_eq!(preview.code, Some(2), "a script says --yes: {}", preview.stderr);
    assert_names(&preview.stdout, &[one, other, "jo@example.com"]);
    assert_names(&preview.stderr, &["Nothing was done. To claim these 2 actions, give --yes."]);
    assert_eq!(world.status(app).await, "open");
    let all = ["actions", "claim", one, other, "--as", "kim", "--yes"];
    let claimed = program.run(&all).await.ok();
    assert_eq!(claimed, format!("action {one} is yours\naction {other} is yours\n"));
    let done = ["actions", "done", "-", "--yes", "--as", "kim", "--note", "removed"];
    program.run_on(&done, &format!("{one}\n{other}\n")).await.ok();
    assert_eq!([world.status(app).await, world.status(hub).await], ["done", "done"]);
}

#[sqlx::test(migrations = false)]
async fn the_exit_code_says_whether_all_some_or_none_was_done(pool: PgPool) {
    let (_world, program, [app, hub]) = with_actions(pool).await;
    let ids = [app, hub].map(|id| id.to_string());
    let [one, other] = ids.each_ref().map(String::as_str);
    program.run(&["actions", "claim", one, "--as", "kim"]).await.ok();
    let partly = program.run(&["actions", "claim", one, other, "--yes", "--as", "lee"]).await;
    assert_eq!(partly.code, Some(3), "{}", partly.stderr);
    assert_eq!(partly.stdout, format!("action {other} is yours\n"));
    assert_names(&partly.stderr, &["kim via login ", " has worked on it since"]);
    let none = program.run(&["actions", "release", one, other, "--yes", "--as", "sam"]).await;
    assert_eq!(none.code, Some(1), "{}", none.stderr);
    let word = program.run(&["actions", "release", "seven"]).await.refusal();
    assert_names(&word, &["\"seven\" is not an id of actions"]);
}

#[sqlx::test(migrations = false)]
async fn a_list_says_how_many_there_are_and_goes_on_after_what_was_shown(pool: PgPool) {
    let (_world, program, [app, hub]) = with_actions(pool).await;
    let first = program.run(&["actions", "list", "--limit", "1"]).await.ok();
    assert_names(&first, &[&format!("1 of 2. More: --after {app}")]);
    let after = app.to_string();
    let second = program.run(&["actions", "list", "--limit", "1", "--after", &after]).await.ok();
    assert_names(&second, &[&hub.to_string(), HUB]);
    let next = program.run(&["actions", "next"]).await.ok();
    assert_names(&next, &[&format!("Manual action {app} of workspace {WORKSPACE}: open")]);
}

#[sqlx::test(migrations = false)]
async fn actions_are_listed_the_newest_first_if_that_is_asked_for(pool: PgPool) {
    let (_world, program, [app, hub]) = with_actions(pool).await;
    let newest = ["actions", "list", "--sort", "newest", "-o", "id"];
    assert_eq!(program.run(&newest).await.ok(), format!("{hub}\n{app}\n"));
    let id = hub.to_string();
    let after = [&newest[..], &["--after", &id]].concat();
    assert_eq!(program.run(&after).await.ok(), format!("{app}\n"));
}

#[sqlx::test(migrations = false)]
async fn actions_are_found_by_integration_member_operation_cause_and_person(pool: PgPool) {
    let (_world, program, [app, hub]) = with_actions(pool).await;
    program.run(&["actions", "claim", &hub.to_string(), "--as", "kim"]).await.ok();
    let ids = async |arguments: &[&str]| -> Vec<i64> {
        let all = [&["actions", "list", "-o", "json"], arguments].concat();
        let json = program.run(&all).await.ok();
        let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap();
        json.lines().map(id).collect()
    };
    for (arguments, found) in [
        (&["--integration", HUB][..], vec![hub]),
        (&["--member", "JO@example.com"], vec![app, hub]),
        (&["--member", "jo"], vec![app, hub]),
        (&["--member", "kim"], vec![]),
        (&["--operation", "remove"], vec![app, hub]),
        (&["--operation", "invite"], vec![]),
        (&["--cause", "NotEnoughSeats"], vec![app, hub]),
        (&["--overdue"], vec![]),
        (&["--mine", "--as", "kim"], vec![hub]),
        (&["--mine", "--as", "lee"], vec![]),
    ] {
        assert_eq!(ids(arguments).await, found, "{arguments:?}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_task_says_at_the_command_line_what_it_waits_for(pool: PgPool) {
    let (world, program, [app, _]) = with_actions(pool).await;
    let behind = world.insert(&a_failed("change_role", APP, "jo")).await.to_string();
    world.order().await;
    let listed = program.run(&["tasks", "list", "--integration", APP]).await.ok();
    assert_names(&listed, &[&behind, "change_role", &format!("Behind manual action {app} of")]);
    assert_eq!(
        program.run(&["tasks", "list", "--member", "kim"]).await.ok(),
        "no task is unfinished\n"
    );
    let shown = program.run(&["tasks", "show", &behind]).await.ok();
    assert_names(&shown, &["change_role for jo@example.com", "Behind manual action", "source id"]);
    let task =
        world.text("select task_id::text from reconciler.manual_actions where id = $1", app).await;
    let ended = program.run(&["tasks", "show", &task, "-o", "json"]).await.ok();
    let ended: Value = serde_json::from_str(&ended).unwrap();
    assert_eq!((&ended["state"], &ended["action_id"]), (&json!("escalated"), &json!(app)));
    let unknown = program.run(&["tasks", "show", "4711"]).await.refusal();
    assert_names(&unknown, &["there is no task 4711"]);
}

#[sqlx::test(migrations = false)]
async fn the_list_of_integrations_goes_on_after_what_was_shown(pool: PgPool) {
    let (_world, program, _) = with_actions(pool).await;
    let pause = ["integrations", "pause", HUB, "--reason", "the vendor works on it"];
    program.run(&pause).await.ok();
    let first = program.run(&["integrations", "list", "--limit", "1"]).await.ok();
    let place = format!("{WORKSPACE}/{HUB}");
    assert_names(&first, &[HUB, "paused", &format!("More: --after {place}")]);
    let second =
        program.run(&["integrations", "list", "--limit", "1", "--after", &place]).await.ok();
    assert_names(&second, &[APP, "active"]);
    assert!(!second.contains(HUB), "{second}");
    let wrong = program.run(&["integrations", "list", "--after", HUB]).await;
    assert_eq!(wrong.code, Some(2));
    assert_names(&wrong.stderr, &["give it as WORKSPACE/ID"]);
}

#[sqlx::test(migrations = false)]
async fn a_spreadsheet_gets_no_formula(pool: PgPool) {
    let (world, program, _) = with_actions(pool).await;
    let name = "set session_replication_role = replica;
        update reconciler.manual_actions set integration_name = '=1+1, \"x\"'";
    let mut connection = world.pool.acquire().await.unwrap();
    sqlx::raw_sql(name).execute(&mut *connection).await.unwrap();
    sqlx::raw_sql("reset session_replication_role").execute(&mut *connection).await.unwrap();
    let csv = program.run(&["actions", "list", "-o", "csv"]).await.ok();
    assert!(csv.starts_with("ID,STATUS,DUE,OPERATION,APP,"), "{csv}");
    assert_names(&csv, &[r#""'=1+1, ""x""""#]);
}

#[sqlx::test(migrations = false)]
async fn the_database_of_the_shell_is_used_where_nothing_else_names_one(pool: PgPool) {
    let (world, _, [app, _]) = with_actions(pool).await;
    let shell = Program { variables: Vec::new() }
        .with("DATABASE_URL", world.pool.connect_options().to_url_lossy());
    assert_names(&shell.run(&["actions", "list"]).await.ok(), &[&app.to_string()]);
    let other = shell.with("RECONCILER__DATABASE__URL", "postgres://127.0.0.1:9/nowhere");
    assert_names(&other.run(&["actions", "list"]).await.refusal(), &["127.0.0.1:9/nowhere"]);
}

#[sqlx::test(migrations = false)]
async fn a_service_of_the_shell_is_found_in_its_file_or_refused_by_name(pool: PgPool) {
    let (world, _, [app, _]) = with_actions(pool).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.conf");
    let url: reqwest::Url = world.pool.connect_options().to_url_lossy();
    let parts = [
        ("user", url.username().to_owned()),
        ("port", url.port().unwrap_or(5432).to_string()),
        ("host", url.host_str().unwrap_or("localhost").to_owned()),
        ("dbname", url.path().trim_start_matches('/').to_owned()),
        ("password", url.password().unwrap_or("none").to_owned()),
    ];
    let parts = parts.map(|(name, value)| format!("{name} = {value}\n")).concat();
    let more = url.query_pairs().map(|(name, value)| format!("{name}={value}\n"));
    let settings = parts + &more.collect::<String>();
    std::fs::write(&file, format!("[other]\nhost=nowhere\n[queue]\n{settings}")).unwrap();
    let shell = Program { variables: Vec::new() }
        .with("PGSERVICEFILE", file.to_str().unwrap())
        .with("PGSERVICE", "queue");
    assert_names(&shell.run(&["actions", "list"]).await.ok(), &[&app.to_string()]);
    let told = shell.with("PGSERVICE", "orders").run(&["actions", "list"]).await.refusal();
    assert_names(&told, &["PGSERVICE names \"orders\"", "services.conf"]);
}

/// What the program shows on a terminal of so many columns and lines.
async fn on_terminal(
    program: &Program,
    arguments: &[&str],
    (columns, lines): (u16, u16),
) -> String {
    let size = nix::pty::Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(Some(&size), None).expect("a terminal");
    let mut screen = std::fs::File::from(terminal.master);
    let reading = tokio::task::spawn_blocking(move || {
        let mut shown = Vec::new();
        // It fails once nobody has the other side open any more.
        let _ = screen.read_to_end(&mut shown);
        String::from_utf8(shown).expect("UTF-8")
    });
    let ended = program.end(arguments, "", terminal.slave.into(), Stdio::piped()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    reading.await.expect("a reader")
}

#[sqlx::test(migrations = false)]
async fn a_terminal_gets_lines_that_fit_with_times_of_its_own_and_colors_unless_unwanted(
    pool: PgPool,
) {
    let (_world, program, [app, _]) = with_actions(pool).await;
    let program = program.with("TERM", "xterm").with("TZ", "Asia/Tokyo");
    let list = ["actions", "list"];
    let shown = on_terminal(&program, &list, (100, 50)).await;
    assert_names(&shown, &["\u{1b}[1m", "…", ", in 3 h", &app.to_string()]);
    assert!(shown.lines().all(|line| line.trim_end().chars().count() <= 108), "{shown}");
    let card = on_terminal(&program, &["actions", "show", &app.to_string()], (100, 50)).await;
    assert_names(&card, &["+09:00 (in 3 h)"]);

    for unwanted in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut plain = Program { variables: program.variables.clone() };
        plain.variables.push((unwanted.0, unwanted.1.to_owned()));
        let shown = on_terminal(&plain, &list, (100, 50)).await;
        assert!(!shown.contains('\u{1b}'), "{unwanted:?}: {shown}");
    }
    let piped = program.run(&list).await.ok();
    assert!(!piped.contains('…') && piped.contains(" UTC "), "{piped}");
}

#[sqlx::test(migrations = false)]
async fn what_is_longer_than_a_terminal_goes_through_the_pager(pool: PgPool) {
    let (_world, program, [app, _]) = with_actions(pool).await;
    let program = program.with("TERM", "xterm").with("PATH", std::env::var("PATH").unwrap());
    let paged = program.with("PAGER", "sed s/^/paged:/");
    let short = on_terminal(&paged, &["actions", "list"], (100, 50)).await;
    assert!(!short.contains("paged:"), "{short}");
    let id = app.to_string();
    let card = ["actions", "show", &id];
    let long = on_terminal(&paged, &card, (100, 5)).await;
    assert_names(&long, &["paged:Manual action"]);
    let away = paged.with("PAGER", "no-such-pager");
    assert_names(&on_terminal(&away, &card, (100, 5)).await, &["Manual action"]);
}

#[sqlx::test(migrations = false)]
async fn commands_whose_output_nobody_reads_end_as_they_would(pool: PgPool) {
    let (world, program, [action, _]) = with_actions(pool).await;
    let (id, row) = (action.to_string(), a_line("unread").to_string());
    let pause = ["integrations", "pause", HUB, "--reason", "x"];
    let commands: [(&[&str], &str); 8] = [
        (&["actions", "list"], ""),
        (&["actions", "show", &id], ""),
        (&["actions", "done", &id], ""),
        (&["integrations", "list", "-o", "json"], ""),
        (&pause, ""),
        (&["import", "-"], &row),
        (&["config"], ""),
        (&["migrate"], ""),
    ];
    for (arguments, input) in commands {
        let ended = program.run_unread(arguments, input).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
    assert_eq!(world.status(action).await, "done");
    assert_eq!(tasks(&world.pool).await, 3, "the row was imported");
    let wrong = program.with("RECONCILER__BACKEND__API_KEY", PASSWORD);
    let check = ["check", "--workspace", WORKSPACE];
    let ended = wrong.run_unread(&check, "").await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "the verdict is in the code");
}

#[tokio::test]
async fn a_refusal_that_nobody_reads_is_a_refusal() {
    let ended = nowhere().end(&["actions", "list"], "", nobody(), nobody()).await;
    assert_eq!(ended.code, Some(1));
}

#[sqlx::test(migrations = false)]
async fn actions_are_listed_by_status_and_workspace(pool: PgPool) {
    let (world, program, [app, hub]) = with_actions(pool).await;
    let dismissed = sqlx::query(
        "update reconciler.manual_actions set status = 'dismissed', note = 'x' where id = $1",
    );
    dismissed.bind(hub).execute(&world.pool).await.unwrap();
    let ids = async |arguments: &[&str]| -> Vec<i64> {
        let all = [&["actions", "list", "-o", "json"], arguments].concat();
        let json = program.run(&all).await.ok();
        let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap();
        json.lines().map(id).collect()
    };
    assert_eq!(ids(&[]).await, [app]);
    assert_eq!(ids(&["--all"]).await, [app, hub]);
    assert_eq!(ids(&["--status", "dismissed"]).await, [hub]);
    assert_eq!(ids(&["--status", "dismissed", "--status", "open"]).await, [app, hub]);
    assert_eq!(ids(&["--workspace", WORKSPACE]).await, [app]);
    assert_eq!(ids(&["--workspace", "other"]).await, [0; 0]);
    let none = program.run(&["actions", "list", "--status", "done"]).await.ok();
    assert_eq!(none, "no such actions\n");
    let wrong = program.run(&["actions", "list", "--status", "finished"]).await;
    assert_eq!(wrong.code, Some(2));
    assert_names(&wrong.stderr, &["finished", "in_progress", "verified"]);
}

#[sqlx::test(migrations = false)]
async fn one_action_is_shown_with_instructions_and_history(pool: PgPool) {
    let (_world, program, [app, _]) = with_actions(pool).await;
    let shown = program.run(&["actions", "show", &app.to_string()]).await.ok();
    assert_names(
        &shown,
        &[
            &format!("Manual action {app} of workspace acme: open"),
            "due",
            "What happened:",
            "action.opened",
            "daemon",
        ],
    );
    let told = program.run(&["actions", "show", "4711"]).await.refusal();
    assert_names(&told, &["there is no manual action 4711"]);
}

async fn done_by(world: &World, action: i64) -> String {
    world.text("select done_by from reconciler.manual_actions where id = $1", action).await
}

#[sqlx::test(migrations = false)]
async fn done_is_recorded_with_the_name_given_where_a_login_is_shared(pool: PgPool) {
    let (world, program, [app, hub]) = with_actions(pool).await;
    let id = app.to_string();
    let said = program.run(&["actions", "done", &id, "--as", "sam", "--note", "gone"]).await.ok();
    assert_names(&said, &[&format!("action {id} is done")]);
    assert_eq!(without_logins(&done_by(&world, app).await), "sam");
    let note = "select note from reconciler.manual_actions where id = $1";
    assert_eq!(world.text(note, app).await, "gone");
    let requested = "select count(*) from reconciler.syncs where state = 'requested'";
    world.take_up().await;
    assert_eq!(world.count(requested).await, 1, "the app will be read");

    program.with("USER", "robin").run(&["actions", "done", &hub.to_string()]).await.ok();
    assert_eq!(without_logins(&done_by(&world, hub).await), "robin");
}

#[sqlx::test(migrations = false)]
async fn done_twice_changes_nothing_more_and_somebody_else_is_told_who_said_it_first(pool: PgPool) {
    let (world, program, [app, _]) = with_actions(pool).await;
    let id = app.to_string();
    program.run(&["actions", "done", &id, "--as", "sam"]).await.ok();
    let at = "select done_at::text from reconciler.manual_actions where id = $1";
    let (first, events) = (world.text(at, app).await, world.trail().await);
    program.run(&["actions", "done", &id, "--as", "sam"]).await.ok();
    let told = program.run(&["actions", "done", &id, "--as", "robin"]).await.refusal();
    assert_names(
        &told,
        &[&format!("manual action {id} was marked done before: by sam via login ")],
    );
    assert_eq!(without_logins(&done_by(&world, app).await), "sam");
    assert_eq!(world.text(at, app).await, first);
    assert_eq!(world.trail().await, events);
}

#[sqlx::test(migrations = false)]
async fn a_word_is_taken_back_and_confirmed_at_the_command_line(pool: PgPool) {
    let (world, program, [app, _]) = with_actions(pool).await;
    let id = app.to_string();
    program.run(&["actions", "done", &id, "--as", "sam"]).await.ok();
    let told = program.run(&["actions", "withdraw", &id, "--as", "robin"]).await.refusal();
    assert_names(&told, &[&format!("manual action {id} was marked done by sam via login ")]);
    let told = program.run(&["actions", "confirm", &id, "--as", "robin"]).await.refusal();
    assert_names(&told, &[&format!("integration {APP} asks for no second person")]);
    program.run(&["integrations", "set", APP, "--four-eyes", "true"]).await.ok();
    program.run(&["actions", "confirm", &id, "--as", "robin"]).await.ok();
    let shown = program.run(&["actions", "show", &id]).await.ok();
    assert_names(&shown, &["confirmed by", "robin via login ", "action.confirmed"]);
    let said = program.run(&["actions", "withdraw", &id, "--as", "sam"]).await.ok();
    assert_eq!(said, format!("action {id} is open again: the statement is withdrawn\n"));
    assert_eq!(world.status(app).await, "open");
    let told = program.run(&["actions", "withdraw", "4711"]).await.refusal();
    assert_names(&told, &["there is no manual action 4711"]);
}

#[sqlx::test(migrations = false)]
async fn two_people_claim_take_over_hand_over_and_release_at_the_command_line(pool: PgPool) {
    let (world, program, [app, _]) = with_actions(pool).await;
    let id = app.to_string();
    let claim = |name: &'static str| ["actions", "claim", &id, "--as", name].map(str::to_owned);
    let run = async |arguments: Vec<String>| {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        program.run(&arguments).await
    };
    assert_eq!(run(claim("sam").to_vec()).await.ok(), format!("action {id} is yours\n"));
    let told = run(claim("robin").to_vec()).await.refusal();
    assert_names(
        &told,
        &["is in progress: sam via login ", " has worked on it since 20", "To take it over"],
    );
    let taken = ["--take-over", "--note", "sam is ill"].map(str::to_owned);
    run([claim("robin").to_vec(), taken.to_vec()].concat()).await.ok();
    let over =
        ["actions", "hand-over", &id, "--to", "kim", "--as", "robin", "--note", "knows the app"];
    assert_eq!(program.run(&over).await.ok(), format!("action {id} is kim's\n"));
    let told = program.run(&["actions", "release", &id, "--as", "robin"]).await.refusal();
    assert_names(&told, &["is in progress: kim has worked on it since 20"]);
    program.run(&["actions", "release", &id, "--as", "kim"]).await.ok();
    assert_eq!(world.status(app).await, "open");
    let told = program.run(&["actions", "release", &id]).await.refusal();
    assert_names(&told, &["manual action", "is open: nobody works on it"]);
}

#[sqlx::test(migrations = false)]
async fn who_signed_in_by_an_issuer_is_called_by_the_email_in_tables_and_by_the_actor_for_programs(
    pool: PgPool,
) {
    let (world, program, [app, _]) = with_actions(pool).await;
    let known = "insert into reconciler.people (actor, email, role) values ('oidc:4711', 'lee@example.com', 'operator')";
    sqlx::query(known).execute(&world.pool).await.unwrap();
    let id = app.to_string();
    let give = ["actions", "hand-over", &id, "--to", "lee@example.com", "--note", "yours"];
    program.run(&give).await.ok();
    for page in [vec!["actions", "list"], vec!["actions", "show", &id]] {
        let said = program.run(&page).await.ok();
        assert!(said.contains("lee@example.com") && !said.contains("oidc:4711"), "{said}");
        let said = program.run(&[page, vec!["-o", "json"]].concat()).await.ok();
        assert!(said.contains("\"assignee\":\"oidc:4711\""), "{said}");
    }
    let csv = program.run(&["actions", "list", "-o", "csv"]).await.ok();
    assert!(csv.contains("oidc:4711"), "{csv}");
}

#[sqlx::test(migrations = false)]
async fn a_word_for_an_app_that_cannot_be_read_is_told_what_it_is_worth(pool: PgPool) {
    let (world, program, _) = with_actions(pool).await;
    let app = cerby_reconciler::catalogue::all().iter().find(|app| !app.can_sync).unwrap();
    let task = Task { integration: "unread", ..a_failed("remove", "unread", "jo") };
    let task = world.insert(&task.code("NotEnoughSeats").of_application(&app.application)).await;
    world.drive().await;
    let id = world.action_of(task).await.to_string();
    program.run(&["integrations", "set", "unread", "--four-eyes", "true"]).await.ok();
    let said = program.run(&["actions", "done", &id]).await.ok();
    let words = ["nothing will be checked", "after 900s", &format!("actions confirm {id}")];
    assert_names(&said, &words);
}

#[sqlx::test(migrations = false)]
async fn done_on_an_action_that_has_ended_is_refused_in_the_databases_words(pool: PgPool) {
    let (world, program, [app, _]) = with_actions(pool).await;
    let task = a_failed("remove", APP, "jo");
    world.person_does(&task);
    world.mark_done(app).await;
    world.drive().await;
    assert_eq!(world.status(app).await, "verified");
    let told = program.run(&["actions", "done", &app.to_string()]).await.refusal();
    let words = format!("manual action {app} has ended: it is verified since");
    assert_names(&told, &[&words, "marked it done at 20", "Nothing of an action"]);
    let told = program.run(&["actions", "done", "4711"]).await.refusal();
    assert_names(&told, &["there is no manual action 4711"]);
}

#[sqlx::test(migrations = false)]
async fn a_task_is_cancelled_with_a_reason_once_and_by_somebody(pool: PgPool) {
    let (world, program, _) = with_actions(pool).await;
    let task = world.insert(&a_failed("invite", APP, "lee")).await;
    world.order().await;
    let id = task.to_string();
    let cancel = ["tasks", "cancel", &id, "--as", "sam", "--reason"];
    let said = program.run(&[&cancel[..], &["left"]].concat()).await.ok();
    assert_names(&said, &[&format!("Task {id} is not tried any more.")]);
    world.take_up().await;
    assert_eq!(world.state(task).await, "cancelled");
    let actor = "select actor from reconciler.events
                 where what = 'task.cancel_requested' and subject_id = $1::text";
    assert_eq!(without_logins(&world.text(actor, task).await), "sam");
    let told = program.run(&[&cancel[..], &["again"]].concat()).await.refusal();
    assert_names(&told, &[&format!("task {id} has ended as cancelled")]);
    let told = program.run(&["tasks", "cancel", "4711", "--reason", "left"]).await.refusal();
    assert_names(&told, &["there is no task 4711"]);
}

#[sqlx::test(migrations = false)]
async fn an_operators_own_login_is_recorded_and_a_name_beside_it(pool: PgPool) {
    let (world, _, [app, hub]) = with_actions(pool).await;
    let login = format!("operator_of_a_test_{}", std::process::id());
    let run = async |statement: String| {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&world.pool).await.map(drop)
    };
    run(format!("create role {login} login password '{PASSWORD}' in role reconciler_operator"))
        .await
        .unwrap();
    let mut url: reqwest::Url = world.pool.connect_options().to_url_lossy();
    url.set_username(&login).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    let program = Program::at(url.as_str()).with_backend(&world.apps);
    let as_daemon = program.run(&["actions", "done", &app.to_string(), "--as", "daemon"]).await;
    let done = program.run(&["actions", "done", &app.to_string()]).await;
    let claimed = program.run(&["actions", "claim", &hub.to_string(), "--as", "Kim Roe"]).await;
    let shown = program.run(&["actions", "show", &app.to_string()]).await;
    let listed = program.run(&["actions", "list"]).await;
    let imported = program.run_on(&["import", "-"], &text(&lines(1))).await;
    // Roles outlive the test's database: dropped before anything can fail.
    run(format!("drop role {login}")).await.unwrap();

    assert_names(&as_daemon.refusal(), &["\"daemon\" cannot be the name of a person"]);
    done.ok();
    assert_eq!(done_by(&world, app).await, login);
    claimed.ok();
    let assignee = "select assignee from reconciler.manual_actions where id = $1";
    assert_eq!(world.text(assignee, hub).await, format!("Kim Roe via login {login}"));
    assert_names(&shown.ok(), &[&login]);
    assert_names(&listed.ok(), &[&hub.to_string()]);
    assert_names(&imported.refusal(), &["permission denied"]);
}

#[sqlx::test(migrations = false)]
async fn a_write_at_a_login_that_people_share_asks_for_a_name_where_the_shell_has_none(
    pool: PgPool,
) {
    let (world, program, [app, _]) = with_actions(pool).await;
    let program = program.with("USER", "");
    let told = program.run(&["actions", "done", &app.to_string()]).await.refusal();
    assert_names(&told, &["say who you are, with --as NAME"]);
    program.run(&["actions", "list"]).await.ok();
    assert_names(&program.run(&["actions", "list", "--mine"]).await.refusal(), &["--as NAME"]);
    program.run(&["actions", "done", &app.to_string(), "--as", "sam"]).await.ok();
    assert_eq!(without_logins(&done_by(&world, app).await), "sam");
}

// ---- integrations and returns ----

#[sqlx::test(migrations = false)]
async fn an_integration_is_paused_listed_limited_and_resumed(pool: PgPool) {
    let (world, program, _) = with_actions(pool).await;
    let paused = program
        .run(&["integrations", "pause", APP, "--reason", "maintenance\u{1b}[31m"])
        .await
        .ok();
    assert_names(&paused, &[APP, "paused"]);
    let listed = program.run(&["integrations", "list"]).await.ok();
    let rows: Vec<_> = listed.lines().collect();
    assert_names(rows[0], &["INTEGRATION", "STATUS", "WAITING", "IN FLIGHT", "WHY"]);
    assert_names(rows[1], &[APP, "paused", "maintenance[31m", WORKSPACE]);
    let inactive = program.run(&["integrations", "list", "--inactive", "-o", "json"]).await.ok();
    let inactive: Vec<Value> =
        inactive.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(inactive.len(), 1);
    assert_eq!(
        (&inactive[0]["status"], &inactive[0]["unfinished_actions"]),
        (&"paused".into(), &1.into())
    );

    program.run(&["integrations", "resume", APP, "--as", "kim"]).await.ok();
    assert_eq!(world.integration_status(APP).await, "active");
    let inactive = program.run(&["integrations", "list", "--inactive"]).await.ok();
    assert_eq!(inactive, "every integration is active\n");
    let actor = "select actor from reconciler.events where what = 'integration.resumed' and id > $1 order by id desc";
    assert_eq!(without_logins(&world.text(actor, 0).await), "kim");

    program
        .run(&["integrations", "limit", APP, "--in-flight", "3", "--per-minute", "60"])
        .await
        .ok();
    let listed = program.run(&["integrations", "list"]).await.ok();
    assert_names(&listed, &["at most 3 in flight; at most 60 a minute"]);
    program.run(&["integrations", "limit", APP, "--in-flight", "0"]).await.ok();
    let listed = program.run(&["integrations", "list"]).await.ok();
    assert!(!listed.contains("in flight;"), "{listed}");
}

#[sqlx::test(migrations = false)]
async fn a_wrong_integration_is_refused_in_words(pool: PgPool) {
    let (world, program, _) = with_actions(pool).await;
    let told = program.run(&["integrations", "resume", "no-such"]).await.refusal();
    assert_names(&told, &["there is no integration no-such"]);
    let told = program.run(&["integrations", "pause", APP, "--reason", " "]).await.refusal();
    assert_names(&told, &["pausing integration", "needs a status_reason"]);
    let told = program.run(&["integrations", "limit", APP]).await.refusal();
    assert_names(&told, &["--in-flight or --per-minute"]);
    let other = "insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application)
                 select 'other', integration_id, name, kind, application from reconciler.integration_settings";
    sqlx::query(other).execute(&world.pool).await.unwrap();
    let told = program.run(&["integrations", "resume", APP]).await.refusal();
    assert_names(&told, &["--workspace", "acme", "other"]);
    program.run(&["integrations", "resume", APP, "--workspace", "other"]).await.ok();
}

#[sqlx::test(migrations = false)]
async fn a_return_shows_what_would_be_sent_and_sends_it_only_when_told(pool: PgPool) {
    let (world, program, [app, hub]) = with_actions(pool).await;
    let one = ["actions", "return", &app.to_string(), "--reason", "seats were bought"];
    let shown = program.run(&one).await.ok();
    let path = format!("DELETE /integrations/{APP}/users/jo");
    assert_names(&shown, &[&path, "NotEnoughSeats", "jo@example.com", "Nothing was sent"]);
    assert_eq!(world.status(app).await, "open");
    program.run(&[&one[..], &["--yes"]].concat()).await.ok();
    assert_eq!(world.status(app).await, "returned");

    let all = ["actions", "return", "--integration", HUB, "--failure-code", "NotEnoughSeats"];
    let told = program.run(&[&all[..], &["--reason", "x", "--operation", "invite"]].concat()).await;
    assert_names(&told.refusal(), &["there is no open action to return"]);
    let sent = program.run(&[&all[..], &["--reason", "x", "--yes"]].concat()).await.ok();
    assert_names(&sent, &["with automation again"]);
    assert_eq!(world.status(hub).await, "returned");
    let again = program.run(&[&one[..], &["--yes"]].concat()).await.refusal();
    assert_names(&again, &["there is no open action to return"]);
}

#[sqlx::test(migrations = false)]
async fn a_return_of_several_is_listed_and_shown_with_its_canary(pool: PgPool) {
    let (world, program, [_, hub]) = with_actions(pool).await;
    let other = world.insert(&a_failed("remove", HUB, "kim").code("NotEnoughSeats")).await;
    world.drive().await;
    let other = world.action_of(other).await;
    let all = ["actions", "return", "--integration", HUB, "--reason", "bought", "--yes"];
    program.run(&all).await.ok();
    let listed = program.run(&["returns", "list"]).await.ok();
    assert_names(&listed, &["waiting", "bought", "task "]);
    let id = listed.lines().nth(1).and_then(|line| line.split(' ').next()).unwrap();
    let shown = program.run(&["returns", "show", id]).await.ok();
    let remaining = format!("actions {other}");
    let words =
        ["the rest follows when the canary has worked", &remaining, "alex via login ", "canary"];
    assert_names(&shown, &words);
    assert_ne!(hub, other);
    let json = program.run(&["returns", "show", id, "-o", "json"]).await.ok();
    assert_eq!(objects(&json)[0]["remaining_action_ids"], json!([other]));
    assert_names(
        &program.run(&["returns", "show", "4711"]).await.refusal(),
        &["there is no return 4711"],
    );
}

#[sqlx::test(migrations = false)]
async fn every_command_that_prints_json_keeps_to_its_schema(pool: PgPool) {
    let (world, program, held) = with_held(pool).await;
    let app = world.insert(&a_failed("remove", HUB, "jo").code("NotEnoughSeats")).await;
    let other = world.insert(&a_failed("remove", HUB, "kim").code("NotEnoughSeats")).await;
    world.drive().await;
    world.insert(&a_failed("change_role", HUB, "jo")).await;
    world.order().await;
    let action = world.action_of(app).await.to_string();
    let token = ["tokens", "create", "a-program", "--role", "viewer", "--all-workspaces"];
    program.run(&token).await.ok();
    program.run(&["actions", "screen-changed", &action, "--note", "it moved"]).await.ok();
    program.run(&["actions", "claim", &action]).await.ok();
    program.run(&["actions", "release", &action]).await.ok();
    program.run(&["actions", "return", "--integration", HUB, "--reason", "x", "--yes"]).await.ok();
    let event = "insert into reconciler.webhook_events
                     (workspace_id, event_id, event_type, job_id, occurred_at, problem)
                 values ('acme', 'e-1', 'automation.failed', 'job-9', now(), 'the job cannot be read')";
    sqlx::query(event).execute(&world.pool).await.unwrap();
    let other = world.action_of(other).await.to_string();
    for (command, name) in shape::COMMANDS {
        let id = match command {
            "actions show" => Some(other.as_str()),
            "tasks show" | "returns show" => Some("1"),
            "syncs show" => Some(held.as_str()),
            "reports evidence" => Some("--workspace=acme"),
            _ => None,
        };
        let words: Vec<_> = command.split(' ').chain(id).chain(["-o", "json"]).collect();
        let printed = objects(&program.run(&words).await.ok());
        assert!(!printed.is_empty(), "`{command}` printed nothing");
        let mut schema = shape::schema();
        schema["$ref"] = json!(format!("#/components/schemas/{name}"));
        let schema = jsonschema::validator_for(&schema).expect("a schema");
        for object in printed {
            let wrong: Vec<_> =
                schema.iter_errors(&object).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "`{command}`: {wrong:#?} in {object:#}");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn several_tasks_syncs_and_integrations_are_shown_first_too(pool: PgPool) {
    let world = World::new(pool).await;
    let first = world.insert(&a_failed("remove", APP, "jo")).await.to_string();
    let second = world.insert(&a_failed("remove", APP, "kim")).await.to_string();
    world.order().await;
    let program = Program::on(&world.pool).with_backend(&world.apps);
    let cancel = ["tasks", "cancel", &first, &second, "--reason", "left"];
    let shown = program.run(&cancel).await;
    assert_eq!(shown.code, Some(2));
    assert_names(&shown.stdout, &[&first, &second, "WHY IT WAITS"]);
    assert_names(&shown.stderr, &["Nothing was done. To cancel these 2 tasks, give --yes."]);
    let cancelled = program.run(&[&cancel[..], &["--yes"]].concat()).await.ok();
    assert_eq!(cancelled.lines().count(), 2, "{cancelled}");

    let pause = ["integrations", "pause", APP, "no-app", "--reason", "work", "--yes"];
    let paused = program.run(&pause).await;
    assert_eq!(paused.code, Some(3));
    assert_names(&paused.stdout, &["is paused"]);
    assert_names(&paused.stderr, &["there is no integration no-app here"]);
    let both = program.run_on(&["syncs", "reject", "-", "--reason", "x", "--yes"], "1,2\n3").await;
    assert_eq!(both.code, Some(1));
    assert_names(&both.stderr, &["there is no sync 1", "there is no sync 2", "there is no sync 3"]);
}

#[sqlx::test(migrations = false)]
async fn what_happened_to_a_row_is_listed_the_newest_first(pool: PgPool) {
    let (_world, program, [app, _]) = with_actions(pool).await;
    let id = app.to_string();
    program.run(&["actions", "claim", &id]).await.ok();
    let listed = program
        .run(&["events", "list", "--subject", "action", "--id", &id, "-o", "json"])
        .await
        .ok();
    let whats: Vec<_> =
        objects(&listed).iter().map(|line| line["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(whats, ["action.claimed", "action.opened"]);
    let one = program.run(&["events", "list", "--limit", "1"]).await.ok();
    assert_names(&one, &["action.claimed", "More: --after "]);
    let half = program.run(&["events", "list", "--id", &id]).await;
    assert_eq!(half.code, Some(2), "an id alone says nothing: {}", half.stderr);
}

// ---- syncs ----

/// Names that would turn text, colour a terminal, or forge another line.
const ODD_NAME: &str = "<b>eve</b>\u{202e}";
const ODD_APP: &str = "As\u{1b}[31mana\u{9b}\nhub";

/// A world with a held report: jo was to leave, eve has left unasked.
async fn with_held(pool: PgPool) -> (World, Program, String) {
    let eve = Member::new("eve", "eve@example.com").named(ODD_NAME).with(&["VIEWER"]);
    let apps = crate::support::apps().member(WORKSPACE, APP, eve);
    let world = World::with(pool, apps, Default::default()).await;
    let task = a_failed("remove", APP, "jo").code("NotEnoughSeats");
    let id = world.insert(&task).await;
    world.drive().await;
    world.person_does(&task);
    assert!(world.apps.person_removes(WORKSPACE, APP, "eve"));
    world.mark_done(world.action_of(id).await).await;
    world.drive().await;
    let named = sqlx::query("update reconciler.integration_settings set name = $1").bind(ODD_APP);
    named.execute(&world.pool).await.expect("a name");
    let held = world.count("select id from reconciler.syncs where state = 'held'").await;
    let program = Program::on(&world.pool).with_backend(&world.apps).with("USER", "sam");
    (world, program, held.to_string())
}

#[track_caller]
fn assert_printable(text: &str) {
    let odd = |c: &char| c.is_control() && *c != '\n' || *c == '\u{202e}';
    assert_eq!(text.chars().find(odd), None, "{text:?}");
}

fn objects(json: &str) -> Vec<Value> {
    json.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

async fn sync_state(world: &World, sync: &str) -> String {
    let state =
        "select state || ': ' || coalesce(finished_reason, '') from reconciler.syncs where id = $1";
    world.text(state, sync.parse().expect("an id")).await
}

#[sqlx::test(migrations = false)]
async fn a_held_sync_is_shown_with_whom_it_removes_and_how_to_decide(pool: PgPool) {
    const GONE: &str = "Already gone from the app; approving removes them from Cerby";
    let (_world, program, held) = with_held(pool).await;
    let shown = program.run(&["syncs", "show", &held]).await.ok();
    assert_printable(&shown);
    assert_names(
        &shown,
        &[
            &format!("Sync {held} of workspace acme: held"),
            "As[31manahub (an-app)",
            "check_and_apply",
            "age of the snapshot",
            "unexpected removals in 24 hours",
            "1 of 1 members read: 0 new, 2 removed, 0 changed",
            "3 of 3 members in 1 page, complete (what Cerby knew before the apply)",
            "sha256:",
            "1 missing, 0 ambiguous, 0 unexpected",
            "What approving applies:",
            &format!("  {GONE}  eve@example.com (<b>eve</b>)"),
            &format!("  {:<1$}  jo@example.com (jo)", "removed", GONE.len()),
            "known to Cerby, and no longer in the app",
            &format!("cerby-reconciler syncs approve {held} --reason '…'"),
            &format!("cerby-reconciler syncs reject {held} --reason '…'"),
            "sync.held",
        ],
    );
    assert!(
        shown.lines().any(|line| line.starts_with("to be decided by") && line.ends_with(" left)"))
    );
}

#[sqlx::test(migrations = false)]
async fn what_is_held_is_listed_with_its_reason_and_until_when_it_can_be_decided(pool: PgPool) {
    let (world, program, held) = with_held(pool).await;
    let listed = program.run(&["syncs", "list", "--held"]).await.ok();
    assert_printable(&listed);
    let rows: Vec<_> = listed.lines().collect();
    assert_eq!(rows.len(), 2, "{listed}");
    assert_names(rows[0], &["ID", "STATE", "APP", "CAUSES", "COMPLETE", "WHY"]);
    assert_names(
        rows[1],
        &[&held, "held", "As[31manahub", "done", "yes", "1 missing", "; decide until"],
    );

    program.run(&["syncs", "request", "--integration", APP]).await.ok();
    world.take_up().await;
    let all = program.run(&["syncs", "list", "-o", "json"]).await.ok();
    let states: Vec<_> = objects(&all).iter().map(|sync| sync["state"].clone()).collect();
    assert_eq!(states, ["requested", "held"], "the newest first");
    let listed = program.run(&["syncs", "list"]).await.ok();
    assert_names(listed.lines().nth(1).unwrap(), &["requested", "person", "due 2"]);
    let held_only = objects(&program.run(&["syncs", "list", "--held", "-o", "json"]).await.ok());
    assert_eq!(held_only.len(), 1);
    assert_eq!(held_only[0]["counts"]["missing"], 1);
    for (filter, count) in [
        (["--integration", APP], 2),
        (["--integration", HUB], 0),
        (["--workspace", WORKSPACE], 2),
        (["--workspace", "other"], 0),
        (["--limit", "1"], 1),
    ] {
        let some =
            program.run(&[&["syncs", "list", "-o", "json"], &filter[..]].concat()).await.ok();
        assert_eq!(objects(&some).len(), count, "{filter:?}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_syncs_json_is_its_row_and_report_as_stored_and_harmless_to_a_terminal(pool: PgPool) {
    let (_world, program, held) = with_held(pool).await;
    let json = program.run(&["syncs", "show", &held, "-o", "json"]).await.ok();
    assert_printable(&json);
    assert_eq!(json.lines().count(), 1, "{json}");
    let sync: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(sync["id"].to_string(), held);
    assert_eq!(sync["state"], "held");
    assert_eq!(sync["integration_name"], ODD_APP);
    assert_eq!(sync["report"]["counts"]["missing"], 1);
    assert_eq!(sync["report"]["snapshot"]["complete"], true);
    let removed = sync["report"]["update"]["removed_members"].as_array().unwrap();
    assert!(removed.iter().any(|one| one["username"] == ODD_NAME), "{json}");
}

#[sqlx::test(migrations = false)]
async fn an_approved_report_is_applied_and_shown_with_who_approved_it_and_why(pool: PgPool) {
    let (world, program, held) = with_held(pool).await;
    let reason = "both\u{1b}[2J left";
    let approve = ["syncs", "approve", &held, "--reason", reason];
    let said = program.run(&approve).await.ok();
    assert_names(&said, &[&format!("sync {held} is approved")]);
    world.drive().await;
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 1);
    assert_eq!(sync_state(&world, &held).await, "finished: the app was read");

    let shown = program.run(&["syncs", "show", &held]).await.ok();
    assert_printable(&shown);
    assert_names(
        &shown,
        &[
            ": finished",
            "approved by sam via login ",
            "both[2J left",
            "1 of 1 members in 1 page, complete\n",
            "1 matched",
            "unexpected removals 1",
            "sync.approved",
            "sam via login ",
        ],
    );
    assert!(!shown.contains("syncs approve"), "it is decided: {shown}");
    let listed = program.run(&["syncs", "list"]).await.ok();
    assert_names(listed.lines().nth(1).unwrap(), &["finished", "yes", "the app was read"]);
}

#[sqlx::test(migrations = false)]
async fn a_rejected_report_ends_the_sync_and_nothing_is_applied(pool: PgPool) {
    let (world, program, held) = with_held(pool).await;
    let said = program.run(&["syncs", "reject", &held, "--reason", "eve is here"]).await.ok();
    assert_names(&said, &[&format!("sync {held} is rejected")]);
    work(&world.syncs, world.syncs.claim(1).await.unwrap().remove(0)).await;
    assert_eq!(sync_state(&world, &held).await, "failed: a person rejected the report");
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 0);
    let shown = program.run(&["syncs", "show", &held]).await.ok();
    assert_names(
        &shown,
        &["rejected by sam via login ", "eve is here", "a person rejected the report"],
    );
}

#[sqlx::test(migrations = false)]
async fn a_decision_needs_a_reason_and_is_made_once(pool: PgPool) {
    let (world, program, held) = with_held(pool).await;
    let missing = program.run(&["syncs", "approve", &held]).await;
    assert_eq!(missing.code, Some(2));
    assert_names(&missing.stderr, &["--reason"]);
    let told = program.run(&["syncs", "approve", &held, "--reason", " "]).await.refusal();
    assert_names(&told, &[&format!("a decision on sync {held} needs decision"), "decision_reason"]);

    let approve = ["syncs", "approve", &held, "--reason", "both left"];
    program.run(&approve).await.ok();
    let words = format!("sync {held} is not waiting for a decision: it is already approved");
    assert_names(&program.run(&approve).await.refusal(), &[&words]);
    let reject = ["syncs", "reject", &held, "--reason", "no"];
    assert_names(&program.run(&reject).await.refusal(), &[&words]);
    world.drive().await;
    assert_names(&program.run(&approve).await.refusal(), &[&words]);
    assert_eq!(sync_state(&world, &held).await, "finished: the app was read");
}

#[sqlx::test(migrations = false)]
async fn after_its_time_a_held_report_cannot_be_decided_on(pool: PgPool) {
    let (world, program, held) = with_held(pool).await;
    let late = "update reconciler.syncs set held_until = now() - interval '1 hour'";
    sqlx::query(late).execute(&world.pool).await.unwrap();
    let told = program.run(&["syncs", "approve", &held, "--reason", "late"]).await.refusal();
    assert_names(&told, &["could be decided on until", "decide on the next report"]);
    let shown = program.run(&["syncs", "show", &held]).await.ok();
    assert_names(&shown, &["over: the app is read anew"]);
    assert!(!shown.contains("syncs approve"), "nothing to decide any more: {shown}");
}

#[sqlx::test(migrations = false)]
async fn a_sync_without_a_report_or_with_an_odd_one_is_shown_all_the_same(pool: PgPool) {
    let (world, program, held) = with_held(pool).await;
    let report = "update reconciler.syncs set report = $1";
    for (stored, words) in [
        (Value::Null, "\nWhat happened:"),
        (json!({"counts": {"missing": 2}}), "2 missing, 0 ambiguous"),
        (
            json!({"snapshot": {"members": 1, "pages": 2, "total": 5, "complete": false,
                            "gaps": ["total_differs"]}}),
            "1 of 5 members in 2 pages, NOT complete: total_differs",
        ),
        (
            json!({"differences": [{"class": "unexpected", "member_id": null, "email": null,
                                 "username": "ev\u{1b}e", "roles": ["A\u{202e}"], "task_id": 7,
                                 "why": "nobody"}]}),
            "unexpected  eve  A      7     nobody",
        ),
        (json!({"differences": "many"}), "not readable here: see -o json"),
    ] {
        sqlx::query(report).bind(&stored).execute(&world.pool).await.unwrap();
        let shown = program.run(&["syncs", "show", &held]).await.ok();
        assert_printable(&shown);
        assert_names(&shown, &[words]);
        assert_eq!(shown.contains("not readable"), stored["differences"] == "many", "{shown}");
        program.run(&["syncs", "list"]).await.ok();
    }
    let null = "update reconciler.syncs set report = null";
    sqlx::query(null).execute(&world.pool).await.unwrap();
    program.run(&["syncs", "show", &held]).await.ok();
    let listed = program.run(&["syncs", "list"]).await.ok();
    assert_names(&listed, &["held", "-"]);
}

#[sqlx::test(migrations = false)]
async fn a_snapshot_is_requested_once_however_often_it_is_asked_for(pool: PgPool) {
    let (world, program, _) = with_actions(pool).await;
    let request = ["syncs", "request", "--integration", APP, "--as", "kim"];
    let first = program.run(&request).await.ok();
    assert_names(&first, &["is requested: the app is read now"]);
    assert_eq!(program.run(&request).await.ok(), first);
    world.take_up().await;
    let requested = "select count(*) from reconciler.syncs where causes = '{person}'";
    assert_eq!(world.count(requested).await, 1);
    world.drive().await;
    let finished = "select count(*) from reconciler.syncs where state = 'finished'";
    assert_eq!(world.count(finished).await, 1);
    let actors = "select string_agg(distinct actor, ',') from reconciler.events
                  where what = 'integration.snapshot_requested' and id > $1";
    assert_eq!(without_logins(&world.text(actors, 0).await), "kim");
}

#[sqlx::test(migrations = false)]
async fn a_request_joins_the_one_that_waits_and_is_in_the_trail(pool: PgPool) {
    let (world, program, [app, _]) = with_actions(pool).await;
    world.mark_done(app).await;
    program.run(&["syncs", "request", "--integration", APP, "--as", "kim"]).await.ok();
    world.take_up().await;
    let joined = "select count(*) from reconciler.syncs where causes = '{done,person}'";
    assert_eq!(world.count(joined).await, 1);
    let asked = "select count(*) from reconciler.events
                 where what = 'integration.snapshot_requested' and actor like 'kim via login %'";
    assert_eq!(world.count(asked).await, 1);
}

#[sqlx::test(migrations = false)]
async fn a_request_says_which_held_report_it_has_to_wait_for(pool: PgPool) {
    let (_world, program, held) = with_held(pool).await;
    let said = program.run(&["syncs", "request", "--integration", APP]).await.ok();
    assert_names(&said, &[&format!("when sync {held}, which is held, has ended")]);
}

#[sqlx::test(migrations = false)]
async fn unknown_syncs_and_integrations_are_refused_in_words(pool: PgPool) {
    let (world, program, _) = with_actions(pool).await;
    for command in ["show", "approve", "reject"] {
        let reason: &[&str] = if command == "show" { &[] } else { &["--reason", "x"] };
        let told = program.run(&[&["syncs", command, "4711"], reason].concat()).await.refusal();
        assert_names(&told, &["there is no sync 4711"]);
    }
    let told = program.run(&["syncs", "request", "--integration", "no-such"]).await.refusal();
    assert_names(&told, &["there is no integration no-such"]);
    assert_eq!(program.run(&["syncs", "list"]).await.ok(), "no such syncs\n");
    assert_eq!(program.run(&["syncs", "list", "--held"]).await.ok(), "no report is held\n");
    let in_sql = sqlx::query("select reconciler.request_snapshot('acme', 'no-such')");
    let told = in_sql.execute(&world.pool).await.unwrap_err().to_string();
    assert_names(&told, &["there is no integration no-such in workspace acme"]);
}

#[sqlx::test(migrations = false)]
async fn an_operators_login_requests_decides_and_protects_and_no_more(pool: PgPool) {
    let (world, _, held) = with_held(pool).await;
    let mut tx = world.pool.begin().await.unwrap();
    for statement in [
        "set local session authorization reconciler_operator",
        "select reconciler.request_snapshot('acme', 'an-app')",
        "update reconciler.syncs set decision = 'rejected', decision_reason = 'x' where state = 'held'",
        "update reconciler.integrations set own_account = 'bot', snapshot_every_s = 0",
    ] {
        sqlx::query(statement).execute(&mut *tx).await.expect(statement);
    }
    let refused = "select reconciler.schedule_sync('acme', 'an-app', now(), 'done')";
    let told = sqlx::query(refused).execute(&mut *tx).await.unwrap_err().to_string();
    assert_names(&told, &["permission denied"]);
    drop(tx);
    assert_names(&sync_state(&world, &held).await, &["held"]);
}

#[sqlx::test(migrations = false)]
async fn an_account_is_protected_by_the_command_line_until_it_is_taken_back(pool: PgPool) {
    let (world, program, _) = with_actions(pool).await;
    let set = async |told: &[&str]| -> Ended {
        program.run(&[&["integrations", "set", APP, "--as", "kim"], told].concat()).await
    };
    let row = async || -> Value {
        let listed = program.run(&["integrations", "list", "-o", "json"]).await.ok();
        let all = objects(&listed);
        let row = all.into_iter().find(|row| row["integration_id"] == APP).unwrap();
        json!([row["own_account"], row["administrator_roles"], row["snapshot_every_s"]])
    };
    let all = ["--own-account", "bot@example.com", "--administrator-role", "ADMIN"];
    set(&[&all[..], &["--administrator-role", "OWNER", "--snapshot-every-s", "3600"]].concat())
        .await
        .ok();
    assert_eq!(row().await, json!(["bot@example.com", ["ADMIN", "OWNER"], 3600]));
    let listed = program.run(&["integrations", "list"]).await.ok();
    let words = "protects bot@example.com; administrators: ADMIN, OWNER; read every 3600 s";
    assert_names(&listed, &[words]);
    let actor = "select actor from reconciler.events where subject = 'integration' and id > $1 order by id desc";
    assert_eq!(without_logins(&world.text(actor, 0).await), "kim");

    set(&["--snapshot-every-s", "0"]).await.ok();
    assert_eq!(row().await, json!(["bot@example.com", ["ADMIN", "OWNER"], 0]));
    set(&["--no-own-account", "--default-snapshot"]).await.ok();
    assert_eq!(row().await, json!([null, ["ADMIN", "OWNER"], null]));
    set(&["--default-administrator-roles"]).await.ok();
    assert_eq!(row().await, json!([null, null, null]));

    for (told, words) in [
        (["--own-account", " bot@example.com"], "own_account_is_not_empty_nor_padded"),
        (["--snapshot-every-s", "5"], "snapshot_every_s_is_0_or_60_to_31536000"),
    ] {
        assert_names(&set(&told).await.refusal(), &[words]);
    }
    let nothing = set(&[]).await;
    assert_eq!(nothing.code, Some(2));
    assert_names(&nothing.stderr, &["--own-account", "--default-snapshot"]);
    let both = set(&["--own-account", "bot", "--no-own-account"]).await;
    assert_eq!(both.code, Some(2));
}
