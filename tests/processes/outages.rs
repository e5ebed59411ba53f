//! A backend that gives no usable answer: said once with its cause, left alone but for a probe now and then, whatever is
//! wrong and however many tasks wait. The daemon runs as a process, on a real HTTP server.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::support::replica::Replica;
use crate::support::{APP, HUB, WORKSPACE, World, a_failed, apps, config, eventually};
use cerby_reconciler::backend::Client;
use cerby_reconciler::config::Config;
use cerby_reconciler::retry::EscalationReason;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgPool};
use testkit::http_server::{Heard, Reply, Server, error, ok};
use testkit::simulator::{Settings, Simulator};

/// What the replica works on at a time: so many requests may be on their way when an outage begins.
const IN_FLIGHT: usize = 8;

/// For how long an outage is watched: pauses of one and two seconds fit in, one of four does not.
const WATCHED: Duration = Duration::from_secs(5);

/// A backend in which nobody is a member, and every integration exists.
fn well(heard: &Heard) -> Reply {
    let last = heard.target.rsplit('/').next().unwrap_or_default();
    match &heard.target {
        target if target.contains("/users/") => error(404, "user_not_found", json!(404)),
        target if target.contains("/users?") => {
            let ann = json!({"id": "ann", "attributes": {"email": "ann@example.com", "entitlements": []}});
            ok(&json!({"data": [ann], "links": {}, "meta": {"page": {"total": 1}}}))
        }
        _ => ok(&json!({"data": {"id": last}})),
    }
}

fn html(status: u16) -> Reply {
    Reply::Whole(status, "content-type: text/html\r\n", "<html>HealthSignal in</html>".to_owned())
}

/// A server that is well, or not, as it is told.
async fn switched(
    odd: impl Fn(&Heard) -> Option<Reply> + Send + Sync + 'static,
) -> (Server, Arc<AtomicU8>) {
    let is_well = Arc::new(AtomicU8::new(0));
    let told = Arc::clone(&is_well);
    let server = Server::start(move |heard| match told.load(Ordering::SeqCst) {
        0 => odd(heard).unwrap_or_else(|| well(heard)),
        _ => well(heard),
    })
    .await;
    (server, is_well)
}

/// A hundred removals in each of two apps.
async fn two_hundred_removals(pool: &PgPool) {
    sqlx::query(
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, operation, trigger, requested_at, failure_code)
         select $1, app || n, 'job', app, 'app', app, 'asana_tenant', 'm' || n, 'm' || n || '@example.com',
                'remove', 'manual', now(), 'LoginTimeout'
         from generate_series(1, 100) n, unnest(array[$2, $3]) app",
    )
    .bind(WORKSPACE)
    .bind(APP)
    .bind(HUB)
    .execute(pool)
    .await
    .unwrap();
}

async fn succeeded(pool: &PgPool, app: &str) -> i64 {
    sqlx::query_scalar(
        "select count(*) from reconciler.automation_tasks where state = 'succeeded' and integration_id = $1",
    )
    .bind(app)
    .fetch_one(pool)
    .await
    .unwrap()
}

/// What a backend answers to a sync of an empty hub.
fn well_read(heard: &Heard) -> Reply {
    let attributes = json!({"status": "finished", "createdAt": "2024-08-29T19:32:21Z"});
    let finished = json!({"data": {"id": "j1", "attributes": attributes}}).to_string();
    let date = "date: Thu, 29 Aug 2024 19:32:21 GMT\r\n";
    match heard.method.as_str() {
        "POST" => ok(&json!({"data": {"id": "j1"}})),
        _ if heard.target.contains("/jobs/") => Reply::Whole(200, date, finished),
        _ => well(heard),
    }
}

struct Outage {
    world: World,
    replica: Replica,
}

impl Outage {
    async fn start(pool: PgPool, base_url: &str) -> Self {
        Self::with(pool, base_url, &[]).await
    }

    async fn with(pool: PgPool, base_url: &str, changes: &[(&str, &str)]) -> Self {
        let world = World::new(pool).await;
        let url = world.pool.connect_options().to_url_lossy();
        let changes = [&[("RECONCILER__BACKEND__BASE_URL", base_url)], changes].concat();
        let replica = Replica::start(url.as_str(), &world.apps, &changes).await;
        Self { world, replica }
    }

    async fn of(pool: PgPool, server: &Server) -> Self {
        Self::start(pool, &base_url(server)).await
    }

