//! Where the next page of a list begins: opaque to whoever has it.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::text::hex;

/// The cursor of a place in a list.
pub(super) fn cursor(place: impl Display) -> String {
    hex(place.to_string().as_bytes())
}

/// The place of a cursor; `None` for a text that is none of such a list.
pub(super) fn place<T: FromStr>(cursor: &str) -> Option<T> {
    let byte = |at| u8::from_str_radix(cursor.get(at..at + 2)?, 16).ok();
    let bytes = (0..cursor.len()).step_by(2).map(byte).collect::<Option<_>>();
    let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok())?;
    if place.is_empty() { None } else { place.parse().ok() }
}

/// A place in a list that goes by workspaces, and by ids in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InWorkspace {
    workspace: String,
    id: String,
}

impl InWorkspace {
    pub(super) fn new(workspace: &str, id: &str) -> Self {
        Self { workspace: workspace.to_owned(), id: id.to_owned() }
    }

    pub(super) fn pair(&self) -> (&str, &str) {
        (&self.workspace, &self.id)
    }
}

impl Display for InWorkspace {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.workspace, self.id)
    }
}

impl FromStr for InWorkspace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (workspace, id) = text.split_once('/').ok_or("give it as WORKSPACE/ID")?;
        Ok(Self::new(workspace, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_no_other_text_is_one() {
        for known in ["7", "acme/an-app", "é"] {
            assert_eq!(place(&cursor(known)), Some(known.to_owned()));
        }
        for other in ["", "7", "zz", "é", "ff"] {
            assert_eq!(place::<String>(other), None, "{other}");
        }
        assert_eq!(place::<i64>(&cursor("acme/an-app")), None, "of another list");
    }

    #[test]
    fn a_place_in_a_workspace_is_read_as_it_was_written() {
        let known = InWorkspace::new("acme", "an/app");
        assert_eq!(place(&cursor(&known)), Some(known.clone()), "an id may have the sign");
        assert_eq!(known.pair(), ("acme", "an/app"));
        assert_eq!(place::<InWorkspace>(&cursor("acme")), None);
    }
}
