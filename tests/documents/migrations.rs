//! The rules of migrations: a released one is never changed, and a later one says which programs may run on its schema.

use std::collections::{BTreeMap, BTreeSet};

use cerby_reconciler::schema::{self, ProgramVersion, oldest_program};
use sqlx::migrate::{Migration, MigrationType};

use super::current::text;

/// How a migration may begin that cannot run in a transaction. A second run finds what an interrupted first one left.
const OUTSIDE_TRANSACTIONS: [&str; 3] = [
    "create index concurrently if not exists ",
    "create unique index concurrently if not exists ",
    "drop index concurrently if exists ",
];

fn file(migration: &Migration) -> String {
    format!("{}_{}.sql", migration.version, migration.description.replace(' ', "_"))
}

fn hash(migration: &Migration) -> String {
    migration.checksum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a list of released migrations holds: hashes by file.
fn released(list: &str) -> BTreeMap<&str, &str> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_once("  ").expect("a hash and a file"))
        .map(|(h, f)| (f, h))
        .collect()
}

/// What breaks the rules of migrations.
fn violations(list: &str, migrations: &[Migration]) -> Vec<String> {
    let released = released(list);
    let mut found = Vec::new();
    let files: Vec<String> = migrations.iter().map(file).collect();
    let is_gone = |listed: &&&str| !files.iter().any(|file| file == **listed);
    found.extend(released.keys().filter(is_gone).map(|listed| format!("{listed} is gone")));
    for (migration, file) in migrations.iter().zip(&files) {
        match released.get(file.as_str()) {
            Some(hash_of_release) if *hash_of_release != hash(migration) => {
                found.push(format!("{file} was changed after its release"));
            }
            Some(_) => {}
            None if released.is_empty() => {}
            None => found.extend(of_a_later_one(migration, file, &released)),
        }
        found.extend(outside_transactions(migration, file));
    }
    found
}

fn of_a_later_one(
    migration: &Migration,
    file: &str,
    released: &BTreeMap<&str, &str>,
) -> Vec<String> {
    let mut found = Vec::new();
    // Versions have the same number of digits.
    if released.last_key_value().is_some_and(|(last, _)| file < *last) {
        found.push(format!("{file} comes before a migration that was released"));
    }
    match oldest_program(migration.sql.as_str()) {
        None => found.push(format!("{file} has no line `-- oldest program: x.y.z`")),
        Some(oldest) if oldest > ProgramVersion::OWN => {
            found.push(format!("{file} needs a program newer than this one"));
        }
        Some(_) => {}
    }
    let locked = locked(migration.sql.as_str());
    if locked.len() > 1 {
        found.push(format!("{file} takes the strong locks of several tables: {locked:?}"));
    }
    found
}

/// Statements that take a strong lock of a table, up to its name; `on` stands for all words before `on`.
const LOCKING: [&[&str]; 9] = [
    &["alter", "table"],
    &["drop", "table"],
    &["truncate"],
    &["lock"],
    &["create", "index", "on"],
    &["create", "unique", "index", "on"],
    &["create", "trigger", "on"],
    &["create", "constraint", "trigger", "on"],
    &["drop", "trigger", "on"],
];

/// Words that may stand before the name of a table.
const BEFORE_NAMES: [&str; 5] = ["table", "if", "exists", "not", "only"];

/// The tables that a migration did not create and whose strong lock it takes.
fn locked(sql: &str) -> BTreeSet<String> {
    let code: Vec<_> = sql.lines().map(|line| line.split("--").next().unwrap_or("")).collect();
    // What functions do is between `$$`.
    let code: Vec<_> =
        code.join("\n").to_lowercase().split("$$").step_by(2).map(str::to_owned).collect();
    let (mut created, mut locked) = (BTreeSet::new(), BTreeSet::new());
    for statement in code.join(" ").split(';') {
        let words: Vec<_> = statement
            .split(|c: char| c.is_whitespace() || "(),".contains(c))
            .filter(|word| !word.is_empty())
            .collect();
        if words.starts_with(&["create", "table"]) {
            created.extend(name(&words[2..]));
        }
        locked.extend(LOCKING.iter().filter_map(|begin| name(after(&words, begin)?)));
        let referenced = words.windows(2).filter(|pair| pair[0] == "references");
        locked.extend(referenced.map(|pair| pair[1].to_owned()));
    }
    &locked - &created
}

/// The words after the beginning of a statement, if it begins so. Indexes that are made concurrently lock nobody out.
fn after<'w>(words: &'w [&'w str], begin: &[&'static str]) -> Option<&'w [&'w str]> {
    let Some(begin) = begin.strip_suffix(&["on"]) else {
        return words.strip_prefix(begin);
    };
    let rest = words.strip_prefix(begin)?;
    let on = rest.iter().position(|word| *word == "on")?;
    (rest[0] != "concurrently").then_some(&rest[on + 1..])
}

