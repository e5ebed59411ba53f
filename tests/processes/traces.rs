//! Traces: what a collector is sent, and what a collector that is dead, silent or unwilling changes, which is nothing.
//! The daemon runs as a process.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;
use sqlx::{ConnectOptions, PgPool};
use testkit::http_server::{Heard, Reply, Server, error, ok};
use testkit::simulator::{Fate, Operation};
use tokio::net::TcpListener;

use crate::support::collector::{Collector, Received};
use crate::support::openmetrics::scrape;
use crate::support::replica::Replica;
use crate::support::{APP, Task, WORKSPACE, World, a_failed, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

const GRACE_S: u64 = 5;

/// How long the last spans may be waited for after the work has ended, with room for a busy machine.
const FLUSHES_WITHIN: Duration = Duration::from_secs(4);

/// The backend's insert with the trace context of its transaction.
async fn insert(world: &World, task: &Task, traceparent: &str) -> i64 {
    let id = world.insert(task).await;
    sqlx::query("update reconciler.automation_tasks set traceparent = $2 where id = $1")
        .bind(id)
        .bind(traceparent)
        .execute(&world.pool)
        .await
        .unwrap();
    id
}

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// The link to the row.
fn row() -> (String, String) {
    (TRACE.to_owned(), PARENT.to_owned())
}

async fn start(world: &World, endpoint: &str, changes: &[(&str, &str)]) -> Replica {
    let url = world.pool.connect_options().to_url_lossy().to_string();
    let grace = GRACE_S.to_string();
    let mut all = vec![
        ("RECONCILER__TRACES__OTLP_ENDPOINT", endpoint),
        ("RECONCILER__TRACES__TIMEOUT_S", "60"),
        ("RECONCILER__SHUTDOWN__GRACE_S", &grace),
    ];
    all.extend(changes);
    Replica::start(&url, &world.apps, &all).await
}

/// Stops it, which takes no longer than it may; says whether all was sent.
async fn stop(mut replica: Replica) -> Replica {
    let began = Instant::now();
    replica.signal(Signal::SIGTERM);
    assert_eq!(replica.ended().await, Some(0), "{}", replica.log());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(GRACE_S) + FLUSHES_WITHIN, "the stop took {took:?}");
    // The reader of its output may be a moment behind its end.
    eventually("service.stopped", async || replica.count("service.stopped") == 1).await;
    replica
}

async fn until_ended(world: &World, task: i64, state: &str) {
    eventually(state, async || world.state(task).await == state).await;
}

/// The spans whose parent is one of these.
fn children<'a>(spans: &'a [Received], of: &[&Received]) -> Vec<&'a Received> {
    let ids: BTreeSet<_> = of.iter().map(|span| (&span.trace, &span.id)).collect();
    spans.iter().filter(|span| ids.contains(&(&span.trace, &span.parent))).collect()
}

#[sqlx::test(migrations = false)]
async fn the_row_is_the_parent_of_the_first_attempt_and_a_link_of_what_follows_from_it(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let collector = Collector::start().await;
    let fate = Fate::Transient { times: 1000, code: "PageChanged".to_owned() };
    world.apps.set_fate(WORKSPACE, APP, "jo", Operation::Remove, fate);
    let task = a_failed("remove", APP, "jo");
    let id = insert(&world, &task, &traceparent()).await;
    let two = [("RECONCILER__RETRY__REMOVE__ATTEMPTS", "2")];
    let replica = start(&world, &collector.endpoint(), &two).await;
    until_ended(&world, id, "escalated").await;
    let action = world.action_of(id).await;
    world.person_does(&task);
    world.mark_done(action).await;
    eventually("verified", async || world.status(action).await == "verified").await;
    stop(replica).await;

    let spans = collector.spans();
    let all = |name: &str| -> Vec<_> { spans.iter().filter(|span| span.name == name).collect() };
    let attempts = all("attempt");
    let (first, later): (Vec<&Received>, Vec<&Received>) =
        attempts.iter().copied().partition(|span| span.of("attempt") == "1");
    assert!(!first.is_empty() && !later.is_empty(), "{attempts:#?}");
    for span in &first {
        assert_eq!((&span.trace[..], &span.parent[..]), (TRACE, PARENT), "{span:?}");
    }
    for span in &later {
        assert_ne!(span.trace, TRACE, "{span:?}");
        assert_eq!((&span.parent[..], &span.links), ("", &vec![row()]), "{span:?}");
    }
    assert!(later.iter().any(|span| span.of("outcome") == "escalated" && span.has_failed));

    let actions = all("action");
    assert_eq!(actions.len(), 1);
    assert_eq!(actions[0].of("action.id"), action.to_string());
    assert_eq!(actions[0].links, [row()]);
    let escalated: Vec<_> =
        attempts.iter().filter(|span| span.of("outcome") == "escalated").copied().collect();
    assert!(children(&spans, &escalated).iter().any(|span| span.name == "action"));

    let syncs = all("sync");
    assert!(syncs.iter().all(|span| span.links == [row()]), "{syncs:#?}");
    let verdicts = all("verdict");
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
    assert_eq!(verdicts[0].of("verdict"), "confirmed");
    assert_eq!(verdicts[0].links, [row()]);
    assert!(children(&spans, &syncs).iter().any(|span| span.name == "verdict"));

    let batches = all("batch");
    assert!(!batches.is_empty() && batches.iter().all(|span| span.links == [row()]));

    let of_attempts = children(&spans, &attempts);
    let removal = of_attempts
        .iter()
        .find(|span| span.name == "DELETE /integrations/{integration}/users/{member}")
        .unwrap_or_else(|| panic!("no request in an attempt: {spans:#?}"));
    assert!(removal.is_client);
    assert_eq!(removal.of("http.request.method"), "DELETE");
    assert_eq!(removal.of("url.template"), "/integrations/{integration}/users/{member}");
    assert_eq!(removal.of("server.address"), "127.0.0.1");
    assert!(children(&spans, &syncs).iter().any(|span| span.is_client));
    carries_nothing_of_a_person(&spans);
}

