//! The built program as processes: shared work, stops, crashes, a database that restarts.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::time::{Duration, Instant};

use crate::program::{Program, assert_names};
use crate::support::replica::Replica;
use crate::support::{APP, HUB, WORKSPACE, eventually};
use cerby_reconciler::schema;
use cerby_reconciler::telemetry::events;
use nix::sys::signal::Signal;
use sqlx::PgPool;
use testkit::private_postgres::{Options, PrivatePostgres, Shutdown};
use testkit::simulator::{
    Call, HttpFault, Injection, Integration, Kind, Member, Settings, Simulator, World as Apps,
};

const MEMBERS: usize = 120;

/// An app and a hub with many members, in jobs that take a moment.
async fn many_members() -> Simulator {
    let mut apps = Apps::new()
        .integration(Integration::new(WORKSPACE, APP, "Asana", Kind::App, "asana_tenant"))
        .integration(Integration::new(
            WORKSPACE,
            HUB,
            "Asana hub",
            Kind::BusinessHub,
            "asana_tenant",
        ));
    for n in 0..MEMBERS {
        let integration = if n % 2 == 0 { APP } else { HUB };
        apps = apps.member(
            WORKSPACE,
            integration,
            Member::new(&format!("m{n}"), &format!("m{n}@example.com")),
        );
    }
    let settings = Settings { job_ms: 50..=150, ..Settings::default() };
    Simulator::start(apps, settings).await.unwrap()
}

/// One removal for each member, by a plain insert.
async fn insert_removals(pool: &PgPool) {
    sqlx::query(
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, operation, trigger, requested_at, failure_code)
         select $1, 'source-' || n, 'job', case n % 2 when 0 then $2 else $3 end,
                case n % 2 when 0 then 'app' else 'business_hub' end, 'Asana', 'asana_tenant',
                'm' || n, 'm' || n || '@example.com', 'remove', 'manual', now(), 'LoginTimeout'
         from generate_series(0, $4 - 1) n",
    )
    .bind(WORKSPACE)
    .bind(APP)
    .bind(HUB)
    .bind(i32::try_from(MEMBERS).unwrap())
    .execute(pool)
    .await
    .unwrap();
}

async fn in_state(pool: &PgPool, state: &str) -> usize {
    let count: i64 =
        sqlx::query_scalar("select count(*) from reconciler.automation_tasks where state = $1")
            .bind(state)
            .fetch_one(pool)
            .await
            .unwrap_or(0); // the database may be restarting
    usize::try_from(count).unwrap()
}

/// Everybody was removed, once, and never by two jobs at a time.
fn assert_effects_happened_once(apps: &Simulator) {
    let counters = apps.counters();
    for n in 0..MEMBERS {
        let integration = if n % 2 == 0 { APP } else { HUB };
        let removals = counters.effects(WORKSPACE, integration, &format!("m{n}")).removals;
        assert_eq!(removals, 1, "m{n}");
    }
    assert_eq!((counters.duplicate_effects, counters.overlapping_jobs), (0, 0));
}

fn url(pool: &PgPool) -> String {
    use sqlx::ConnectOptions;
    pool.connect_options().to_url_lossy().to_string()
}

#[sqlx::test(migrations = false)]
async fn two_replicas_share_the_work_and_one_killed_in_the_middle_loses_and_doubles_nothing(
    pool: PgPool,
) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let apps = many_members().await;
    // While this one is held, not all can be done.
    let last = u64::try_from(MEMBERS).unwrap() - 1;
    apps.inject(Injection { call: Call::Remove, nth: last, fault: HttpFault::Hold });
    let mut doomed = Replica::start(&url(&pool), &apps, &[]).await;
    let other = Replica::start(&url(&pool), &apps, &[]).await;
    insert_removals(&pool).await;
    eventually("a third is removed, by both", async || {
        in_state(&pool, "succeeded").await >= MEMBERS / 3
            && doomed.count("task.succeeded") > 0
            && other.count("task.succeeded") > 0
    })
    .await;
    doomed.signal(Signal::SIGKILL);
    assert_eq!(doomed.ended().await, None);
    assert!(in_state(&pool, "succeeded").await < MEMBERS, "it was killed in the middle");
    apps.held().await.release();
    eventually("all are removed", async || in_state(&pool, "succeeded").await == MEMBERS).await;
    assert_effects_happened_once(&apps);
}

#[sqlx::test(migrations = false)]
async fn sigterm_lets_work_in_flight_end_and_leaves_no_lease(pool: PgPool) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let apps = many_members().await;
    let mut replica = Replica::start(&url(&pool), &apps, &[]).await;
    insert_removals(&pool).await;
    eventually("work is in flight", async || in_state(&pool, "running").await > 0).await;
    replica.signal(Signal::SIGTERM);
    assert_eq!(replica.ended().await, Some(0), "{}", replica.log());
    assert_eq!((replica.count("service.stopping"), replica.count("service.stopped")), (1, 1));
    let leased: i64 = sqlx::query_scalar(
        "select count(*) from reconciler.members where lease_until is not null or unreleased_claims > 0",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(leased, 0);
}

