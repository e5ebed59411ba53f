//! `/metrics` of the built program: what is there, what is counted, and that nobody can hurt the daemon through it.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::openmetrics::{request, scrape};
use crate::support::replica::Replica;
use crate::support::{APP, HUB, World, a_failed, eventually};
use sqlx::{ConnectOptions, PgPool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const MOST_SERIES: usize = 600;

async fn replica(world: &World) -> Replica {
    let url = world.pool.connect_options().to_url_lossy();
    Replica::start(url.as_str(), &world.apps, &[]).await
}

/// All series of `docs/metrics.md`, as a page writes them.
fn documented() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `reconciler_"));
    rows.flat_map(|row| series_of_row(&format!("`reconciler_{row}"))).collect()
}

fn series_of_row(row: &str) -> Vec<String> {
    let cells: Vec<_> = row.split(" | ").collect();
    let (name, kind) = (cells[0].trim_matches('`'), cells[1]);
    if kind == "info" {
        return vec![format!("{name}{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))];
    }
    let (mut labels, mut buckets) = (vec![String::new()], Vec::new());
    for cell in cells[2].split("; ").filter(|cell| !cell.is_empty()) {
        let (label, values) = cell.split_once(": ").unwrap();
        let values: Vec<_> = values.split(", ").collect();
        match label.trim_matches('`') {
            "le" => buckets = values,
            label => {
                let with = |so_far: &String, value: &str| {
                    let comma = if so_far.is_empty() { "" } else { "," };
                    format!("{so_far}{comma}{label}=\"{value}\"")
                };
                let each = |so_far: &String| {
                    values.iter().map(|value| with(so_far, value)).collect::<Vec<_>>()
                };
                labels = labels.iter().flat_map(each).collect();
            }
        }
    }
    labels.iter().flat_map(|labels| series(name, kind, labels, &buckets)).collect()
}

fn series(name: &str, kind: &str, labels: &str, buckets: &[&str]) -> Vec<String> {
    let braces =
        |labels: &str| if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    if kind != "histogram" {
        return vec![format!("{name}{}", braces(labels))];
    }
    let comma = if labels.is_empty() { "" } else { "," };
    let buckets = buckets.iter().map(|le| format!("{name}_bucket{{le=\"{le}\"{comma}{labels}}}"));
    let ends = ["sum", "count"].map(|end| format!("{name}_{end}{}", braces(labels)));
    buckets.chain(ends).collect()
}

/// A series with its labels in order: the page of metrics and a page of the program may write them in another one.
fn in_order(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else { return series.to_owned() };
    let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

fn all_in_order<'s>(series: impl IntoIterator<Item = &'s str>) -> BTreeSet<String> {
    series.into_iter().map(in_order).collect()
}

#[sqlx::test(migrations = false)]
async fn every_series_of_the_page_is_there_from_the_start_and_what_did_not_happen_is_0(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let replica = replica(&world).await;
    let page = scrape(&replica.listen()).await;
    let documented = documented();
    assert_eq!(all_in_order(page.series()), all_in_order(documented.iter().map(String::as_str)));
    assert!(page.0.len() < MOST_SERIES, "{} series", page.0.len());
    // A daemon without work has a pool, loops and statements, and nothing else.
    let of_the_daemon = [
        "reconciler_build_",
        "reconciler_ready",
        "reconciler_pool_",
        "reconciler_loop_",
        "reconciler_statement_",
        "reconciler_database_gauges_age",
        "reconciler_oldest_transaction_age",
    ];
    for (series, value) in &page.0 {
        let is_of_the_daemon = of_the_daemon.iter().any(|start| series.starts_with(start));
        assert!(*value == 0.0 || is_of_the_daemon, "{series} is {value}");
    }
    assert_eq!(page.get("reconciler_ready"), 1.0);
    assert!(page.get("reconciler_pool_max_connections") > 1.0);
}

#[sqlx::test(migrations = false)]
async fn what_happens_to_tasks_and_actions_is_counted_once(pool: PgPool) {
    let world = World::new(pool).await;
    let replica = replica(&world).await;
    let automated = world.insert(&a_failed("remove", HUB, "jo")).await;
    let by_hand = a_failed("remove", APP, "kim").code("NotEnoughSeats");
    let escalated = world.insert(&by_hand).await;
    let elsewhere = world.insert(&a_failed("remove", HUB, "kim").succeeded()).await;
    for (task, state) in
        [(automated, "succeeded"), (escalated, "escalated"), (elsewhere, "succeeded")]
    {
        eventually(state, async || world.state(task).await == state).await;
    }
    let action = world.action_of(escalated).await;
    world.mark_done(action).await;
    eventually("contradicted", async || replica.count("action.contradicted") == 1).await;
    world.person_does(&by_hand);
    world.mark_done(action).await;
    eventually("verified", async || replica.count("action.verified") == 1).await;

    let page = scrape(&replica.listen()).await;
    let counts = [
        ("reconciler_attempts_total{operation=\"remove\",class=\"succeeded\"}", 1.0),
        ("reconciler_tasks_ended_total{state=\"succeeded\"}", 1.0),
        ("reconciler_tasks_ended_total{state=\"escalated\"}", 1.0),
        ("reconciler_tasks_ended_total{state=\"succeeded_elsewhere\"}", 1.0),
        ("reconciler_verdicts_total{verdict=\"contradicted\"}", 1.0),
        ("reconciler_verdicts_total{verdict=\"confirmed\"}", 1.0),
        ("reconciler_verdict_seconds_count", 2.0),
        ("reconciler_removal_handled_seconds_count", 2.0),
        ("reconciler_removal_proven_seconds_count", 2.0),
        ("reconciler_backend_requests_total{call=\"remove\",outcome=\"ok\"}", 1.0),
        ("reconciler_backend_request_duration_seconds_count{call=\"remove\"}", 1.0),
        ("reconciler_leases_lost_total{row=\"task\"}", 0.0),
        ("reconciler_stale_writes_total{row=\"task\"}", 0.0),
    ];
    for (series, count) in counts {
        assert_eq!(page.get(series), count, "{series}");
    }
    // The removals were requested ten minutes ago.
    assert!(page.get("reconciler_removal_proven_seconds_sum") >= 1200.0);
    assert!(page.get("reconciler_pickup_seconds_count") >= 2.0);
    for statement in ["claim_tasks", "end_requests", "write_verdicts", "commit", "other"] {
        let series =
            format!("reconciler_statement_duration_seconds_count{{statement=\"{statement}\"}}");
        assert!(page.get(&series) >= 1.0, "{statement}");
    }
}

#[sqlx::test(migrations = false)]
async fn the_gauges_say_what_the_tables_hold_and_replicas_agree(pool: PgPool) {
    let world = World::new(pool).await;
    let escalated = world.insert(&a_failed("remove", APP, "kim").code("NotEnoughSeats")).await;
    world.drive().await;
    let action = world.action_of(escalated).await;
    for statement in [
        format!("alter table reconciler.manual_actions disable trigger user;
                 update reconciler.manual_actions set due_at = now() - interval '1 hour' where id = {action};
                 alter table reconciler.manual_actions enable trigger user"),
        "insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application)
         values ('acme', 'refused', 'App', 'app', 'asana_tenant');
         insert into reconciler.integration_states (workspace_id, integration_id, status, status_reason, inactive_since)
         values ('acme', 'refused', 'login_rejected', 'r', now());
         insert into reconciler.members (workspace_id, integration_id, member_id, member_email, ready_task_id, next_attempt_at)
         values ('acme', 'refused', 'jo', 'jo@example.com', 1000000, now() - interval '1 hour')".to_owned(),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&world.pool).await.unwrap();
    }
    let replicas = [replica(&world).await, replica(&world).await];
    for replica in &replicas {
        let page = scrape(&replica.listen()).await;
        for (series, value) in [
            ("reconciler_actions{operation=\"remove\"}", 1.0),
            ("reconciler_overdue_actions{operation=\"remove\"}", 1.0),
            ("reconciler_overdue_actions{operation=\"invite\"}", 0.0),
            ("reconciler_integrations{status=\"login_rejected\"}", 1.0),
            ("reconciler_integrations{status=\"active\"}", 1.0),
            ("reconciler_tasks{position=\"due\"}", 1.0),
            // The integration of the task that is due is not active.
            ("reconciler_oldest_due_task_age_seconds", 0.0),
        ] {
            assert_eq!(page.get(series), value, "{series}");
        }
        assert!(page.get("reconciler_database_gauges_age_seconds") < 15.0);
    }
}

#[sqlx::test(migrations = false)]
async fn every_loop_of_an_idle_daemon_makes_progress(pool: PgPool) {
    let world = World::new(pool).await;
    let url = world.pool.connect_options().to_url_lossy();
    // The loops that nothing wakes run every 30 polls: 3 s.
    let every = [("RECONCILER__UPKEEP__EVERY_S", "3")];
    let replica = Replica::start(url.as_str(), &world.apps, &every).await;
    let polls = "reconciler_statement_duration_seconds_count{statement=\"work_due\"}";
    eventually("60 polls", async || scrape(&replica.listen()).await.get(polls) >= 60.0).await;
    let page = scrape(&replica.listen()).await;
    let ages = page.0.iter().filter(|(series, _)| series.starts_with("reconciler_loop_"));
    for (series, age) in ages {
        assert!((f64::MIN_POSITIVE..5.0).contains(age), "{series} is {age}");
    }
}

#[sqlx::test(migrations = false)]
async fn ten_thousand_integrations_add_no_series(pool: PgPool) {
    let world = World::new(pool).await;
    sqlx::raw_sql(
        "set session_replication_role = replica;
         insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application)
         select 'ws-' || n % 100, 'app-' || n, 'App', 'app', 'asana_tenant' from generate_series(1, 10000) n;
         insert into reconciler.integration_states (workspace_id, integration_id)
         select workspace_id, integration_id from reconciler.integration_settings;
         set session_replication_role = origin",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let replica = replica(&world).await;
    for member in ["jo", "kim"] {
        let task = world.insert(&a_failed("remove", APP, member)).await;
        eventually("work is done", async || world.state(task).await == "succeeded").await;
    }
    let page = scrape(&replica.listen()).await;
    assert_eq!(page.get("reconciler_integrations{status=\"active\"}"), 10_000.0);
    assert_eq!(page.0.len(), documented().len(), "closed sets of labels");
    for name in ["acme", "ws-1", "app-1", APP, "jo", "kim"] {
        let quoted = format!("\"{name}\"");
        assert!(!page.0.keys().any(|series| series.contains(&quoted)), "{name} is in a label");
    }
}

#[sqlx::test(migrations = false)]
async fn fifty_scrapes_at_once_and_fifty_silent_peers_do_no_harm(pool: PgPool) {
    let world = World::new(pool).await;
    let replica = replica(&world).await;
    let address = replica.listen();
    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
        silent.push(stream);
    }
    let mut scrapes = JoinSet::new();
    for _ in 0..50 {
        let address = address.clone();
        scrapes.spawn(async move { request(&address).await.unwrap() });
    }
    let answers = scrapes.join_all().await;
    let is = |(head, _): &&(String, String), status: &str| head.starts_with(status);
    let served = answers.iter().filter(|one| is(one, "HTTP/1.1 200")).count();
    let refused = answers.iter().filter(|one| is(one, "HTTP/1.1 503")).count();
    assert!(served > 0 && served + refused == 50, "{served} served, {refused} refused");
    assert!(replica.get("/livez").await.contains("200"));
    assert!(replica.get("/readyz").await.contains("200"));
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waited for the silent ones");
    let task = world.insert(&a_failed("remove", APP, "jo")).await;
    eventually("work goes on", async || world.state(task).await == "succeeded").await;
    let mut rest = Vec::new();
    for mut stream in silent {
        // The end of the connection, or an error, comes after its time; without a limit it never would.
        let _ = stream.read_to_end(&mut rest).await;
    }
    assert!(rest.is_empty());
}

#[sqlx::test(migrations = false)]
async fn a_scrape_that_cannot_read_the_tables_answers_without_them_and_a_later_one_with_them(
    pool: PgPool,
) {
    const DUE: &str = "reconciler_tasks{position=\"due\"}";
    let world = World::new(pool).await;
    let replica = replica(&world).await;
    let mut somebody = world.pool.begin().await.unwrap();
    let lock = "lock table reconciler.manual_actions in access exclusive mode";
    sqlx::query(lock).execute(&mut *somebody).await.unwrap();
    let began = Instant::now();
    let page = scrape(&replica.listen()).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(!page.has(DUE), "nobody could read it");
    assert!(page.has("reconciler_tasks_ended_total{state=\"succeeded\"}"));
    somebody.rollback().await.unwrap();
    eventually("it is read", async || scrape(&replica.listen()).await.has(DUE)).await;
}
