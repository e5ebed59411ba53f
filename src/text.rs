//! Text that is safe to show.

/// The text without control characters and without marks that change its direction. Anybody may type a name, and a name
/// must not look like another one or break a terminal.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !turns_direction(*c)).collect()
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
