//! An upgrade while the work goes on: replicas of two versions on one database.
//!
//! `make test-upgrade` builds a program of a newer version, which has the migrations in `upgrade/migrations`, and names it
//! in `NEWER_PROGRAM`. Without it, this program plays both versions, the tests apply those migrations with its code, and
//! there are fewer tasks.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use sqlx::migrate::{Migration, Migrator};
use sqlx::{ConnectOptions, PgPool};
use testkit::simulator::{
    Call, HttpFault, Injection, Integration, Kind, Member, Settings, Simulator, World as Apps,
};

use crate::program::{Program, assert_names};
use crate::support::replica::{Replica, serve_by};
use crate::support::{WORKSPACE, eventually};
use cerby_reconciler::schema;

/// The program of a newer version, if there is one.
pub(crate) fn newer_program() -> Option<PathBuf> {
    std::env::var_os("NEWER_PROGRAM").map(PathBuf::from)
}

/// The migrations of this program, and those of the newer one.
pub(crate) async fn newer_migrations() -> Vec<Migration> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/processes/upgrade/migrations");
    let added = Migrator::new(folder).await.unwrap();
    schema::migrations().iter().chain(added.iter()).cloned().collect()
}

/// `migrate` as the newer program does it; all that it told.
pub(crate) async fn migrate_to_newer(pool: &PgPool) -> Result<String, String> {
    if let Some(program) = newer_program() {
        let ended = Program::on(pool).run_by(&program, &["migrate"]).await;
        let told = format!("{}{}", ended.stdout, ended.stderr);
        return if ended.code == Some(0) { Ok(told) } else { Err(told) };
    }
    let mut told = String::new();
    let mut tell = |line: &str| told += &format!("{line}\n");
    match schema::apply(&pool.clone().into(), &newer_migrations().await, &mut tell).await {
        Ok(usable) => Ok(format!("{told}{usable}")),
        Err(error) => Err(format!("{told}{error}")),
    }
}

const APPS: usize = 20;

struct Upgrade {
    pool: PgPool,
    apps: Simulator,
    tasks: usize,
}

impl Upgrade {
    /// A database of the older version, and members to remove in several apps, by jobs that take a moment.
    async fn new(pool: PgPool) -> Self {
        schema::migrate(&pool.clone().into()).await.unwrap();
        let tasks = if newer_program().is_some() { 2_000 } else { 240 };
        let mut apps = Apps::new();
        for app in 0..APPS {
            let (id, name) = (format!("app-{app}"), format!("App {app}"));
            apps = apps.integration(Integration::new(
                WORKSPACE,
                &id,
                &name,
                Kind::App,
                "asana_tenant",
            ));
        }
        for n in 0..tasks {
            let member = Member::new(&format!("m{n}"), &format!("m{n}@example.com"));
            apps = apps.member(WORKSPACE, &format!("app-{}", n % APPS), member);
        }
        let settings = Settings { job_ms: 50..=150, ..Settings::default() };
        let apps = Simulator::start(apps, settings).await.unwrap();
        Self { pool, apps, tasks }
    }

    /// Inserts the removals of one third of the members.
    async fn insert_third(&self, third: usize) {
        let (from, to) = (self.tasks * third / 3, self.tasks * (third + 1) / 3);
        sqlx::query(
            "insert into reconciler.automation_tasks
                 (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
                  member_id, member_email, operation, trigger, requested_at, failure_code)
             select $1, 'source-' || n, 'job', 'app-' || n % $2, 'app', 'App ' || n % $2, 'asana_tenant',
                    'm' || n, 'm' || n || '@example.com', 'remove', 'manual', now(), 'LoginTimeout'
             from generate_series($3, $4 - 1) n",
        )
        .bind(WORKSPACE)
        .bind(i32::try_from(APPS).unwrap())
        .bind(i32::try_from(from).unwrap())
        .bind(i32::try_from(to).unwrap())
        .execute(&self.pool)
        .await
        .unwrap();
    }

