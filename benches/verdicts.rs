//! The time from a person's "done" to the verdict, while 50 integrations are busy.
//!
//! Run with `cargo bench --bench verdicts`; VERDICTS_SEED may be given. Prints the settings, the distribution and
//! whether the goal is met. Asserts nothing about time; fails if a "done" gets no verdict within a minute.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use cerby_reconciler::schema;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{FromRow, PgPool};
use testkit::private_postgres::{Options, PrivatePostgres};
use testkit::simulator::{Integration, Kind, Member, Settings, Simulator, World};
use tokio::time::{Instant, sleep, sleep_until};

const GOAL_S: f64 = 5.0;
const INTEGRATIONS: usize = 50;
const LENGTH: Duration = Duration::from_secs(90);
/// How long a sync takes in the app; a check and the apply of its report are one, and take half of it each.
const SYNC_MS: u64 = 2000;
/// With pauses of this many syncs between one "done" and the next, drawn from an exponential distribution, a third
/// of them come while a sync runs: x·eˣ = ½ for x = 1 / 2.84.
const PAUSE_IN_SYNCS: f64 = 2.84;
/// What a sync takes beside the app's own time.
const OVERHEAD: f64 = 1.1;
/// Members whose removal nobody gets to, and members of whom nothing is desired.
const LEFT_OPEN: usize = 3;
const BYSTANDERS: usize = 10;
const TRY_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);
const WORKSPACE: &str = "acme";

/// One integration, and when its person says "done".
struct Place {
    id: String,
    kind: Kind,
    moments: Vec<Duration>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seed = std::env::var("VERDICTS_SEED").map_or(Ok(1), |seed| seed.parse())?;
    let places = places(&mut StdRng::seed_from_u64(seed));
    let postgres = PrivatePostgres::start(Options { durable: true }).await?;
    let pool = PgPool::connect(&postgres.url()).await?;
    schema::migrate(&pool.clone().into()).await?;
    let settings = Settings { seed, sync_ms: SYNC_MS..=SYNC_MS, ..Settings::default() };
    let apps = Simulator::start(world(&places), settings).await?;
    let mut replica = serve(&postgres.url(), &apps)?;
    print_settings(seed);
    let verdicts = measure(&pool, &apps, &places).await;
    replica.kill()?;
    replica.wait()?;
    let verdicts = verdicts?;
    let again: i64 = sqlx::query_scalar("select coalesce(sum(failures), 0) from reconciler.syncs")
        .fetch_one(&pool)
        .await?;
    print_verdicts(&verdicts, again);
    pool.close().await;
    apps.stop().await?;
    postgres.stop().await
}

fn places(rng: &mut StdRng) -> Vec<Place> {
    let place = |number| {
        let kind = if number % 2 == 0 { Kind::App } else { Kind::BusinessHub };
        Place { id: format!("{}-{number:02}", word(kind)), kind, moments: moments(rng) }
    };
    (0..INTEGRATIONS).map(place).collect()
}

fn moments(rng: &mut StdRng) -> Vec<Duration> {
    let mut pause = || mean_pause().mul_f64(-f64::ln(1.0 - rng.random::<f64>()));
    let mut at = Duration::ZERO;
    let later = std::iter::repeat_with(|| {
        at += pause();
        at
    });
    later.take_while(|at| *at < LENGTH).collect()
}

/// The mean time between one "done" and the next.
fn mean_pause() -> Duration {
    Duration::from_millis(SYNC_MS).mul_f64(OVERHEAD * PAUSE_IN_SYNCS)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::App => "app",
        Kind::BusinessHub => "business_hub",
    }
}

fn removed(place: &Place) -> Vec<String> {
    (0..place.moments.len() + LEFT_OPEN).map(|number| format!("member-{number:03}")).collect()
}

