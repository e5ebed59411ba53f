//! Cerby's webhooks: from a signed request to rows of the contract.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use cerby_reconciler::backend;
use cerby_reconciler::config::{Config, Operators};
use cerby_reconciler::intake::webhook::WebhookStage;
use cerby_reconciler::operator::api::Webhooks;
use cerby_reconciler::operator::desk::{Actor, Desk, DeskError, RefusalKind};
use cerby_reconciler::operator::listener::{self as doors, Doors};
use cerby_reconciler::telemetry::metrics;
use cerby_reconciler::worker::Stage;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::{Client, RequestBuilder, StatusCode};
use ring::hmac;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::simulator::{Fate, Member, Operation, Place};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::doors_of;
use crate::support::log::Log;
use crate::support::{HUB, WORKSPACE, World, work};

const OLD: (&str, &[u8]) = ("key-old", b"the secret before the rotation");
const NEW: (&str, &[u8]) = ("key-new", b"the secret after the rotation");

/// The API with the keys of webhooks in a file, and a world to read jobs from.
struct Intake {
    world: World,
    url: String,
    client: Client,
    folder: tempfile::TempDir,
    _stop: DropGuard,
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn entry(workspace: &str, (id, secret): (&str, &[u8])) -> String {
    format!("{workspace}/{id}=hmac-sha256:{}", base64(secret))
}

fn signature(secret: &[u8], timestamp: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("{timestamp}.{body}").as_bytes());
    format!("hmac-sha256={}", base64(tag.as_ref()))
}

#[expect(clippy::disallowed_methods, reason = "a webhook is signed by the clock of its sender")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

fn failed(event: &str, job: &str) -> Value {
    json!({
        "envelope_version": "1.0", "event_id": event, "event_type": "automation.failed",
        "occurred_at": now(), "workspace_id": "0b5cb4a5-0000-7000-8000-000000000001",
        "data": {"automation_job_id": job, "application": "asana_tenant", "remediation": null},
        "error": {"code": "NotEnoughSeats", "message": "words for people", "user_action": "add_licenses"},
        "trace_id": null, "correlation_id": null,
    })
}

fn succeeded(event: &str, job: &str) -> Value {
    let mut body = failed(event, job);
    body["event_type"] = json!("automation.succeeded");
    body.as_object_mut().unwrap().remove("error");
    body
}

impl Intake {
    async fn new(pool: PgPool) -> Self {
        Self::with(pool, 100).await
    }

    async fn with(pool: PgPool, max_open: u32) -> Self {
        let mut world = World::new(pool).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        fs::write(&file, entry(WORKSPACE, OLD)).unwrap();
        world.config.intake.webhook_keys = Some(entry(WORKSPACE, OLD).into());
        world.config.intake.webhook_keys_file = Some(file.to_str().unwrap().to_owned());
        world.config.intake.max_webhook_events = max_open;
        let (url, stop) = serve(&world, &world.config).await;
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { world, url, client: Client::builder().build().unwrap(), folder, _stop: stop }
    }

    fn put_keys(&self, entries: &[String]) {
        fs::write(self.folder.path().join("keys"), entries.join(", ")).unwrap();
    }

    /// A request that is signed with these keys at this time.
    fn signed(&self, keys: &[(&str, &[u8])], at: DateTime<Utc>, body: &Value) -> RequestBuilder {
        let (timestamp, body) = (at.to_rfc3339_opts(SecondsFormat::Millis, true), body.to_string());
        let mut request = self.client.post(&self.url).header("content-type", "application/json");
        for (id, secret) in keys {
            request = request
                .header("x-cerby-signature", signature(secret, &timestamp, &body))
                .header("x-cerby-signature-key-id", *id);
        }
        request.header("x-cerby-signature-timestamp", timestamp).body(body)
    }

