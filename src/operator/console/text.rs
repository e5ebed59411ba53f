//! Text as pages show it.

use std::fmt::{self, Display, Formatter, Write};

use askama::filters::Escaper;
use chrono::{DateTime, Utc};

use crate::operator::clock::relative;
use crate::operator::desk::Names;
use crate::text::is_printable;

/// Escapes markup, and drops what is not seen or moves other text; lines stay apart. Templates use it for every value.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::operator) struct Shown;

impl Escaper for Shown {
    fn write_escaped_str<W: Write>(&self, mut out: W, text: &str) -> fmt::Result {
        for c in text.chars().filter(|c| *c == '\n' || is_printable(*c)) {
            match c {
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '&' => out.write_str("&amp;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                c => out.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A time as markup: in UTC, and how far it is. The script of the page changes it to the reader's zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    at: DateTime<Utc>,
    now: DateTime<Utc>,
}

impl When {
    pub(super) fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { at, now }
    }
}

impl Display for When {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (iso, text) =
            (self.at.format("%Y-%m-%dT%H:%M:%SZ"), self.at.format("%-d %b %H:%M UTC"));
        let distance = relative(self.at - self.now);
        write!(
            out,
            "<time datetime=\"{iso}\"><span class=\"clock\">{text}</span> <span class=\"far\">{distance}</span></time>"
        )
    }
}

/// A word of the database as a person reads it.
pub(super) fn words(word: &str) -> String {
    word.replace('_', " ")
}

/// The beginning of a text that is long.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST_IN_A_LIST) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

const LONGEST_IN_A_LIST: usize = 120;

/// Somebody's name without what says that it is that of a token; the email of a person whom the issuer named.
pub(super) fn person<'a>(actor: &'a str, names: &'a Names) -> &'a str {
    names.of(actor.strip_prefix("token:").unwrap_or(actor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_what_is_not_seen_is_dropped() {
        let mut out = String::new();
        Shown.write_escaped_str(&mut out, "<b title='\"'>\u{202e}Jo & \u{0}Li</b>\nnext").unwrap();
        assert_eq!(out, "&lt;b title=&#39;&quot;&#39;&gt;Jo &amp; Li&lt;/b&gt;\nnext");
    }

    #[test]
    fn a_list_shows_the_beginning_of_a_long_text() {
        assert_eq!(short("seats bought"), "seats bought");
        let long = "ü".repeat(10_000);
        assert_eq!(short(&long), format!("{}…", "ü".repeat(120)));
    }

    #[test]
    fn a_time_says_its_zone_and_how_far_it_is() {
        let at: DateTime<Utc> = "2026-03-01T10:00:00Z".parse().unwrap();
        let shown = When::new(at, at - chrono::TimeDelta::hours(3)).to_string();
        assert!(shown.contains("datetime=\"2026-03-01T10:00:00Z\""), "{shown}");
        assert!(shown.contains("1 Mar 10:00 UTC") && shown.contains("in 3 h"), "{shown}");
    }
}
