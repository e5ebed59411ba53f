//! Trouble: what is dealt to replicas, database and backend, and when, drawn from the seed.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::private_postgres::Shutdown;
use testkit::simulator::{Clock, FaultPlan, Stamps};
use tokio::sync::MutexGuard;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::flood;
use super::replicas::{Place, Replicas, login};
use super::settings::Settings;
use super::tally::Tally;
use super::world::{World, usual_faults};

const ODD_ROWS: &str = "
    insert into reconciler.arrivals (task_id, workspace_id, integration_id, member_id, is_removal)
    values (nextval('reconciler.lease_tokens') + 1000000000, 'odd', 'odd', 'odd', true);
    insert into reconciler.nudges (workspace_id, integration_id, what, action_id)
    values ('odd', 'odd', 'done', 1000000000), ('odd', 'odd', 'ended', 1000000000)";

/// What is told of frozen sockets, and how soon a replica must have new ones.
pub(super) const BACK_AFTER_FROST: &str = "back after frozen sockets";
pub(super) const BACK_WITHIN: Duration = Duration::from_secs(60);

/// So often something new goes wrong.
const EVERY: Duration = Duration::from_millis(600);
/// Set apart from the plan's draws, so that more trouble changes no intent.
const STREAM: u64 = 0x5eed_0f7a_0b1e;

/// One piece of trouble.
#[derive(Clone, Debug)]
enum Trouble {
    /// SIGKILL, and a new one after a while.
    Kill { replica: usize, gone_for: Duration },
    /// SIGSTOP for longer than a lease, then SIGCONT.
    Freeze { replica: usize, frozen_for: Duration },
    /// What a replica has connected to the database freezes; new connections work.
    FreezeSockets { replica: usize },
    /// SIGTERM, and a new one.
    Terminate { replica: usize },
    /// The database goes down and comes back.
    Restart(Shutdown),
    /// Some of the database's connections are cut.
    Cut { connections: i64 },
    /// The person leaves a transaction open that has rows locked.
    HoldLocks { lasts: Duration },
    /// New sessions of the replicas may not write, as after a failover, and old ones are cut.
    ReadOnly { lasts: Duration },
    /// Rows of the daemon's own tables that speak of nothing that is there.
    OddRows,
    /// A workspace floods the queue.
    Flood { rows: i32 },
    /// Every request is answered with 503.
    Outage { lasts: Duration },
    /// The list of an app's members ends after so many.
    CutList { app: usize, members: usize, lasts: Duration },
    /// The backend's clock is set, and writes in another way.
    SetClock(Clock),
    /// Much of one kind goes wrong with requests.
    Storm { kind: usize, lasts: Duration },
}

/// Kinds of storms: their names and what they bring.
fn storm(kind: usize) -> (&'static str, FaultPlan) {
    let none = FaultPlan::none;
    match kind {
        0 => ("429 storm", FaultPlan { rate_limited: 0.6, ..none() }),
        1 => ("storm of lost replies", FaultPlan { lost_reply: 0.4, ..none() }),
        2 => ("storm of resets", FaultPlan { reset: 0.4, ..none() }),
        3 => ("storm of stalls", FaultPlan { stall: 0.2, ..none() }),
        4 => ("storm of delays", FaultPlan { delay: 0.8, delay_ms: 100..=700, ..none() }),
        5 => ("storm of 502 and 503", FaultPlan { unavailable: 0.5, ..none() }),
        _ => (
            "storm of nonsense",
            FaultPlan {
                server_error: 0.15,
                unavailable: 0.15,
                html: 0.15,
                ok_with_errors: 0.1,
                ..none()
            },
        ),
    }
}

const STORMS: usize = 7;

impl Trouble {
    fn draw(rng: &mut StdRng) -> Self {
        let replica = rng.random_range(0..1000);
        let mut millis = |range| Duration::from_millis(rng.random_range(range));
        let (short, long, frozen_for) = (millis(100..1500), millis(1000..4000), millis(4500..7000));
        match rng.random_range(0..1000) {
            0..200 => Self::Kill { replica, gone_for: short },
            200..430 => Self::Freeze { replica, frozen_for },
            430..450 => Self::FreezeSockets { replica },
            450..550 => Self::Terminate { replica },
            550..590 => Self::Restart(Shutdown::Fast),
            590..630 => Self::Restart(Shutdown::Immediate),
            630..680 => Self::Cut { connections: rng.random_range(1..6) },
            680..730 => Self::HoldLocks { lasts: long },
            730..750 => Self::ReadOnly { lasts: short },
            750..766 => Self::OddRows,
            766..769 => Self::Flood { rows: rng.random_range(1000..3000) },
            769..800 => Self::Outage { lasts: short * 2 },
            800..850 => Self::SetClock(clock(rng)),
            850..900 => Self::CutList {
                app: rng.random_range(0..1000),
                // Where a page ends: a list that ends elsewhere can deceive, as the document on verification says.
                members: *[0, 25, 50].choose(rng).unwrap(),
                lasts: long * 2,
            },
            _ => Self::Storm { kind: rng.random_range(0..STORMS), lasts: long },
        }
    }
}

