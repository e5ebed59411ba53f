//! Paused integration: tasks that are ready, while very many of another integration are due and paused.

use serde_json::json;

use crate::rows::{Rows, Standing};
use crate::shape::{Place, Shape, number, rate, spaced};

const CONCURRENCY: usize = 100;
const PAUSED: &str = "paused";

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let tasks = number("TASKS", 50_000)?;
    let paused = number("PAUSED", 100_000)?;
    for run in 1..=number("RUNS", 5)? {
        for behind in [0, paused] {
            let place = shape.place().await?;
            Rows::new(tasks, "task", Standing::Ready).write(&place.pool).await?;
            if behind > 0 {
                pause(&place, behind).await?;
            }
            let took = place.drain(CONCURRENCY).await?;
            let setting = match behind {
                0 => "none paused".to_owned(),
                behind => format!("{} due in a paused integration", spaced(behind)),
            };
            let details = json!({"tasks": tasks, "paused": behind, "concurrency": CONCURRENCY});
            shape.ours(&setting, run, (rate(tasks, took), "tasks/s"), details)?;
        }
    }
    Ok(())
}

async fn pause(place: &Place, behind: usize) -> anyhow::Result<()> {
    let rows = Rows { integration: Some(PAUSED), ..Rows::new(behind, PAUSED, Standing::Ready) };
    rows.write(&place.pool).await?;
    sqlx::query(
        "update reconciler.integrations set status = 'paused', status_reason = 'measured' where integration_id = $1",
    )
    .bind(PAUSED)
    .execute(&place.pool)
    .await?;
    Ok(())
}
