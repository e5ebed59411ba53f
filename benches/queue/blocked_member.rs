//! Blocked member: tasks that are ready, while very many wait behind others of their members that are not due.

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
                waiting => format!("{} members with a blocked task", spaced(waiting)),
            };
            let details = json!({"tasks": tasks, "waiting": waiting, "concurrency": CONCURRENCY});
            shape.ours(&setting, run, (rate(tasks, took), "tasks/s"), details)?;
        }
    }
    Ok(())
}

/// One task of each member is not due yet; another waits for it.
async fn block(place: &Place, waiting: usize) -> anyhow::Result<()> {
    Rows::new(waiting, "head", Standing::Later).write(&place.pool).await?;
    let blocked = Rows::new(waiting, "blocked", Standing::Blocked);
    Rows { members_of: Some("head"), ..blocked }.write(&place.pool).await
}
