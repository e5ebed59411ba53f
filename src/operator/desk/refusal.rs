//! Why something was not done: the database's own words, without the rows that it quotes in its details.

use std::fmt::{self, Display, Formatter};

use sqlx::postgres::PgDatabaseError;

use crate::store::StoreError;

/// What kind of no it is: each door has its own way to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no such row.
    NotFound,
    /// The row is not in a state that permits it.
    NotAllowedNow,
    /// It was possible once, and is too late: a decision on a report that is read anew, a word that was judged.
    Stale,
    /// What was given is not what is needed.
    Invalid,
    /// Somebody else may, and this person may not.
    Forbidden,
    /// Somebody else has the row at this moment: the same may work in a moment.
    Busy,
}

/// Why something was not done, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
    /// What to do instead.
    pub hint: Option<String>,
}

impl Display for Refusal {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(out, "{}\n{hint}", self.message),
            None => out.write_str(&self.message),
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, message)
    }

    /// What PostgreSQL said no with. Its detail is left out: that quotes whole rows with names and addresses.
    pub(super) fn of(error: &sqlx::Error) -> Option<Self> {
        let error = error.as_database_error()?;
        let kind = kind_of(&error.code().unwrap_or_default())?;
        let hint = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint);
        Some(Self { kind, message: error.message().to_owned(), hint: hint.map(str::to_owned) })
    }
}

/// The kind of a refusal by its SQLSTATE; `None` where the database did not refuse, but failed. The codes that begin with
/// `P04` are our own: see the first migration.
fn kind_of(code: &str) -> Option<RefusalKind> {
    match code {
        "P0002" => Some(RefusalKind::NotFound),
        "P0403" | "42501" => Some(RefusalKind::Forbidden),
        "P0409" => Some(RefusalKind::NotAllowedNow),
        "P0410" => Some(RefusalKind::Stale),
        "55P03" | "57014" | "40001" | "40P01" => Some(RefusalKind::Busy),
        code if code.starts_with("22") || code.starts_with("23") => Some(RefusalKind::Invalid),
        _ => None,
    }
}

/// Why the desk did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// It may not be done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed: nobody knows whether it may be done.
    #[error(transparent)]
    Failed(StoreError),
}

impl From<StoreError> for DeskError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            error => Self::Failed(error),
        }
    }
}

impl From<sqlx::Error> for DeskError {
    fn from(error: sqlx::Error) -> Self {
        match Refusal::of(&error) {
            Some(refusal) => Self::Refused(refusal),
            None => Self::Failed(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_a_refusal_has_a_kind_and_a_failure_has_none() {
        use RefusalKind as K;
        for (code, kind) in [
            ("P0002", Some(K::NotFound)),
            ("P0403", Some(K::Forbidden)),
            ("P0409", Some(K::NotAllowedNow)),
            ("P0410", Some(K::Stale)),
            ("55P03", Some(K::Busy)),
            ("23514", Some(K::Invalid)),
            ("22001", Some(K::Invalid)),
            ("53100", None),
            ("57P01", None),
        ] {
            assert_eq!(kind_of(code), kind, "{code}");
        }
    }
}
