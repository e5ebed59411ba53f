//! The database connections, with a limit for every wait and a check before every use.
//!
//! The driver waits for an answer as long as the operating system does, also when a connection is returned to the pool,
//! and such a connection keeps its place in the pool for ever. Here the server has a limited time to answer every
//! statement. When a statement was cancelled, by its timeout or by its caller, its connection is dropped without a
//! message to the server, and its place is free at once.

mod connection;
mod pooler;
mod refusals;
mod renewal;
mod statement;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, Postgres};
use sqlx::{Connection, Pool, SqlSafeStr};
use tokio::time::timeout;

pub use connection::{PgConnection, Transaction};
pub use pooler::{Session, Settings, look_at_session};
use refusals::Refusals;
pub use renewal::{Renewal, is_login_refused};

/// For this long after its last answer, a connection is used without a ping.
const BELIEVED_ALIVE: Duration = Duration::from_secs(1);

/// A connection that does not answer a ping in this time counts as broken.
const ALIVE_WITHIN: Duration = Duration::from_secs(1);

/// How long returning a connection to the pool may take, and the extra connection that finds out why none can be
/// opened.
const AT_MOST: Duration = Duration::from_secs(2);

/// How the sessions of a pool are opened.
#[derive(Debug)]
pub struct Sessions {
    pub options: PgConnectOptions,
    /// Where the URL is in a file, which may be replaced while the program runs.
    pub renewal: Option<Renewal>,
    /// The settings that each transaction makes, where those of a session do not take hold, because a pooler is in front
    /// of the database.
    pub settings: Option<Settings>,
}

/// The limits of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: u32,
    /// How long to wait for a free one.
    pub acquire_within: Duration,
    /// How long the server may take to answer a statement.
    pub answer_within: Duration,
}

/// The connections of a pool.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub in_use: u32,
    pub idle: u32,
    pub max: u32,
}

/// The driver's pool, with a time limit for everything. It has the driver's name and replaces it in all statements.
#[derive(Clone)]
pub struct PgPool {
    pool: Pool<Postgres>,
    renewal: Option<Renewal>,
    shared: Arc<Shared>,
}

/// State that all connections of a pool share.
#[derive(Debug)]
struct Shared {
    answer_within: Duration,
    /// Connections that were opened before this time are not used: another one of their age stopped answering or cannot
    /// write any more.
    distrusted_before: Mutex<Option<Instant>>,
    refusals: Refusals,
    settings_of_transactions: Option<String>,
}

impl Shared {
    fn new(answer_within: Duration, settings: Option<&Settings>) -> Arc<Self> {
        let settings_of_transactions = settings.map(pooler::settings_of_transaction);
        let (distrusted_before, refusals) = (Mutex::default(), Refusals::default());
        Arc::new(Self { answer_within, distrusted_before, refusals, settings_of_transactions })
    }

    /// Called when one connection is unusable: the same cause has most likely broken all others that are open now.
    fn distrust_all(&self) {
        let mut before = self.distrusted_before.lock().unwrap_or_else(PoisonError::into_inner);
        *before = Some(Instant::now());
    }

    fn trusts(&self, age: Duration) -> bool {
        let before = *self.distrusted_before.lock().unwrap_or_else(PoisonError::into_inner);
        before.is_none_or(|before| before.elapsed() >= age)
    }

    /// Whether an idle connection may be used. With `Err` the pool drops it and uses another.
    async fn examine(
        &self,
        connection: &mut sqlx::PgConnection,
        age: Duration,
        idle_for: Duration,
    ) -> sqlx::Result<bool> {
        if !self.trusts(age) {
            return Err(sqlx::Error::PoolClosed);
        }
        if idle_for > BELIEVED_ALIVE {
            let alive = timeout(ALIVE_WITHIN, connection.ping()).await;
            alive.unwrap_or_else(|_| {
                self.distrust_all();
                Err(sqlx::Error::PoolClosed)
            })?;
        }
        Ok(true)
    }
}

/// Refuses a session that cannot write: it is on a standby, or the database was made read-only.
async fn refuse_read_only(connection: &mut sqlx::PgConnection) -> sqlx::Result<()> {
    if sqlx::query_scalar(IS_READ_ONLY).fetch_one(connection).await? {
        return Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::ReadOnlyFilesystem,
            "the session is read-only: a standby, or a database that was made read-only",
        )));
    }
    Ok(())
}

const IS_READ_ONLY: &str = "-- is_read_only
     select pg_is_in_recovery() or current_setting('transaction_read_only')::bool";

impl PgPool {
    /// A pool that opens connections only when they are needed.
    pub fn lazy(sessions: Sessions, limits: Limits) -> Self {
        let shared = Shared::new(limits.answer_within, sessions.settings.as_ref());
        let examiner = Arc::clone(&shared);
        let pool = PgPoolOptions::new()
            .max_connections(limits.connections)
            .acquire_timeout(limits.acquire_within)
            .test_before_acquire(false)
            .after_connect(|connection, _| Box::pin(refuse_read_only(connection)))
            .before_acquire(move |connection, meta| {
                let examiner = Arc::clone(&examiner);
                Box::pin(async move { examiner.examine(connection, meta.age, meta.idle_for).await })
            })
            .connect_lazy_with(sessions.options);
        Self { pool, renewal: sessions.renewal, shared }
    }

