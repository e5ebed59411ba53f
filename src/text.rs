//! Text that is safe to show.

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

/// The text without control characters, without separators of lines, and without characters that are not seen, among
/// them all marks that change its direction. Anybody may type a name, and a name must not look like another one, begin a
/// line or break a terminal.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| is_printable(*c)).collect()
}

/// A part of a path, or a value in a query.
pub fn encoded(part: &str) -> String {
    form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A number with its thousands apart, and a plus if counting ended at a limit.
pub fn counted(number: i64, limit: i64) -> String {
    let digits = number.min(limit).to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    format!("{}{}", groups.join(","), if number > limit { "+" } else { "" })
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn is_printable(c: char) -> bool {
    let separates_lines = matches!(c, '\u{2028}' | '\u{2029}');
    let annotates = matches!(c, '\u{fff9}'..='\u{fffb}');
    let is_unseen = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c);
    !(c.is_control() || separates_lines || annotates || is_unseen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_its_thousands_apart_and_a_plus_where_counting_ended() {
        assert_eq!(counted(0, 1000), "0");
        assert_eq!(counted(1000, 1000), "1,000");
        assert_eq!(counted(1001, 1000), "1,000+");
        assert_eq!(counted(1_234_567, 9_999_999), "1,234,567");
    }

    #[test]
    fn a_part_of_a_path_has_no_sign_that_means_something() {
        assert_eq!(encoded("a b/c?d&e"), "a%20b%2Fc%3Fd%26e");
    }

    #[test]
    fn what_is_not_seen_or_moves_other_text_is_dropped_and_letters_of_all_scripts_stay() {
        let control = "\u{0}\t\n\r\u{1b}\u{7f}\u{85}\u{9b}";
        let lines = "\u{2028}\u{2029}";
        let direction = "\u{200e}\u{200f}\u{61c}\u{202a}\u{202e}\u{2066}\u{2069}";
        let not_seen =
            "\u{ad}\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{3164}\u{fe0f}\u{e0001}\u{e0041}";
        let annotation = "\u{fff9}\u{fffb}";
        for one in [control, lines, direction, not_seen, annotation].concat().chars() {
            assert_eq!(printable(&format!("Jo{one} Li")), "Jo Li", "{}", one.escape_unicode());
        }
        for kept in ["Jörg Núñez", "李 小龍", "عمر", "Ωραία", "नमस्ते", "🙂", "a\u{a0}b"]
        {
            assert_eq!(printable(kept), kept);
        }
    }
}
