//! The database's own words, without the rows that it quotes in its details.

use std::error::Error;

use sqlx::postgres::PgDatabaseError;

use crate::store::StoreError;

/// What PostgreSQL said no with: its message, and its hint if it has one. Its detail is left out, since it
/// quotes whole rows with names and addresses.
pub(super) fn words(error: &sqlx::Error) -> String {
    let Some(refusal) = error.as_database_error() else {
        return chain(error);
    };
    let hint = refusal.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint);
    match hint {
        Some(hint) => format!("{}\n{hint}", refusal.message()),
        None => refusal.message().to_owned(),
    }
}

fn chain(error: &dyn Error) -> String {
    crate::telemetry::chain(error).to_string()
}

/// A store's error as people read it.
pub(super) fn of(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Database(error) => anyhow::anyhow!("{}", words(&error)),
        error => error.into(),
    }
}