    /// Whether a pooler lends a session of the server to each transaction, so that nothing outlasts a transaction.
    pub fn is_pooled(&self) -> bool {
        self.shared.settings_of_transactions.is_some()
    }

    pub async fn acquire(&self) -> sqlx::Result<PgConnection> {
        let may_open = self.pool.num_idle() == 0
            && self.pool.size() < self.pool.options().get_max_connections();
        if may_open {
            self.renew();
        }
        let used = self.pool.connect_options();
        match self.lend().await {
            Err(error) if is_login_refused(&error) && !Arc::ptr_eq(&used, &self.renew()) => {
                self.lend().await
            }
            lent => lent,
        }
    }

    async fn lend(&self) -> sqlx::Result<PgConnection> {
        // Boxed, because both may open a connection: that future is large and would make every caller's future as
        // large.
        match Box::pin(self.pool.acquire()).await {
            Ok(lent) => Ok(PgConnection::new(lent, Arc::clone(&self.shared))),
            Err(sqlx::Error::PoolTimedOut) => Err(Box::pin(self.why_not()).await),
            Err(error) => Err(error),
        }
    }

    pub async fn begin(&self) -> sqlx::Result<Transaction> {
        self.begin_with("begin").await
    }

    /// Begins a transaction with this statement, or with several in one round trip.
    pub async fn begin_with(&self, statement: impl SqlSafeStr) -> sqlx::Result<Transaction> {
        Transaction::begin(self.acquire().await?, statement.into_sql_str()).await
    }

    /// Whether a session of the pool can write; `Err` if there is none.
    pub async fn can_write(&self) -> sqlx::Result<bool> {
        let read_only: bool = sqlx::query_scalar(IS_READ_ONLY).fetch_one(self).await?;
        if read_only {
            self.shared.distrust_all();
        }
        Ok(!read_only)
    }

    /// Whether a connection that is opened now can be used. Those of the pool may hang.
    pub async fn answers_afresh(&self, within: Duration) -> sqlx::Result<()> {
        let attempt = async {
            let mut connection = connect(&self.options(), within).await?;
            connection.ping().await?;
            connection.close().await
        };
        in_time("the server", within, attempt).await
    }

    /// Whether a statement was refused, for a reason that is not in the rows, and has not worked since.
    pub fn is_refused(&self) -> bool {
        self.shared.refusals.are_some()
    }

    pub fn usage(&self) -> Usage {
        let open = self.pool.size();
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(open).min(open);
        Usage { in_use: open - idle, idle, max: self.pool.options().get_max_connections() }
    }

    /// A separate pool of one connection, for the listener.
    pub fn beside(&self) -> Pool<Postgres> {
        PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.options())
    }

    /// Closes all connections, waiting only briefly.
    pub async fn close(&self) {
        let _ = timeout(AT_MOST, self.pool.close()).await;
    }

    /// The options of a connection that is opened now, with the password as its file has it now.
    pub fn options(&self) -> PgConnectOptions {
        (*self.renew()).clone()
    }

    fn renew(&self) -> Arc<PgConnectOptions> {
        if let Some(changed) = self.renewal.as_ref().and_then(Renewal::changed) {
            self.pool.set_connect_options(changed);
        }
        self.pool.connect_options()
    }

    /// When the pool times out, the driver reports only the timeout and not the cause. This opens one more connection
    /// to find the cause.
    async fn why_not(&self) -> sqlx::Error {
        let attempt = async {
            let mut connection = connect(&self.options(), AT_MOST).await?;
            refuse_read_only(&mut connection).await?;
            connection.close().await
        };
        let ended = in_time("the server", AT_MOST, attempt).await;
        ended.err().unwrap_or(sqlx::Error::PoolTimedOut)
    }
}

/// A connection of the driver outside all pools. The error is the server's own.
pub async fn connect(
    options: &PgConnectOptions,
    within: Duration,
) -> sqlx::Result<sqlx::PgConnection> {
    let connecting = sqlx::PgConnection::connect_with(options);
    in_time("the server", within, connecting).await.map_err(statement::plain)
}

/// Waits for the answer of `who` for this time at most.
pub async fn in_time<T>(
    who: &str,
    within: Duration,
    answer: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    timeout(within, answer).await.unwrap_or_else(|_| Err(silent(who, within)))
}

fn silent(who: &str, within: Duration) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("{who} did not answer within {} s", within.as_secs_f64()),
    ))
}

impl fmt::Debug for PgPool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(out)
    }
}

/// A pool of the driver, with the default time limit.
impl From<Pool<Postgres>> for PgPool {
    fn from(pool: Pool<Postgres>) -> Self {
        Self { pool, renewal: None, shared: Shared::new(Duration::from_secs(10), None) }
    }
}