    async fn deliver(&self, body: &Value) {
        let answer = self.signed(&[OLD], now(), body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{:?}", answer.text().await);
    }

    async fn status(&self, request: RequestBuilder) -> StatusCode {
        let response = request.send().await.unwrap();
        let (status, kind) = (response.status(), response.headers().get("content-type").cloned());
        let text = response.text().await.unwrap();
        if !status.is_success() {
            assert_eq!(kind.unwrap(), "application/problem+json");
            assert!(!text.contains("job-") && !text.contains("secret"), "{text}");
        }
        status
    }

    /// Makes every open event due, and works on each once; how many that were.
    async fn work(&self) -> usize {
        self.run(
            "update reconciler.webhook_events set next_attempt_at = now() where ended_at is null",
        )
        .await;
        self.work_with(&self.stage()).await
    }

    /// A stage that knows of no outage.
    fn stage(&self) -> Arc<WebhookStage> {
        let backend = backend::Client::new(&self.world.config.backend).unwrap();
        WebhookStage::new(&self.world.config, self.world.pool.clone().into(), backend)
    }

    /// Works on what is due; how much that was.
    async fn work_with(&self, stage: &Arc<WebhookStage>) -> usize {
        let claims = stage.claim(100).await.unwrap();
        let count = claims.len();
        for claim in claims {
            work(stage, claim).await;
        }
        count
    }

    /// So many open events of a workspace, which are due.
    async fn many(&self, workspace: &str, count: usize) {
        self.run(&format!(
            "insert into reconciler.webhook_events (workspace_id, event_id, event_type, job_id, occurred_at)
             select '{workspace}', 'e-' || n, 'automation.failed', 'job-' || n, now() from generate_series(1, {count}) n"
        ))
        .await;
    }

    fn desk(&self) -> Desk {
        Desk::new(self.world.pool.clone().into())
    }

    async fn run(&self, statement: &str) {
        let statement = AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&self.world.pool).await.unwrap();
    }

    async fn json(&self, query: &'static str) -> Value {
        sqlx::query_scalar(query).fetch_one(&self.world.pool).await.unwrap()
    }

    /// Runs a job in Cerby for members who all fail or all succeed.
    fn job(&self, id: &str, operation: Operation, members: &[&str], fate: &Fate) {
        let person = |id: &&str| Member::new(id, &format!("{id}@example.com")).with(&["EDITOR"]);
        let changes: Vec<_> = members.iter().map(|id| (person(id), fate.clone())).collect();
        let place = Place::new(WORKSPACE, HUB);
        assert!(self.world.apps.job_elsewhere(&place, id, operation, &changes, Duration::ZERO));
    }

    async fn tasks(&self) -> Value {
        self.json(
            "select coalesce(jsonb_agg(jsonb_build_array(source_id, member_id, operation, outcome) order by id), '[]')
             from reconciler.automation_tasks",
        )
        .await
    }

    async fn events(&self) -> Value {
        self.json(
            "select coalesce(jsonb_agg(jsonb_build_array(event_id, outcome) order by event_id), '[]')
             from reconciler.webhook_events",
        )
        .await
    }
}

async fn serve(world: &World, config: &Config) -> (String, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/intake/cerby", listener.local_addr().unwrap());
    let operators = Operators { wrong_tokens_per_minute: 5, ..config.operators.clone() };
    let webhooks = Webhooks::new(&config.intake, &operators).unwrap();
    let stop = CancellationToken::new();
    let desk = Desk::new(world.pool.clone().into());
    let doors = Doors { webhooks, ..doors_of(desk) };
    tokio::spawn(doors::serve(listener, operators, doors, stop.clone()));
    (url, stop.drop_guard())
}

fn seats() -> Fate {
    Fate::Permanent("NotEnoughSeats".to_owned())
}

