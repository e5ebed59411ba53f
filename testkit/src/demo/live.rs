//! The demo for people: it shows the flow until somebody ends it.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::director;
use super::operator::Operator;
use super::running::{Running, Scene};
use super::screen::{self, Page, Screen, Wish, clock, plain};
use super::snapshot::Snapshot;
use super::tempo::Tempo;
use cerby_reconciler::operator::cli::terminal::print;
use cerby_reconciler::shutdown::Signals;

const TRY_EVERY: Duration = Duration::from_millis(500);
const KEYS_EVERY: Duration = Duration::from_millis(50);
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Shows the demo until q, Ctrl-C or a signal: as a screen on a terminal, as lines elsewhere. Returns the end.
pub(super) async fn show(
    running: &mut Running,
    tempo: &Tempo,
    with_operator: bool,
    signals: &mut Signals,
) -> anyhow::Result<Snapshot> {
    let Running { replicas, scene } = running;
    let scene = &*scene;
    let shown = async {
        if screen::is_possible() {
            on_the_screen(scene).await
        } else {
            match as_lines(scene).await? {}
        }
    };
    let ended = tokio::select! {
        shown = shown => shown,
        failed = arrive(scene, tempo) => match failed? {},
        failed = director::direct(scene, tempo.story_pause) => match failed? {},
        failed = operate(scene, tempo, with_operator) => match failed? {},
        error = replicas.one_ends() => Err(error),
        _ = signals.next() => Ok(()),
    };
    ended?;
    Ok(Snapshot::take(scene).await?)
}

async fn arrive(scene: &Scene, tempo: &Tempo) -> anyhow::Result<Infallible> {
    scene.let_tasks_arrive(tempo).await?;
    std::future::pending().await
}

async fn operate(scene: &Scene, tempo: &Tempo, with_operator: bool) -> anyhow::Result<Infallible> {
    if !with_operator {
        return std::future::pending().await;
    }
    let mut operator = Operator::new(scene.colleague(), &scene.cast, tempo.operator_takes);
    Ok(operator.work().await?)
}

async fn on_the_screen(scene: &Scene) -> anyhow::Result<()> {
    let mut screen = Screen::open()?;
    let mut page = Page::Overview;
    let source = scene.commands.source();
    loop {
        let snapshot = Snapshot::take(scene).await?;
        screen.draw(page, &snapshot, &source)?;
        let next = Instant::now() + TRY_EVERY;
        while Instant::now() < next {
            match Screen::wish()? {
                Some(Wish::Quit) => return Ok(()),
                Some(Wish::Show(other)) => page = other,
                Some(Wish::Redraw) => {}
                None => {
                    tokio::time::sleep(KEYS_EVERY).await;
                    continue;
                }
            }
            screen.draw(page, &snapshot, &source)?;
        }
    }
}

/// If the reader has gone, the demo ends.
async fn as_lines(scene: &Scene) -> anyhow::Result<Infallible> {
    let source = scene.commands.source();
    print(&format!("the demo is running with seed {}; end it with Ctrl-C\n", scene.seed))?;
    print(&format!("in another terminal: {source}; reconciler-demo --help\n"))?;
    let mut told = vec![0; scene.cast.len()];
    let mut last = String::new();
    loop {
        let snapshot = Snapshot::take(scene).await?;
        print(&news(&snapshot, &mut told))?;
        let counts = snapshot.counts();
        if counts != last {
            print(&plain(&format!("{:>5}  ", clock(snapshot.running_for())), &counts))?;
            last = counts;
        }
        tokio::time::sleep(LINE_EVERY).await;
    }
}

/// The steps of the stories that were not told yet.
fn news(snapshot: &Snapshot, told: &mut [usize]) -> String {
    let mut lines = String::new();
    for (index, (story, told)) in snapshot.stories.iter().zip(told).enumerate() {
        for (at, text) in story.told().skip(*told) {
            let since = (at - snapshot.began_at).to_std().unwrap_or_default();
            let head = format!("{:>5}  story {}: ", clock(since), index + 1);
            lines.push_str(&plain(&head, &text));
        }
        *told = story.reached.len();
    }
    lines
}
