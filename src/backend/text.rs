//! Repairs the text of an answer, so that one broken character hides no more than itself.
//!
//! Servers cut emojis in half, send bytes of another encoding, and write `NaN` as a number. Any of these makes the
//! whole answer invalid JSON. So what cannot be read is replaced before the answer is parsed. Everything else stays
//! byte for byte, and text that is not JSON does not become JSON.

const REPLACEMENT: &str = "\\ufffd";

/// The body as text that can be parsed, with replacement characters for what cannot be read.
pub(super) fn readable(body: Vec<u8>) -> String {
    let text = match String::from_utf8(body) {
        Ok(text) => text,
        Err(broken) => String::from_utf8_lossy(broken.as_bytes()).into_owned(),
    };
    let mut mended = Mended { text: &text, kept: 0, out: String::new() };
    mended.walk();
    if mended.kept == 0 { text } else { mended.end() }
}

/// A text, and its repaired copy up to `kept`.
struct Mended<'a> {
    text: &'a str,
    kept: usize,
    out: String,
}

impl Mended<'_> {
    fn walk(&mut self) {
        let text = self.text;
        let bytes = text.as_bytes();
        let (mut at, mut is_string) = (0, false);
        while let Some(byte) = bytes.get(at) {
            at += match (byte, is_string) {
                (b'"', _) => {
                    is_string = !is_string;
                    1
                }
                (b'\\', true) => self.escape(at),
                (..0x20, true) => self.replace(at, 1, REPLACEMENT),
                (b'N' | b'I' | b'-', false) => self.word(at),
                _ => 1,
            };
        }
    }

    /// Handles an escape in a string; returns its length.
    fn escape(&mut self, at: usize) -> usize {
        let rest = &self.text.as_bytes()[at..];
        match rest.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match (unit(rest), rest.get(6..).and_then(unit)) {
                (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
                (Some(0xd800..0xe000), _) => self.replace(at, 6, REPLACEMENT),
                (Some(_), _) => 6,
                (None, _) => self.replace(at, 2, REPLACEMENT),
            },
            Some(_) => self.replace(at, 1, REPLACEMENT),
            None => 1,
        }
    }

    /// JavaScript words for numbers that JSON does not have.
    fn word(&mut self, at: usize) -> usize {
        let rest = &self.text[at..];
        let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word));
        word.map_or(1, |word| self.replace(at, word.len(), "null"))
    }

    /// Replaces `length` bytes; returns `length`.
    fn replace(&mut self, at: usize, length: usize, by: &str) -> usize {
        self.out.push_str(&self.text[self.kept..at]);
        self.out.push_str(by);
        self.kept = at + length;
        length
    }

    fn end(mut self) -> String {
        self.out.push_str(&self.text[self.kept..]);
        self.out
    }
}

/// The UTF-16 unit that an escape at the beginning of `bytes` stands for.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    u16::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| is_hex)?, 16).ok()
}

/// A code that is safe in logs and rows: short, and only letters, digits, blanks and `_-.`.
pub fn plain_code(code: &str) -> String {
    code.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.'))
        .take(64)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn mended(text: &str) -> String {
        readable(text.as_bytes().to_vec())
    }

    #[test]
    fn what_no_reader_could_read_is_replaced_and_nothing_else() {
        let table = [
            (r#"["\ud83d"]"#, r#"["\ufffd"]"#),
            (r#"["\uD83D!"]"#, r#"["\ufffd!"]"#),
            (r#"["\ude00\ud83d"]"#, r#"["\ufffd\ufffd"]"#),
            (r#"["\ud83d\ud83d\ude00"]"#, r#"["\ufffd\ud83d\ude00"]"#),
            (r#"["\ud83d\ude00"]"#, r#"["\ud83d\ude00"]"#),
            (r#"["\\ud83d"]"#, r#"["\\ud83d"]"#),
            (r#"["\\\ud83d"]"#, r#"["\\\ufffd"]"#),
            (r#"["\u12", "\x41"]"#, r#"["\ufffd12", "\ufffdx41"]"#),
            ("[\"a\tb\"]\n", "[\"a\\ufffdb\"]\n"),
            ("[NaN, -Infinity, Infinity, -1]", "[null, null, null, -1]"),
            (r#"["NaN"]"#, r#"["NaN"]"#),
            (r#"["#, r#"["#),
            (r#"["\"#, r#"["\"#),
            ("<html>It's \\ud83d</html>", "<html>It's \\ud83d</html>"),
        ];
        for (sent, read) in table {
            assert_eq!(mended(sent), read, "{sent}");
        }
        assert_eq!(readable(b"[\"\xff\xf0\x9f\"]".to_vec()), "[\"\u{fffd}\u{fffd}\"]");
    }

    proptest! {
        #[test]
        fn what_is_json_stays_as_it_is(text in any::<String>(), number in any::<f64>()) {
            let sent = serde_json::json!({"text": text, "number": number}).to_string();
            prop_assert_eq!(mended(&sent), sent);
        }

        #[test]
        fn a_string_of_any_bytes_is_json(
            bytes in proptest::collection::vec(any::<u8>(), 0..40)
        ) {
            let bytes: Vec<_> = bytes.into_iter().filter(|byte| !b"\"\\".contains(byte)).collect();
            let sent = [&b"{\"a\": \""[..], &bytes, b"\"}"].concat();
            prop_assert!(serde_json::from_str::<Value>(&readable(sent)).is_ok());
        }
    }
}
