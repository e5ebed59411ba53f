//! The first page: how far everything is, what happened last, and what one can do.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span, Text};

use super::{clock, heading, wrapped};
use crate::demo::progress::Progress;
use crate::demo::sentences::Tone;
use crate::demo::snapshot::Snapshot;

/// The lowest list of happenings that is worth its place.
const LOWEST_LIST: usize = 5;
const HEAD_WIDTH: u16 = 9;
const CELL_WIDTH: u16 = 17;
const STORY_WIDTH: u16 = 39;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, source: &str) {
    let counts = counts(snapshot, area.width);
    let mut stories = stories(snapshot, area.width);
    let mut commands = commands(snapshot, source, area.width);
    // What does not fit is left out as a whole. The title names the keys of the stories anyhow.
    let is_too_high = |lines: usize| counts.len() + lines + LOWEST_LIST > usize::from(area.height);
    if is_too_high(stories.len() + commands.len()) {
        stories.clear();
    }
    if is_too_high(commands.len()) {
        commands.clear();
    }
    let height = |lines: &Vec<Line<'_>>| Constraint::Length(lines.len() as u16);
    let [top, list, middle, bottom] = Layout::vertical([
        height(&counts),
        Constraint::Min(0),
        height(&stories),
        height(&commands),
    ])
    .areas(area);
    frame.render_widget(Text::from(counts), top);
    frame.render_widget(Text::from(happenings(snapshot, list)), list);
    frame.render_widget(Text::from(stories), middle);
    frame.render_widget(Text::from(commands), bottom);
}

/// The counts that matter, in columns, as many as there is room for.
fn counts(snapshot: &Snapshot, width: u16) -> Vec<Line<'static>> {
    let task = |state| Snapshot::in_state(&snapshot.tasks, state);
    let action = |state| Snapshot::in_state(&snapshot.actions, state);
    let rows = [
        (
            "Tasks",
            [
                (task("succeeded"), "succeeded", Color::Green),
                (task("escalated"), "to people", Color::Yellow),
                (task("superseded"), "replaced", Color::Reset),
                (task("pending") + task("running"), "not ended", Color::Cyan),
            ],
        ),
        (
            "Actions",
            [
                (action("verified"), "verified", Color::Green),
                (action("open") + action("in_progress"), "open", Color::Yellow),
                (action("done"), "to verify", Color::Cyan),
                (snapshot.contradicted, "contradicted", Color::Red),
            ],
        ),
    ];
    let columns = usize::from((width.saturating_sub(HEAD_WIDTH) / CELL_WIDTH).max(1));
    let lines = rows.iter().flat_map(|(name, cells)| {
        let heads = std::iter::once(*name).chain(std::iter::repeat(""));
        heads.zip(cells.chunks(columns)).map(|(head, cells)| {
            let head = Span::from(format!(" {head:<8}")).bold();
            Line::from_iter(std::iter::once(head).chain(cells.iter().map(cell)))
        })
    });
    lines.chain([Line::default()]).collect()
}

fn cell((rows, label, color): &(i64, &str, Color)) -> Span<'static> {
    let style = if *rows == 0 { Style::new().dim() } else { Style::new().fg(*color) };
    Span::styled(format!("{rows:>4} {label:<12}"), style)
}

/// The latest first, as many as fit whole.
fn happenings(snapshot: &Snapshot, area: Rect) -> Vec<Line<'static>> {
    let mut lines = vec![heading("What happened last")];
    for happening in &snapshot.happenings {
        let since = (happening.at - snapshot.began_at).to_std().unwrap_or_default();
        let head = Span::from(format!(" {:>5}  ", clock(since))).dim();
        let style = match happening.tone {
            Tone::Good => Style::new().green(),
            Tone::Bad => Style::new().red(),
            Tone::Waits => Style::new().yellow(),
            Tone::Plain => Style::new(),
        };
        let more = wrapped(head, &happening.text, style, area.width);
        if lines.len() + more.len() > usize::from(area.height) {
            break;
        }
        lines.extend(more);
    }
    if snapshot.happenings.is_empty() {
        lines.push(Line::from("        Nothing yet: the first failed tasks arrive now.").dim());
    }
    lines
}

fn stories(snapshot: &Snapshot, width: u16) -> Vec<Line<'static>> {
    let columns = usize::from((width / STORY_WIDTH).clamp(1, 2));
    let rows = snapshot.stories.len().div_ceil(columns);
    let mut lines = vec![Line::default(), heading("Six stories: press the number to watch one")];
    for row in 0..rows {
        let cells = (row..snapshot.stories.len()).step_by(rows.max(1));
        lines.push(cells.map(|index| story(index, &snapshot.stories[index])).collect());
    }
    lines
}

fn story(index: usize, progress: &Progress) -> Span<'static> {
    let (reached, all) = (progress.reached.len(), progress.part.story.steps.len());
    let (state, style) = match reached {
        0 => ("not begun".to_owned(), Style::new().dim()),
        _ if reached == all => ("ended".to_owned(), Style::new().green()),
        _ => (format!("step {reached} of {all}"), Style::new().cyan()),
    };
    Span::styled(format!(" {} {:<21}{state:<15}", index + 1, progress.part.story.title), style)
}

fn commands(snapshot: &Snapshot, source: &str, width: u16) -> Vec<Line<'static>> {
    let (id, help) = match &snapshot.urgent {
        Some(urgent) => (urgent.id.to_string(), urgent.change.request()),
        None => ("ID".to_owned(), "make the change of a manual action".to_owned()),
    };
    let command = |text: String, help: &str| {
        let head = Span::from(format!("   {text:<24}")).cyan();
        wrapped(head, help, Style::new().dim(), width)
    };
    let mut lines = vec![Line::default(), heading("In another terminal, in this folder")];
    lines.extend(command(source.to_owned(), ""));
    lines.extend(command(format!("reconciler-demo do {id}"), &help));
    lines.extend(command("reconciler-demo sql".to_owned(), "look around with psql"));
    lines
}
