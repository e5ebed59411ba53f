//! Why a request was refused: the database's own message, without the details, which quote rows.

use std::fmt::{self, Display, Formatter};

use sqlx::postgres::PgDatabaseError;

use crate::store::StoreError;

/// The kind of a refusal; each interface reports it in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    NotFound,
    /// The row is not in a state that permits it.
    NotAllowedNow,
    /// It was possible before and is now too late: a decision on a report that is read again, a statement that was
    /// judged.
    Stale,
    /// The row has changed since the caller saw it.
    Changed,
    /// The input is invalid.
    Invalid,
    /// The input does not fit the verb: it lacks a word, or names an action twice.
    Unfit,
    /// Another person may do this, but not this one.
    Forbidden,
    /// Somebody else has the row locked at this moment: the same may work a moment later.
    Busy,
}

/// Why a request was refused, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
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
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, message)
    }

    /// The refusal by PostgreSQL. Its detail is left out, because it quotes whole rows with names and addresses.
    pub(super) fn of(error: &sqlx::Error) -> Option<Self> {
        let error = error.as_database_error()?;
        let kind = kind_of(&error.code().unwrap_or_default())?;
        let hint = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint);
        // Of this one, PostgreSQL names only the byte.
        let message = match error.code().as_deref() {
            Some("22021") => "a text has the character U+0000, which cannot be stored",
            _ => error.message(),
        };
        Some(Self { kind, message: message.to_owned(), hint: hint.map(str::to_owned) })
    }
}

/// The kind of a refusal by its SQLSTATE; `None` if the database failed instead of refusing. The codes that begin with
/// `P04` are our own: see the first migration.
fn kind_of(code: &str) -> Option<RefusalKind> {
    match code {
        "P0002" => Some(RefusalKind::NotFound),
        "P0403" | "42501" => Some(RefusalKind::Forbidden),
        "P0409" => Some(RefusalKind::NotAllowedNow),
        "P0410" => Some(RefusalKind::Stale),
        "P0412" => Some(RefusalKind::Changed),
        "55P03" | "57014" | "40001" | "40P01" => Some(RefusalKind::Busy),
        code if code.starts_with("22") || code.starts_with("23") => Some(RefusalKind::Invalid),
        _ => None,
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed: it is unknown whether the change is allowed.
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
            ("P0412", Some(K::Changed)),
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
