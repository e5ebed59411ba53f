//! A connection taken from the pool, and its return to the pool.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr, SqlStr};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::statement::State;
use super::{AT_MOST, Shared};

/// A connection whose statements have bounded time.
pub struct PgConnection {
    lent: Option<PoolConnection<Postgres>>,
    state: State,
    in_transaction: bool,
}

impl PgConnection {
    pub(super) fn new(lent: PoolConnection<Postgres>, shared: Arc<Shared>) -> Self {
        Self { lent: Some(lent), state: State::new(shared), in_transaction: false }
    }

    /// The driver's connection, without a place in the pool and without time limits.
    pub fn detach(mut self) -> sqlx::Result<sqlx::PgConnection> {
        self.lent.take().map(PoolConnection::detach).ok_or(sqlx::Error::PoolClosed)
    }

    /// Begins a transaction with a statement that starts with `begin`. Behind a pooler it makes the settings first, in
    /// the same round trip, so that the statement may change them.
    async fn begin(&mut self, with: SqlStr) -> sqlx::Result<()> {
        let with = match self.state.settings_of_transactions() {
            Some(settings) => {
                let rest = with.as_str().trim_start_matches("begin");
                AssertSqlSafe(format!("begin; {settings}{}", rest.trim_start_matches(';')))
                    .into_sql_str()
            }
            None => with,
        };
        self.in_transaction = true;
        self.execute(with).await?;
        Ok(())
    }

    /// Whether a statement has to begin a transaction of its own, which makes the settings.
    pub(super) fn needs_transaction(&self) -> bool {
        !self.in_transaction && self.state.settings_of_transactions().is_some()
    }

    /// Runs a statement in a transaction of its own.
    pub(super) async fn in_own_transaction<T>(
        &mut self,
        statement: impl AsyncFnOnce(&mut Self) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        self.begin("begin".into_sql_str()).await?;
        let answer = statement(self).await;
        let end = if answer.is_ok() { "commit" } else { "rollback" };
        let ended = self.execute(end).await;
        self.in_transaction = ended.is_err();
        answer.and_then(|answer| ended.map(|_| answer))
    }

    pub(super) fn parts(&mut self) -> sqlx::Result<(&mut sqlx::PgConnection, &mut State)> {
        let raw = self.lent.as_mut().filter(|_| self.state.is_usable);
        Ok((raw.ok_or(sqlx::Error::PoolClosed)?, &mut self.state))
    }
}

/// Returns the connection to the pool within bounded time, or drops it.
impl Drop for PgConnection {
    fn drop(&mut self) {
        let Some(mut lent) = self.lent.take() else { return };
        let Some(runtime) = Handle::try_current().ok().filter(|_| self.state.is_usable) else {
            // Drops the connection without a message to the server: sending one could block.
            drop(lent.detach());
            return;
        };
        if !self.in_transaction {
            runtime.spawn(timeout(AT_MOST, lent.return_to_pool()));
            return;
        }
        runtime.spawn(async move {
            let ended = timeout(AT_MOST, (&mut *lent).execute("rollback")).await;
            if matches!(ended, Ok(Ok(_))) {
                let _ = timeout(AT_MOST, lent.return_to_pool()).await;
            } else {
                drop(lent.detach());
            }
        });
    }
}

impl fmt::Debug for PgConnection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PgConnection")
    }
}

/// A transaction, rolled back unless it is committed.
#[derive(Debug)]
pub struct Transaction(PgConnection);

impl Transaction {
    pub(super) async fn begin(mut connection: PgConnection, with: SqlStr) -> sqlx::Result<Self> {
        connection.begin(with).await?;
        Ok(Self(connection))
    }

    pub async fn commit(mut self) -> sqlx::Result<()> {
        self.0.execute("commit").await?;
        self.0.in_transaction = false;
        Ok(())
    }

    pub async fn rollback(mut self) -> sqlx::Result<()> {
        self.0.execute("rollback").await?;
        self.0.in_transaction = false;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