#[sqlx::test(migrations = false)]
async fn a_failed_job_becomes_a_row_of_the_contract_for_each_member(pool: PgPool) {
    let intake = Intake::new(pool).await;
    intake.job("job-1", Operation::ChangeRole, &["jo", "kim"], &seats());
    intake.deliver(&failed("e-1", "job-1")).await;
    assert_eq!(intake.tasks().await, json!([]), "the answer waits for nothing");
    assert_eq!(intake.work().await, 1);
    let row = intake
        .json(
            "select to_jsonb(t) from (
                 select workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
                        member_id, member_email, operation, entitlements, trigger, failure_code, can_retry,
                        user_required, requested_by, outcome
                 from reconciler.automation_tasks where member_id = 'jo') t",
        )
        .await;
    assert_eq!(
        row,
        json!({
            "workspace_id": WORKSPACE, "source_id": "e-1:jo", "job_id": "job-1", "integration_id": HUB,
            "integration_kind": "business_hub", "integration_name": "Asana hub", "application": "asana_tenant",
            "member_id": "jo", "member_email": "jo@example.com", "operation": "change_role",
            "entitlements": ["EDITOR"], "trigger": "manual", "failure_code": "NotEnoughSeats", "can_retry": false,
            "user_required": true, "requested_by": "Simulator", "outcome": "failed",
        })
    );
    assert_eq!(intake.events().await, json!([["e-1", "tasks"]]));
    intake.world.drive().await;
    let actions = "select count(*) from reconciler.manual_actions where status = 'open'";
    assert_eq!(intake.world.count(actions).await, 2, "the flow takes them like the backend's own");
}

#[sqlx::test(migrations = false)]
async fn a_redelivery_changes_nothing_before_and_after_its_job_was_read(pool: PgPool) {
    let intake = Intake::new(pool).await;
    intake.job("job-1", Operation::Remove, &["jo"], &seats());
    for _ in 0..3 {
        intake.deliver(&failed("e-1", "job-1")).await;
    }
    assert_eq!(intake.work().await, 1);
    intake.deliver(&failed("e-1", "job-1")).await;
    assert_eq!(intake.work().await, 0);
    assert_eq!(intake.tasks().await, json!([["e-1:jo", "jo", "remove", "failed"]]));
}

#[sqlx::test(migrations = false)]
async fn what_counts_is_the_job_as_it_stands_whatever_the_order_of_its_events(pool: PgPool) {
    let intake = Intake::new(pool).await;
    // The job failed, ran again and succeeded; the events come in the other order.
    intake.job("job-1", Operation::Remove, &["jo"], &Fate::Succeed);
    intake.deliver(&succeeded("e-2", "job-1")).await;
    intake.work().await;
    intake.deliver(&failed("e-1", "job-1")).await;
    intake.work().await;
    assert_eq!(
        intake.tasks().await,
        json!([["job-1:succeeded:jo", "jo", "remove", "succeeded"]]),
        "the failure is over, and the success is told once"
    );
    assert_eq!(intake.events().await, json!([["e-1", "tasks"], ["e-2", "tasks"]]));
    // A job that runs again and fails again is a new row.
    intake.job("job-1", Operation::Remove, &["jo"], &seats());
    intake.deliver(&failed("e-3", "job-1")).await;
    intake.work().await;
    assert_eq!(intake.tasks().await[1], json!(["e-3:jo", "jo", "remove", "failed"]));
    intake.world.drive().await;
}

#[sqlx::test(migrations = false)]
async fn a_job_that_runs_is_waited_for_and_one_about_no_members_ends_the_event(pool: PgPool) {
    let intake = Intake::new(pool).await;
    intake.job("job-1", Operation::Remove, &["jo"], &Fate::NeverEnds);
    intake.deliver(&failed("e-1", "job-1")).await;
    for _ in 0..5 {
        intake.work().await;
    }
    let problem = "select problem from reconciler.unresolved_webhook_events where event_id = 'e-1'";
    let problem: String = sqlx::query_scalar(problem).fetch_one(&intake.world.pool).await.unwrap();
    assert_eq!(problem, "the job has not ended");
    let sync = intake.world.apps.base_url().replace("{workspace}", WORKSPACE);
    let started: Value = intake
        .client
        .post(format!("{sync}/integrations/{HUB}/sync"))
        .header("x-api-key", intake.world.apps.api_key())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    intake.deliver(&succeeded("e-2", started["data"]["id"].as_str().unwrap())).await;
    intake.work().await;
    assert_eq!(intake.events().await, json!([["e-1", null], ["e-2", "no_members"]]));
}

