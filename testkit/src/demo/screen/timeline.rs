//! One story, as far as it is.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span, Text};

use super::{clock, heading, wrapped};
use crate::demo::progress::Progress;
use crate::demo::snapshot::Snapshot;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, story: usize, snapshot: &Snapshot) {
    let Some(progress) = snapshot.stories.get(story) else { return };
    let mut lines = steps(progress, snapshot, area.width);
    lines.extend(end(progress, area.width));
    let head = [
        heading(&format!("Story {}: {}", story + 1, progress.part.story.title)),
        Line::from(format!(" {} in {}", progress.part.who, progress.part.app)),
        Line::default(),
    ];
    // On a low terminal, the latest steps are shown.
    let room = usize::from(area.height).saturating_sub(head.len());
    let hidden = lines.len().saturating_sub(room);
    let lines = head.into_iter().chain(lines.into_iter().skip(hidden));
    frame.render_widget(Text::from_iter(lines), area);
}

fn steps(progress: &Progress, snapshot: &Snapshot, width: u16) -> Vec<Line<'static>> {
    let lines = progress.told().flat_map(|(at, text)| {
        let since = (at - snapshot.began_at).to_std().unwrap_or_default();
        let head = Span::from(format!(" {:>5}  ", clock(since))).dim();
        wrapped(head, &text, Style::new(), width)
    });
    lines.collect()
}

fn end(progress: &Progress, width: u16) -> Vec<Line<'static>> {
    let (head, text) = match progress.waits() {
        None => ("   end  ", "This story has ended.".to_owned()),
        Some(waits) if progress.reached.is_empty() => {
            ("        ", format!("This story has not begun: it {waits}."))
        }
        Some(waits) => ("   now  ", format!("The story {waits}.")),
    };
    wrapped(Span::from(head).dim(), &text, Style::new().cyan(), width)
}