/// Only attributes that the page lists, and no id, name or email of a member.
fn carries_nothing_of_a_person(spans: &[Received]) {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/traces.md"));
    let page = page.unwrap();
    for span in spans {
        for (key, value) in &span.attributes {
            assert!(page.contains(&format!("`{key}`")), "docs/traces.md does not list {key}");
            let is_about_jo = value.split('/').any(|part| part == "jo");
            assert!(!is_about_jo && !value.contains('@'), "{span:?}");
        }
    }
}

/// A backend in which only ann is a member.
fn without_jo(heard: &Heard) -> Reply {
    let last = heard.target.rsplit('/').next().unwrap_or_default();
    match &heard.target {
        target if target.contains("/users/") => error(404, "user_not_found", json!(404)),
        target if target.contains("/users?") => {
            let attributes = json!({"email": "ann@example.com", "entitlements": []});
            let ann = json!({"id": "ann", "attributes": attributes});
            ok(&json!({"data": [ann], "links": {}, "meta": {"page": {"total": 1}}}))
        }
        _ => ok(&json!({"data": {"id": last}})),
    }
}

#[sqlx::test(migrations = false)]
async fn a_request_takes_the_context_of_its_own_span_to_the_backend(pool: PgPool) {
    let world = World::new(pool).await;
    let collector = Collector::start().await;
    let backend = Server::start(without_jo).await;
    let id = insert(&world, &a_failed("remove", APP, "jo"), &traceparent()).await;
    let base_url = format!("http://{}/api/v1", backend.address);
    let settings = [
        ("RECONCILER__BACKEND__BASE_URL", base_url.as_str()),
        ("RECONCILER__TRACES__OTLP_HEADERS", "authorization=Bearer a-key, x-tenant=7"),
    ];
    let replica = start(&world, &collector.endpoint(), &settings).await;
    until_ended(&world, id, "succeeded").await;
    stop(replica).await;

    let spans = collector.spans();
    let requests: BTreeSet<_> = spans
        .iter()
        .filter(|span| span.is_client && span.trace == TRACE)
        .map(|span| format!("00-{TRACE}-{}-01", span.id))
        .collect();
    let heard: BTreeSet<_> = backend
        .heard()
        .iter()
        .filter_map(|heard| heard.header("traceparent").map(str::to_owned))
        .collect();
    assert!(!requests.is_empty() && requests.is_subset(&heard), "{requests:?} {heard:?}");
    for headers in collector.headers() {
        assert_eq!(headers["authorization"], "Bearer a-key");
        assert_eq!(headers["x-tenant"], "7");
        assert_eq!(headers["content-type"], "application/x-protobuf");
    }
}