#[sqlx::test(migrations = false)]
async fn an_unknown_job_is_told_once_shown_and_worked_on_when_it_is_known(pool: PgPool) {
    let (intake, log) = (Intake::new(pool).await, Log::here());
    intake.deliver(&failed("e-1", "job-1")).await;
    intake.work().await;
    intake.work().await;
    assert!(!log.has("webhook.unresolved"), "a backend may be slow to know its own job");
    intake.work().await;
    assert!(log.has("webhook.unresolved"));
    assert_eq!(log.count("webhook.unresolved"), 1);
    intake.work().await;
    assert_eq!(log.count("webhook.unresolved"), 1, "it is told once");
    let shown = intake.json("select to_jsonb(e) from reconciler.unresolved_webhook_events e").await;
    assert_eq!((&shown["job_id"], &shown["attempts"]), (&json!("job-1"), &json!(4)));
    assert!(shown["problem"].as_str().unwrap().contains("job_not_found"), "{shown}");
    intake.job("job-1", Operation::Remove, &["jo"], &seats());
    intake.work().await;
    assert_eq!(intake.tasks().await, json!([["e-1:jo", "jo", "remove", "failed"]]));
    let left = "select count(*) from reconciler.unresolved_webhook_events";
    assert_eq!(intake.world.count(left).await, 0);
}

#[sqlx::test(migrations = false)]
async fn one_member_who_cannot_be_read_keeps_no_other_back(pool: PgPool) {
    let (intake, log) = (Intake::new(pool).await, Log::here());
    intake.job("job-1", Operation::Invite, &["nobody-knows", "jo"], &seats());
    intake.deliver(&failed("e-1", "job-1")).await;
    for _ in 0..3 {
        intake.work().await;
    }
    assert_eq!(intake.tasks().await, json!([["e-1:jo", "jo", "invite", "failed"]]));
    assert_eq!(intake.events().await, json!([["e-1", null]]));
    assert!(log.has("webhook.unresolved"));
}

#[sqlx::test(migrations = false)]
async fn an_outage_of_the_backend_is_waited_for_without_a_warning(pool: PgPool) {
    let (intake, log) = (Intake::new(pool).await, Log::here());
    intake.job("job-1", Operation::Remove, &["jo"], &seats());
    intake.deliver(&failed("e-1", "job-1")).await;
    intake.world.apps.set_outage(true);
    for _ in 0..4 {
        intake.work().await;
    }
    assert!(!log.has("webhook.unresolved"));
    intake.world.apps.set_outage(false);
    intake.work().await;
    assert_eq!(intake.events().await, json!([["e-1", "tasks"]]));
}

#[sqlx::test(migrations = false)]
async fn what_stays_unresolved_is_given_up_with_a_warning_and_deleted_later(pool: PgPool) {
    let (intake, log) = (Intake::new(pool).await, Log::here());
    intake.deliver(&failed("e-1", "job-1")).await;
    intake
        .run("update reconciler.webhook_events set received_at = now() - interval '91 days'")
        .await;
    intake.work().await;
    assert!(log.has("webhook.given_up"));
    assert_eq!(intake.events().await, json!([["e-1", "given_up"]]));
    let shown = "select count(*) from reconciler.unresolved_webhook_events";
    assert_eq!(intake.world.count(shown).await, 1);
    intake.world.upkeep().await;
    assert_eq!(intake.world.count(shown).await, 1);
    intake.run("update reconciler.webhook_events set ended_at = now() - interval '91 days'").await;
    intake.world.upkeep().await;
    assert_eq!(intake.events().await, json!([]));
}

