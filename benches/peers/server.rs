//! The server under test: databases, and what the work costs it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sqlx::{Connection, PgConnection};

use super::bed::{self, Bed};
use super::driver::Running;

/// Of Linux, for whoever reads /proc.
const TICKS_PER_SECOND: f64 = 100.0;
const QUIET_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// The one that is measured in; made anew for every run.
const DATABASE: &str = "peers";
const SETTINGS: [&str; 7] = [
    "synchronous_commit",
    "fsync",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "autovacuum",
];

/// The private server, seen from its `postgres` database.
pub(super) struct Server {
    bed: Bed,
    admin: PgConnection,
    postmaster: u32,
}

impl Server {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let bed = Bed::start().await?;
        let ids = fs::read_to_string(bed.postgres().data_dir().join("postmaster.pid"))?;
        let postmaster = ids.lines().next().context("the first line is the id")?.parse()?;
        let admin = bed::connect(&bed.postgres().url()).await?;
        Ok(Self { bed, admin, postmaster })
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.bed.stop().await
    }

    /// Fails when the server does not answer.
    pub(super) async fn ping(&mut self) -> anyhow::Result<()> {
        Ok(self.admin.ping().await?)
    }

    pub(super) fn version(&self) -> &str {
        self.bed.version()
    }

    pub(super) async fn print_settings(&mut self) -> anyhow::Result<()> {
        for setting in SETTINGS {
            let value: String = sqlx::query_scalar("select current_setting($1)")
                .bind(setting)
                .fetch_one(&mut self.admin)
                .await?;
            println!("PostgreSQL: {setting} = {value}");
        }
        Ok(())
    }

    /// Makes an empty database; its URL.
    pub(super) async fn create_database(&self) -> anyhow::Result<String> {
        self.bed.database(DATABASE).await
    }

    /// Leaves a prepared database as one that has been at rest. A connection to watch it by.
    pub(super) async fn settle(&mut self, url: &str) -> anyhow::Result<PgConnection> {
        self.wait_for_quiet().await?;
        bed::settle(url).await?;
        bed::connect(url).await
    }

    /// Waits until nobody is connected; by then everybody's statistics are told.
    pub(super) async fn wait_for_quiet(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + QUIET_LIMIT;
        let busy = "select exists (select from pg_stat_activity where datname = $1 \
                    and backend_type = 'client backend')";
        while sqlx::query_scalar(busy).bind(DATABASE).fetch_one(&mut self.admin).await? {
            ensure!(Instant::now() < deadline, "somebody stays connected");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    pub(super) async fn transactions(&mut self) -> anyhow::Result<i64> {
        let count = "select xact_commit + xact_rollback from pg_stat_database where datname = $1";
        Ok(sqlx::query_scalar(count).bind(DATABASE).fetch_one(&mut self.admin).await?)
    }

    pub(super) async fn dead_tuples(&self, url: &str) -> anyhow::Result<i64> {
        let sum = "select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables";
        Ok(sqlx::query_scalar(sum).fetch_one(&mut bed::connect(url).await?).await?)
    }

    async fn wal_bytes(&mut self) -> anyhow::Result<i64> {
        let position = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
        Ok(sqlx::query_scalar(position).fetch_one(&mut self.admin).await?)
    }

    /// Of all its processes, those that ended included.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let mut ticks = Times::of(self.postmaster)?.with_ended_children();
        for process in fs::read_dir("/proc")? {
            let Some(id) = process?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Processes come and go meanwhile.
            if let Ok(times) = Times::of(id)
                && times.parent == self.postmaster
            {
                ticks += times.own;
            }
        }
        Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
    }
}

pub(super) struct Costs {
    pub(super) wal_bytes: i64,
    pub(super) server_cpu: Duration,
    pub(super) driver_cpu: Duration,
}

impl Costs {
    pub(super) async fn so_far(server: &mut Server, driver: &Running) -> anyhow::Result<Self> {
        let driver_cpu = Times::of(driver.id()?)?.own / TICKS_PER_SECOND;
        Ok(Self {
            wal_bytes: server.wal_bytes().await?,
            server_cpu: server.cpu()?,
            driver_cpu: Duration::from_secs_f64(driver_cpu),
        })
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            wal_bytes: self.wal_bytes - before.wal_bytes,
            server_cpu: self.server_cpu.saturating_sub(before.server_cpu),
            driver_cpu: self.driver_cpu.saturating_sub(before.driver_cpu),
        }
    }
}

/// The processor's times of a process, in ticks.
struct Times {
    parent: u32,
    own: f64,
    ended_children: f64,
}

impl Times {
    fn of(process: u32) -> anyhow::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let (_, fields) = text.rsplit_once(") ").context("its name is in brackets")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<f64>();
        // As in proc(5), from the third field on.
        let (user, system, children_user, children_system) = (11, 12, 13, 14);
        Ok(Self {
            parent: fields[1].parse()?,
            own: ticks(user)? + ticks(system)?,
            ended_children: ticks(children_user)? + ticks(children_system)?,
        })
    }

    fn with_ended_children(&self) -> f64 {
        self.own + self.ended_children
    }
}
