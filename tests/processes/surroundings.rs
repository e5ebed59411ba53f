//! The process survives what is around it: frozen sockets, sessions that cannot write, a database that comes late or
//! lacks something, a reader of its log that goes away.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::fs::File;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::frozen::Freezer;
use crate::support::openmetrics::scrape;
use crate::support::replica::{Replica, get, serve};
use crate::support::{APP, World, a_failed, eventually};
use cerby_reconciler::schema;
use cerby_reconciler::schema::Planning;
use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgPool};

/// How soon work is back after a trouble of the database.
const BACK_WITHIN: Duration = Duration::from_secs(15);

fn server_of(pool: &PgPool) -> SocketAddr {
    let options = pool.connect_options();
    SocketAddr::new(options.get_host().parse().unwrap(), options.get_port())
}

fn url_through(pool: &PgPool, address: SocketAddr) -> String {
    let mut url = pool.connect_options().to_url_lossy();
    url.set_port(Some(address.port())).unwrap();
    url.to_string()
}

fn direct_url(pool: &PgPool) -> String {
    pool.connect_options().to_url_lossy().to_string()
}

/// Removals that have nothing to do: the members are not in the app.
pub(crate) async fn insert(world: &World, name: &str, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for number in 0..count {
        let member: &'static str = format!("{name}-{number}").leak();
        let mut task = a_failed("remove", APP, member);
        task.source = member.to_owned();
        ids.push(world.insert(&task).await);
    }
    ids
}

