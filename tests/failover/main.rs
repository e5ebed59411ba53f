//! What operators fear of a database, under load: a failover, ended sessions, no free connections, a full disk. Run by
//! `make test-failover`.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

mod route;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use route::Route;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use support::replica::Replica;
use support::{APP, WORKSPACE, World, eventually};
use testkit::private_postgres::{Options, PrivatePostgres, Shutdown};
use testkit::simulator::{Member, Settings};

/// How soon work is back after a trouble of the database.
const BACK_WITHIN: Duration = Duration::from_secs(15);

/// How long the rest of the work may take, on a busy machine.
const DONE_WITHIN: Duration = Duration::from_secs(180);

/// Members who are there to be removed.
const MEMBERS: usize = 200;

async fn world(pool: &PgPool) -> World {
    let member = |n| Member::new(&format!("m{n}"), &format!("m{n}@example.com"));
    let apps = (0..MEMBERS).fold(support::apps(), |apps, n| apps.member(WORKSPACE, APP, member(n)));
    World::with(pool.clone(), apps, Settings { job_ms: 10..=200, ..Settings::default() }).await
}

async fn replicas(world: &World, url: &str) -> [Replica; 2] {
    [Replica::start(url, &world.apps, &[]).await, Replica::start(url, &world.apps, &[]).await]
}

/// Removals of these members.
async fn remove(pool: &PgPool, members: std::ops::Range<usize>) {
    sqlx::query(
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, operation, trigger, requested_at, failure_code)
         select $1, 'm' || n, 'job', $2, 'app', $2, 'asana_tenant', 'm' || n, 'm' || n || '@example.com',
                'remove', 'manual', now(), 'LoginTimeout'
         from generate_series($3, $4 - 1) n",
    )
    .bind(WORKSPACE)
    .bind(APP)
    .bind(i32::try_from(members.start).unwrap())
    .bind(i32::try_from(members.end).unwrap())
    .execute(pool)
    .await
    .unwrap();
}

async fn succeeded(pool: &PgPool) -> usize {
    let count = "select count(*) from reconciler.automation_tasks where state = 'succeeded'";
    let count: i64 = sqlx::query_scalar(count).fetch_one(pool).await.unwrap();
    usize::try_from(count).unwrap()
}

async fn are_ready(replicas: &[Replica]) -> bool {
    for replica in replicas {
        if !replica.get("/readyz").await.contains("200") {
            return false;
        }
    }
    true
}