#[sqlx::test(migrations = false)]
async fn what_is_not_signed_by_a_key_of_ours_just_now_is_refused(pool: PgPool) {
    let (intake, log) = (Intake::new(pool).await, Log::here());
    let body = failed("e-1", "job-1");
    let forged = (OLD.0, b"another secret of some length".as_slice());
    assert_eq!(intake.status(intake.signed(&[forged], now(), &body)).await, 401);
    assert_eq!(intake.status(intake.signed(&[], now(), &body)).await, 401);
    let replayed = now() - TimeDelta::seconds(301);
    assert_eq!(intake.status(intake.signed(&[OLD], replayed, &body)).await, 401);
    let early = now() + TimeDelta::seconds(301);
    assert_eq!(intake.status(intake.signed(&[OLD], early, &body)).await, 401);
    assert!(log.has("webhook.refused"));
    assert_eq!(intake.events().await, json!([]));
    // Within the five minutes it is taken.
    let late = now() - TimeDelta::seconds(290);
    assert_eq!(intake.status(intake.signed(&[OLD], late, &body)).await, 204);
    // The fifth wrong one, and after it no further wrong one from this address for the rest of the minute. The right ones
    // of other customers of Cerby come from the same address.
    assert_eq!(intake.status(intake.signed(&[forged], now(), &body)).await, 401);
    let answer = intake.signed(&[forged], now(), &body).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "3600", "Cerby sends an event six times at most");
    intake.deliver(&failed("e-2", "job-2")).await;
    assert_eq!(intake.events().await, json!([["e-1", null], ["e-2", null]]));
}

#[sqlx::test(migrations = false)]
async fn a_database_that_fails_or_is_busy_has_the_event_sent_again_and_not_within_seconds(
    pool: PgPool,
) {
    let intake = Intake::new(pool).await;
    let refuses = |code: &str| {
        format!(
            "create or replace function refuses() returns trigger language plpgsql as
             $$begin raise exception 'no' using errcode = '{code}'; end$$;
             create or replace trigger refuses before insert on reconciler.webhook_events execute function refuses()"
        )
    };
    // It shuts down, a lock is not given, a statement takes too long, a disk is full.
    for code in ["57P01", "55P03", "57014", "53100"] {
        intake.run(&refuses(code)).await;
        let request = intake.signed(&[OLD], now(), &failed("e-1", "job-1"));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 503, "{code}: Cerby loses what it is answered 4xx");
        assert_eq!(answer.headers().get("retry-after"), None, "{code}: it waits longer by itself");
    }
    intake.run("drop trigger refuses on reconciler.webhook_events").await;
    intake.deliver(&failed("e-1", "job-1")).await;
}

#[sqlx::test(migrations = false)]
async fn a_replaced_key_is_read_from_its_file_and_an_unknown_one_costs_no_event(pool: PgPool) {
    let intake = Intake::new(pool).await;
    let both = intake.signed(&[NEW, OLD], now(), &failed("e-1", "job-1"));
    assert_eq!(intake.status(both).await, 204, "the old key is enough");
    let only_new = || intake.signed(&[NEW], now(), &failed("e-2", "job-1"));
    let unknown = only_new().send().await.unwrap();
    assert_eq!(unknown.status(), 503, "Cerby sends it again");
    assert!(unknown.headers().contains_key("retry-after"));
    intake.put_keys(&[entry(WORKSPACE, NEW), entry("globex", OLD)]);
    assert_eq!(intake.status(only_new()).await, 204);
    // The key says which workspace it is.
    assert_eq!(intake.status(intake.signed(&[OLD], now(), &failed("e-3", "job-1"))).await, 204);
    let workspaces = intake
        .json("select jsonb_object_agg(event_id, workspace_id) from reconciler.webhook_events")
        .await;
    assert_eq!(workspaces, json!({"e-1": WORKSPACE, "e-2": WORKSPACE, "e-3": "globex"}));
    // A file that cannot be used leaves the known keys in use.
    intake.put_keys(&["nonsense".to_owned()]);
    let unknown = ("key-3", OLD.1);
    assert_eq!(intake.status(intake.signed(&[unknown], now(), &failed("e-4", "j"))).await, 503);
    assert_eq!(intake.status(intake.signed(&[NEW], now(), &failed("e-4", "j"))).await, 204);
}

