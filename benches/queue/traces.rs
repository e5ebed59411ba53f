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
    let mut ratios = vec![Vec::new(); collectors.len()];
    for run in 1..=runs {
        for ((name, address), ratios) in collectors.iter().zip(&mut ratios) {
            let off = attempts(shape, tasks, &[]).await?;
            let endpoint = format!("http://{address}/v1/traces");
            let on =
                attempts(shape, tasks, &[("RECONCILER__TRACES__OTLP_ENDPOINT", endpoint)]).await?;
            println!(
                "run {run}: the collector {name}: {on:.0} of {off:.0} attempts/s: {:.3}",
                on / off
            );
            ratios.push(on / off);
        }
    }
    for ((name, _), ratios) in collectors.iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2).context("no runs")?;
        println!(
            "the collector {name}: {median:.3} of the rate without traces; {tasks} tasks, median of {runs}"
        );
    }
    Ok(())
}

/// Attempts per second.
async fn attempts(
    shape: &Shape<'_>,
    tasks: usize,
    changes: &[(&str, String)],
) -> anyhow::Result<f64> {
    let (took, apps) = drain(shape, tasks, changes).await?;
    apps.stop().await?;
    Ok(rate(tasks, took))
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