    /// Lets the outage go on for a while; the one line that says what it is.
    async fn said_once(&self) -> Value {
        let is_said = async || self.replica.count("backend.unavailable") > 0;
        eventually("the outage is said", is_said).await;
        tokio::time::sleep(WATCHED).await;
        let lines = self.replica.lines("backend.unavailable");
        let waiting = self.replica.count("task.postponed");
        assert!(waiting <= IN_FLIGHT + 10, "{waiting} lines for {WATCHED:?}");
        assert!(lines.len() <= 2, "an app, and then all of them: {lines:?}");
        let line = lines.last().unwrap();
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["workspace.id"], WORKSPACE);
        line.clone()
    }

    async fn ends(&self) {
        for app in [APP, HUB] {
            let all = async || succeeded(&self.world.pool, app).await == 100;
            eventually("everything is done after the outage", all).await;
        }
        let count = "select count(*) from reconciler.automation_tasks where attempts > 0";
        assert_eq!(self.world.count(count).await, 0, "no attempt was used");
        assert_eq!(self.world.count("select count(*) from reconciler.manual_actions").await, 0);
    }
}

fn base_url(server: &Server) -> String {
    format!("http://{}/{{workspace}}/api/v1", server.address)
}

#[sqlx::test(migrations = false)]
async fn what_is_not_the_backend_is_said_with_its_cause_and_left_alone(pool: PgPool) {
    two_outages(pool, |_| Some(html(200)), 200, "Syntax error").await;
}

#[sqlx::test(migrations = false)]
async fn a_wrong_path_is_said_with_its_cause_and_left_alone(pool: PgPool) {
    two_outages(pool, |_| Some(html(404)), 404, "without an error body").await;
}

#[sqlx::test(migrations = false)]
async fn a_wrong_key_is_said_with_its_cause_and_left_alone(pool: PgPool) {
    two_outages(pool, |_| Some(html(401)), 401, "rejected the API key").await;
}

#[sqlx::test(migrations = false)]
async fn a_server_of_something_else_is_said_with_its_cause_and_left_alone(pool: PgPool) {
    two_outages(pool, |_| Some(html(400)), 400, "no code").await;
}

async fn two_outages(
    pool: PgPool,
    odd: impl Fn(&Heard) -> Option<Reply> + Send + Sync + 'static,
    status: u16,
    cause: &str,
) {
    let (server, is_well) = switched(odd).await;
    let outage = Outage::of(pool, &server).await;
    two_hundred_removals(&outage.world.pool).await;
    let line = outage.said_once().await;
    assert_eq!(line["status"], status);
    assert_eq!(line["host"], server.address.to_string());
    assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
    let heard = server.heard().len();
    assert!(heard <= 2 * IN_FLIGHT + 10, "{heard} requests in {WATCHED:?}");
    is_well.store(1, Ordering::SeqCst);
    outage.ends().await;
}

#[sqlx::test(migrations = false)]
async fn a_backend_that_is_not_there_is_said_with_its_cause(pool: PgPool) {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outage = Outage::start(pool, &format!("http://{nobody}/{{workspace}}/api/v1")).await;
    two_hundred_removals(&outage.world.pool).await;
    let line = outage.said_once().await;
    assert_eq!(line["host"], nobody.to_string());
    assert!(line["cause"].as_str().unwrap().contains("onnection refused"), "{line}");
}

#[sqlx::test(migrations = false)]
async fn an_app_without_usable_answers_rests_alone(pool: PgPool) {
    let of_app = format!("/integrations/{APP}");
    let odd = move |heard: &Heard| heard.target.contains(&of_app).then(|| html(503));
    let (server, is_well) = switched(odd).await;
    let outage = Outage::of(pool, &server).await;
    two_hundred_removals(&outage.world.pool).await;
    let others = async || succeeded(&outage.world.pool, HUB).await == 100;
    eventually("the other app goes on", others).await;
    let line = outage.said_once().await;
    assert_eq!((&line["integration.id"], &line["status"]), (&json!(APP), &json!(503)));
    let heard = server.heard().iter().filter(|heard| heard.target.contains(APP)).count();
    assert!(heard <= 2 * IN_FLIGHT + 20, "{heard} requests in {WATCHED:?}");
    is_well.store(1, Ordering::SeqCst);
    outage.ends().await;
}

#[sqlx::test(migrations = false)]
async fn when_an_outage_ends_one_goes_first_and_the_rest_follows_on_a_slope(pool: PgPool) {
    let (server, is_well) = switched(move |_| Some(html(503))).await;
    let outage = Outage::of(pool, &server).await;
    two_hundred_removals(&outage.world.pool).await;
    outage.said_once().await;
    let before = server.heard().len();
    is_well.store(1, Ordering::SeqCst);
    eventually("the probe", async || server.heard().len() > before).await;
    outage.ends().await;
    assert_eq!(outage.replica.count("backend.recovered"), 1);
}