fn world(places: &[Place]) -> World {
    places.iter().fold(World::new(), |world, place| {
        let integration =
            Integration::new(WORKSPACE, &place.id, &place.id, place.kind, "asana_tenant");
        let bystanders = (0..BYSTANDERS).map(|number| format!("bystander-{number:02}"));
        let members = removed(place).into_iter().chain(bystanders);
        members.fold(world.integration(integration), |world, id| {
            let member = Member::new(&id, &format!("{id}@example.com")).with(&["VIEWER"]);
            world.member(WORKSPACE, &place.id, member)
        })
    })
}

fn serve(database_url: &str, apps: &Simulator) -> anyhow::Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cerby-reconciler"));
    command
        .arg("serve")
        .env("RECONCILER__DATABASE__URL", database_url)
        .env("RECONCILER__BACKEND__BASE_URL", apps.base_url())
        .env("RECONCILER__BACKEND__API_KEY", apps.api_key())
        .env("RECONCILER__HTTP__LISTEN", "127.0.0.1:0")
        .stdout(Stdio::null());
    command.spawn().context("the program does not start")
}

async fn measure(
    pool: &PgPool,
    apps: &Simulator,
    places: &[Place],
) -> anyhow::Result<Vec<Verdict>> {
    for place in places {
        insert(pool, place).await?;
    }
    until_none(pool, UNESCALATED, "tasks did not escalate").await?;
    until_none(pool, UNFINISHED, "snapshots did not end").await?;
    work(pool, apps, places).await?;
    until_none(pool, UNJUDGED, "done actions got no verdict").await?;
    sqlx::query_as(VERDICTS).fetch_all(pool).await.context("the trail cannot be read")
}

/// Removals that failed for a reason which leaves them to a person at once.
async fn insert(pool: &PgPool, place: &Place) -> sqlx::Result<()> {
    sqlx::query(
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, operation, trigger, requested_at, failure_code)
         select $1, $2 || '-' || member, 'job-that-failed', $2, $3, $2, 'asana_tenant',
                member, member || '@example.com', 'remove', 'manual', now(), 'NotEnoughSeats'
         from unnest($4::text[]) member",
    )
    .bind(WORKSPACE)
    .bind(&place.id)
    .bind(word(place.kind))
    .bind(removed(place))
    .execute(pool)
    .await
    .map(drop)
}

/// In each integration somebody removes one member after another in the app, and says so.
async fn work(pool: &PgPool, apps: &Simulator, places: &[Place]) -> anyhow::Result<()> {
    let mut changes: Vec<_> = places
        .iter()
        .flat_map(|place| {
            place.moments.iter().zip(removed(place)).map(move |change| (place, change))
        })
        .collect();
    changes.sort_by_key(|(_, (moment, _))| *moment);
    let begin = Instant::now();
    for (place, (moment, member)) in changes {
        sleep_until(begin + *moment).await;
        ensure!(apps.person_removes(WORKSPACE, &place.id, &member), "{member} was gone");
        mark_done(pool, place, &member).await?;
    }
    Ok(())
}

async fn mark_done(pool: &PgPool, place: &Place, member: &str) -> anyhow::Result<()> {
    let written = sqlx::query(
        "update reconciler.manual_actions set status = 'done'
         where workspace_id = $1 and integration_id = $2 and member_id = $3 and status = 'open'",
    )
    .bind(WORKSPACE)
    .bind(&place.id)
    .bind(member)
    .execute(pool)
    .await?;
    ensure!(written.rows_affected() == 1, "nothing to do for {member} in {}", place.id);
    Ok(())
}

async fn until_none(pool: &PgPool, count: &'static str, what: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left: i64 = sqlx::query_scalar(count).fetch_one(pool).await?;
        if left == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{left} {what} within {} s", PATIENCE.as_secs());
        sleep(TRY_EVERY).await;
    }
}

const UNESCALATED: &str =
    "select count(*) from reconciler.automation_tasks where state <> 'escalated'";
