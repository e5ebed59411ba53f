//! `migrate` beside sessions that hold what it needs, and after it was interrupted.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::cell::Cell;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cerby_reconciler::schema;
use sqlx::{Connection, Executor, PgConnection, PgPool};

use crate::program::assert_names;
use crate::support::eventually;
use crate::upgrade::{migrate_to_newer, newer_migrations};

/// A session of a person whose open transaction did this.
async fn hold(pool: &PgPool, statement: &'static str) -> PgConnection {
    let options = (*pool.connect_options()).clone().application_name("a person's psql");
    let mut session = PgConnection::connect_with(&options).await.unwrap();
    session.execute("begin").await.unwrap();
    session.execute(statement).await.unwrap();
    session
}

async fn process(session: &mut PgConnection) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(session).await.unwrap()
}

/// How many migrations of the newer program the schema has.
async fn added(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from reconciler.schema_migrations where version > $1")
        .bind(schema::needed_version())
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn is_valid(pool: &PgPool, index: &str) -> Option<bool> {
    sqlx::query_scalar("select indisvalid from pg_index where indexrelid = to_regclass($1)")
        .bind(index)
        .fetch_optional(pool)
        .await
        .unwrap()
}

#[sqlx::test(migrations = false)]
async fn a_migration_that_meets_a_lock_fails_within_10_s_names_the_session_and_can_be_repeated(
    pool: PgPool,
) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let mut person = hold(&pool, "select count(*) from reconciler.manual_actions").await;
    let pid = process(&mut person).await;

    let has_ended = Cell::new(false);
    let migration = async {
        let began = Instant::now();
        let ended = migrate_to_newer(&pool).await;
        has_ended.set(true);
        (ended.unwrap_err(), began.elapsed())
    };
    // Meanwhile others read the table, and queue behind the migration.
    let mut other = pool.acquire().await.unwrap();
    let reading = async {
        let mut longest = Duration::ZERO;
        while !has_ended.get() {
            let began = Instant::now();
            other.execute("select count(*) from reconciler.manual_actions").await.unwrap();
            longest = longest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        longest
    };
    let ((told, took), longest) = tokio::join!(migration, reading);
    println!("the migration gave up after {took:?}, and a reader waited {longest:?} at most");
    let session = format!("session {pid} of ");
    assert_names(&told, &["waiting for ", "99990101000002", "gave up after 3s", &session]);
    assert_names(&told, &["(a person's psql, idle in transaction, in a transaction for "]);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(longest > Duration::from_secs(1), "nobody queued behind it: {longest:?}");
    assert!(longest < Duration::from_secs(4), "longer than the daemon waits: {longest:?}");
    assert_eq!(added(&pool).await, 1, "what came before the lock stays");

    person.execute("commit").await.unwrap();
    let told = migrate_to_newer(&pool).await.unwrap();
    assert!(!told.contains("99990101000001"), "it goes on where it was: {told}");
    assert_eq!(added(&pool).await, 4);
}

#[sqlx::test(migrations = false)]
async fn an_index_whose_concurrent_build_was_interrupted_is_built_again(pool: PgPool) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let before = newer_migrations().await;
    let (_, before) = before.split_last().unwrap();
    schema::apply(&pool.clone().into(), before, &mut |_| {}).await.unwrap();
    // A build waits for all transactions that wrote the table.
    let person = hold(&pool, "lock table reconciler.automation_tasks in row exclusive mode").await;
    let interrupt = async {
        eventually("the build waits", async || {
            let ended: Option<bool> = sqlx::query_scalar(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and query like '%create index concurrently%'
                   and wait_event_type = 'Lock' and pid <> pg_backend_pid()",
            )
            .fetch_optional(&pool)
            .await
            .unwrap();
            ended == Some(true)
        })
        .await;
    };
    let (ended, ()) = tokio::join!(migrate_to_newer(&pool), interrupt);
    assert_names(&ended.unwrap_err(), &["the migration failed"]);
    assert_eq!(is_valid(&pool, "reconciler.tasks_by_origin").await, Some(false));
    assert_eq!(added(&pool).await, 3, "it is not recorded");

    person.close().await.unwrap();
    let told = migrate_to_newer(&pool).await.unwrap();
    assert_names(&told, &["dropped the index reconciler.tasks_by_origin", "99990101000004"]);
    assert_eq!(is_valid(&pool, "reconciler.tasks_by_origin").await, Some(true));
    assert_eq!(added(&pool).await, 4);
}

#[sqlx::test(migrations = false)]
async fn a_migration_that_was_changed_after_it_was_applied_is_refused(pool: PgPool) {
    migrate_to_newer(&pool).await.unwrap();
    sqlx::query(
        "update reconciler.schema_migrations set checksum = '\\x00' where version = 99990101000001",
    )
    .execute(&pool)
    .await
    .unwrap();
    let told = migrate_to_newer(&pool).await.unwrap_err();
    assert_names(&told, &["the migration failed"]);
}

#[sqlx::test(migrations = false)]
async fn a_run_that_waits_for_another_one_says_for_which_session(pool: PgPool) {
    let mut person =
        hold(&pool, "select pg_advisory_lock(hashtextextended('reconciler.schema_migrations', 0))")
            .await;
    let pid = process(&mut person).await;
    let told = Mutex::new(String::new());
    let mut tell = |line: &str| *told.lock().unwrap() += line;
    let release = async {
        let words = format!("waiting for session {pid} of ");
        eventually("it says so", async || told.lock().unwrap().contains(&words)).await;
        person.close().await.unwrap();
    };
    let database = pool.clone().into();
    let migration = schema::apply(&database, schema::migrations(), &mut tell);
    let (ended, ()) = tokio::join!(migration, release);
    ended.unwrap();
}
