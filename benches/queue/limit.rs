//! Limit: a drain by the service, and the same by `pgbench`, which does nothing but our claim and our record, in batches,
//! one after the other. The texts are those that are checked in for the program, so that it is our SQL whatever becomes
//! of it.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cerby_reconciler::schema::{Planning, settings};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::bed;
use crate::process::{driver, said};
use crate::shape::{OPEN, Place, Shape, number, rate};

const CONCURRENCY: usize = 32;
const BATCH: usize = 500;
const CLIENTS: [usize; 3] = [1, 2, 4];

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let tasks = number("TASKS", 200_000)?;
    for run in 1..=number("RUNS", 5)? {
        let took = filled_place(shape, tasks).await?.drain(CONCURRENCY).await?;
        let setting = format!("concurrency {CONCURRENCY}");
        shape.ours(&setting, run, (rate(tasks, took), "tasks/s"), json!({"tasks": tasks}))?;
        for clients in CLIENTS {
            let place = filled_place(shape, tasks).await?;
            sqlx::raw_sql(AssertSqlSafe(cycle()?)).execute(&place.pool).await?;
            let took = drain(shape, &place, clients).await?;
            let setting = if clients == 1 { "1 client" } else { &format!("{clients} clients") };
            let details = json!({"tasks": tasks, "batch": BATCH, "options": options()});
            let system = "pgbench with our SQL";
            shape.theirs(system, setting, run, (rate(tasks, took), "tasks/s"), details)?;
        }
    }
    Ok(())
}

async fn filled_place(shape: &Shape<'_>, tasks: usize) -> anyhow::Result<Place> {
    let place = shape.place().await?;
    let mut prepare = driver("prepare", &place.url)?;
    prepare.env("TASKS", tasks.to_string());
    said(prepare)?;
    Ok(place)
}

async fn drain(shape: &Shape<'_>, place: &Place, clients: usize) -> anyhow::Result<Duration> {
    bed::settle(&place.url).await?;
    let mut connection = bed::connect(&place.url).await?;
    let began = Instant::now();
    let mut pgbench = Pgbench::start(shape, &place.url, clients)?;
    while sqlx::query_scalar::<_, bool>(OPEN).fetch_one(&mut connection).await? {
        ensure!(pgbench.0.try_wait()?.is_none(), "pgbench ended early");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(began.elapsed())
}

/// As the daemon connects.
fn options() -> String {
    let settings = settings(Planning::Fixed)
        .map(|(setting, value)| format!("-c {setting}={} ", value.replace(' ', "\\ ")));
    settings.collect::<String>() + "-c statement_timeout=30s -c lock_timeout=10s"
}

/// A pgbench that goes on until it is dropped.
struct Pgbench(Child);

impl Pgbench {
    fn start(shape: &Shape<'_>, url: &str, clients: usize) -> anyhow::Result<Self> {
        let clients = clients.to_string();
        let mut pgbench = Command::new(shape.bed.postgres().bin_dir().join("pgbench"))
            .args([
                "-n", "-M", "prepared", "-T", "86400", "-f", "-", "-c", &clients, "-j", &clients,
            ])
            .arg(url)
            .env("PGOPTIONS", options())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut script = pgbench.stdin.take().context("its input is piped")?;
        writeln!(script, "call bench.cycle({BATCH});")?;
        Ok(Self(pgbench))
    }
}

impl Drop for Pgbench {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A procedure that claims a batch and commits, records all of it and commits. No member has another request, so nobody
/// is given a turn.
fn cycle() -> anyhow::Result<String> {
    let queries = queries()?;
    let claim = claim(&queries)?;
    let succeed = filled(
        only(&queries, "end_requests")?,
        &[
            "v_workspaces",
            "v_integrations",
            "v_members",
            "v_ids",
            "v_tokens",
            "v_reasons",
            "v_works",
            "v_never",
            "v_never",
            "v_times",
            "v_none",
            "v_ids",
            "v_requested",
        ],
    );
    Ok(format!(
        "create schema bench;
         create procedure bench.cycle(p_limit integer) language plpgsql as $cycle$
         #variable_conflict use_column
         declare
             v_ids bigint[]; v_workspaces text[]; v_integrations text[]; v_members text[]; v_tokens bigint[];
             v_reasons text[]; v_works boolean[]; v_never interval[]; v_times timestamptz[]; v_none bigint[];
             v_requested timestamptz[]; v_closed record; v_count bigint;
         begin
             {claim};
             commit;
             if v_ids is null then
                 return;
             end if;
             perform set_config('reconciler.actor', 'daemon', true);
             for v_closed in {succeed} loop end loop;
             commit;
         end
         $cycle$"
    ))
}

/// The claim, with what the record needs of each task gathered into arrays. The rest of it is counted, or the server would
/// leave out what nobody asks for.
fn claim(queries: &[String]) -> anyhow::Result<String> {
    let claim = filled(
        only(queries, "claim_tasks")?,
        &[
            "p_limit",
            "interval '45 s'",
            "null::integer",
            "null::integer",
            "'{}'::text[]",
            "'{}'",
            "null::text",
        ],
    );
    let last = claim.rfind("select c.ready_task_id as").context("the claim ends in a select")?;
    let (before, select) = claim.split_at(last);
    Ok(format!(
        "{before}
         select array_agg(\"id!\"), array_agg(workspace_id), array_agg(integration_id), array_agg(member_id),
                array_agg(lease_token), array_agg('Confirmed in the app after an attempt'::text), array_agg(false),
                array_agg(null::interval), array_agg(null::timestamptz), array_agg(null::bigint),
                array_agg(\"requested_at?\"), count(claimed)
         into v_ids, v_workspaces, v_integrations, v_members, v_tokens, v_reasons, v_works, v_never, v_times, v_none,
              v_requested, v_count
         from ({select}) claimed"
    ))
}

/// Every statement of the program.
fn queries() -> anyhow::Result<Vec<String>> {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx"))?;
    files
        .map(|file| {
            let described: Value = serde_json::from_slice(&std::fs::read(file?.path())?)?;
            Ok(described["query"].as_str().context("it has its text")?.to_owned())
        })
        .collect()
}

/// The claim as the program sends it.
pub(crate) fn claim_text() -> anyhow::Result<String> {
    only(&queries()?, "claim_tasks").map(str::to_owned)
}

fn only<'a>(queries: &'a [String], name: &str) -> anyhow::Result<&'a str> {
    let first_line = format!("-- {name}\n");
    let found: Vec<_> = queries.iter().filter(|query| query.starts_with(&first_line)).collect();
    ensure!(found.len() == 1, "{} statements are called {name}", found.len());
    Ok(found[0])
}

/// The statement with these in place of its parameters.
fn filled(query: &str, arguments: &[&str]) -> String {
    let numbered = arguments.iter().enumerate().rev();
    numbered.fold(query.to_owned(), |query, (index, argument)| {
        query.replace(&format!("${}", index + 1), argument)
    })
}
