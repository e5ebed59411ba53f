//! A process that stands still: what it holds is taken over, and what it does afterwards changes nothing.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::net::SocketAddr;

use crate::support::openmetrics::scrape;
use crate::support::replica::Replica;
use crate::support::{APP, WORKSPACE, World, a_failed, eventually};
use nix::sys::signal::Signal;
use sqlx::{ConnectOptions, PgPool};
use testkit::fault_proxy::{At, Fault, FaultProxy, Kind, Line};
use testkit::simulator::Call;

/// A replica on fault_proxy, which stops at the first request with a certain text, once it took effect.
struct Stalling {
    replica: Replica,
    line: Line,
    _wires: FaultProxy,
}

impl Stalling {
    async fn start(world: &World) -> Self {
        Self::start_with(world, &[]).await
    }

    async fn start_with(world: &World, more: &[(&str, &str)]) -> Self {
        let options = world.pool.connect_options();
        let real = SocketAddr::new(options.get_host().parse().unwrap(), options.get_port());
        let fault_proxy = FaultProxy::lay(real).await;
        let line = fault_proxy.hand_over(world.apps.address());
        let mut url = options.to_url_lossy();
        url.set_port(Some(fault_proxy.database.port())).unwrap();
        let base_url = format!("http://{}/{{workspace}}/api/v1", fault_proxy.backend);
        let changes = [
            ("RECONCILER__BACKEND__BASE_URL", base_url.as_str()),
            ("RECONCILER__DATABASE__IDLE_IN_TRANSACTION_S", "2"),
            // FaultProxy pass no notifications on.
            ("RECONCILER__WAKEUP__LISTEN", "false"),
        ];
        let changes = [&changes[..], more].concat();
        let replica = Replica::start(url.as_str(), &world.apps, &changes).await;
        Self { replica, line, _wires: fault_proxy }
    }

    /// Stands still from this request on.
    fn stop_at(&self, text: &'static str) {
        self.line.arm(Some(Fault { at: At::Text(text), kind: Kind::HeldReply }));
    }

    async fn stopped(&self) {
        self.line.held().await;
        self.replica.signal(Signal::SIGSTOP);
    }

    /// Goes on, with the answer it waited for.
    fn go_on(&self) {
        self.line.release();
        self.replica.signal(Signal::SIGCONT);
    }
}

async fn other_replica(world: &World) -> Replica {
    let url = world.pool.connect_options().to_url_lossy();
    Replica::start(url.as_str(), &world.apps, &[]).await
}

