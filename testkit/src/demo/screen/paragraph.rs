//! Text in lines that are not cut.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// The text in lines of at most this width. The first line begins with the head, and the others are indented as far. A
/// word that is wider than a line has one to itself.
pub(in crate::demo) fn wrapped(
    head: Span<'static>,
    text: &str,
    style: Style,
    width: u16,
) -> Vec<Line<'static>> {
    let indent = head.width();
    let room = usize::from(width).saturating_sub(indent);
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let together = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if line.is_empty() || Span::from(&together).width() <= room {
            *line = together;
        } else {
            lines.push(word.to_owned());
        }
    }
    let heads = std::iter::once(head).chain(std::iter::repeat(Span::from(" ".repeat(indent))));
    let parts = heads.zip(lines);
    parts.map(|(head, text)| Line::from(vec![head, Span::styled(text, style)])).collect()
}

/// The same without colors, for what is not a screen.
pub(in crate::demo) fn plain(head: &str, text: &str) -> String {
    const WIDTH: u16 = 80;
    let lines = wrapped(Span::from(head.to_owned()), text, Style::new(), WIDTH);
    lines.iter().map(|line| line.to_string().trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_are_indented() {
        let text = plain("0:12  ", &"Kim Roe was removed from Figma. ".repeat(4));
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
        assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("      ")), "{text}");
    }

    #[test]
    fn a_wide_letter_takes_two_columns() {
        let text = "李 小 龍";
        assert_eq!(wrapped(Span::from(""), text, Style::new(), 5).len(), 2);
    }

    #[test]
    fn a_word_wider_than_the_line_is_no_reason_to_stop() {
        assert_eq!(wrapped(Span::from("head "), "a verylongword b", Style::new(), 4).len(), 3);
    }
}
