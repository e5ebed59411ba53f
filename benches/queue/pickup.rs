//! Pickup: how long after its commit the first step of a task begins, in a daemon that had nothing to do.

use anyhow::Context;

use crate::process::{driver, said};
use crate::shape::{Shape, number};

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let inserts = number("INSERTS", 1000_usize)?;
    for run in 1..=number("RUNS", 5)? {
        let place = shape.place().await?;
        let mut latency = driver("latency", &place.url)?;
        latency.env("INSERTS", inserts.to_string());
        let mut waits = said(latency)?;
        waits["inserts"] = inserts.into();
        for setting in ["p50", "p95", "p99"] {
            let wait = waits[format!("{setting}_ms")].as_f64().context("the driver tells it")?;
            shape.ours(setting, run, (wait, "ms"), waits.clone())?;
        }
    }
    Ok(())
}
