//! Where the next page of a list begins: opaque to whoever has it.

/// The cursor of a place in a list.
pub(super) fn cursor(place: &str) -> String {
    place.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The place of a cursor; `None` for a text that is none.
pub(super) fn place(cursor: &str) -> Option<String> {
    let byte = |at| u8::from_str_radix(cursor.get(at..at + 2)?, 16).ok();
    let bytes = (0..cursor.len()).step_by(2).map(byte).collect::<Option<_>>();
    let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    place.filter(|place| !place.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_no_other_text_is_one() {
        for known in ["7", "acme/an-app", "é"] {
            assert_eq!(place(&cursor(known)).as_deref(), Some(known));
        }
        for other in ["", "7", "zz", "é", "ff"] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
