//! Whole sessions of people, as they see them: each is a page in `docs/sessions/`, played here and compared.

use std::fmt::Write;
use std::path::Path;

use sqlx::{Connection, PgConnection, PgPool, Row};
use testkit::simulator::{Integration, Kind, Member, Settings, World as Apps};

use crate::program::Program;
use crate::support::{APP, WORKSPACE, World, a_failed};

/// A page that is written while it is played.
struct Page {
    text: String,
    /// Command lines and statements.
    commands: usize,
}

impl Page {
    fn new(title: &str, about: &str) -> Self {
        Self { text: format!("# {title}\n\n{about}\n"), commands: 0 }
    }

    /// What the person thinks or does before the next command.
    fn say(&mut self, text: &str) {
        let _ = write!(self.text, "\n{text}\n");
    }

    fn show(&mut self, prompt: &str, command: &str, answer: &str) {
        self.commands += 1;
        let answer = undated(answer);
        let _ = write!(self.text, "\n```console\n{prompt} {command}\n{}\n```\n", answer.trim_end());
    }

    /// Runs command lines of the program, each with the output of the one before as its input.
    async fn run(&mut self, program: &Program, line: &str) -> i32 {
        let (mut output, mut code) = (String::new(), 0);
        let mut shown = String::new();
        for command in line.split(" | ") {
            let ended = program.run_on(&words(command), &output).await;
            code = ended.code.expect("it ends by itself");
            shown = format!("{}{}", ended.stdout, ended.stderr);
            output = ended.stdout;
        }
        if code != 0 {
            let _ = write!(shown, "(exit code {code})");
        }
        let line = line.replace(" | ", " | cerby-reconciler ");
        self.show("$", &format!("cerby-reconciler {line}"), &shown);
        code
    }

    /// Runs a statement as psql would show it.
    async fn ask(&mut self, session: &mut PgConnection, statement: &str) {
        let answer = answer(session, statement).await;
        self.show("=>", statement, &answer);
    }

    /// The page in `docs/sessions` is what was played.
    fn check(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sessions").join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &self.text).expect("the page is written");
        }
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == self.text,
            "docs/sessions/{name} is not what was played: run the tests once with UPDATE_DOCS=1\n{}",
            self.text
        );
    }
}

/// The words of a command line; single quotes keep some together.
fn words(command: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (number, part) in command.split('\'').enumerate() {
        match number % 2 {
            0 => words.extend(part.split_whitespace()),
            _ => words.push(part),
        }
    }
    words
}

/// The same at any time, on any machine.
fn undated(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut parts: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for at in 0..parts.len() {
            let is = |at: usize, shape: &str| {
                parts.get(at).is_some_and(|part: &String| has_shape(part, shape))
            };
            if is(at, "0000-00-00") && (is(at + 1, "00:00") || is(at + 1, "00:00:00")) {
                parts[at] = "2026-03-02".to_owned();
                parts[at + 1] =
                    if parts[at + 1].len() == 5 { "09:00" } else { "09:00:00" }.to_owned();
            }
        }
        lines.push(parts.join(" "));
    }
    let text = lines.join("\n");
    let mut logins = text.split(" via login ");
    let first = logins.next().unwrap_or_default().to_owned();
    logins.fold(first, |text, rest| {
        let rest = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        format!("{text} via login cerby{rest}")
    })
}

fn has_shape(part: &str, shape: &str) -> bool {
    part.len() == shape.len()
        && part.chars().zip(shape.chars()).all(|(c, s)| match s {
            '0' => c.is_ascii_digit(),
            s => c == s,
        })
}

async fn answer(session: &mut PgConnection, statement: &str) -> String {
    let rows = match sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
        .fetch_all(&mut *session)
        .await
    {
        Ok(rows) => rows,
        Err(error) => {
            let error = error.into_database_error().expect("the database refuses");
            let error = error.downcast::<sqlx::postgres::PgDatabaseError>();
            let hint = error.hint().map(|hint| format!("\nHINT:  {hint}")).unwrap_or_default();
            return format!("ERROR:  {}{hint}", error.message());
        }
    };
    let heads: Vec<String> = rows.first().map_or(Vec::new(), |row| {
        row.columns().iter().map(|column| sqlx::Column::name(column).to_owned()).collect()
    });
    let mut table = vec![heads];
    table.extend(rows.iter().map(|row| {
        let cell = |at| row.try_get_raw(at).ok().and_then(|raw| raw.as_str().ok()).unwrap_or("");
        (0..row.len()).map(|at| cell(at).to_owned()).collect()
    }));
    let columns = table[0].len();
    let width = |at: usize| table.iter().map(|row: &Vec<String>| row[at].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join(" | ").trim_end().to_owned() + "\n"
    };
    let all: String = table.iter().map(line).collect();
    match rows.len() {
        1 => format!("{all}(1 row)"),
        many => format!("{all}({many} rows)"),
    }
}

