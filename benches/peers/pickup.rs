//! How long a task that comes to an idle worker waits for its handler.

use serde_json::{Value, json};

use anyhow::Context;

use super::drain::Load;
use super::driver::Task;
use super::server::Server;
use super::systems::System;

const PERCENTILES: [(&str, &str); 3] = [("p50", "p50_ms"), ("p95", "p95_ms"), ("p99", "p99_ms")];

/// One run, in a database of its own: milliseconds for each percentile, and everything else.
pub(super) async fn pickup(
    server: &mut Server,
    system: &System,
    concurrency: u32,
) -> anyhow::Result<([(&'static str, f64); 3], Value)> {
    let load = Load { tasks: 0, concurrency, ordered: false };
    let task = Task { system, url: server.create_database().await?, load };
    let settings = task.prepare().await?;
    drop(server.settle(&task.url).await?);
    let answer = task.latency().await?;
    let mut values = [("", 0.0); 3];
    for (value, (setting, key)) in values.iter_mut().zip(PERCENTILES) {
        *value = (setting, answer[key].as_f64().with_context(|| format!("{key} is missing"))?);
    }
    Ok((values, json!({ "settings": settings, "max_ms": answer["max_ms"] })))
}
