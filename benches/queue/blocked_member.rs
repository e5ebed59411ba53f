//! Blocked member: tasks that are ready, while very many wait behind one member.

use serde_json::json;

use crate::rows::{Rows, Standing};
use crate::shape::{Place, Shape, number, rate, spaced};

const CONCURRENCY: usize = 100;

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let tasks = number("TASKS", 50_000)?;
    let blocked = number("BLOCKED", 100_000)?;
    for run in 1..=number("RUNS", 5)? {
        for waiting in [0, blocked] {
            let place = shape.place().await?;
            Rows::new(tasks, "task", Standing::Ready).write(&place.pool).await?;
            if waiting > 0 {
                block(&place, waiting).await?;
            }
            let took = place.drain(CONCURRENCY).await?;
            let setting = match waiting {
                0 => "nothing blocked".to_owned(),
                waiting => format!("{} waiting behind one member", spaced(waiting)),
            };
            let details = json!({"tasks": tasks, "waiting": waiting, "concurrency": CONCURRENCY});
            shape.ours(&setting, run, (rate(tasks, took), "tasks/s"), details)?;
        }
    }
    Ok(())
}

/// One task of the member is not due yet; the others wait for it.
async fn block(place: &Place, waiting: usize) -> anyhow::Result<()> {
    let (integration, member) = (Some("app-0"), Some("blocked"));
    let head = Rows { integration, member, ..Rows::new(1, "head", Standing::Later) };
    head.write(&place.pool).await?;
    let rest = Rows { integration, member, ..Rows::new(waiting, "waiting", Standing::Waiting) };
    rest.write(&place.pool).await
}
