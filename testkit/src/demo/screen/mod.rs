//! The demo on a terminal.

pub(super) mod example;
mod overview;
mod paragraph;
mod picture;
mod timeline;

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::Frame;
use ratatui::backend::Backend;
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::Gauge;

use super::snapshot::Snapshot;
use super::story::STORIES;
use cerby_reconciler::operator::cli::terminal::complain;
pub(super) use paragraph::{plain, wrapped};
pub use picture::picture;

/// Reports the progress of the demo on stderr.
pub(super) fn progress(text: &str) {
    complain(&format!("demo: {text}"));
}

/// Whether there is a terminal that can be drawn on.
pub(super) fn is_possible() -> bool {
    let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    is_terminal && moves_its_cursor(std::env::var_os("TERM").as_deref())
}

fn moves_its_cursor(term: Option<&OsStr>) -> bool {
    term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// What the screen shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Overview,
    /// The story with this index.
    Story(usize),
}

/// What somebody asked for with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Show(Page),
    /// The size of the terminal changed.
    Redraw,
}

/// The whole terminal. It is restored when this is dropped or the program panics.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    pub(super) fn open() -> anyhow::Result<Self> {
        let mut terminal = ratatui::try_init()?;
        // Not every terminal has a second screen that is empty. `Terminal::clear` asks where the cursor is, and not every
        // terminal answers.
        terminal.backend_mut().clear()?;
        Ok(Self { terminal })
    }

    pub(super) fn draw(
        &mut self,
        page: Page,
        snapshot: &Snapshot,
        source: &str,
    ) -> anyhow::Result<()> {
        self.terminal.draw(|frame| draw(frame, page, snapshot, source))?;
        Ok(())
    }

    /// The next wish, if there is one.
    pub(super) fn wish() -> anyhow::Result<Option<Wish>> {
        while event::poll(Duration::ZERO)? {
            if let Some(wish) = wish(&event::read()?) {
                return Ok(Some(wish));
            }
        }
        Ok(None)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn wish(input: &Input) -> Option<Wish> {
    let key = match input {
        Input::Key(key) if key.kind == KeyEventKind::Press => key,
        Input::Resize(..) => return Some(Wish::Redraw),
        _ => return None,
    };
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
        KeyCode::Char('q') => Some(Wish::Quit),
        KeyCode::Char('0') | KeyCode::Esc => Some(Wish::Show(Page::Overview)),
        KeyCode::Char(digit) => {
            let story = usize::try_from(digit.to_digit(10)?).ok()?.checked_sub(1)?;
            (story < STORIES.len()).then_some(Wish::Show(Page::Story(story)))
        }
        _ => None,
    }
}

fn draw(frame: &mut Frame<'_>, page: Page, snapshot: &Snapshot, source: &str) {
    let [title, bar, _, rest] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
    ])
    .areas(frame.area());
    draw_title(frame, title, page, snapshot);
    draw_bar(frame, bar, snapshot);
    match page {
        Page::Overview => overview::draw(frame, rest, snapshot, source),
        Page::Story(story) => timeline::draw(frame, rest, story, snapshot),
    }
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, page: Page, snapshot: &Snapshot) {
    let keys = match page {
        Page::Overview => "1-6 a story  q quit ",
        Page::Story(_) => "1-6 a story  0 back  q quit ",
    };
    let [left, right] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(keys.len() as u16)]).areas(area);
    let title = Line::from(vec![
        Span::from(" cerby-reconciler ").bold().reversed(),
        Span::from(format!(" seed {}, {}", snapshot.seed, clock(snapshot.running_for()))),
    ]);
    frame.render_widget(title, left);
    frame.render_widget(Line::from(keys).dim(), right);
}

fn draw_bar(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let ended = snapshot.ended_tasks();
    let ratio = (ended as f64 / snapshot.expected.max(1) as f64).clamp(0.0, 1.0);
    let bar = Gauge::default()
        .gauge_style(Style::new().fg(Color::Green).bg(Color::DarkGray))
        .label(Span::from(format!("{ended} of {} tasks ended", snapshot.expected)).bold().white())
        .ratio(ratio);
    frame.render_widget(bar, area);
}

/// Minutes and seconds since the start.
pub(super) fn clock(since: Duration) -> String {
    format!("{}:{:02}", since.as_secs() / 60, since.as_secs() % 60)
}

fn heading(text: &str) -> Line<'static> {
    Line::from(format!(" {text}")).bold()
}

#[cfg(test)]
mod tests;