/// Until new work is done and the daemon is ready; how long that took.
pub(crate) async fn back(world: &World, replica: &Replica, name: &str) -> Duration {
    let began = Instant::now();
    let task = insert(world, name, 1).await[0];
    while world.state(task).await != "succeeded" || !replica.get("/readyz").await.contains("200") {
        assert!(began.elapsed() < BACK_WITHIN, "{name}: {}", replica.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

// ---- frozen sockets ----

#[sqlx::test(migrations = false)]
async fn work_is_back_soon_after_each_of_twenty_freezes_with_statements_in_flight(pool: PgPool) {
    let world = World::new(pool).await;
    let freezer = Freezer::before(server_of(&world.pool)).await;
    let url = url_through(&world.pool, freezer.address);
    let query_timeout = [("RECONCILER__DATABASE__ANSWER_TIMEOUT_S", "2")];
    let replica = Replica::start(&url, &world.apps, &query_timeout).await;
    for freeze in 0..20 {
        let tasks = insert(&world, &format!("busy-{freeze}"), 12).await;
        eventually("work is going on", async || {
            let done: i64 = sqlx::query_scalar(
                "select count(*) from reconciler.automation_tasks where id = any($1) and closed_at is not null",
            )
            .bind(&tasks)
            .fetch_one(&world.pool)
            .await
            .unwrap();
            done >= 2
        })
        .await;
        freezer.freeze();
        back(&world, &replica, &format!("after-{freeze}")).await;
    }
    eventually("all is done", async || {
        let open = "select count(*) from reconciler.automation_tasks where closed_at is null";
        world.count(open).await == 0
    })
    .await;
    assert!(replica.count("database.unreachable") > 0, "{}", replica.log());
}

#[sqlx::test(migrations = false)]
async fn with_the_default_patience_a_freeze_lasts_no_longer(pool: PgPool) {
    let world = World::new(pool).await;
    let freezer = Freezer::before(server_of(&world.pool)).await;
    let replica =
        Replica::start(&url_through(&world.pool, freezer.address), &world.apps, &[]).await;
    insert(&world, "busy", 40).await;
    freezer.freeze();
    back(&world, &replica, "after").await;
}

#[sqlx::test(migrations = false)]
async fn a_deaf_listener_is_noticed_told_and_replaced(pool: PgPool) {
    let world = World::new(pool).await;
    let freezer = Freezer::before(server_of(&world.pool)).await;
    let replica =
        Replica::start(&url_through(&world.pool, freezer.address), &world.apps, &[]).await;
    back(&world, &replica, "before").await;
    freezer.freeze();
    let began = Instant::now();
    while replica.count("wakeup.recovered") == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", replica.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(replica.count("wakeup.unavailable"), 1, "{}", replica.log());
}

// ---- sessions that cannot write ----

async fn make_read_only(pool: &PgPool, is_so: bool) {
    let name = pool.connect_options().get_database().unwrap().to_owned();
    let change = if is_so {
        "set default_transaction_read_only = on"
    } else {
        "reset default_transaction_read_only"
    };
    let sql = format!("begin read write; alter database \"{name}\" {change}; commit");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

/// The daemon's sessions end, as in a failover, and what it makes anew are sessions of a reader.
async fn fail_over(pool: &PgPool) {
    make_read_only(pool, true).await;
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and application_name = 'cerby-reconciler'";
    sqlx::query(end).execute(pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn sessions_that_cannot_write_are_not_kept_and_not_called_ready(pool: PgPool) {
    let world = World::new(pool).await;
    let replica = Replica::start(&direct_url(&world.pool), &world.apps, &[]).await;
    back(&world, &replica, "before").await;
    fail_over(&world.pool).await;
    eventually("it is not ready", async || replica.get("/readyz").await.contains("503")).await;
    eventually("the reason is told", async || replica.log().contains("read-only")).await;
    make_read_only(&world.pool, false).await;
    back(&world, &replica, "after").await;
}

#[sqlx::test(migrations = false)]
async fn sessions_that_the_server_refuses_for_a_while_are_opened_again(pool: PgPool) {
    let world = World::new(pool).await;
    let login = format!("refused_{}", std::process::id());
    let run = async |sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&world.pool).await.unwrap();
    };
    run(format!("create role {login} login password 'secret' in role reconciler_daemon")).await;
    let mut url = world.pool.connect_options().to_url_lossy();
    url.set_username(&login).unwrap();
    url.set_password(Some("secret")).unwrap();
    let mut replica = Replica::start(url.as_str(), &world.apps, &[]).await;
    back(&world, &replica, "before").await;
    run(format!(
        "alter role {login} connection limit 0;
         select pg_terminate_backend(pid) from pg_stat_activity where usename = '{login}'"
    ))
    .await;
    eventually("it is not ready", async || replica.get("/readyz").await.contains("503")).await;
    run(format!("alter role {login} connection limit -1")).await;
    back(&world, &replica, "after").await;
    replica.signal(nix::sys::signal::Signal::SIGTERM);
    replica.ended().await;
    run(format!("drop role {login}")).await;
}

// ---- the start ----

async fn free_address() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[sqlx::test(migrations = false)]
async fn the_start_waits_for_the_database_live_and_not_ready(pool: PgPool) {
    let world = World::new(pool).await;
    let (way, probes) = (free_address().await, free_address().await.to_string());
    let changes = [("RECONCILER__HTTP__LISTEN", probes.as_str())];
    let replica = Replica::spawn(&url_through(&world.pool, way), &world.apps, &changes);
    eventually("it is told", async || replica.count("database.not_ready") == 1).await;
    let told = replica.last("database.not_ready").unwrap()["error"].as_str().unwrap().to_owned();
    assert!(told.contains(&way.to_string()) && told.contains("refused"), "{told}");
    assert!(get(&probes, "/livez").await.unwrap().contains("200"));
    assert!(get(&probes, "/readyz").await.unwrap().contains("503"));

    let _freezer = Freezer::at(way, server_of(&world.pool)).await;
    eventually("it is up", async || replica.count("service.started") == 1).await;
    back(&world, &replica, "after").await;
}

#[sqlx::test(migrations = false)]
async fn a_start_that_waits_can_be_stopped(pool: PgPool) {
    let world = World::new(pool).await;
    let mut replica =
        Replica::spawn(&url_through(&world.pool, free_address().await), &world.apps, &[]);
    eventually("it waits", async || replica.count("database.not_ready") == 1).await;
    replica.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(replica.ended().await, Some(0), "{}", replica.log());
}

/// Runs `serve` to its end; its last word, which is one line.
async fn refused(world: &World, url: &str) -> String {
    let mut replica = Replica::spawn(url, &world.apps, &[]);
    assert_eq!(replica.ended().await, Some(1));
    eventually("it is told", async || replica.count("service.failed") == 1).await;
    replica.last("service.failed").unwrap()["error"].as_str().unwrap().to_owned()
}

#[sqlx::test(migrations = false)]
async fn the_start_ends_where_waiting_does_not_help(pool: PgPool) {
    let world = World::new(pool).await;
    let login = format!("person_{}", std::process::id());
    let create = format!("create role {login} login password 'secret' in role reconciler_operator");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&world.pool).await.unwrap();
    let mut url = world.pool.connect_options().to_url_lossy();
    url.set_username(&login).unwrap();
    url.set_password(Some("secret")).unwrap();
    let told = refused(&world, url.as_str()).await;
    assert!(told.contains(&login) && told.contains("reconciler_daemon"), "{told}");

    url.set_password(Some("mistaken")).unwrap();
    // Where the server trusts whoever comes, no password is wrong.
    if sqlx::PgConnection::connect(url.as_str()).await.is_err() {
        let told = refused(&world, url.as_str()).await;
        assert_eq!(told.matches("password authentication failed").count(), 1, "{told}");
        assert!(!told.contains(" at line "), "{told}");
    }
    sqlx::raw_sql(AssertSqlSafe(format!("drop role {login}"))).execute(&world.pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_database_that_cannot_hold_all_text_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    let name = format!("ascii_{}", std::process::id());
    let create =
        format!("create database {name} encoding 'SQL_ASCII' locale 'C' template template0");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&world.pool).await.unwrap();
    let mut url = world.pool.connect_options().to_url_lossy();
    url.set_path(&name);
    let told = refused(&world, url.as_str()).await;
    assert!(told.contains("SQL_ASCII") && told.contains("UTF8"), "{told}");
    sqlx::raw_sql(AssertSqlSafe(format!("drop database {name}")))
        .execute(&world.pool)
        .await
        .unwrap();
}

#[sqlx::test(migrations = false)]
async fn sessions_are_as_the_daemon_needs_them_whatever_the_database_is_set_to(pool: PgPool) {
    let name = pool.connect_options().get_database().unwrap().to_owned();
    let spoil = format!(
        "alter database \"{name}\" set default_transaction_isolation = serializable;
         alter database \"{name}\" set synchronous_commit = off"
    );
    sqlx::raw_sql(AssertSqlSafe(spoil)).execute(&pool).await.unwrap();
    let variables = [("RECONCILER__DATABASE__URL".to_owned(), direct_url(&pool))];
    let config =
        cerby_reconciler::config::Config::from_sources(None, Some(variables.into())).unwrap();
    let ours = schema::connect(&config.database, Planning::Fixed).await.unwrap();
    for (setting, expected) in
        [("transaction_isolation", "read committed"), ("synchronous_commit", "on")]
    {
        let query = sqlx::query_scalar("select current_setting($1)").bind(setting);
        let set: String = query.fetch_one(&ours).await.unwrap();
        assert_eq!(set, expected, "{setting}");
    }
    ours.close().await;
}

// ---- statements that fail ----

#[sqlx::test(migrations = false)]
async fn a_daemon_whose_statements_fail_is_not_ready_and_names_them_once(pool: PgPool) {
    let world = World::new(pool).await;
    let changes = [("RECONCILER__UPKEEP__EVERY_S", "1")];
    let replica = Replica::start(&direct_url(&world.pool), &world.apps, &changes).await;
    back(&world, &replica, "before").await;
    // Of the loops' statements, of one that records an outcome, and of upkeep's.
    for (spoil, mend, statement) in [
        (
            "alter table reconciler.exclusive_work rename to gone",
            "alter table reconciler.gone rename to exclusive_work",
            "begin_exclusive",
        ),
        (
            "alter table reconciler.members rename column watch_operation to gone",
            "alter table reconciler.members rename column gone to watch_operation",
            "end_requests",
        ),
    ] {
        sqlx::raw_sql(AssertSqlSafe(spoil)).execute(&world.pool).await.unwrap();
        insert(&world, statement, 2).await;
        eventually("it is not ready", async || replica.get("/readyz").await.contains("503")).await;
        let told = |event: &str| {
            let lines: Vec<Value> =
                replica.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            lines.iter().filter(|l| l["event"] == event && l["statement"] == statement).count()
        };
        eventually("it is told", async || told("database.statement_rejected") == 1).await;
        sqlx::raw_sql(AssertSqlSafe(mend)).execute(&world.pool).await.unwrap();
        back(&world, &replica, &format!("after-{statement}")).await;
        assert_eq!(told("database.statement_rejected"), 1, "{}", replica.log());
    }
}

// ---- the log ----

async fn works(world: &World, name: &str, count: usize) {
    let tasks = insert(world, name, count).await;
    eventually("the work is done", async || {
        let open = "select count(*) from reconciler.automation_tasks where closed_at is null";
        world.count(open).await == 0
    })
    .await;
    assert_eq!(tasks.len(), count);
}

#[sqlx::test(migrations = false)]
async fn a_daemon_whose_log_nobody_can_read_any_more_works_on(pool: PgPool) {
    let world = World::new(pool).await;
    let mut command = serve(&direct_url(&world.pool), &world.apps, &[]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((process.stdout.take(), process.stderr.take()));
    works(&world, "unheard", 50).await;
    assert!(process.try_wait().unwrap().is_none());
    let used = std::fs::read_to_string(format!("/proc/{}/stat", process.id().unwrap())).unwrap();
    let ticks = |used: &str| {
        let fields: Vec<&str> = used.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    let later = std::fs::read_to_string(format!("/proc/{}/stat", process.id().unwrap())).unwrap();
    assert!(ticks(&later) - ticks(&used) < 100, "it spins: {used} {later}");
}

#[sqlx::test(migrations = false)]
async fn a_reader_of_the_log_that_stands_still_holds_nothing_up(pool: PgPool) {
    let world = World::new(pool).await;
    let mut command = serve(&direct_url(&world.pool), &world.apps, &[]);
    // Nobody reads from the pipe, which holds 64 KiB.
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    works(&world, "unread", 400).await;
    assert!(process.try_wait().unwrap().is_none());
}

#[sqlx::test(migrations = false)]
async fn lines_that_were_lost_are_counted_when_somebody_reads_again(pool: PgPool) {
    let world = World::new(pool).await;
    let path = std::env::temp_dir().join(format!("log-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let at = path.clone();
    let reader = tokio::task::spawn_blocking(move || File::open(at).unwrap());
    let writer = File::options().write(true).open(&path).unwrap();
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = listen.to_string();
    let changes = [("RECONCILER__HTTP__LISTEN", listen.as_str())];
    let mut command = serve(&direct_url(&world.pool), &world.apps, &changes);
    let _process = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    drop(reader.await.unwrap());
    works(&world, "lost", 10).await;
    assert!(scrape(&listen).await.get("reconciler_log_lines_lost_total") >= 10.0);

    let at = path.clone();
    let told = tokio::task::spawn_blocking(move || {
        use std::io::{BufRead, BufReader};
        let lines = BufReader::new(File::open(at).unwrap()).lines().map_while(Result::ok);
        lines
            .map(|line| serde_json::from_str::<Value>(&line).unwrap())
            .find(|line| line["event"] == "log.lost")
    });
    let told = tokio::time::timeout(Duration::from_secs(30), told).await.unwrap().unwrap();
    assert!(told.unwrap()["lines"].as_u64().unwrap() >= 10);
    std::fs::remove_file(path).unwrap();
}

// ---- proxies ----

#[sqlx::test(migrations = false)]
async fn a_proxy_of_the_environment_is_not_sent_the_key(pool: PgPool) {
    let world = World::new(pool).await;
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let changes =
        [("HTTP_PROXY", address.as_str()), ("http_proxy", &address), ("ALL_PROXY", &address)];
    let replica = Replica::start(&direct_url(&world.pool), &world.apps, &changes).await;
    tokio::select! {
        _ = proxy.accept() => panic!("the proxy is asked: {}", replica.log()),
        () = works(&world, "direct", 3) => {}
    }
}