/// A clock that is hours ahead or behind, or right, and writes times as it likes.
fn clock(rng: &mut StdRng) -> Clock {
    const STAMPS: [Stamps; 6] = [
        Stamps::Mixed,
        Stamps::Naive,
        Stamps::Compact,
        Stamps::Seconds,
        Stamps::Milliseconds,
        Stamps::Missing,
    ];
    let minutes = [0, rng.random_range(-300..300)];
    Clock {
        ahead: TimeDelta::minutes(*minutes.choose(rng).unwrap()),
        stamps: *STAMPS.choose(rng).unwrap(),
    }
}

/// Deals trouble until the storm is over, then lets everything be well.
pub(super) async fn deal(
    settings: Settings,
    world: Arc<World>,
    replicas: Arc<Replicas>,
    dealt: Arc<Tally>,
) {
    let mut rng = StdRng::seed_from_u64(settings.seed ^ STREAM);
    world.apps.set_clock(clock(&mut rng));
    let end = Instant::now() + settings.storm();
    let mut under_way = JoinSet::new();
    loop {
        let pause = EVERY.mul_f64(rng.random_range(0.3..1.7));
        tokio::time::sleep(pause).await;
        if Instant::now() > end {
            break;
        }
        let trouble = Trouble::draw(&mut rng);
        let (world, replicas) = (Arc::clone(&world), Arc::clone(&replicas));
        let dealt = Arc::clone(&dealt);
        under_way.spawn(async move { make(trouble, &world, &replicas, &dealt).await });
    }
    while let Some(made) = under_way.join_next().await {
        made.unwrap();
    }
    world.apps.set_http_faults(FaultPlan::none());
    world.let_automation_work(|_| true);
}

async fn make(trouble: Trouble, world: &World, replicas: &Replicas, dealt: &Tally) {
    match trouble {
        Trouble::Kill { replica, gone_for } => {
            if let Some(mut place) = replicas.place(replica) {
                dealt.count("SIGKILL");
                place.kill().await;
                tokio::time::sleep(gone_for).await;
            }
        }
        Trouble::Freeze { replica, frozen_for } => {
            if let Some(place) = replicas.place(replica) {
                dealt.count("SIGSTOP and SIGCONT");
                wait_until_it_holds_a_task(world, &place).await;
                place.signal(Signal::SIGSTOP);
                tokio::time::sleep(frozen_for).await;
                place.signal(Signal::SIGCONT);
            }
        }
        Trouble::FreezeSockets { replica } => {
            if let Some(place) = replicas.place(replica) {
                freeze_sockets(world, place, dealt).await;
            }
        }
        Trouble::Terminate { replica } => {
            if let Some(mut place) = replicas.place(replica) {
                dealt.count("SIGTERM");
                place.terminate().await;
            }
        }
        Trouble::Restart(shutdown) => {
            dealt.count(match shutdown {
                Shutdown::Fast => "fast restart of PostgreSQL",
                Shutdown::Immediate => "immediate restart of PostgreSQL",
            });
            world.restart_database(shutdown).await;
        }
        Trouble::Cut { connections } => {
            if cut(world, connections).await.is_ok() {
                dealt.count("cut connections");
            }
        }
        Trouble::HoldLocks { lasts } => {
            if hold_locks(world, lasts).await.is_ok() {
                dealt.count("transaction left open");
            }
        }
        Trouble::ReadOnly { lasts } => {
            if read_only(world, lasts).await {
                dealt.count("sessions that may not write");
            }
        }
        Trouble::OddRows => {
            if sqlx::raw_sql(ODD_ROWS).execute(&world.owner).await.is_ok() {
                dealt.count("odd rows");
            }
        }
        Trouble::Flood { rows } => flood::come(world, rows, dealt).await,
        Trouble::Outage { lasts } => {
            dealt.count("backend outage");
            world.apps.set_outage(true);
            tokio::time::sleep(lasts).await;
            world.apps.set_outage(false);
        }
        Trouble::CutList { app, members, lasts } => {
            let app = &world.plan.apps[app % world.plan.apps.len()];
            dealt.count(if members == 0 { "empty list" } else { "cut list" });
            world.apps.cut_list(&app.workspace, &app.id, Some(members));
            tokio::time::sleep(lasts).await;
            world.apps.cut_list(&app.workspace, &app.id, None);
        }
        Trouble::SetClock(clock) => {
            dealt.count(if clock.ahead.is_zero() { "clock set right" } else { "clock set wrong" });
            world.apps.set_clock(clock);
        }
        Trouble::Storm { kind, lasts } => {
            let (name, faults) = storm(kind);
            dealt.count(name);
            world.apps.set_http_faults(faults);
            tokio::time::sleep(lasts).await;
            world.apps.set_http_faults(usual_faults());
        }
    }
}