#[sqlx::test(migrations = false)]
async fn each_refusal_of_the_key_after_a_success_is_said_again(pool: PgPool) {
    let (server, is_well) =
        switched(|heard| heard.target.contains("/integrations/").then(|| html(403))).await;
    let outage = Outage::of(pool, &server).await;
    let refusals = || outage.replica.lines("backend.key_rejected");
    for (round, app) in [(0, APP), (1, HUB), (2, APP)] {
        let member = ["jo", "kim", "lee"][round];
        outage.world.insert(&a_failed("remove", app, member)).await;
        eventually("a refusal", async || refusals().len() == round + 1).await;
        let line = refusals()[round].clone();
        assert_eq!((&line["integration.id"], &line["status"]), (&json!(app), &json!(403)));
        is_well.store(1, Ordering::SeqCst);
        eventually("it is mended", async || {
            succeeded(&outage.world.pool, APP).await + succeeded(&outage.world.pool, HUB).await
                == i64::try_from(round).unwrap() + 1
        })
        .await;
        is_well.store(0, Ordering::SeqCst);
    }
}

/// A world on a server whose answers about one member are odd.
async fn with_odd_answers_about_jo(pool: PgPool, odd: Reply, is_all: bool) -> (World, Server) {
    let about = move |heard: &Heard| is_all || heard.target.ends_with("/users/jo");
    let server = Server::start(move |heard| match about(heard) {
        true => odd.clone(),
        false => well(heard),
    })
    .await;
    cerby_reconciler::schema::migrate(&pool.clone().into()).await.unwrap();
    let apps = Simulator::start(apps(), Settings::default()).await.unwrap();
    let config: Config = config("postgres://unused", base_url(&server), "a-key".to_owned());
    let backend = Client::new(&config.backend).unwrap();
    (World::with_client(pool, apps, config, backend), server)
}

async fn two_hours_later(world: &World) {
    for _ in 0..3 {
        world.let_time_pass().await;
        world.step().await;
    }
    sqlx::query(
        "update reconciler.automation_tasks set unanswered_since = unanswered_since - interval '2 h'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    for _ in 0..3 {
        world.let_time_pass().await;
        world.step().await;
    }
}

#[sqlx::test(migrations = false)]
async fn a_member_about_whom_alone_nothing_usable_is_said_goes_to_a_person(pool: PgPool) {
    let (world, _server) = with_odd_answers_about_jo(pool, html(500), false).await;
    let task = a_failed("remove", APP, "jo").deprovisioned().without_job();
    let id = world.insert(&task).await;
    let other = world.insert(&a_failed("remove", APP, "kim")).await;
    two_hours_later(&world).await;
    assert_eq!(world.state(other).await, "succeeded", "nobody else waits");
    assert_eq!(world.state(id).await, "escalated");
    assert_eq!(world.closed_reason(id).await, EscalationReason::Unanswered.sentence());
    assert_eq!(world.status(world.action_of(id).await).await, "open");
}

#[sqlx::test(migrations = false)]
async fn an_outage_escalates_nothing_however_long_it_takes(pool: PgPool) {
    let (world, _server) = with_odd_answers_about_jo(pool, html(500), true).await;
    let id = world.insert(&a_failed("remove", APP, "jo")).await;
    for _ in 0..3 {
        two_hours_later(&world).await;
    }
    assert_eq!((world.state(id).await.as_str(), world.attempts(id).await), ("pending", 0));
}

/// A limit that never ends has no end of its own: somebody is told what waits, and why.
const HURRY: [(&str, &str); 4] = [
    ("RECONCILER__RETRY__RATE_LIMIT_S", "1"),
    ("RECONCILER__SYNC__RETRY_FIRST_S", "0"),
    ("RECONCILER__SYNC__RETRY_MAX_S", "1"),
    ("RECONCILER__SYNC__POLL_FIRST_S", "0"),
];

const LIMITED: Reply = Reply::Whole(429, "", String::new());

#[sqlx::test(migrations = false)]
async fn a_sync_that_is_limited_for_ever_is_told_until_the_app_is_read(pool: PgPool) {
    let is_well = Arc::new(AtomicU8::new(0));
    let told = Arc::clone(&is_well);
    let server = Server::start(move |heard| match heard.target.contains("/users?") {
        true if told.load(Ordering::SeqCst) == 0 => LIMITED,
        _ => well_read(heard),
    })
    .await;
    let outage = Outage::with(pool, &base_url(&server), &HURRY).await;
    outage.world.insert(&a_failed("invite", HUB, "jo").succeeded()).await;
    let lines = || outage.replica.lines("integration.unverifiable");
    eventually("an integration is known", async || succeeded(&outage.world.pool, HUB).await == 1)
        .await;
    sqlx::query("select reconciler.request_snapshot($1, $2)")
        .bind(WORKSPACE)
        .bind(HUB)
        .execute(&outage.world.pool)
        .await
        .unwrap();
    eventually("it is told, and again", async || lines().len() >= 2).await;
    for line in lines() {
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["integration.id"], HUB);
        assert!(line["waited_s"].as_u64().unwrap() >= 1, "{line}");
        assert!(line["cause"].as_str().unwrap().contains("limits the rate"), "{line}");
    }
    assert_eq!(outage.replica.count("sync.failed"), 0, "waiting is not trying");
    is_well.store(1, Ordering::SeqCst);
    let readable = async || outage.replica.count("integration.verifiable") == 1;
    eventually("it is read again", readable).await;
}

