//! Behind PgBouncer in transaction mode. Run by `make test-pgbouncer`, which installs PgBouncer.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

mod pgbouncer;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use cerby_reconciler::config::Config;
use cerby_reconciler::schema::{self, Planning, SchemaError};
use pgbouncer::PgBouncer;
use sqlx::PgPool;
use support::replica::Replica;
use support::{APP, World, a_failed, eventually};
use testkit::private_postgres::{Options, PrivatePostgres};

/// As Debian 13 has it, with prepared statements of each client.
const NEW: &str = "trixie";
/// As Debian 12 has it, without.
const OLD: &str = "bookworm";

const FITTING: &str =
    "ignore_startup_parameters = extra_float_digits,options\nmax_prepared_statements = 200\n";

async fn server() -> (PrivatePostgres, World) {
    let server = PrivatePostgres::start(Options::default()).await.unwrap();
    let world = World::new(PgPool::connect(&server.url()).await.unwrap()).await;
    (server, world)
}

fn config(url: &str) -> Config {
    let variables = [("RECONCILER__DATABASE__URL".to_owned(), url.to_owned())];
    Config::from_sources(None, Some(variables.into())).unwrap()
}

async fn remove(world: &World, name: &str, count: usize) {
    for number in 0..count {
        let member: &'static str = format!("{name}-{number}").leak();
        let mut task = a_failed("remove", APP, member);
        task.source = member.to_owned();
        world.insert(&task).await;
    }
}

async fn all_is_done(world: &World) {
    eventually("all is done", async || {
        let open = "select count(*) from reconciler.automation_tasks where state <> 'succeeded'";
        world.count(open).await == 0
    })
    .await;
}

#[tokio::test]
async fn the_daemon_works_behind_a_pooler_and_says_that_it_does_not_listen() {
    let (server, world) = server().await;
    let pooler = PgBouncer::start(NEW, &server, FITTING);
    let replicas = [
        Replica::start(&pooler.url(&server), &world.apps, &[]).await,
        Replica::start(&pooler.url(&server), &world.apps, &[]).await,
    ];
    remove(&world, "busy", 200).await;
    all_is_done(&world).await;
    for replica in &replicas {
        assert_eq!(replica.count("database.pooled"), 1, "{}", replica.log());
        for trouble in ["wakeup.unavailable", "database.unreachable", "database.statement_rejected"]
        {
            assert_eq!(replica.count(trouble), 0, "{}", replica.log());
        }
        assert!(replica.get("/readyz").await.contains("200"));
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn each_statement_and_each_transaction_has_the_settings_that_a_session_would_have() {
    let (server, _world) = server().await;
    let pooler = PgBouncer::start(NEW, &server, FITTING);
    let config = config(&pooler.url(&server));
    let pool = schema::connect(&config.database, Planning::Fixed).await.unwrap();
    assert!(pool.is_pooled());
    let expected = [
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_sort", "off"),
        ("jit", "off"),
        ("statement_timeout", "8s"),
        ("lock_timeout", "4s"),
        ("idle_in_transaction_session_timeout", "8s"),
        ("transaction_isolation", "read committed"),
    ];
    for (setting, value) in expected {
        let read = || sqlx::query_scalar::<_, String>("select current_setting($1)").bind(setting);
        assert_eq!(read().fetch_one(&pool).await.unwrap(), value, "{setting}");
        assert_eq!(read().fetch_all(&pool).await.unwrap(), [value], "{setting}");
        let mut tx = pool.begin().await.unwrap();
        assert_eq!(read().fetch_one(&mut *tx).await.unwrap(), value, "{setting}");
        tx.rollback().await.unwrap();
    }
    // What a transaction sets itself comes after, and a statement that fails leaves the connection usable.
    let mut tx = pool.begin_with("begin; set local lock_timeout = '1s'").await.unwrap();
    let lock_timeout: String =
        sqlx::query_scalar("show lock_timeout").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(lock_timeout, "1s");
    drop(tx);
    let mut connection = pool.acquire().await.unwrap();
    sqlx::query("select 1 / 0").fetch_one(&mut connection).await.unwrap_err();
    let one: i32 = sqlx::query_scalar("select 1").fetch_one(&mut connection).await.unwrap();
    assert_eq!(one, 1);
    drop(connection);
    pool.close().await;

    let direct =
        schema::connect(&self::config(&server.url()).database, Planning::Fixed).await.unwrap();
    assert!(!direct.is_pooled());
    direct.close().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_pooler_without_prepared_statements_or_with_strict_parameters_is_refused_with_what_to_do()
{
    let (server, _world) = server().await;
    let ignore = "ignore_startup_parameters = extra_float_digits,options\n";
    for (suite, settings, words) in [
        (OLD, ignore, "1.21"),
        (
            NEW,
            "ignore_startup_parameters = extra_float_digits,options\nmax_prepared_statements = 0\n",
            "1.21",
        ),
        (NEW, "max_prepared_statements = 200\n", "ignore_startup_parameters"),
        (
            NEW,
            "max_prepared_statements = 200\nignore_startup_parameters = extra_float_digits\n",
            "options",
        ),
    ] {
        let pooler = PgBouncer::start(suite, &server, settings);
        let config = config(&pooler.url(&server));
        let error = schema::connect(&config.database, Planning::Fixed).await.unwrap_err();
        let is_named = matches!(error, SchemaError::OldPooler | SchemaError::StartupParameter(_));
        assert!(is_named && error.to_string().contains(words), "{suite}, {settings}: {error:?}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn migrate_changes_nothing_through_a_pooler_in_transaction_mode_and_works_in_session_mode() {
    let server = PrivatePostgres::start(Options::default()).await.unwrap();
    let direct = PgPool::connect(&server.url()).await.unwrap();
    let in_transactions = PgBouncer::start(NEW, &server, FITTING);
    // The second run meets what the first one left in the sessions of the pooler.
    for _ in 0..2 {
        let error = migrate(&in_transactions.url(&server)).await.unwrap_err();
        assert!(matches!(error, SchemaError::Pooler), "{error:?}");
        let is_there = "select to_regnamespace('reconciler') is not null";
        assert!(!sqlx::query_scalar::<_, bool>(is_there).fetch_one(&direct).await.unwrap());
    }
    let in_sessions = PgBouncer::start(NEW, &server, &format!("{FITTING}pool_mode = session\n"));
    migrate(&in_sessions.url(&server)).await.unwrap();
    direct.close().await;
    server.stop().await.unwrap();
}

async fn migrate(url: &str) -> Result<(), SchemaError> {
    let pool = schema::connect(&config(url).database, Planning::ByStatistics).await?;
    let migrated = schema::migrate(&pool).await;
    pool.close().await;
    migrated.map(|_| ())
}

#[tokio::test]
async fn work_is_back_soon_after_the_pooler_was_killed_and_started_again() {
    let (server, world) = server().await;
    let mut pooler = PgBouncer::start(NEW, &server, FITTING);
    let replica = Replica::start(&pooler.url(&server), &world.apps, &[]).await;
    for round in 0..3 {
        remove(&world, &format!("round-{round}"), 40).await;
        pooler.kill_and_start();
        let began = Instant::now();
        all_is_done(&world).await;
        eventually("it is ready", async || replica.get("/readyz").await.contains("200")).await;
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
    server.stop().await.unwrap();
}
