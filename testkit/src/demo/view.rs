//! The demo on a terminal.

use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::snapshot::{Count, Event, Snapshot};
use cerby_reconciler::operator::cli::terminal::complain;
use cerby_reconciler::text::printable;

/// Reports the progress of the demo on stderr.
pub(super) fn progress(text: &str) {
    complain(&format!("demo: {text}"));
}

/// The whole terminal. It is restored when this is dropped or the program panics.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    pub(super) fn open() -> anyhow::Result<Self> {
        Ok(Self { terminal: ratatui::try_init()? })
    }

    pub(super) fn draw(&mut self, snapshot: &Snapshot, help: &[String]) -> anyhow::Result<()> {
        self.terminal.draw(|frame| draw(frame, snapshot, help))?;
        Ok(())
    }

    pub(super) fn is_asked_to_end() -> anyhow::Result<bool> {
        while event::poll(Duration::ZERO)? {
            if ends(&event::read()?) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn ends(input: &Input) -> bool {
    let Input::Key(key) = input else {
        return false;
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (key.code == KeyCode::Char('q') || control && key.code == KeyCode::Char('c'))
}

fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot, help: &[String]) {
    let help_height = u16::try_from(help.len() + 2).unwrap_or(u16::MAX);
    let [title, counts, events, commands] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(10),
        Constraint::Min(4),
        Constraint::Length(help_height),
    ])
    .areas(frame.area());
    frame.render_widget(
        Line::from(vec![
            Span::from(" cerby-reconciler ").bold().reversed(),
            Span::from("  two replicas, one database, a simulated backend; q ends it"),
        ]),
        title,
    );
    draw_counts(frame, counts, snapshot);
    draw_events(frame, events, &snapshot.events);
    let help: Vec<Line<'_>> = help.iter().map(|line| Line::from(line.as_str())).collect();
    let block = Block::bordered().title(" act as an operator, in another terminal ");
    frame.render_widget(Paragraph::new(help).block(block), commands);
}

fn draw_counts(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let columns = Layout::horizontal([Constraint::Ratio(1, 4); 4]).areas::<4>(area);
    let simulator = simulator_counts(snapshot);
    let boxes = [
        (" automation tasks ", &snapshot.tasks),
        (" manual actions ", &snapshot.actions),
        (" syncs ", &snapshot.syncs),
        (" in the apps ", &simulator),
    ];
    for ((title, counts), column) in boxes.into_iter().zip(columns) {
        let lines: Vec<Line<'_>> = counts.iter().map(count_line).collect();
        let block = Block::bordered().title(title);
        frame.render_widget(Paragraph::new(lines).block(block), column);
    }
}

fn count_line(count: &Count) -> Line<'_> {
    let style = match count.rows {
        0 => Style::new().dim(),
        _ => Style::new().fg(color(&count.state)),
    };
    Line::styled(format!("{:>6}  {}", count.rows, count.state), style)
}

fn color(state: &str) -> Color {
    match state {
        "succeeded" | "verified" | "finished" | "not_needed" | "attested" => Color::Green,
        "escalated" | "open" | "held" => Color::Yellow,
        "failed" | "repeated effects" => Color::Red,
        "running" | "started" | "applying" | "in_progress" | "done" => Color::Cyan,
        _ => Color::Reset,
    }
}

fn simulator_counts(snapshot: &Snapshot) -> Vec<Count> {
    let counters = &snapshot.counters;
    let sum = |of: fn(&crate::simulator::Effects) -> u64| counters.members.values().map(of).sum();
    let counts: [(&str, u64); 5] = [
        ("requests", counters.requests.values().sum()),
        ("invitations by automation", sum(|effects| effects.invites)),
        ("removals by automation", sum(|effects| effects.removals)),
        ("role changes by automation", sum(|effects| effects.role_changes)),
        ("repeated effects", counters.duplicate_effects),
    ];
    counts
        .into_iter()
        .map(|(state, rows)| Count {
            state: state.to_owned(),
            rows: i64::try_from(rows).unwrap_or(i64::MAX),
        })
        .collect()
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, events: &[Event]) {
    let lines: Vec<Line<'_>> = events.iter().map(event_line).collect();
    let block = Block::bordered().title(" what happened last ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn event_line(event: &Event) -> Line<'_> {
    let time = event.at.format("%H:%M:%S%.3f").to_string();
    let reason = event.reason.as_deref().map(printable).unwrap_or_default();
    let style = match event.what.as_str() {
        "action.verified" | "task.succeeded" | "action.attested" => Style::new().green(),
        "action.contradicted" => Style::new().red(),
        "task.escalated" | "action.opened" => Style::new().yellow(),
        _ => Style::new(),
    };
    Line::from(vec![
        Span::from(time).dim(),
        Span::from(format!("  {:<24}", event.what)).style(style),
        Span::from(format!("{:>6}  {:<14}", event.subject_id, event.actor)),
        Span::from(reason).dim(),
    ])
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    fn key(code: char, modifiers: KeyModifiers) -> Input {
        Input::Key(KeyEvent::new(KeyCode::Char(code), modifiers))
    }

    #[test]
    fn q_and_control_c_end_it_and_nothing_else_does() {
        assert!(ends(&key('q', KeyModifiers::NONE)));
        assert!(ends(&key('c', KeyModifiers::CONTROL)));
        assert!(!ends(&key('c', KeyModifiers::NONE)));
        assert!(!ends(&Input::Resize(1, 1)));
    }

    #[test]
    fn it_is_drawn_on_every_size_of_terminal() {
        let snapshot = Snapshot {
            tasks: vec![Count { state: "pending".to_owned(), rows: 42 }],
            actions: Vec::new(),
            syncs: Vec::new(),
            events: Vec::new(),
            urgent: None,
            counters: crate::simulator::Counters::default(),
        };
        for (width, height) in [(1, 1), (20, 5), (80, 24), (200, 60)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &snapshot, &["psql".to_owned()])).unwrap();
            if width >= 80 {
                assert!(terminal.backend().to_string().contains("42  pending"));
            }
        }
    }
}