#[sqlx::test(migrations = false)]
async fn tasks_that_are_limited_for_ever_are_told_with_the_cause(pool: PgPool) {
    let server = Server::always(LIMITED).await;
    let hurry = [("RECONCILER__BREAKER__REMIND_S", "1"), ("RECONCILER__UPKEEP__EVERY_S", "1")];
    let outage = Outage::with(pool, &base_url(&server), &[&HURRY[..], &hurry].concat()).await;
    let id = outage.world.insert(&a_failed("remove", APP, "jo")).await;
    let lines = || outage.replica.lines("integration.still_unavailable");
    eventually("it is told, and again", async || lines().len() >= 2).await;
    for line in lines() {
        assert_eq!((&line["level"], &line["integration.id"]), (&json!("WARN"), &json!(APP)));
        assert_eq!(line["cause"], "rate_limit");
    }
    assert_eq!(outage.world.attempts(id).await, 0);
}

/// A fleet of replicas in one outage.
struct Fleet {
    outage: Outage,
    url: String,
    base_url: String,
    others: Vec<Replica>,
}

impl Fleet {
    async fn of(outage: Outage, base_url: String) -> Self {
        let url = outage.world.pool.connect_options().to_url_lossy().to_string();
        Self { outage, url, base_url, others: Vec::new() }
    }

    async fn one_more(&mut self) {
        let changes = [("RECONCILER__BACKEND__BASE_URL", self.base_url.as_str())];
        self.others.push(Replica::start(&self.url, &self.outage.world.apps, &changes).await);
    }

    fn count(&self, event: &str) -> usize {
        let others = self.others.iter().map(|one| one.count(event));
        self.outage.replica.count(event) + others.sum::<usize>()
    }
}

#[sqlx::test(migrations = false)]
async fn a_fleet_finds_an_outage_once_probes_it_once_and_tells_it_once(pool: PgPool) {
    let (server, is_well) = switched(|_| Some(html(503))).await;
    let mut fleet = Fleet::of(Outage::of(pool, &server).await, base_url(&server)).await;
    fleet.one_more().await;
    two_hundred_removals(&fleet.outage.world.pool).await;
    eventually("it is told", async || fleet.count("backend.unavailable") > 0).await;
    tokio::time::sleep(WATCHED).await;
    assert!(fleet.count("backend.unavailable") <= 2, "an app, and then all of them");

    let (told, heard) = (fleet.count("backend.unavailable"), server.heard().len());
    fleet.one_more().await;
    tokio::time::sleep(WATCHED).await;
    // The probe of one replica at a pause of four seconds and more.
    let more = server.heard().len() - heard;
    assert!(more <= 3, "{more} requests of three replicas in {WATCHED:?}");
    assert_eq!(fleet.count("backend.unavailable"), told);
    assert_eq!(fleet.others[1].count("task.postponed"), 0, "it knew before it asked");

    is_well.store(1, Ordering::SeqCst);
    fleet.outage.ends().await;
    assert_eq!(fleet.count("backend.recovered"), 1);
    let rows = async || fleet.outage.world.count("select count(*) from reconciler.outages").await;
    eventually("nothing is left of it", async || rows().await == 0).await;
}

#[sqlx::test(migrations = false)]
async fn an_outage_of_a_replica_that_died_is_anothers(pool: PgPool) {
    let (server, is_well) = switched(|_| Some(html(503))).await;
    let mut fleet = Fleet::of(Outage::of(pool, &server).await, base_url(&server)).await;
    two_hundred_removals(&fleet.outage.world.pool).await;
    eventually("it is told", async || fleet.count("backend.unavailable") > 0).await;
    fleet.outage.replica.signal(nix::sys::signal::Signal::SIGKILL);
    fleet.one_more().await;
    is_well.store(1, Ordering::SeqCst);
    let heard = server.heard().len();
    let leases = "select count(*) from reconciler.outages where held_until > now()";
    assert!(fleet.outage.world.count(leases).await > 0, "its row is there still");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.heard().len(), heard, "the new one goes by the row");
    let later = "update reconciler.outages set held_until = now()";
    sqlx::query(later).execute(&fleet.outage.world.pool).await.unwrap();
    fleet.outage.ends().await;
}
