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
    /// The workspaces as `reconciler.own_workspaces` reads them.
    pub fn workspaces_setting(&self) -> String {
        self.workspaces.as_ref().map_or("*".to_owned(), |workspaces| workspaces.join(","))
    }
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
        assert_eq!(setting(Some(vec!["acme".to_owned(), "globex".to_owned()])), "acme,globex");
    }
}
