//! The parts of a demo, started in order and stopped in order.

use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use cerby_reconciler::intake::inbound::InboundTask;
use cerby_reconciler::operator::desk::{Actor, Desk};
use cerby_reconciler::schema;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tempfile::TempDir;

use super::cast::{self, Part};
use super::commands::Commands;
use super::logins::{self, Logins};
use super::person::Person;
use super::progress::Unseen;
use super::replicas::Replicas;
use super::tempo::Tempo;
use super::world::{self, Ending};
use super::{screen, tasks};
use crate::private_postgres::{self, PrivatePostgres};
use crate::simulator::{FaultPlan, Settings, Simulator};

/// A running demo. [`Running::stop`] ends its processes and removes its files in order; a drop does it at once.
pub(super) struct Running {
    // Fields are dropped in this order: the replicas before the servers that they use.
    pub(super) replicas: Replicas,
    pub(super) scene: Scene,
}

/// What the replicas and everybody else connect to.
pub(super) struct Scene {
    pub(super) simulator: Simulator,
    /// For queries: the owner of everything.
    pub(super) owner: PgPool,
    backend: PgPool,
    /// For the scripted people.
    colleague: PgPool,
    pub(super) commands: Commands,
    server: PrivatePostgres,
    pub(super) seed: u64,
    pub(super) began_at: DateTime<Utc>,
    pub(super) tasks: Vec<InboundTask>,
    pub(super) cast: Vec<Part>,
    unseen: Mutex<Vec<Unseen>>,
    /// The expected final state of each member.
    pub(super) endings: Vec<Ending>,
    daemon: String,
    dir: TempDir,
}

impl Running {
    /// Starts PostgreSQL, the simulated backend and the replicas.
    pub(super) async fn start(tempo: &Tempo, seed: u64) -> anyhow::Result<Self> {
        screen::progress("starting a private PostgreSQL");
        let scene = Scene::set(tempo, seed).await?;
        screen::progress("starting two replicas of the daemon");
        let environment = environment(tempo, &scene.daemon, &scene.simulator);
        Ok(Self { replicas: Replicas::start(scene.dir.path(), &environment).await?, scene })
    }

    /// Stops everything and removes every file.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let wrong = self.replicas.stop().await;
        drop(self.replicas);
        self.scene.strike().await?;
        anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(())
    }
}

impl Scene {
    async fn set(tempo: &Tempo, seed: u64) -> anyhow::Result<Self> {
        let server = PrivatePostgres::start(private_postgres::Options::default()).await?;
        let owner = logins::connect(&server.url()).await?;
        schema::migrate(&owner.clone().into()).await?;
        let logins = Logins::create(&owner, &server).await?;
        let tasks = tasks::all();
        let simulator = Simulator::start(world::before(&tasks), settings(tempo, seed))
            .await
            .context("the simulated backend cannot start")?;
        let cast = cast::cast(&tasks, seed);
        cast::set_fates(&simulator, &cast, &tasks);
        let dir = tempfile::Builder::new()
            .prefix("cerby-demo-")
            .tempdir()
            .context("cannot make a directory for the demo")?;
        Ok(Self {
            commands: Commands::offer(dir.path(), &logins.visitor, simulator.address(), &server)?,
            backend: logins::connect(&logins.backend).await?,
            colleague: logins::connect(&logins.colleague).await?,
            endings: world::endings(&tasks),
            seed,
            began_at: sqlx::query_scalar("select clock_timestamp()").fetch_one(&owner).await?,
            tasks,
            cast,
            unseen: Mutex::default(),
            daemon: logins.daemon,
            simulator,
            owner,
            server,
            dir,
        })
    }

    /// The scripted person.
    pub(super) fn colleague(&self) -> Person<'_> {
        Person { pool: &self.colleague, apps: &self.simulator }
    }

    pub(super) fn unseen(&self) -> Vec<Unseen> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note_unseen(&self, act: Unseen) {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).push(act);
    }

    pub(super) fn email_of(&self, part: &Part) -> String {
        let is_about =
            |task: &&InboundTask| task.member_id == part.member && world::place(task) == part.place;
        self.tasks.iter().find(is_about).map(|task| task.member_email.clone()).unwrap_or_default()
    }

    /// Inserts the failed tasks, as the Cerby backend would.
    pub(super) async fn let_tasks_arrive(&self, tempo: &Tempo) -> anyhow::Result<()> {
        let desk = Desk::new(self.backend.clone().into());
        for batch in tasks::batches(tempo.arrivals, &self.cast) {
            desk.import(&Actor::by_login(), &batch, |_, _| ()).await?;
            tokio::time::sleep(tempo.arrive_every).await;
        }
        Ok(())
    }

    async fn strike(self) -> anyhow::Result<()> {
        self.simulator.stop().await?;
        for pool in [&self.owner, &self.backend, &self.colleague] {
            pool.close().await;
        }
        self.server.stop().await?;
        self.dir.close().context("the demo's directory cannot be removed")
    }
}

pub(super) fn settings(tempo: &Tempo, seed: u64) -> Settings {
    Settings {
        seed,
        job_ms: tempo.job_ms.clone(),
        sync_ms: tempo.sync_ms.clone(),
        faults: faults(),
        invitation_accepted_after: Some(tempo.invitation_accepted_after),
        // Not all digits, because a variable whose value reads as a number is parsed as one.
        api_key: format!("demo-{}", private_postgres::secret()),
        ..Settings::default()
    }
}

/// Some of every fault that occurs in reality.
fn faults() -> FaultPlan {
    FaultPlan {
        permanent: 0.08,
        transient: 0.25,
        transient_times: 1..=2,
        failed_though_done: 0.08,
        finished_though_not_done: 0.08,
        sync_fails: 0.1,
        delay: 0.03,
        delay_ms: 50..=300,
        server_error: 0.015,
        unavailable: 0.015,
        rate_limited: 0.015,
        reset: 0.01,
        lost_reply: 0.01,
        stall: 0.002,
        html: 0.01,
        ok_with_errors: 0.01,
        ..FaultPlan::none()
    }
}

fn environment(tempo: &Tempo, daemon: &str, simulator: &Simulator) -> Vec<(String, String)> {
    let fixed = [
        ("DATABASE__URL", daemon.to_owned()),
        ("BACKEND__BASE_URL", simulator.base_url()),
        ("BACKEND__API_KEY", simulator.api_key()),
        ("HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("TELEMETRY__FORMAT", "json".to_owned()),
    ];
    let times = tempo.configuration.iter().map(|(key, value)| (*key, (*value).to_owned()));
    fixed
        .into_iter()
        .chain(times)
        .map(|(key, value)| (format!("RECONCILER__{key}"), value))
        .collect()
}
