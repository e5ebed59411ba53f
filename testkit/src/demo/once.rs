//! The unattended demo.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::operator::Operator;
use super::running::{Running, Scene};
use super::snapshot::Snapshot;
use super::summary::{self, Play, Summary};
use super::tempo::Tempo;
use super::{Options, director, screen};
use cerby_reconciler::operator::cli::terminal::print;
use cerby_reconciler::shutdown::Signals;

/// Stopping and measuring have to fit into what remains of 90 seconds.
const LIMIT: Duration = Duration::from_secs(78);
const TRY_EVERY: Duration = Duration::from_millis(250);
const SAYS_EVERY: Duration = Duration::from_secs(2);

/// Runs the demo, reports the result, and leaves nothing behind.
pub(super) async fn play(
    mut running: Running,
    tempo: &Tempo,
    options: &Options,
    began: Instant,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let summary = tokio::select! {
        summary = play_and_measure(&mut running, tempo, began) => summary,
        signal = signals.next() => Err(anyhow::anyhow!("{signal} came before the end")),
    };
    let stopped = running.stop().await;
    let summary = summary?;
    if options.json {
        print(&(serde_json::to_string(&summary)? + "\n"))?;
    } else {
        print(&summary.to_string())?;
    }
    stopped?;
    if !summary.ok {
        bail!("the demo did not end well");
    }
    Ok(())
}

async fn play_and_measure(
    running: &mut Running,
    tempo: &Tempo,
    began: Instant,
) -> anyhow::Result<Summary> {
    let Running { replicas, scene } = running;
    let mut operator = Operator::new(scene.colleague(), &scene.cast, tempo.operator_takes);
    let ended = tokio::select! {
        failed = arrive_and_work(scene, tempo, &mut operator) => failed,
        failed = director::direct(scene, tempo.story_pause) => failed.map(|never| match never {}).map_err(Into::into),
        ended = until_all_ended(scene) => ended,
        error = replicas.one_ends() => Err(error),
        () = tokio::time::sleep(LIMIT.saturating_sub(began.elapsed())) => {
            Err(anyhow::anyhow!("not all had ended after {} s", LIMIT.as_secs()))
        }
    };
    let mut errors: Vec<_> = ended.err().iter().map(|error| format!("{error:#}")).collect();
    // Measure only when the replicas have stopped and nothing changes any more.
    errors.extend(replicas.stop().await);
    errors.extend(replicas.alarming_lines());
    let play = Play { operator_done: operator.done, errors, took_s: began.elapsed().as_secs_f64() };
    Ok(summary::measure(scene, play).await?)
}

/// The operator starts once all tasks have arrived. Otherwise a removal could arrive while the operator works on an
/// action that it ends, and the operator would have to be told to stop.
async fn arrive_and_work(
    scene: &Scene,
    tempo: &Tempo,
    operator: &mut Operator<'_>,
) -> anyhow::Result<()> {
    scene.let_tasks_arrive(tempo).await?;
    match operator.work().await? {}
}

async fn until_all_ended(scene: &Scene) -> anyhow::Result<()> {
    let mut said = Instant::now();
    loop {
        let snapshot = Snapshot::take(scene).await?;
        if snapshot.has_ended() {
            return Ok(());
        }
        if said.elapsed() > SAYS_EVERY {
            said = Instant::now();
            screen::progress(&snapshot.counts());
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}
