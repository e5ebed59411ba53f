//! Gated integration: tasks that are ready, while very many of another integration are due behind a gate that is shut.

use serde_json::json;

use crate::rows::{Rows, Standing};
use crate::shape::{Place, Shape, number, rate, spaced};

const CONCURRENCY: usize = 100;
const GATED: &str = "gated";

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let tasks = number("TASKS", 50_000)?;
    let gated = number("GATED", 100_000)?;
    for run in 1..=number("RUNS", 5)? {
        for behind in [0, gated] {
            let place = shape.place().await?;
            Rows::new(tasks, "task", Standing::Ready).write(&place.pool).await?;
            if behind > 0 {
                shut(&place, behind).await?;
            }
            let took = place.drain(CONCURRENCY).await?;
            let setting = match behind {
                0 => "no gate".to_owned(),
                behind => format!("{} due behind a paused gate", spaced(behind)),
            };
            let details = json!({"tasks": tasks, "gated": behind, "concurrency": CONCURRENCY});
            shape.ours(&setting, run, (rate(tasks, took), "tasks/s"), details)?;
        }
    }
    Ok(())
}

async fn shut(place: &Place, behind: usize) -> anyhow::Result<()> {
    let rows = Rows { integration: Some(GATED), ..Rows::new(behind, GATED, Standing::Ready) };
    rows.write(&place.pool).await?;
    sqlx::query(
        "update reconciler.integrations set gate = 'paused', gate_reason = 'measured' where integration_id = $1",
    )
    .bind(GATED)
    .execute(&place.pool)
    .await?;
    Ok(())
}