    async fn succeeded(&self) -> usize {
        let count: i64 = sqlx::query_scalar(
            "select count(*) from reconciler.automation_tasks where state = 'succeeded'",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        usize::try_from(count).unwrap()
    }

    /// Waits until so many tasks have succeeded. As long as some do, it goes on.
    async fn until(&self, count: usize) {
        loop {
            let before = self.succeeded().await;
            if before >= count {
                return;
            }
            eventually("another task succeeds", async || self.succeeded().await > before).await;
        }
    }

    /// Inserts the first third and migrates while one of its removals is being asked for.
    async fn migrate_under_work(&self) {
        let nth = u64::try_from(self.tasks / 30).unwrap();
        self.apps.inject(Injection { call: Call::Remove, nth, fault: HttpFault::Hold });
        self.insert_third(0).await;
        let in_flight = self.apps.held().await;
        migrate_to_newer(&self.pool).await.unwrap();
        in_flight.release();
    }

    /// Every member was removed, once, and never by two jobs at a time.
    async fn assert_nothing_is_lost_or_doubled(&self) {
        self.until(self.tasks).await;
        let counters = self.apps.counters();
        for n in 0..self.tasks {
            let app = format!("app-{}", n % APPS);
            let removals = counters.effects(WORKSPACE, &app, &format!("m{n}")).removals;
            assert_eq!(removals, 1, "m{n}");
        }
        assert_eq!((counters.duplicate_effects, counters.overlapping_jobs), (0, 0));
    }

    fn url(&self) -> String {
        self.pool.connect_options().to_url_lossy().to_string()
    }

    async fn older(&self) -> Replica {
        Replica::start(&self.url(), &self.apps, &[]).await
    }

    async fn newer(&self) -> Replica {
        let program = newer_program();
        let this = Path::new(env!("CARGO_BIN_EXE_cerby-reconciler"));
        let program = program.as_deref().unwrap_or(this);
        let replica = Replica::of(serve_by(program, &self.url(), &self.apps, &[]));
        eventually("it is up", async || replica.count("service.started") == 1).await;
        replica
    }
}

fn version(replica: &Replica) -> String {
    replica.last("service.started").unwrap()["version"].to_string()
}

/// Waits until each of them has ended a task since it was looked at.
async fn both_work(one: &Replica, other: &Replica) {
    let before = (one.count("task.succeeded"), other.count("task.succeeded"));
    eventually("both replicas end tasks", async || {
        one.count("task.succeeded") > before.0 && other.count("task.succeeded") > before.1
    })
    .await;
}

#[sqlx::test(migrations = false)]
async fn a_newer_program_takes_over_while_the_work_goes_on(pool: PgPool) {
    let upgrade = Upgrade::new(pool).await;
    let mut leaving = upgrade.older().await;
    let staying = upgrade.older().await;
    upgrade.migrate_under_work().await;
    upgrade.insert_third(1).await;
    let newer = upgrade.newer().await;
    leaving.signal(Signal::SIGTERM);
    assert_eq!(leaving.ended().await, Some(0), "{}", leaving.log());
    upgrade.insert_third(2).await;
    both_work(&staying, &newer).await;
    upgrade.assert_nothing_is_lost_or_doubled().await;
    assert_eq!(version(&newer) != version(&staying), newer_program().is_some());
}

#[sqlx::test(migrations = false)]
async fn an_older_replica_that_is_killed_restarts_on_the_newer_schema_and_works_on(pool: PgPool) {
    let upgrade = Upgrade::new(pool).await;
    let mut killed = upgrade.older().await;
    upgrade.migrate_under_work().await;
    let mut newer = upgrade.newer().await;
    upgrade.insert_third(1).await;
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.ended().await, None);

    let restarted = upgrade.older().await;
    upgrade.insert_third(2).await;
    both_work(&restarted, &newer).await;
    // The upgrade is taken back: the older program ends the work alone.
    newer.signal(Signal::SIGTERM);
    assert_eq!(newer.ended().await, Some(0), "{}", newer.log());
    upgrade.assert_nothing_is_lost_or_doubled().await;
}

#[sqlx::test(migrations = false)]
async fn the_older_program_says_that_it_may_use_the_newer_schema_and_leaves_it_as_it_is(
    pool: PgPool,
) {
    let upgrade = Upgrade::new(pool).await;
    let program = Program::on(&upgrade.pool).with_backend(&upgrade.apps);
    migrate_to_newer(&upgrade.pool).await.unwrap();
    let newest = newer_migrations().await.last().unwrap().version;
    let own = schema::needed_version();
    let words = format!("version {newest}, newer than this program's {own}, which may use it");
    assert_names(&program.run(&["check"]).await.ok(), &["ok       schema", &words]);
    let told = program.run(&["migrate"]).await.ok();
    assert_eq!(told, format!("schema is at {words}; nothing was migrated\n"));
    // What people do goes on, too.
    program.run(&["actions", "list"]).await.ok();
    if let Some(newer) = newer_program() {
        let told = program.run_by(&newer, &["check"]).await.ok();
        assert_names(&told, &[&format!("version {newest}, as this program needs")]);
    }
}

#[sqlx::test(migrations = false)]
async fn a_program_that_is_older_than_a_migration_allows_refuses_the_schema(pool: PgPool) {
    let upgrade = Upgrade::new(pool).await;
    let program = Program::on(&upgrade.pool);
    migrate_to_newer(&upgrade.pool).await.unwrap();
    sqlx::query(
        "update reconciler.schema_migrations set oldest_program = '999.0.0' where version = 99990101000002",
    )
    .execute(&upgrade.pool)
    .await
    .unwrap();
    let needs = "and needs program 999.0.0 or newer: run a newer program than ";
    let ended = program.run(&["serve"]).await;
    assert_eq!(ended.line()["event"], "service.failed");
    assert_names(&ended.refusal(), &[needs]);
    assert_names(&program.run(&["check"]).await.refusal(), &["FAILED   schema", needs]);
    assert_names(&program.run(&["migrate"]).await.refusal(), &[needs]);
    assert_names(&program.run(&["actions", "list"]).await.refusal(), &[needs]);
}
