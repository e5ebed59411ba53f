//! Backlog and history: what a task costs while very many others are due later, or are finished.

use anyhow::Context;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::bed;
use crate::limit::claim_text;
use crate::rows::{Rows, Standing};
use crate::shape::{Place, Shape, number, planning, spaced};

const CONCURRENCY: usize = 100;
const NAMES: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let later = number("LATER", 1_000_000)?;
    let finished = number("FINISHED", 5_000_000)?;
    let settings = [
        ("empty".to_owned(), None),
        (
            format!("{} due in the future", spaced(later)),
            Some(Rows::new(later, "later", Standing::Later)),
        ),
        (
            format!("{} finished", spaced(finished)),
            Some(Rows::new(finished, "finished", Standing::Finished)),
        ),
    ];
    let mut places = Vec::new();
    for (number, (setting, rows)) in settings.into_iter().enumerate() {
        let place = shape.place_beside(number).await?;
        if let Some(rows) = rows {
            rows.write(&place.pool).await?;
        }
        places.push((setting, place));
    }
    for (run, name) in (1..=number("RUNS", 5)?).zip(NAMES) {
        for (setting, place) in &places {
            drain_some(shape, place, setting, run, name).await?;
        }
    }
    Ok(())
}

/// One run after another on one database: the rows around them take longer to write than all runs.
async fn drain_some(
    shape: &Shape<'_>,
    place: &Place,
    setting: &str,
    run: u32,
    name: &str,
) -> anyhow::Result<()> {
    let tasks = number("TASKS", 100_000)?;
    Rows::new(tasks, name, Standing::Ready).write(&place.pool).await?;
    bed::settle(&place.url).await?;
    let buffers = buffers(place).await?;
    let micros = place.drain(CONCURRENCY).await?.as_secs_f64() * 1e6 / tasks as f64;
    let details = json!({
        "tasks": tasks, "concurrency": CONCURRENCY, "buffers_per_claim_of_100": buffers,
        "runs": "in turns, each setting on a database of its own", "trail": "one line per finished task",
    });
    shape.ours(setting, run, (micros, "µs/task"), details)?;
    let details = json!({"claim": 100, "plan": "generic"});
    shape.ours(setting, run, (buffers, "buffers"), details)
}

/// How many pages a claim of 100 tasks touches.
async fn buffers(place: &Place) -> anyhow::Result<f64> {
    let mut connection = bed::connect(&place.url).await?;
    let prepare = format!(
        "{} prepare claim (integer, interval, integer, integer, text[], jsonb) as {}",
        planning(),
        claim_text()?
    );
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await?;
    // The first reads the catalogue, too.
    touched(&mut connection).await?;
    touched(&mut connection).await
}

async fn touched(connection: &mut PgConnection) -> anyhow::Result<f64> {
    sqlx::raw_sql("begin").execute(&mut *connection).await?;
    let plan: Value = sqlx::query_scalar(
        "explain (analyze, buffers, format json)
         execute claim (100, '45 s', null, null, '{}', '{}')",
    )
    .persistent(false)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::raw_sql("rollback").execute(&mut *connection).await?;
    let blocks = |which: &str| plan[0]["Plan"][which].as_f64().context("the plan has its buffers");
    Ok(blocks("Shared Hit Blocks")? + blocks("Shared Read Blocks")?)
}