/// A login of its own in a role of ours. Roles outlive the test's database.
async fn login(pool: &PgPool, role: &str, name: &str) -> PgConnection {
    let mut session = pool.acquire().await.expect("a session").detach();
    let switch = format!(
        "do $$ begin create role {name} login; exception when duplicate_object then null; end $$;
         grant {role} to {name}; set session authorization {name}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(switch)).execute(&mut session).await.expect("a login");
    session
}

const SIX: [&str; 6] = ["figma", "miro", "notion", "slack", "trello", "zoom"];

const PEOPLE: [&str; 40] = [
    "ada", "ali", "amy", "ana", "ben", "bob", "cal", "dan", "eli", "eva", "fay", "gil", "gus",
    "hal", "ian", "ida", "ina", "ivy", "jan", "jay", "jim", "joe", "kai", "kim", "lea", "leo",
    "liv", "lou", "max", "meg", "mia", "nan", "ned", "noa", "ola", "pam", "ray", "ron", "sam",
    "sue",
];

/// Forty people who have to leave six apps, each without free seats for automation.
async fn a_monday(pool: PgPool) -> World {
    let mut apps = Apps::new();
    for app in SIX {
        apps = apps.integration(Integration::new(WORKSPACE, app, app, Kind::App, "asana_tenant"));
        for stays in ["cleo", "dora", "emil", "fritz", "greta", "hugo", "iris", "jonas"] {
            apps = apps.member(WORKSPACE, app, Member::new(stays, &format!("{stays}@example.com")));
        }
    }
    for (number, person) in PEOPLE.into_iter().enumerate() {
        let member = Member::new(person, &format!("{person}@example.com"));
        apps = apps.member(WORKSPACE, SIX[number % 6], member);
    }
    let world = World::with(pool, apps, Settings::default()).await;
    for (number, person) in PEOPLE.into_iter().enumerate() {
        let task = a_failed("remove", SIX[number % 6], person).code("NotEnoughSeats");
        world.insert(&task).await;
        world.drive().await;
    }
    world
}

#[sqlx::test(migrations = false)]
async fn forty_actions_in_six_apps_are_worked_in_under_fifteen_commands(pool: PgPool) {
    let world = a_monday(pool).await;
    let kim = Program::on(&world.pool).with_backend(&world.apps).with("USER", "kim");
    let mut page = Page::new(
        "A Monday",
        "Forty people have to leave six apps, and automation could not remove them. Kim removes them by hand.",
    );
    page.say("What is there to do?");
    page.run(&kim, "actions summary").await;
    page.say("Kim takes all of them. A colleague sees that.");
    page.run(&kim, "actions list -o id | actions claim - --yes").await;
    page.say("What exactly has to be done in the first app?");
    page.run(&kim, "actions show 1").await;
    for (number, app) in SIX.into_iter().enumerate() {
        for (person, _) in PEOPLE.iter().zip(0..).filter(|(_, at)| at % 6 == number) {
            // One of them is forgotten.
            let _ = *person != "ida" && world.apps.person_removes(WORKSPACE, app, person);
        }
        page.say(&format!(
            "Kim removes the people in {app} and says so. The daemon reads the app to prove it."
        ));
        let done = format!(
            "actions list --mine --integration {app} -o id | actions done - --yes --note 'removed in the console'"
        );
        page.run(&kim, &done).await;
        world.drive().await;
    }
    page.say("One was forgotten: the app still shows her.");
    page.run(&kim, "actions list").await;
    page.run(&kim, "actions show 16").await;
    assert!(world.apps.person_removes(WORKSPACE, SIX[15 % 6], "ida"));
    page.say("Kim removes her, too.");
    page.run(&kim, "actions done 16 --note 'now really'").await;
    world.drive().await;
    page.run(&kim, "actions summary").await;
    page.check("monday.md");
    assert!(page.commands < 15, "{} commands", page.commands);
    let proven = "select count(*) from reconciler.manual_actions where status = 'verified'";
    assert_eq!(world.count(proven).await, 40);
}

