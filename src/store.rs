//! What all stores share: the errors of the database, and transactions that name their actor.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;

use crate::access::Access;
use crate::database::{PgConnection, PgPool, Transaction};
use crate::membership::UnknownWord;

/// People are told how many rows there are up to this: a page must not read a whole backlog to count it.
pub const MOST_COUNTED: i64 = 1000;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database refused or did not answer")]
    Database(#[from] sqlx::Error),
    /// No answer came in time: the database, or the connection to it, is gone without an error.
    #[error("the database did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// A row contains a value that a constraint should have refused.
    #[error("row {id} of {table} is not readable")]
    BadRow {
        table: &'static str,
        id: i64,
        #[source]
        source: UnknownWord,
    },
}

impl StoreError {
    /// Whether the error concerns only these rows: the database refused what these statements would have written, or
    /// could not do it in time or get a lock. Other rows may go on. Without a connection, nothing can.
    pub fn is_about_rows(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else {
            return matches!(
                self,
                Self::BadRow { .. } | Self::Database(sqlx::Error::ColumnDecode { .. })
            );
        };
        // Data, constraints, triggers; a lock or a statement that took too long; a deadlock or another serialization
        // failure.
        let code = error.code().unwrap_or_default();
        ["22", "23", "40", "P0"].contains(&code.get(..2).unwrap_or_default())
            || ["55P03", "57014", "54000"].contains(&code.as_ref())
    }

    /// Whether the server answered and refused these statements, so that others may work. A server that shuts down, or
    /// cannot write at all, refuses everything.
    pub fn is_refusal(&self) -> bool {
        let code = match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().unwrap_or_default(),
            _ => return self.is_about_rows(),
        };
        !["57P01", "57P02", "57P03", "25006"].contains(&code.as_ref())
    }
}

/// Limits the total time of work that consists of several statements. Each statement has a time limit of its own
/// (`database`), but a server that is slow at every one must not block a loop for ever.
pub async fn with_timeout<T>(
    query_timeout: Duration,
    statements: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(query_timeout, statements)
        .await
        .unwrap_or(Err(StoreError::Timeout(query_timeout)))
}

/// Begins a transaction of the daemon, which the lines of the trail name as the actor. It takes one round trip, because
/// every step makes one.
pub async fn begin(pool: &PgPool) -> Result<Transaction, sqlx::Error> {
    pool.begin_with("begin; set local reconciler.actor = 'daemon'").await
}

/// Begins a transaction of the daemon that writes a row which a person may have locked. Its lock timeout is short, so
/// that it does not block a connection and a slot.
pub async fn begin_briefly(pool: &PgPool) -> Result<Transaction, sqlx::Error> {
    pool.begin_with("begin; set local reconciler.actor = 'daemon'; set local lock_timeout = '1s'")
        .await
}

/// Begins a transaction of the daemon for work that one replica does at a time; `None` if another replica does any of
/// it now. The locks are on rows that only the daemon may lock, because any role can take an advisory lock.
pub async fn begin_exclusive(
    pool: &PgPool,
    works: &[&str],
) -> Result<Option<Transaction>, StoreError> {
    let mut tx = begin(pool).await?;
    Ok(take_exclusive(&mut tx, works).await?.then_some(tx))
}

/// Locks work that one replica does at a time, until the transaction ends; returns whether no other replica does any of
/// it.
pub async fn take_exclusive(
    connection: &mut PgConnection,
    works: &[&str],
) -> Result<bool, StoreError> {
    let names: Vec<_> = works.iter().map(ToString::to_string).collect();
    let ours = sqlx::query!(
        "-- begin_exclusive
         select name from reconciler.exclusive_work where name = any ($1) for update skip locked",
        &names,
    )
    .fetch_all(connection)
    .await?;
    Ok(ours.len() == works.len())
}

/// Retries rows that failed together: in halves, and halves of these, until a bad row is alone, which is then set
/// aside. Returns the results of `work`. Stops if another replica does this work now (`None`).
pub async fn in_parts<T, W, S>(
    ids: Vec<i64>,
    error: StoreError,
    mut work: impl FnMut(Vec<i64>) -> W,
    mut quarantined: impl FnMut(i64, StoreError) -> S,
) -> Result<Vec<T>, StoreError>
where
    W: Future<Output = Result<Option<T>, StoreError>>,
    S: Future<Output = Result<(), StoreError>>,
{
    let mut done = Vec::new();
    let mut failed = vec![(ids, error)];
    while let Some((ids, error)) = failed.pop() {
        if let [id] = ids[..] {
            quarantined(id, error).await?;
            continue;
        }
        let (left, right) = ids.split_at(ids.len() / 2);
        for half in [left, right] {
            match work(half.to_vec()).await {
                Ok(Some(result)) => done.push(result),
                Ok(None) => return Ok(done),
                Err(error) if error.is_about_rows() => failed.push((half.to_vec(), error)),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(done)
}

/// Begins a transaction of a person, whom the lines of the trail name as the actor. It waits up to two seconds for a
/// row that somebody else has locked, and then fails. With the access of a token, the database holds it to that role and
/// those workspaces; otherwise what holds is what the login may.
pub async fn begin_as(
    pool: &PgPool,
    actor: &str,
    access: Option<&Access>,
) -> Result<Transaction, sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::query!(
        "-- begin_as
         select set_config('reconciler.actor', $1, true) as actor, set_config('lock_timeout', '2s', true) as waits,
                set_config('role', $2, true) as role, set_config('reconciler.workspaces', $3, true) as workspaces",
        actor,
        access.map_or("none", |access| access.role.database_role()),
        access.map_or("*".to_owned(), Access::workspaces_setting),
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(tx)
}

/// Whether the session's login may act as the daemon.
pub async fn is_shared_login(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- is_shared_login
         select pg_has_role(session_user, 'reconciler_daemon', 'member') as "is_shared!""#
    )
    .fetch_one(pool)
    .await
}

/// The time between the two, zero if it would be negative.
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn the_bad_rows_of_a_batch_are_set_aside_one_by_one_and_the_others_are_worked_on() {
        let bad = || {
            StoreError::Database(sqlx::Error::ColumnDecode {
                index: "a column".to_owned(),
                source: "odd".into(),
            })
        };
        let aside = Mutex::new(Vec::new());
        let done = in_parts(
            (1..=9).collect(),
            bad(),
            async |ids: Vec<i64>| match ids.iter().any(|id| [4, 9].contains(id)) {
                true => Err(bad()),
                false => Ok(Some(ids)),
            },
            async |id, _| {
                aside.lock().unwrap().push(id);
                Ok(())
            },
        );
        let mut done = done.await.unwrap().concat();
        done.sort_unstable();
        assert_eq!(done, [1, 2, 3, 5, 6, 7, 8]);
        let mut aside = aside.into_inner().unwrap();
        aside.sort_unstable();
        assert_eq!(aside, [4, 9]);
    }

    #[tokio::test]
    async fn without_a_database_nothing_is_set_aside() {
        let lost = || StoreError::Timeout(Duration::from_secs(1));
        let done = in_parts(
            vec![1, 2],
            lost(),
            async |_| Err::<Option<()>, _>(lost()),
            async |_, _| panic!("set aside"),
        );
        assert!(matches!(done.await, Err(StoreError::Timeout(_))));
    }
}
