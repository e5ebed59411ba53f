//! What the replicas talk to: a private PostgreSQL with a witness in it, and the simulated backend.

use std::net::SocketAddr;
use std::time::Duration;

use cerby_reconciler::schema;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, PgPool};
use testkit::private_postgres::{Options, PrivatePostgres, Shutdown};
use testkit::simulator::{
    Fate, FaultPlan, Integration, Member, Operation, Settings as SimulatorSettings, Simulator,
    World as Apps,
};
use tokio::sync::Mutex;

use super::flood;
use super::names;
use super::plan::{FORMER_ROLE, Key, Plan};
use super::replicas;
use super::settings::Settings;
use crate::support::frozen::Freezer;
use crate::support::oracle::QUESTION;

/// People nobody asks anything of, per app.
const BYSTANDERS: usize = 10;

/// Everything around the replicas.
pub(super) struct World {
    pub(super) apps: Simulator,
    pub(super) plan: Plan,
    /// For looking and for making trouble: the owner of everything.
    pub(super) owner: PgPool,
    pub(super) backend: PgPool,
    /// For working manual actions.
    pub(super) operator: PgPool,
    /// The URLs that the replicas log in with, each its own, and the way each leads through.
    pub(super) daemons: Vec<String>,
    pub(super) freezers: Vec<Freezer>,
    server: Mutex<PrivatePostgres>,
}

impl World {
    pub(super) async fn start(settings: &Settings) -> Self {
        let server = PrivatePostgres::start(Options::default()).await.unwrap();
        let owner = connect(&server.url(), 3).await;
        schema::migrate(&owner.clone().into()).await.unwrap();
        let oracle = format!(
            "create schema soak;
             create function soak.oracle(bigint) returns table (touched_by_hand boolean, tried_before boolean, has_worked_at_last boolean)
                 language sql security definer set search_path = pg_catalog, pg_temp as $${QUESTION}$$"
        );
        sqlx::raw_sql(AssertSqlSafe(oracle)).execute(&owner).await.unwrap();
        sqlx::raw_sql(include_str!("witness.sql")).execute(&owner).await.unwrap();
        let start: DateTime<Utc> =
            sqlx::query_scalar("select now()").fetch_one(&owner).await.unwrap();
        let plan = Plan::draw(settings, start);
        let (mut daemons, mut freezers) = (Vec::new(), Vec::new());
        for place in 0..settings.replicas() {
            let name = replicas::login(place);
            let url = server.login(&owner, &name, "reconciler_daemon").await.unwrap();
            let (url, freezer) = through_a_freezer(&url).await;
            daemons.push(url);
            freezers.push(freezer);
        }
        let backend = server.login(&owner, "soak_backend", "reconciler_backend").await.unwrap();
        let operator = server.login(&owner, "soak_operator", "reconciler_operator").await.unwrap();
        Self {
            apps: Simulator::start(before(&plan), simulator(settings)).await.unwrap(),
            backend: connect(&backend, 5).await,
            operator: connect(&operator, 2).await,
            plan,
            owner,
            daemons,
            freezers,
            server: Mutex::new(server),
        }
    }

    /// Whether the members of an app can be read.
    pub(super) fn is_readable(&self, key: &Key) -> bool {
        let is_it =
            |app: &&Integration| (&app.workspace, &app.id) == (&key.workspace, &key.integration);
        let app = self.plan.apps.iter().find(is_it);
        app.is_some_and(|app| app.capabilities.sync)
    }

    /// Brings the database down and up again.
    pub(super) async fn restart_database(&self, shutdown: Shutdown) {
        self.server.lock().await.restart(shutdown).await.unwrap();
    }

    /// Lets every coming attempt for these members work.
    pub(super) fn let_automation_work(&self, of: impl Fn(&Key) -> bool) {
        for (key, _) in self.plan.members.iter().filter(|(key, _)| of(key)) {
            for operation in [Operation::Invite, Operation::Remove, Operation::ChangeRole] {
                let Key { workspace, integration, member } = key;
                self.apps.set_fate(workspace, integration, member, operation, Fate::Succeed);
            }
        }
    }

    pub(super) async fn stop(self) {
        self.apps.stop().await.unwrap();
        for pool in [&self.owner, &self.backend, &self.operator] {
            pool.close().await;
        }
        self.server.into_inner().stop().await.unwrap();
    }
}

async fn through_a_freezer(url: &str) -> (String, Freezer) {
    let options: PgConnectOptions = url.parse().unwrap();
    let server = SocketAddr::new(options.get_host().parse().unwrap(), options.get_port());
    let freezer = Freezer::before(server).await;
    let way = options.port(freezer.address.port());
    (way.to_url_lossy().to_string(), freezer)
}

async fn connect(url: &str, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        // A handshake takes long where everything does.
        .acquire_timeout(Duration::from_secs(30))
        .connect(url)
        .await
        .unwrap()
}

fn before(plan: &Plan) -> Apps {
    let mut apps = Apps::new();
    for app in &plan.apps {
        apps = apps.integration(app.clone());
        for n in 0..BYSTANDERS {
            let id = format!("bystander-{n}");
            let member = Member::new(&id, &format!("{id}@example.com")).with(&[FORMER_ROLE]);
            apps = apps.member(&app.workspace, &app.id, member);
        }
    }
    for hub in flood::hubs() {
        let (workspace, id) = (hub.workspace.clone(), hub.id.clone());
        // An empty list proves nothing: each removal would be a run in the app.
        let somebody = Member::new("somebody", "somebody@example.com");
        apps = apps.integration(hub).member(&workspace, &id, somebody);
    }
    for (key, is_there) in &plan.members {
        let person = names::listed(key);
        apps = apps.person(&key.workspace, person.clone());
        if *is_there {
            let is_matched = !names::is_stranger(key);
            let member = Member { is_matched, ..person.with(&[FORMER_ROLE]) };
            apps = apps.member(&key.workspace, &key.integration, member);
        }
    }
    apps
}

fn simulator(settings: &Settings) -> SimulatorSettings {
    SimulatorSettings {
        seed: settings.seed,
        job_ms: 10..=300,
        // Within `JOB__WITHIN_S` and `RETRY__SETTLE_S`.
        unheard_job_ms: Some(300..=1700),
        sync_ms: 30..=300,
        faults: FaultPlan { sync_fails: 0.1, ..usual_faults() },
        // Long enough for a client that asks twice to be seen.
        invitation_accepted_after: Some(Duration::from_secs(8)),
        page_size_cap: 25,
        // Not all digits: a variable's value that reads as a number is taken for one.
        api_key: "soak-key".to_owned(),
        ..SimulatorSettings::default()
    }
}

/// What goes wrong with requests on an ordinary day.
pub(super) fn usual_faults() -> FaultPlan {
    FaultPlan {
        delay: 0.03,
        delay_ms: 20..=400,
        server_error: 0.01,
        unavailable: 0.01,
        rate_limited: 0.01,
        reset: 0.01,
        // What lands late is lost first.
        lost_reply: 0.03,
        stall: 0.003,
        html: 0.005,
        ok_with_errors: 0.005,
        ..FaultPlan::none()
    }
}