/// All rows that a worker writes, and the trail.
async fn rows(pool: &PgPool) -> String {
    sqlx::query_scalar(
        "select concat((select json_agg(t order by id) from reconciler.automation_tasks t),
                       (select json_agg(a order by id) from reconciler.manual_actions a),
                       (select json_agg(s order by id) from reconciler.syncs s),
                       (select json_agg(e order by id) from reconciler.events e))",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[sqlx::test(migrations = false)]
async fn a_replica_that_stood_still_in_a_removal_changes_nothing_afterwards(pool: PgPool) {
    let world = World::new(pool).await;
    let stalling = Stalling::start(&world).await;
    stalling.stop_at("DELETE ");
    let task = world.insert(&a_failed("remove", APP, "jo")).await;
    stalling.stopped().await;
    let other = other_replica(&world).await;
    eventually("the other takes over", async || world.state(task).await == "succeeded").await;
    eventually("it says so", async || other.count("task.succeeded") == 1).await;
    let before = rows(&world.pool).await;
    stalling.go_on();
    eventually("it learns", async || stalling.replica.count("lease.lost") == 1).await;
    assert_eq!(rows(&world.pool).await, before);
    let [late, heir] = [&stalling.replica, &other].map(Replica::listen);
    let (late, heir) = (scrape(&late).await, scrape(&heir).await);
    assert_eq!(late.get("reconciler_stale_writes_total{row=\"task\"}"), 1.0);
    assert_eq!(late.get("reconciler_tasks_ended_total{state=\"succeeded\"}"), 0.0);
    assert_eq!(heir.get("reconciler_leases_lost_total{row=\"task\"}"), 1.0);
    assert_eq!(heir.get("reconciler_tasks_ended_total{state=\"succeeded\"}"), 1.0);
    let counters = world.apps.counters();
    assert_eq!(counters.effects(WORKSPACE, APP, "jo").removals, 1);
    assert_eq!(counters.requests(Call::Remove), 1);
}

#[sqlx::test(migrations = false)]
async fn a_replica_that_stood_still_in_an_apply_changes_nothing_afterwards(pool: PgPool) {
    let world = World::new(pool).await;
    let removal = a_failed("remove", APP, "jo").code("NotEnoughSeats");
    let task = world.insert(&removal).await;
    world.drive().await;
    let action = world.action_of(task).await;
    world.person_does(&removal);
    let stalling = Stalling::start(&world).await;
    stalling.stop_at("/apply");
    world.mark_done(action).await;
    stalling.stopped().await;
    let other = other_replica(&world).await;
    eventually("the other takes over", async || world.status(action).await == "verified").await;
    eventually("it says so", async || other.count("sync.finished") == 1).await;
    let before = rows(&world.pool).await;
    stalling.go_on();
    eventually("it learns", async || stalling.replica.count("lease.lost") == 1).await;
    assert_eq!(rows(&world.pool).await, before);
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 1);
}

/// Where a transaction can stand still, whose member it is, and what tells of it afterwards: while rows are
/// ordered, and while an outcome is recorded.
const IN_TRANSACTIONS: [(&str, &str, &str); 2] = [
    ("-- introduce_integrations", "jo", "database.unreachable"),
    ("-- end_requests", "kim", "outcome.not_recorded"),
];

#[sqlx::test(migrations = false)]
async fn rows_locked_by_a_replica_that_stands_still_are_soon_free_again(pool: PgPool) {
    for (statement, member, event) in IN_TRANSACTIONS {
        let world = World::new(pool.clone()).await;
        let stalling = Stalling::start(&world).await;
        stalling.stop_at(statement);
        let remove = a_failed("remove", APP, member).requested_minutes_ago(5);
        let remove = world.insert(&remove).await;
        stalling.stopped().await;
        let _other = other_replica(&world).await;
        let invite = a_failed("invite", APP, member).requested_minutes_ago(1);
        let invite = world.insert(&invite).await;
        eventually("the other goes on", async || world.state(invite).await == "succeeded").await;
        assert_eq!(world.state(remove).await, "succeeded", "{statement}");
        let before = rows(&world.pool).await;
        stalling.go_on();
        eventually(event, async || stalling.replica.count(event) >= 1).await;
        assert_eq!(rows(&world.pool).await, before, "{statement}");
        let effects = world.apps.counters().effects(WORKSPACE, APP, member);
        assert_eq!((effects.removals, effects.invites), (1, 1), "{statement}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_database_that_went_without_a_word_stops_no_loop(pool: PgPool) {
    let statements = ["-- claim_tasks", "-- read_arrivals", "-- end_requests"];
    for (n, statement) in statements.into_iter().enumerate() {
        let world = World::new(pool.clone()).await;
        let patience = [("RECONCILER__DATABASE__ANSWER_TIMEOUT_S", "1")];
        let stalling = Stalling::start_with(&world, &patience).await;
        stalling.stop_at(statement);
        let mut task = a_failed("remove", APP, "jo");
        task.source = format!("removal-{n}");
        let id = world.insert(&task).await;
        stalling.line.held().await;
        eventually("the loop goes on", async || world.state(id).await == "succeeded").await;
        let told = ["database.unreachable", "batch.not_recorded"];
        let told: usize = told.iter().map(|event| stalling.replica.count(event)).sum();
        assert!(told > 0, "{statement}: {}", stalling.replica.log());
    }
}