#[sqlx::test(migrations = false)]
async fn a_second_signal_cuts_a_stop_short(pool: PgPool) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let apps = many_members().await;
    for nth in 0..100 {
        apps.inject(Injection { call: Call::GetMember, nth, fault: HttpFault::Stall });
    }
    let slow = [
        ("RECONCILER__BACKEND__REQUEST_TIMEOUT_S", "20"),
        ("RECONCILER__WORKER__LEASE_S", "60"),
        ("RECONCILER__WORKER__SYNC_LEASE_S", "90"),
    ];
    let mut replica = Replica::start(&url(&pool), &apps, &slow).await;
    insert_removals(&pool).await;
    eventually("a request hangs", async || apps.counters().requests(Call::GetMember) > 0).await;
    replica.signal(Signal::SIGINT);
    eventually("the stop begins", async || replica.count("service.stopping") == 1).await;
    replica.signal(Signal::SIGTERM);
    assert_eq!(replica.ended().await, Some(1), "{}", replica.log());
    eventually("the reason is told", async || replica.count("service.failed") == 1).await;
}

#[sqlx::test(migrations = false)]
async fn the_probes_say_live_and_ready_and_nothing_else_is_there(pool: PgPool) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let apps = many_members().await;
    let replica = Replica::start(&url(&pool), &apps, &[]).await;
    assert_eq!(replica.get("/livez").await, "HTTP/1.1 200 OK");
    // On a loaded machine the database may not answer a probe in time at once.
    let is_ready = async || replica.get("/readyz").await == "HTTP/1.1 200 OK";
    eventually("it is ready", is_ready).await;
    assert_eq!(replica.get("/").await, "HTTP/1.1 404 Not Found");
    let beside = Program::on(&pool).with("RECONCILER__HTTP__LISTEN", replica.listen());
    assert_eq!(beside.run(&["health"]).await.ok(), "live\n");
    assert_eq!(beside.run(&["health", "--ready"]).await.ok(), "ready\n");
    let checked = beside.run(&["check"]).await.ok();
    assert_names(&checked, &["probes: a daemon runs at 127.0.0.1:", ": ready;"]);
    drop(replica);
    assert_names(&beside.run(&["health"]).await.refusal(), &["no daemon answers at 127.0.0.1:"]);
}

#[tokio::test]
async fn an_outage_of_the_database_that_is_longer_than_a_stall_leaves_the_daemon_live() {
    let mut postgres = PrivatePostgres::start(Options::default()).await.unwrap();
    let pool = PgPool::connect(&postgres.url()).await.unwrap();
    schema::migrate(&pool.clone().into()).await.unwrap();
    let settings = [
        ("RECONCILER__DATABASE__ANSWER_TIMEOUT_S", "1"),
        ("RECONCILER__UPKEEP__EVERY_S", "1"),
        ("RECONCILER__WAKEUP__POLL_MS", "100"),
        ("RECONCILER__HTTP__STALLED_S", "13"),
    ];
    let apps = many_members().await;
    let replica = Replica::start(&postgres.url(), &apps, &settings).await;
    let is_ready = async || replica.get("/readyz").await == "HTTP/1.1 200 OK";
    eventually("it is ready", is_ready).await;
    postgres.halt(Shutdown::Immediate).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(16) {
        assert_eq!(replica.get("/livez").await, "HTTP/1.1 200 OK");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    postgres.resume().await.unwrap();
    eventually("it is ready again", is_ready).await;
    assert_eq!(replica.count("service.stalled"), 0);
    drop(replica);
    pool.close().await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_of_postgres_under_it_loses_and_doubles_nothing() {
    let mut postgres = PrivatePostgres::start(Options::default()).await.unwrap();
    let pool = PgPool::connect(&postgres.url()).await.unwrap();
    schema::migrate(&pool.clone().into()).await.unwrap();
    let apps = many_members().await;
    let replica = Replica::start(&postgres.url(), &apps, &[]).await;
    insert_removals(&pool).await;
    eventually("some are removed", async || in_state(&pool, "succeeded").await > 5).await;
    postgres.restart(Shutdown::Immediate).await.unwrap();
    eventually("all are removed", async || in_state(&pool, "succeeded").await == MEMBERS).await;
    assert_effects_happened_once(&apps);
    assert_eq!(replica.get("/readyz").await, "HTTP/1.1 200 OK");
    drop(replica);
    pool.close().await;
    postgres.stop().await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn no_log_line_names_a_person(pool: PgPool) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let apps = many_members().await;
    let replica =
        Replica::start(&url(&pool), &apps, &[("RECONCILER__TELEMETRY__FILTER", "trace")]).await;
    insert_removals(&pool).await;
    eventually("all are removed", async || in_state(&pool, "succeeded").await == MEMBERS).await;
    let log = replica.log();
    assert!(!log.contains("@example.com"), "an email was logged");
    let schema = jsonschema::validator_for(&events::as_schema()).unwrap();
    let mut known = 0;
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(schema.is_valid(&line), "a line that its schema does not have: {line}");
        known += 1;
    }
    assert!(known > MEMBERS, "{known} lines");
    assert!(!log.contains(&apps.api_key()), "the key was logged");
}