#[sqlx::test(migrations = false)]
async fn a_trace_context_that_cannot_be_read_is_ignored_and_counted_and_its_row_worked_on(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let collector = Collector::start().await;
    let mut ids = Vec::new();
    for (member, text) in [("jo", "not a trace context"), ("kim", "00-0-0-01")] {
        ids.push(insert(&world, &a_failed("remove", APP, member), text).await);
    }
    let replica = start(&world, &collector.endpoint(), &[]).await;
    for id in &ids {
        until_ended(&world, *id, "succeeded").await;
    }
    let page = scrape(&replica.listen()).await;
    assert_eq!(page.get("reconciler_traceparents_ignored_total"), 2.0);
    let replica = stop(replica).await;
    let ignored = replica.last("traceparent.ignored").unwrap();
    assert_eq!(ignored["rows"], 2, "each row is counted once: {}", replica.log());
    assert!(ids.contains(&ignored["task.id"].as_i64().unwrap()));
    let attempts = collector.named("attempt");
    assert!(!attempts.is_empty());
    assert!(attempts.iter().all(|span| span.parent.is_empty() && span.links.is_empty()));
}

#[sqlx::test(migrations = false)]
async fn a_row_whose_trace_is_not_recorded_is_not_recorded_here_either(pool: PgPool) {
    let world = World::new(pool).await;
    let collector = Collector::start().await;
    let text = format!("00-{TRACE}-{PARENT}-00");
    let id = insert(&world, &a_failed("remove", APP, "jo"), &text).await;
    let replica = start(&world, &collector.endpoint(), &[]).await;
    until_ended(&world, id, "succeeded").await;
    stop(replica).await;
    assert!(collector.spans().iter().all(|span| span.trace != TRACE), "{:#?}", collector.spans());
}

/// Removes a member while spans go to this endpoint; returns the stopped replica.
async fn work_beside(pool: PgPool, endpoint: &str) -> Replica {
    let world = World::new(pool).await;
    let id = insert(&world, &a_failed("remove", APP, "jo"), &traceparent()).await;
    let replica = start(&world, endpoint, &[]).await;
    until_ended(&world, id, "succeeded").await;
    stop(replica).await
}

/// The line about lost spans that the stop leaves.
fn lost(replica: &Replica) -> (u64, String) {
    let line = replica.last("traces.lost").unwrap_or_else(|| panic!("{}", replica.log()));
    (line["spans"].as_u64().unwrap(), line["cause"].as_str().unwrap().to_owned())
}

#[sqlx::test(migrations = false)]
async fn a_collector_that_is_not_there_changes_nothing_and_is_told_at_the_stop(pool: PgPool) {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = format!("http://{free}/v1/traces?key=nobody-may-see");
    let replica = work_beside(pool, &endpoint).await;
    let (spans, cause) = lost(&replica);
    assert!(spans > 0 && cause.contains("onnect"), "{spans} {cause}");
    assert!(!replica.log().contains("nobody-may-see"));
}

#[sqlx::test(migrations = false)]
async fn a_collector_that_never_answers_changes_nothing_and_does_not_hold_up_the_stop(
    pool: PgPool,
) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/traces", silent.local_addr().unwrap());
    let connections = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            held.push(connection);
        }
    });
    let replica = work_beside(pool, &endpoint).await;
    connections.abort();
    let (spans, cause) = lost(&replica);
    assert!(spans > 0, "{cause}");
}

#[sqlx::test(migrations = false)]
async fn what_a_collector_refuses_or_rejects_is_counted(pool: PgPool) {
    let collector = Collector::start().await;
    collector.answer_with(StatusCode::SERVICE_UNAVAILABLE, b"nobody-may-see".to_vec());
    let world = World::new(pool).await;
    let id = insert(&world, &a_failed("remove", APP, "jo"), &traceparent()).await;
    let replica = start(&world, &collector.endpoint(), &[]).await;
    until_ended(&world, id, "succeeded").await;
    eventually("lost spans", async || {
        scrape(&replica.listen()).await.get("reconciler_spans_lost_total") > 0.0
    })
    .await;
    let replica = stop(replica).await;
    let (spans, cause) = lost(&replica);
    assert_eq!((spans, &cause[..]), (collector.spans().len() as u64, "HTTP 503"));
    assert!(!replica.log().contains("nobody-may-see"));
}

#[sqlx::test(migrations = false)]
async fn spans_that_a_collector_rejects_in_part_are_counted(pool: PgPool) {
    let collector = Collector::start().await;
    let partial = ExportTracePartialSuccess { rejected_spans: 1, ..Default::default() };
    let answer = ExportTraceServiceResponse { partial_success: Some(partial) };
    collector.answer_with(StatusCode::OK, answer.encode_to_vec());
    let replica = work_beside(pool, &collector.endpoint()).await;
    let (spans, cause) = lost(&replica);
    assert_eq!(
        (spans, &cause[..]),
        (collector.headers().len() as u64, "the collector rejected some")
    );
}
