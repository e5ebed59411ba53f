//! The log as a whole: a flood of one cause is a few lines and a count, every line is one of the list of events, and no
//! line or span has anything that somebody typed.

use cerby_reconciler::telemetry::events;
use nix::sys::signal::Signal;
use sqlx::{ConnectOptions, PgPool};
use testkit::simulator::{Fate, Operation};

use crate::support::collector::Collector;
use crate::support::replica::Replica;
use crate::support::{APP, HUB, WORKSPACE, World, a_failed, eventually};

fn url(world: &World) -> String {
    world.pool.connect_options().to_url_lossy().to_string()
}

async fn stop(mut replica: Replica) -> Replica {
    replica.signal(Signal::SIGTERM);
    assert_eq!(replica.ended().await, Some(0), "{}", replica.log());
    // The reader of its output may be a moment behind its end.
    eventually("service.stopped", async || replica.count("service.stopped") == 1).await;
    replica
}

#[sqlx::test(migrations = false)]
async fn twenty_escalations_of_one_cause_are_five_lines_and_a_count(pool: PgPool) {
    let world = World::new(pool).await;
    for number in 0..20 {
        let member: &'static str = format!("new-{number}").leak();
        world.insert(&a_failed("invite", APP, member).code("NotEnoughSeats")).await;
    }
    let replica = Replica::start(&url(&world), &world.apps, &[]).await;
    let open = "select count(*) from reconciler.manual_actions";
    eventually("each has an action", async || world.count(open).await == 20).await;
    let replica = stop(replica).await;
    eventually("it is told", async || replica.count("log.repeated") == 1).await;
    assert_eq!(replica.count("task.escalated"), 5);
    let line = replica.last("log.repeated").unwrap();
    assert_eq!((&line["repeated"], &line["lines"]), (&"task.escalated".into(), &15.into()));
    assert_eq!((&line["workspace.id"], &line["integration.id"]), (&WORKSPACE.into(), &APP.into()));
}

/// What no log line and no span may contain. Each is in a row, a reply or a setting of the story.
const CANARY: &str = "canary";

/// Forty rows with a canary in every column that people or the backend fill with texts: some automation does, some a
/// person has to.
const ROWS: &str = "
    insert into reconciler.automation_tasks
        (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, member_username, member_name, operation, entitlements, trigger, requested_at, failure_code,
         failure_message, failure_screenshot_url, requested_by, traceparent)
    select 'acme', 'source-' || n, 'job-' || n, case when n % 2 = 0 then 'an-app' else 'a-hub' end,
           case when n % 2 = 0 then 'app' else 'business_hub' end, 'canary app', 'asana_tenant',
           case when n < 4 then 'jo' else 'member-' || n end, 'canary-' || n || '@example.com', 'canary-name-' || n,
           'Canary canary', case when n < 4 then 'remove' else 'invite' end,
           case when n < 4 then '{}' else '{EDITOR}'::text[] end, 'manual', now(),
           case when n % 3 = 0 then 'NotEnoughSeats' else 'LoginTimeout' end, 'canary: it failed',
           'https://example.com/shot?token=canary', 'canary@example.com', 'canary'
    from generate_series(1, 40) n";

/// Ends every session on this database but our own, as a restart of the server does.
const END_SESSIONS: &str = "
    select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and application_name = 'cerby-reconciler'";

#[sqlx::test(migrations = false)]
async fn every_line_is_in_the_schema_and_none_has_a_canary_while_sessions_are_ended(pool: PgPool) {
    let world = World::new(pool).await;
    let collector = Collector::start().await;
    let fate = Fate::Transient { times: 2, code: "PageChanged".to_owned() };
    world.apps.set_fate(WORKSPACE, HUB, "jo", Operation::Remove, fate);
    let endpoint = format!("{}?key=canary", collector.endpoint());
    let settings = [
        ("RECONCILER__TELEMETRY__FILTER", "trace"),
        ("RECONCILER__TRACES__OTLP_ENDPOINT", endpoint.as_str()),
        ("RECONCILER__TRACES__OTLP_HEADERS", "authorization=canary"),
    ];
    let replica = Replica::start(&url(&world), &world.apps, &settings).await;
    sqlx::query(ROWS).execute(&world.pool).await.unwrap();
    for _ in 0..10 {
        eventually("sessions are ended", async || world.count(END_SESSIONS).await > 0).await;
    }
    let open = "select count(*) from reconciler.automation_tasks where closed_at is null";
    eventually("all is done", async || world.count(open).await == 0).await;
    let done = "update reconciler.manual_actions set status = 'done', note = 'canary' where status = 'open'";
    sqlx::query(done).execute(&world.pool).await.unwrap();
    let unjudged =
        "select count(*) from reconciler.manual_actions where status = 'done' and verdict is null";
    eventually("all are judged", async || world.count(unjudged).await == 0).await;
    let replica = stop(replica).await;

    let log = replica.log();
    let schema = jsonschema::validator_for(&events::as_schema()).unwrap();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(schema.is_valid(&line), "a line that its schema does not have: {line}");
    }
    let api_key = world.apps.api_key();
    for word in [CANARY, "Canary", "@example.com", "token=", &api_key] {
        assert!(!log.contains(word), "{word} was logged");
        let spans = format!("{:?}", collector.spans());
        assert!(!spans.contains(word), "{word} is in a span");
    }
    for event in ["task.succeeded", "task.escalated", "sync.finished"] {
        assert!(replica.count(event) > 0, "{event}: {log}");
    }
    assert!(!collector.named("verdict").is_empty());
}