#[sqlx::test(migrations = false)]
async fn what_is_signed_and_odd_is_bounded_and_what_is_about_something_else_is_not_kept(
    pool: PgPool,
) {
    let intake = Intake::with(pool, 2).await;
    let mut other = failed("e-0", "job-1");
    other["event_type"] = json!("account.created");
    intake.deliver(&other).await;
    assert_eq!(intake.events().await, json!([]));
    let mut jobless = failed("e-0", "job-1");
    jobless["data"] = json!({});
    assert_eq!(intake.status(intake.signed(&[OLD], now(), &jobless)).await, 400);
    let mut large = failed("e-0", "job-1");
    large["padding"] = json!("x".repeat(64 * 1024));
    assert_eq!(intake.status(intake.signed(&[OLD], now(), &large)).await, 413);
    for event in ["e-1", "e-2"] {
        intake.deliver(&failed(event, "job-1")).await;
    }
    let answer = intake.signed(&[OLD], now(), &failed("e-3", "job-1")).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "3600");
    assert_eq!(intake.events().await, json!([["e-1", null], ["e-2", null]]));
}

#[sqlx::test(migrations = false)]
async fn without_keys_there_is_no_such_route(pool: PgPool) {
    let intake = Intake::new(pool).await;
    let mut config = intake.world.config.clone();
    (config.intake.webhook_keys, config.intake.webhook_keys_file) = (None::<SecretString>, None);
    let (url, _stop) = serve(&intake.world, &config).await;
    let answer = intake.client.post(url).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 404);
}

#[sqlx::test(migrations = false)]
async fn each_workspace_has_its_share_of_the_slots(pool: PgPool) {
    let intake = Intake::new(pool).await;
    intake
        .run(
            "insert into reconciler.webhook_events (workspace_id, event_id, event_type, job_id, occurred_at)
             select w, 'e-' || n, 'automation.failed', 'job', now()
             from unnest('{acme,globex}'::text[]) w, generate_series(1, 50) n
             where w = 'acme' or n = 1",
        )
        .await;
    let stage = intake.stage();
    let first = stage.claim(16).await.unwrap();
    assert_eq!(first.len(), 5, "four of acme and the one of globex");
    assert_eq!(stage.claim(16).await.unwrap().len(), 0, "acme has its share");
    drop(first);
    assert_eq!(stage.claim(16).await.unwrap().len(), 4);
}

#[sqlx::test(migrations = false)]
async fn an_outage_writes_no_event_but_the_one_that_probes_it(pool: PgPool) {
    let intake = Intake::new(pool).await;
    for job in 1..=30 {
        intake.job(&format!("job-{job}"), Operation::Remove, &["jo"], &seats());
    }
    intake.world.apps.set_outage(true);
    let stage = intake.stage();
    intake.many(WORKSPACE, 30).await;
    let versions = "select coalesce(jsonb_object_agg(event_id, xmin::text), '{}') from reconciler.webhook_events";
    let all_due =
        "update reconciler.webhook_events set next_attempt_at = now() where ended_at is null";
    // Until the outage is known.
    for _ in 0..10 {
        intake.work_with(&stage).await;
    }
    intake.run(all_due).await;
    let before = intake.json(versions).await;
    let mut worked_on = 0;
    for _ in 0..10 {
        worked_on += intake.work_with(&stage).await;
    }
    let after = intake.json(versions).await;
    let is_written = |(id, version): &(&String, &Value)| after[id.as_str()] != **version;
    let written = before.as_object().unwrap().iter().filter(is_written).count();
    assert!(worked_on <= 10 && written <= worked_on, "{worked_on} probes, {written} written");
    intake.world.apps.set_outage(false);
    for _ in 0..100 {
        intake.run(all_due).await;
        intake.work_with(&stage).await;
    }
    let open = "select count(*) from reconciler.webhook_events where ended_at is null";
    assert_eq!(intake.world.count(open).await, 0, "and all of them are worked on after it");
}

