//! What every store shares: the errors of the database, and transactions that name their actor.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::{PgPool, Postgres, Transaction};

use crate::membership::UnknownWord;

/// The actor of everything that the daemon does by itself.
pub const DAEMON: &str = "daemon";

/// Why rows could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or did not answer.
    #[error("the database refused or did not answer")]
    Database(#[from] sqlx::Error),
    /// A row holds what no constraint should have let in.
    #[error("row {id} of {table} is not readable")]
    BadRow {
        /// The table.
        table: &'static str,
        /// The row.
        id: i64,
        /// What is wrong.
        #[source]
        source: UnknownWord,
    },
}

/// Begins a transaction whose rows in the trail name `actor`.
pub async fn begin_as(
    pool: &PgPool,
    actor: &str,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::query!("select set_config('reconciler.actor', $1, true)", actor)
        .fetch_one(&mut *tx)
        .await?;
    Ok(tx)
}

/// A duration for the database, rounded down to microseconds.
pub fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}
