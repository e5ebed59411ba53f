//! HTTP: attempts through the real program, against a client that makes the same requests and knows no queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cerby_reconciler::backend::{Client, Progress};
use cerby_reconciler::config::Config;
use cerby_reconciler::membership::{Entitlements, MemberKey};
use serde_json::json;
use testkit::simulator::{Call, Integration, Kind, Member, Settings, Simulator, World};
use tokio::task::JoinSet;

use crate::bed;
use crate::process::{Working, core_seconds, driver, memory_mb, said, serve};
use crate::rows::{INTEGRATIONS, Rows, Standing};
use crate::shape::{OPEN, Place, Shape, number, rate, until_not};

const CONCURRENCY: usize = 100;
const FIRST_LOOK_S: &str = "0.05";
const AS_WANTED: &str =
    "select count(*) from reconciler.automation_tasks where state = 'succeeded'";

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let tasks = number("TASKS", 20_000)?;
    for run in 1..=number("RUNS", 5)? {
        by_the_program(shape, run, tasks).await?;
        by_a_bare_client(shape, run, tasks).await?;
    }
    Ok(())
}

async fn by_the_program(shape: &Shape<'_>, run: u32, tasks: usize) -> anyhow::Result<()> {
    let drained = drain(shape, tasks, &[]).await?;
    let mut details = details(&drained.apps, tasks);
    details["core ms per attempt"] = json!(drained.core_seconds * 1e3 / tasks as f64);
    shape.ours(&setting(), run, (rate(tasks, drained.took), "attempts/s"), details)?;
    drained.apps.stop().await?;
    Ok(())
}

/// What the program took for its attempts.
pub(crate) struct Drained {
    pub(crate) took: Duration,
    /// Of the program alone: neither the database's nor the simulator's.
    pub(crate) core_seconds: f64,
    /// The most that the program ever held.
    pub(crate) memory_mb: f64,
    pub(crate) apps: Simulator,
}

/// Lets the program, with these changes to its environment, make an attempt at each of so many tasks.
pub(crate) async fn drain(
    shape: &Shape<'_>,
    tasks: usize,
    changes: &[(&str, String)],
) -> anyhow::Result<Drained> {
    Queue::fill(shape, tasks).await?.drain(changes).await
}

/// Tasks that wait for the program.
pub(crate) struct Queue {
    pub(crate) place: Place,
    apps: Simulator,
    tasks: usize,
}

impl Queue {
    pub(crate) async fn fill(shape: &Shape<'_>, tasks: usize) -> anyhow::Result<Self> {
        let place = shape.place().await?;
        Rows::new(tasks, "task", Standing::Ready).write(&place.pool).await?;
        bed::settle(&place.url).await?;
        let apps = Simulator::start(world(tasks), Settings::default()).await?;
        Ok(Self { place, apps, tasks })
    }

    pub(crate) async fn drain(self, changes: &[(&str, String)]) -> anyhow::Result<Drained> {
        let Self { place, apps, tasks } = self;
        let mut command = serve(&place.url, &apps);
        command
            .env("RECONCILER__WORKER__MAX_TASKS_IN_FLIGHT", CONCURRENCY.to_string())
            .env("RECONCILER__JOB__POLL_FIRST_S", FIRST_LOOK_S)
            .envs(changes.iter().map(|(name, value)| (*name, value)));
        let working = Working::start([command])?;
        until_not(&mut bed::connect(&place.url).await?, OPEN).await?;
        let took = working.began.elapsed();
        let core_seconds = core_seconds(working.id())?;
        let memory_mb = memory_mb(working.id(), "VmHWM")?;
        working.stop()?;
        let well: i64 = sqlx::query_scalar(AS_WANTED).fetch_one(&place.pool).await?;
        ensure!(well == tasks as i64, "only {well} of {tasks} tasks succeeded");
        Ok(Drained { took, core_seconds, memory_mb, apps })
    }
}

async fn by_a_bare_client(shape: &Shape<'_>, run: u32, tasks: usize) -> anyhow::Result<()> {
    let apps = Simulator::start(world(tasks), Settings::default()).await?;
    let mut bare = driver("bare-client", "postgres://unused")?;
    bare.env("BASE_URL", apps.base_url())
        .env("API_KEY", apps.api_key())
        .env("TASKS", tasks.to_string())
        .env("CONCURRENCY", CONCURRENCY.to_string());
    let seconds = said(bare)?["seconds"].as_f64().context("the driver tells it")?;
    let value = (tasks as f64 / seconds, "attempts/s");
    shape.theirs("bare client", &setting(), run, value, details(&apps, tasks))?;
    apps.stop().await?;
    Ok(())
}

fn setting() -> String {
    format!("concurrency {CONCURRENCY}")
}

fn details(apps: &Simulator, tasks: usize) -> serde_json::Value {
    let counters = apps.counters();
    let requests: u64 = counters.requests.values().sum();
    json!({
        "tasks": tasks, "integrations": INTEGRATIONS, "poll_first_s": FIRST_LOOK_S,
        "requests per attempt": requests as f64 / tasks as f64,
        "looks per attempt": counters.requests(Call::GetMember) as f64 / tasks as f64,
        "connections": apps.connections(),
    })
}

/// Everybody is there, and holds another role than is desired.
fn world(tasks: usize) -> World {
    let integration = |number| {
        let id = format!("app-{number}");
        Integration::new("acme", &id, "App", Kind::App, "asana_tenant")
    };
    let world = (0..INTEGRATIONS).map(integration).fold(World::new(), World::integration);
    (0..tasks).fold(world, |world, number| {
        let key = key(number);
        let member = Member::new(&key.member, &format!("member-{number}@example.com"));
        world.member(&key.workspace, &key.integration, member.with(&["EDITOR"]))
    })
}

fn key(number: usize) -> MemberKey {
    MemberKey {
        workspace: "acme".to_owned(),
        integration: format!("app-{}", number % INTEGRATIONS),
        member: format!("task-member-{number}"),
    }
}

/// Makes the requests of one attempt for each task, so many at a time, and says how long that took.
pub(crate) async fn make_requests(config: &Config) -> anyhow::Result<()> {
    let tasks = number("TASKS", 20_000)?;
    let client = Client::new(&config.backend)?;
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut hands = JoinSet::new();
    for _ in 0..config.worker.max_tasks_in_flight {
        let (client, next) = (client.clone(), Arc::clone(&next));
        hands.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= tasks {
                    return anyhow::Ok(());
                }
                attempt(&client, number).await?;
            }
        });
    }
    while let Some(ended) = hands.join_next().await {
        ended??;
    }
    println!("{}", json!({"seconds": began.elapsed().as_secs_f64()}));
    Ok(())
}

async fn attempt(client: &Client, number: usize) -> anyhow::Result<()> {
    let (key, desired) = (key(number), Entitlements::from_iter(["VIEWER".to_owned()]));
    client.member(&key).await?;
    let failed = client.job(&key.workspace, &format!("job-{number}")).await;
    ensure!(failed.is_err(), "the failed job is there");
    let job = client.change_role(&key, &desired).await?;
    let answer = client.job(&key.workspace, &job).await?;
    ensure!(answer.progress == Progress::Finished, "the job is {:?}", answer.progress);
    let seen = client.member(&key).await?;
    ensure!(seen.is_some_and(|seen| seen.entitlements == desired), "no effect");
    Ok(())
}