const UNFINISHED: &str =
    "select count(*) from reconciler.syncs where state not in ('finished', 'failed')";
const UNJUDGED: &str =
    "select count(*) from reconciler.manual_actions where status = 'done' and verdict is null";

/// The first verdict of each "done", by the trail.
const VERDICTS: &str = "
    with runs as (
        select detail ->> 'integration_id' as integration_id, min(at) filter (where what = 'sync.started') as began,
               max(at) filter (where what in ('sync.finished', 'sync.failed')) as ended
        from reconciler.events where subject = 'sync' group by subject_id, 1
    )
    select a.integration_kind = 'app' as is_app, v.verdict = 'confirmed' as is_confirmed,
           extract(epoch from v.at - d.at)::float8 as waited_s,
           exists (select from runs r where r.integration_id = a.integration_id
                                        and r.began <= d.at and r.ended > d.at) as during_sync
    from reconciler.manual_actions a
    cross join lateral (
        select e.id, e.at from reconciler.events e
        where e.workspace_id = a.workspace_id and e.subject = 'action' and e.subject_id = a.id::text
          and e.what = 'action.done'
        order by e.id limit 1) d
    cross join lateral (
        select e.at, e.detail ->> 'verdict' as verdict from reconciler.events e
        where e.workspace_id = a.workspace_id and e.subject = 'action' and e.subject_id = a.id::text
          and e.id > d.id and e.detail ? 'verdict'
        order by e.id limit 1) v";

#[derive(FromRow)]
struct Verdict {
    is_app: bool,
    is_confirmed: bool,
    waited_s: f64,
    during_sync: bool,
}

fn print_settings(seed: u64) {
    println!(
        "serve, release build, default settings, one replica; {INTEGRATIONS} integrations, every other one an app"
    );
    println!(
        "(a check, then an apply), the others business hubs (a sync); a sync takes {SYNC_MS} ms, a check and an"
    );
    println!("apply half of that each; seed {seed}; for {} s somebody says done", LENGTH.as_secs());
    println!("in each integration every {:.1} s on average", mean_pause().as_secs_f64());
}

fn print_verdicts(verdicts: &[Verdict], again: i64) {
    println!(
        "\n{:<32}{:>8}{:>8}{:>8}{:>8}{:>8}",
        "seconds to the verdict", "number", "p50", "p95", "p99", "max"
    );
    let all: Vec<_> = verdicts.iter().collect();
    let (apps, hubs): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.is_app);
    for (name, some) in [("apps", &apps), ("business hubs", &hubs), ("all", &all)] {
        let (during, rest): (Vec<_>, Vec<_>) = some.iter().partition(|one| one.during_sync);
        print_line(name, some);
        print_line("  done while no sync ran", &rest);
        print_line("  done while one ran", &during);
    }
    let during = verdicts.iter().filter(|one| one.during_sync).count();
    let unconfirmed = verdicts.iter().filter(|one| !one.is_confirmed).count();
    println!("\n{} % were done while a sync ran", 100 * during / verdicts.len().max(1));
    println!("{unconfirmed} were not verified; {again} snapshots were begun anew");
    let p95 = percentile(&seconds(&all), 95);
    let outcome = if p95 < GOAL_S { "met" } else { "missed" };
    println!("goal: p95 of all under {GOAL_S} s: {outcome}, it is {p95:.2} s");
}

fn print_line(name: &str, verdicts: &[&Verdict]) {
    let seconds = seconds(verdicts);
    print!("{name:<32}{:>8}", seconds.len());
    for percent in [50, 95, 99, 100] {
        print!("{:>8.2}", percentile(&seconds, percent));
    }
    println!();
}

fn seconds(verdicts: &[&Verdict]) -> Vec<f64> {
    let mut seconds: Vec<_> = verdicts.iter().map(|one| one.waited_s).collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// The smallest of the sorted numbers that so many percent of them do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}
