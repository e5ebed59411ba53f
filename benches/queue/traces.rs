//! Traces: attempts through the real program, with a collector that takes spans, one that is not there, and one that
//! never answers, each beside a run without traces. Prints ratios; machines differ less in them than in rates.

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use tokio::net::TcpListener;

use crate::http::drain;
use crate::shape::{Shape, number, rate};

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let (runs, tasks) = (number("RUNS", 5)?, number("TASKS", 20_000)?);
    let collectors = [
        ("takes spans", taking().await?),
        ("is not there", nowhere().await?),
        ("is silent", silent().await?),
    ];
    let mut ratios = vec![(Vec::new(), Vec::new()); collectors.len()];
    for run in 1..=runs {
        for ((name, address), (rates, costs)) in collectors.iter().zip(&mut ratios) {
            let (on, off) = pair(shape, tasks, *address, run % 2 == 0).await?;
            println!(
                "run {run}: the collector {name}: {:.0} of {:.0} attempts/s, {:.3} of {:.3} core ms per attempt",
                on.rate, off.rate, on.core_ms, off.core_ms
            );
            rates.push(on.rate / off.rate);
            costs.push(on.core_ms / off.core_ms);
        }
    }
    for ((name, _), (rates, costs)) in collectors.iter().zip(&mut ratios) {
        println!(
            "the collector {name}: {:.3} of the rate and {:.3} of the daemon's processor time without traces; \
             {tasks} tasks, medians of {runs}",
            median(rates)?,
            median(costs)?
        );
    }
    Ok(())
}

fn median(ratios: &mut [f64]) -> anyhow::Result<f64> {
    ratios.sort_by(f64::total_cmp);
    let (low, high) = (ratios.len().saturating_sub(1) / 2, ratios.len() / 2);
    let low = ratios.get(low).context("no runs")?;
    Ok((low + ratios.get(high).context("no runs")?) / 2.0)
}

struct Attempts {
    /// Attempts per second.
    rate: f64,
    /// Milliseconds of a core that the daemon takes for one.
    core_ms: f64,
}

/// With and without traces. What is measured first has the machine in another state, so the order changes.
async fn pair(
    shape: &Shape<'_>,
    tasks: usize,
    collector: SocketAddr,
    with_first: bool,
) -> anyhow::Result<(Attempts, Attempts)> {
    let endpoint = format!("http://{collector}/v1/traces");
    let traces = [("RECONCILER__TRACES__OTLP_ENDPOINT", endpoint)];
    if with_first {
        let on = attempts(shape, tasks, &traces).await?;
        return Ok((on, attempts(shape, tasks, &[]).await?));
    }
    let off = attempts(shape, tasks, &[]).await?;
    Ok((attempts(shape, tasks, &traces).await?, off))
}

async fn attempts(
    shape: &Shape<'_>,
    tasks: usize,
    changes: &[(&str, String)],
) -> anyhow::Result<Attempts> {
    let drained = drain(shape, tasks, changes).await?;
    drained.apps.stop().await?;
    let core_ms = drained.core_seconds * 1e3 / tasks as f64;
    Ok(Attempts { rate: rate(tasks, drained.took), core_ms })
}

async fn taking() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = Router::new().route("/v1/traces", post(async |body: Bytes| drop(body)));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

async fn nowhere() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}

/// Accepts connections, and does not answer.
async fn silent() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    Ok(address)
}
