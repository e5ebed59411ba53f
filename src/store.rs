//! What every store shares: the errors of the database, and transactions that name their actor.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;
use sqlx::{PgPool, Postgres, Transaction};

use crate::membership::UnknownWord;

/// Why rows could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or did not answer.
    #[error("the database refused or did not answer")]
    Database(#[from] sqlx::Error),
    /// No answer came in time: the database, or the way to it, is gone without a word.
    #[error("the database did not answer within {} s", .0.as_secs())]
    Silent(Duration),
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

impl StoreError {
    /// Whether the database refused what these statements would have written, or could not do it in time or for a lock: other
    /// rows may well go on. Without a connection, nothing does.
    pub fn is_about_rows(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else {
            return matches!(
                self,
                Self::BadRow { .. } | Self::Database(sqlx::Error::ColumnDecode { .. })
            );
        };
        // Data, constraints, triggers; a lock or a statement that took too long; a deadlock or another serialization.
        let code = error.code().unwrap_or_default();
        ["22", "23", "40", "P0"].contains(&code.get(..2).unwrap_or_default())
            || ["55P03", "57014", "54000"].contains(&code.as_ref())
    }
}

/// Gives the database so long to answer. The driver itself would wait for a host that is gone until the operating
/// system gives up, and with it a whole loop.
pub async fn answered<T>(
    patience: Duration,
    statements: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(patience, statements).await.unwrap_or(Err(StoreError::Silent(patience)))
}

/// Begins a transaction of the daemon: its lines in the trail name it. In one trip to the server and back, for every
/// step makes one.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    pool.begin_with("begin; set local reconciler.actor = 'daemon'").await
}

/// Begins a transaction of the daemon for work that one replica does at a time; `None` if another is at it. The lock is on
/// a row that only the daemon may lock: advisory locks can be taken by any role.
pub async fn begin_exclusive(
    pool: &PgPool,
    work: &str,
) -> Result<Option<Transaction<'static, Postgres>>, StoreError> {
    let mut tx = begin(pool).await?;
    let ours = sqlx::query!(
        "-- begin_exclusive
         select name from reconciler.exclusive_work where name = $1 for update skip locked",
        work,
    )
    .fetch_optional(&mut *tx)
    .await?;
    Ok(ours.map(|_| tx))
}

/// Begins a transaction of somebody else, whom its lines in the trail name.
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

/// Time between, zero if the clocks say less.
pub fn elapsed(since: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - since).to_std().unwrap_or_default()
}

/// A duration for the database, rounded down to microseconds.
pub fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}