/// Until it is over, nothing else happens to the replica.
async fn freeze_sockets(world: &World, mut place: MutexGuard<'_, Place>, dealt: &Tally) {
    if place.has_ended() {
        return;
    }
    dealt.count("frozen sockets");
    wait_until_it_holds_a_task(world, &place).await;
    let now = sqlx::query_scalar("select clock_timestamp()").fetch_one(&world.owner).await;
    let (Ok(frozen_at), began) = (now, Instant::now()) else { return };
    let frozen = world.freezers[place.number()].freeze();
    while began.elapsed() <= BACK_WITHIN && !is_back(world, &place.login(), frozen_at).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    dealt.took(BACK_AFTER_FROST, began.elapsed());
    frozen.cancel();
}

/// Whether a replica works with a session that began after this.
async fn is_back(world: &World, login: &str, after: DateTime<Utc>) -> bool {
    let is_back = sqlx::query_scalar(
        "select exists (select from pg_stat_activity
                        where usename = $1 and backend_start > $2)",
    );
    is_back.bind(login).bind(after).fetch_one(&world.owner).await.unwrap_or(false)
}

/// Freezing an idle replica shows little; one that is never at work is frozen all the same.
async fn wait_until_it_holds_a_task(world: &World, place: &Place) {
    const LONGEST: Duration = Duration::from_secs(1);
    let holds = async {
        while !matches!(holds_a_task(world, place.login()).await, Ok(true)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(LONGEST, holds).await;
}

async fn holds_a_task(world: &World, login: String) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from reconciler.members m
                        join soak.claims c on c.task_id = m.ready_task_id and c.token = m.lease_token
                        where m.lease_until is not null and c.login = $1)",
    )
    .bind(login)
    .fetch_one(&world.owner)
    .await
}

/// What people may lock, as psql does with `begin` and no end.
async fn hold_locks(world: &World, lasts: Duration) -> sqlx::Result<()> {
    let mut psql = PgConnection::connect_with(&world.operator.connect_options()).await?;
    for lock in [
        "begin",
        "select from reconciler.manual_actions where closed_at is null limit 20 for update skip locked",
        "select from reconciler.syncs where finished_at is null limit 3 for update skip locked",
    ] {
        sqlx::query(lock).execute(&mut psql).await?;
    }
    tokio::time::sleep(lasts).await;
    psql.close().await
}

/// Whether it could be done; in the end, all may write again, however often the database goes down meanwhile.
async fn read_only(world: &World, lasts: Duration) -> bool {
    let logins: Vec<_> = (0..world.daemons.len()).map(login).collect();
    for name in &logins {
        let refuse = format!("alter role {name} set default_transaction_read_only = on");
        if sqlx::raw_sql(AssertSqlSafe(refuse)).execute(&world.owner).await.is_err() {
            break;
        }
    }
    let is_cut = cut(world, 10).await.is_ok();
    tokio::time::sleep(lasts).await;
    for name in &logins {
        let allow = format!("alter role {name} reset default_transaction_read_only");
        while sqlx::raw_sql(AssertSqlSafe(allow.as_str())).execute(&world.owner).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    is_cut
}

async fn cut(world: &World, connections: i64) -> sqlx::Result<()> {
    sqlx::query(
        "select pg_terminate_backend(pid)
         from (select pid from pg_stat_activity where usename like 'soak%' order by random() limit $1) chosen",
    )
    .bind(connections)
    .execute(&world.owner)
    .await
    .map(drop)
}