fn name(words: &[&str]) -> Option<String> {
    words.iter().find(|word| !BEFORE_NAMES.contains(word)).map(|name| (*name).to_owned())
}

fn outside_transactions(migration: &Migration, file: &str) -> Option<String> {
    let code: Vec<_> =
        migration.sql.as_str().lines().filter(|line| !line.starts_with("--")).collect();
    let code = code.join("\n").trim().to_lowercase();
    let is_one_statement = !code.trim_end_matches(';').contains(';');
    let is_allowed = OUTSIDE_TRANSACTIONS.iter().any(|start| code.starts_with(start));
    match (migration.no_tx, code.contains("index concurrently")) {
        (true, _) if !(is_one_statement && is_allowed) => {
            Some(format!("{file} is without a transaction, but not one statement for one index"))
        }
        (false, true) => Some(format!("{file} does not begin with `-- no-transaction`")),
        _ => None,
    }
}

#[test]
fn migrations_keep_their_rules_and_released_ones_are_not_changed() {
    let found = violations(&text("migrations/released.sha384"), schema::migrations());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_tables_that_a_migration_locks_are_found_however_it_says_so() {
    let table: [(&str, &[&str]); 11] = [
        ("create table a (id int); create index on a (id); create view v as select 1 from x", &[]),
        ("alter table if exists only a add b int;\nALTER TABLE a add c int", &["a"]),
        ("drop table if exists a", &["a"]),
        ("truncate a", &["a"]),
        ("lock table a in exclusive mode", &["a"]),
        ("create unique index if not exists i on a (id)", &["a"]),
        ("create index concurrently if not exists i on a (id)", &[]),
        ("create trigger t after update of id on a for each row execute function f()", &["a"]),
        ("drop trigger t on a; -- alter table b", &["a"]),
        ("create function f() as $$ begin truncate a; end $$; alter table b add c int", &["b"]),
        ("alter table a add foreign key (b) references b (id)", &["a", "b"]),
    ];
    for (sql, tables) in table {
        let tables: BTreeSet<_> = tables.iter().map(|table| (*table).to_owned()).collect();
        assert_eq!(locked(sql), tables, "{sql}");
    }
}

fn migration(version: i64, sql: &'static str) -> Migration {
    let no_tx = sql.starts_with("-- no-transaction");
    let sql = sqlx::SqlSafeStr::into_sql_str(sql);
    Migration::new(version, "add it".into(), MigrationType::Simple, sql, no_tx)
}

#[test]
fn whatever_breaks_a_rule_of_migrations_is_found() {
    let first = "create table reconciler.things (id bigint)";
    let list = format!("# Version 0.1.0\n{}  20_add_it.sql\n", hash(&migration(20, first)));
    let with = |version, sql| violations(&list, &[migration(20, first), migration(version, sql)]);
    assert_eq!(violations(&list, &[migration(20, first)]), Vec::<String>::new());

    let later = "-- oldest program: 0.1.0\nalter table reconciler.things add column name text;";
    assert_eq!(with(21, later), Vec::<String>::new());
    let index = "-- no-transaction\n-- oldest program: 0.1.0\n\
                 create index concurrently if not exists x on reconciler.things (name);";
    assert_eq!(with(21, index), Vec::<String>::new());

    let table = [
        (violations(&list, &[migration(20, "select 1")]), "20_add_it.sql was changed"),
        (violations(&list, &[]), "20_add_it.sql is gone"),
        (with(21, "select 1"), "21_add_it.sql has no line"),
        (with(21, "-- oldest program: 0.1\nselect 1"), "21_add_it.sql has no line"),
        (with(21, "-- oldest program: 999.0.0\nselect 1"), "21_add_it.sql needs a program newer"),
        (
            with(21, "-- oldest program: 0.1.0\ncreate index concurrently x on y (z)"),
            "21_add_it.sql does not begin with `-- no-transaction`",
        ),
        (
            with(21, "-- no-transaction\n-- oldest program: 0.1.0\nalter table x add y int"),
            "21_add_it.sql is without a transaction",
        ),
        (
            with(
                21,
                "-- no-transaction\n-- oldest program: 0.1.0\n\
                 create index concurrently if not exists x on y (z);\nselect 1;",
            ),
            "21_add_it.sql is without a transaction",
        ),
        (
            with(
                21,
                "-- oldest program: 0.1.0\nalter table reconciler.things add x int; -- one\n\
                 create trigger t before insert on reconciler.others execute function f();",
            ),
            "21_add_it.sql takes the strong locks of several tables",
        ),
        (
            {
                let earlier = "-- oldest program: 0.1.0\nselect 1";
                violations(&list, &[migration(10, earlier), migration(20, first)])
            },
            "comes before a migration that was released",
        ),
    ];
    for (found, words) in table {
        assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
    }
}
