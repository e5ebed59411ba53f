//! The demo for people: it shows the flow until somebody ends it.

use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::help;
use super::operator::Operator;
use super::running::{Running, Scene};
use super::snapshot::Snapshot;
use super::tempo::Tempo;
use super::view::Screen;
use cerby_reconciler::shutdown::Signals;

const TRY_EVERY: Duration = Duration::from_millis(500);
const KEYS_EVERY: Duration = Duration::from_millis(50);
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Shows the demo until q, Ctrl-C or a signal: as a screen on a terminal, as lines elsewhere.
pub(super) async fn show(
    running: &mut Running,
    tempo: &Tempo,
    with_operator: bool,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let Running { replicas, scene } = running;
    let scene = &*scene;
    let on_screen = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let shown = async {
        if on_screen { on_the_screen(scene).await } else { match as_lines(scene).await? {} }
    };
    tokio::select! {
        shown = shown => shown,
        failed = arrive(scene, tempo) => match failed? {},
        failed = operate(scene, tempo, with_operator) => match failed? {},
        error = replicas.one_ends() => Err(error),
        _ = signals.next() => Ok(()),
    }
}

async fn arrive(scene: &Scene, tempo: &Tempo) -> anyhow::Result<Infallible> {
    scene.let_tasks_arrive(tempo).await?;
    std::future::pending().await
}

async fn operate(scene: &Scene, tempo: &Tempo, with_operator: bool) -> anyhow::Result<Infallible> {
    if !with_operator {
        return std::future::pending().await;
    }
    let mut operator = Operator::new(&scene.operator, &scene.simulator, tempo.operator_takes);
    Ok(operator.work().await?)
}

async fn on_the_screen(scene: &Scene) -> anyhow::Result<()> {
    let mut screen = Screen::open()?;
    loop {
        let snapshot = Snapshot::take(scene).await?;
        let help = help::lines(scene, snapshot.urgent.as_ref());
        screen.draw(&snapshot, &help)?;
        let next = Instant::now() + TRY_EVERY;
        while Instant::now() < next {
            if Screen::is_asked_to_end()? {
                return Ok(());
            }
            tokio::time::sleep(KEYS_EVERY).await;
        }
    }
}

async fn as_lines(scene: &Scene) -> anyhow::Result<Infallible> {
    // If the reader has gone, the demo ends; that is no reason to panic.
    let mut out = std::io::stdout();
    writeln!(out, "the demo is running; end it with Ctrl-C")?;
    for line in help::lines(scene, None) {
        writeln!(out, "  {line}")?;
    }
    let mut last = String::new();
    loop {
        let line = Snapshot::take(scene).await?.line();
        if line != last {
            writeln!(out, "{line}")?;
            last = line;
        }
        tokio::time::sleep(LINE_EVERY).await;
    }
}