#[sqlx::test(migrations = false)]
async fn a_backend_developer_has_a_row_flowing(pool: PgPool) {
    let world = World::new(pool).await;
    let mut backend = login(&world.pool, "reconciler_backend", "session_backend").await;
    let mut page = Page::new(
        "The first row of a backend",
        "A developer tries the contract in psql, with a login in the role `reconciler_backend`.",
    );
    let row = |trigger: &str| {
        format!(
            "select reconciler.enqueue_task('{{\"workspace_id\": \"acme\", \"source_id\": \"run-1\", \"integration_id\": \"{APP}\", \
             \"integration_kind\": \"app\", \"integration_name\": \"An app\", \"application\": \"asana_tenant\", \"member_id\": \"jo\", \
             \"member_email\": \"jo@example.com\", \"operation\": \"remove\", {trigger}, \"requested_at\": \"now\", \
             \"failure_code\": \"NotEnoughSeats\"}}')"
        )
    };
    page.say("A key is misspelt, then a value is wrong.");
    page.ask(&mut backend, &row("\"triger\": \"manual\"")).await;
    page.ask(&mut backend, &row("\"trigger\": \"by hand\"")).await;
    page.say("Now it is right. The same row again changes nothing, and returns the same id.");
    page.ask(&mut backend, &row("\"trigger\": \"manual\"")).await;
    page.ask(&mut backend, &row("\"trigger\": \"manual\"")).await;
    page.say("What became of it, at once and a moment later?");
    let status = "select state, reason, action_id from reconciler.task_status('acme', 'run-1')";
    page.ask(&mut backend, status).await;
    world.drive().await;
    page.ask(&mut backend, status).await;
    page.say("The backend reads nobody's data.");
    page.ask(&mut backend, "select member_email from reconciler.automation_tasks").await;
    backend.close().await.expect("it closes");
    page.check("backend.md");
}

#[sqlx::test(migrations = false)]
async fn on_call_finds_out_at_night_why_nothing_happens(pool: PgPool) {
    let world = World::new(pool).await;
    world.insert(&a_failed("remove", APP, "jo")).await;
    world.insert(&a_failed("remove", APP, "kim")).await;
    world.order().await;
    let lee = Program::on(&world.pool).with_backend(&world.apps).with("USER", "lee");
    lee.run(&["integrations", "pause", APP, "--reason", "the vendor moves to a new login page"])
        .await
        .ok();
    let robin = Program::on(&world.pool).with_backend(&world.apps).with("USER", "robin");
    let mut page = Page::new(
        "Why does nothing happen?",
        "Robin is on call. Somebody says that removals from an app wait since the evening.",
    );
    page.run(&robin, "tasks list --member jo@example.com").await;
    page.say("So the app is paused. By whom, and are there others?");
    page.run(&robin, "integrations list --inactive").await;
    page.run(&robin, &format!("events list --subject integration --id {APP} --limit 1")).await;
    page.say("The work at the vendor is done.");
    page.run(&robin, &format!("integrations resume {APP}")).await;
    world.drive().await;
    world.let_time_pass().await;
    world.drive().await;
    page.run(&robin, "tasks list").await;
    page.run(&robin, "tasks show 1").await;
    page.check("on-call.md");
}

#[sqlx::test(migrations = false)]
async fn a_script_trusts_exit_codes_and_json(pool: PgPool) {
    let world = World::new(pool).await;
    for person in ["jo", "kim"] {
        world.insert(&a_failed("remove", APP, person).code("NotEnoughSeats")).await;
        world.drive().await;
    }
    let script = Program::on(&world.pool).with_backend(&world.apps).with("USER", "script");
    let mut page = Page::new(
        "A script",
        "A script works with ids and exit codes: 0 done, 1 refused, 2 wrong command line, 3 partly.",
    );
    page.run(&script, "actions list -o id").await;
    assert_eq!(page.run(&script, "actions claim 1 2").await, 2);
    assert_eq!(page.run(&script, "actions claim 1 2 99 --yes").await, 3);
    assert_eq!(page.run(&script, "actions claim 99").await, 1);
    assert_eq!(page.run(&script, "actions done 1 --note removed").await, 0);
    assert_eq!(page.run(&script, "actions done 1 --note removed").await, 0);
    let other = Program::on(&world.pool).with_backend(&world.apps).with("USER", "kim");
    page.say("Another script, or a colleague, says the same a moment later.");
    assert_eq!(page.run(&other, "actions done 1").await, 1);
    page.say("At a login that people share, a script says who it is.");
    let nobody = Program::on(&world.pool).with_backend(&world.apps).with("USER", "");
    assert_eq!(page.run(&nobody, "actions done 2").await, 1);
    page.check("script.md");
}