#[sqlx::test(migrations = false)]
async fn what_cannot_be_resolved_is_dismissed_with_a_reason_and_not_tried_any_more(pool: PgPool) {
    let intake = Intake::new(pool).await;
    intake.deliver(&failed("e-1", "job-1")).await;
    intake.work().await;
    let (desk, kim) = (intake.desk(), Actor::named("kim").unwrap());
    let dismiss = async |event: &str, reason: &str| match desk
        .dismiss_webhook(&kim, WORKSPACE, event, reason)
        .await
    {
        Ok(()) => None,
        Err(DeskError::Refused(refusal)) => Some(refusal.kind),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(dismiss("e-1", " ").await, Some(RefusalKind::Invalid));
    assert_eq!(dismiss("e-2", "a test").await, Some(RefusalKind::NotFound));
    assert_eq!(dismiss("e-1", "a test").await, None);
    assert_eq!(dismiss("e-1", "a test").await, Some(RefusalKind::NotAllowedNow));
    assert_eq!(intake.events().await, json!([["e-1", "dismissed"]]));
    assert_eq!(intake.work().await, 0);
    let left = "select count(*) from reconciler.unresolved_webhook_events";
    assert_eq!(intake.world.count(left).await, 0);
    let told = intake
        .json("select jsonb_build_array(what, subject, subject_id, detail ->> 'reason') from reconciler.events")
        .await;
    assert_eq!(told, json!(["webhook.dismissed", "webhook", "e-1", "a test"]));
    // A redelivery is the same event.
    intake.deliver(&failed("e-1", "job-1")).await;
    assert_eq!(intake.work().await, 0);
}

#[sqlx::test(migrations = false)]
async fn nobody_waits_for_whoever_dismisses_an_event_and_does_not_commit(pool: PgPool) {
    let intake = Intake::new(pool).await;
    intake.job("job-1", Operation::Remove, &["jo"], &seats());
    intake.deliver(&failed("e-1", "job-1")).await;
    let stage = intake.stage();
    let claims = stage.claim(1).await.unwrap();
    let mut person = intake.world.pool.begin().await.unwrap();
    sqlx::query("select reconciler.dismiss_webhook_event($1, 'e-1', 'a test')")
        .bind(WORKSPACE)
        .execute(&mut *person)
        .await
        .unwrap();
    for claim in claims {
        let worked = tokio::time::timeout(Duration::from_secs(2), work(&stage, claim)).await;
        assert!(worked.is_ok(), "the daemon waits for the lock of a person");
    }
    person.rollback().await.unwrap();
    assert_eq!(intake.events().await, json!([["e-1", null]]), "the claim ends by itself");
    intake.work().await;
    assert_eq!(intake.events().await, json!([["e-1", "tasks"]]));
    assert_eq!(intake.tasks().await.as_array().unwrap().len(), 1, "no row comes twice");
}

#[sqlx::test(migrations = false)]
async fn deliveries_are_counted_by_their_answer_and_events_by_how_they_end(pool: PgPool) {
    let intake = Intake::new(pool).await;
    // Other tests of this process count, too.
    let count = |series: &str| -> u64 {
        let page = metrics::encode(false);
        let line =
            page.lines().find_map(|line| line.strip_prefix(&format!("reconciler_{series} ")));
        line.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
    };
    let all = [
        "webhooks_total{answer=\"stored\"}",
        "webhooks_total{answer=\"not_kept\"}",
        "webhooks_total{answer=\"wrong_signature\"}",
        "webhooks_total{answer=\"unknown_key\"}",
        "webhook_events_ended_total{outcome=\"tasks\"}",
    ];
    let before = all.map(count);
    intake.job("job-1", Operation::Remove, &["jo"], &seats());
    intake.deliver(&failed("e-1", "job-1")).await;
    let mut other = failed("e-0", "job-1");
    other["event_type"] = json!("account.created");
    intake.deliver(&other).await;
    let forged = (OLD.0, b"another secret of some length".as_slice());
    assert_eq!(intake.status(intake.signed(&[forged], now(), &other)).await, 401);
    assert_eq!(intake.status(intake.signed(&[NEW], now(), &other)).await, 503);
    intake.work().await;
    for (series, before) in all.iter().zip(before) {
        assert!(count(series) > before, "{series} is {before} as before");
    }
}
