//! In which role somebody acts, and for which workspaces (pure).
//!
//! The database keeps both too: a transaction of somebody with an [`Access`] takes the database role of the same name, and
//! row-level security shows it these workspaces alone.

use crate::membership::words;

words! {
    Role {
        /// Reads.
        Viewer = "viewer",
        /// Also works on actions, decides on reports, and steers integrations.
        Operator = "operator",
        /// Also decides who may act.
        Administrator = "administrator",
    }
}

impl Role {
    pub fn database_role(self) -> &'static str {
        match self {
            Self::Viewer => "reconciler_viewer",
            Self::Operator => "reconciler_operator",
            Self::Administrator => "reconciler_administrator",
        }
    }

    pub fn may_change(self) -> bool {
        self >= Self::Operator
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub role: Role,
    /// `None` for all.
    pub workspaces: Option<Vec<String>>,
}

impl Access {
    /// The workspaces as `reconciler.own_workspaces` reads them. Words that cannot be the id of a workspace, such as `*` or
    /// a list in one word, may come from outside and give access to nothing.
    pub fn workspaces_setting(&self) -> String {
        let Some(workspaces) = &self.workspaces else { return "*".to_owned() };
        let ids: Vec<_> =
            workspaces.iter().map(String::as_str).filter(|id| is_workspace(id)).collect();
        ids.join(",")
    }
}

/// Whether the tables accept this as the id of a workspace.
pub fn is_workspace(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    word.starts_with(|first: char| first.is_ascii_alphanumeric()) && word.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_changes_nothing_and_no_workspaces_are_not_all() {
        assert_eq!(
            [Role::Viewer, Role::Operator, Role::Administrator].map(Role::may_change),
            [false, true, true]
        );
        let setting = |workspaces| Access { role: Role::Viewer, workspaces }.workspaces_setting();
        assert_eq!(setting(None), "*");
        assert_eq!(setting(Some(vec![])), "");
        let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        assert_eq!(setting(words(&["acme", "globex"])), "acme,globex");
        assert_eq!(setting(words(&["*"])), "", "a claim is no way to all");
        assert_eq!(setting(words(&["acme,globex", "", "_", "a-b_C1"])), "a-b_C1");
    }
}