/// Work goes on and all replicas are ready, soon enough; these members are removed too, so that there is work.
async fn back(pool: &PgPool, replicas: &[Replica], members: std::ops::Range<usize>) {
    let (began, before) = (Instant::now(), succeeded(pool).await);
    remove(pool, members).await;
    while succeeded(pool).await == before || !are_ready(replicas).await {
        assert!(began.elapsed() < BACK_WITHIN, "{}\n{}", replicas[0].log(), replicas[1].log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("back after {:.1} s", began.elapsed().as_secs_f64());
}

/// What became of the tasks that did not succeed.
async fn unfinished(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', source_id, state, attempts, closed_reason, last_error)
         from reconciler.automation_tasks where state <> 'succeeded'",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// All tasks succeed, and each removal happened once.
async fn nothing_is_lost_or_doubled(world: &World, pool: &PgPool, members: usize) {
    let began = Instant::now();
    while succeeded(pool).await < members {
        assert!(began.elapsed() < DONE_WITHIN, "not done: {:?}", unfinished(pool).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let counters = world.apps.counters();
    for n in 0..members {
        assert_eq!(counters.effects(WORKSPACE, APP, &format!("m{n}")).removals, 1, "m{n}");
    }
    assert_eq!((counters.duplicate_effects, counters.overlapping_jobs), (0, 0));
}

#[tokio::test]
async fn a_promotion_loses_and_doubles_nothing_and_nobody_is_ready_before_it() {
    let mut primary = PrivatePostgres::start(Options::default()).await.unwrap();
    let world = world(&PgPool::connect(&primary.url()).await.unwrap()).await;
    let standby = primary.start_standby(Options::default()).await.unwrap();
    let route = Route::to(primary.port()).await;
    let url = primary.url().replace(&primary.port().to_string(), &route.port().to_string());
    let replicas = replicas(&world, &url).await;
    remove(&world.pool, 0..100).await;
    eventually("work is going on", async || succeeded(&world.pool).await >= 20).await;

    primary.halt(Shutdown::Immediate).await.unwrap();
    // The address leads to the standby before it is promoted: it answers, and takes no writes.
    route.lead_to(standby.port());
    for replica in &replicas {
        for _ in 0..20 {
            assert!(!replica.get("/readyz").await.contains("200"), "{}", replica.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    standby.promote().await.unwrap();
    let pool = PgPool::connect(&standby.url()).await.unwrap();
    back(&pool, &replicas, 100..110).await;
    nothing_is_lost_or_doubled(&world, &pool, 110).await;
    standby.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_and_sessions_that_are_ended_again_and_again_lose_and_double_nothing() {
    let mut server = PrivatePostgres::start(Options::default()).await.unwrap();
    let world = world(&PgPool::connect(&server.url()).await.unwrap()).await;
    let replicas = replicas(&world, &server.url()).await;
    remove(&world.pool, 0..100).await;
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'cerby-reconciler'";
    for _ in 0..20 {
        sqlx::query(end).execute(&world.pool).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    back(&world.pool, &replicas, 100..110).await;
    remove(&world.pool, 110..150).await;
    server.restart(Shutdown::Immediate).await.unwrap();
    let pool = PgPool::connect(&server.url()).await.unwrap();
    back(&pool, &replicas, 150..160).await;
    nothing_is_lost_or_doubled(&world, &pool, 160).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn with_all_connections_of_the_server_in_use_nobody_is_ready_and_work_is_back_with_the_first_free_ones()
 {
    let server = PrivatePostgres::start(Options::default()).await.unwrap();
    let world = world(&PgPool::connect(&server.url()).await.unwrap()).await;
    // Only the owner may use the connections that the server keeps back.
    let url = server.login(&world.pool, "daemon_login", "reconciler_daemon").await.unwrap();
    let replicas = replicas(&world, &url).await;
    back(&world.pool, &replicas, 0..10).await;

    // How many sessions of ours there were.
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'cerby-reconciler'";
    let mut others = Vec::new();
    while world.count(end).await > 0 {
        while let Ok(session) = PgConnection::connect(&url).await {
            others.push(session);
        }
    }
    for replica in &replicas {
        assert!(!replica.get("/readyz").await.contains("200"), "{}", replica.log());
    }
    drop(others);
    back(&world.pool, &replicas, 10..30).await;
    nothing_is_lost_or_doubled(&world, &world.pool, 30).await;
    server.stop().await.unwrap();
}

/// A small disk, which only root can make.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(server: &PrivatePostgres) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let owner = std::fs::metadata(server.data_dir()).unwrap();
        let uid = std::os::unix::fs::MetadataExt::uid(&owner);
        mount(
            &["-t", "tmpfs", "-o", &format!("size=64m,mode=0700,uid={uid}"), "none"],
            folder.path(),
        );
        std::os::unix::fs::chown(folder.path(), Some(uid), None).unwrap();
        Self(folder)
    }

    fn grow(&self) {
        mount(&["-o", "remount,size=128m"], self.0.path());
    }
}

fn mount(arguments: &[&str], folder: &std::path::Path) {
    let ended = std::process::Command::new("mount").args(arguments).arg(folder).output().unwrap();
    assert!(
        ended.status.success(),
        "this test needs root: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn with_a_full_disk_nobody_is_ready_and_work_is_back_as_soon_as_there_is_room() {
    let server = PrivatePostgres::start(Options::default()).await.unwrap();
    let disk = Disk::new(&server);
    let owner = PgPool::connect(&server.url()).await.unwrap();
    let create = format!("create tablespace small location '{}'", disk.0.path().display());
    sqlx::query(AssertSqlSafe(create)).execute(&owner).await.unwrap();
    sqlx::query("create database small tablespace small").execute(&owner).await.unwrap();
    let mut url = reqwest::Url::parse(&server.url()).unwrap();
    url.set_path("small");
    let pool = PgPool::connect(url.as_str()).await.unwrap();
    let world = world(&pool).await;
    let replicas = replicas(&world, url.as_str()).await;
    // Nothing is done before the disk is full.
    world.apps.set_outage(true);
    remove(&pool, 0..150).await;
    sqlx::query("create table filler (text text)").execute(&pool).await.unwrap();
    let fill = "insert into filler select repeat('x', 100) from generate_series(1, 5000)";
    while sqlx::query(fill).execute(&pool).await.is_ok() {}
    // The rest of the room, in small parts.
    let fill = "insert into filler select repeat('x', 100) from generate_series(1, 50)";
    while sqlx::query(fill).execute(&pool).await.is_ok() {}
    world.apps.set_outage(false);
    eventually("a statement is refused", async || {
        replicas.iter().any(|replica| replica.log().contains("No space left"))
    })
    .await;
    let refused = replicas.iter().find(|replica| replica.log().contains("No space left")).unwrap();
    assert!(!refused.get("/readyz").await.contains("200"), "{}", refused.log());

    // On a full disk PostgreSQL may not even be able to drop a table.
    disk.grow();
    back(&pool, &replicas, 150..160).await;
    nothing_is_lost_or_doubled(&world, &pool, 160).await;
    pool.close().await;
    drop(replicas);
    server.stop().await.unwrap();
}
