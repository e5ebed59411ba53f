//! The database's schema: bring it up to this program's version, and tell when it is not.

use std::borrow::Cow;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

use crate::config::{ConfigError, Database};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The URL is missing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The URL is not one. The source is left out: it could quote the password.
    #[error("database.url is not a PostgreSQL URL such as postgres://user:password@host:5432/name")]
    Url,
    /// No connection.
    #[error("PostgreSQL is not reachable")]
    Unreachable(#[source] sqlx::Error),
    /// A statement failed.
    #[error("the schema's version cannot be read")]
    Unreadable(#[source] sqlx::Error),
    /// PostgreSQL is too old.
    #[error("PostgreSQL {0} is too old: 14 or newer is needed")]
    ServerTooOld(String),
    /// No migration was ever run.
    #[error("the database has no schema: run `cerby-reconciler migrate`")]
    Missing,
    /// Migrations are outstanding.
    #[error(
        "the schema is at version {found} and this program needs {needed}: run `cerby-reconciler migrate`"
    )]
    Older {
        /// In the database.
        found: i64,
        /// In the program.
        needed: i64,
    },
    /// Another program migrated further.
    #[error(
        "the schema is at version {found}, newer than this program's {needed}: run a newer program"
    )]
    Newer {
        /// In the database.
        found: i64,
        /// In the program.
        needed: i64,
    },
    /// A migration failed or was changed after it was applied.
    #[error("the migration failed")]
    Migration(#[source] MigrateError),
}

/// The version that this program needs.
pub fn needed_version() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// How the daemon's sessions have statements planned: once, the same few plans for ever, row by row and by the index that
/// has the order asked for, whatever the statistics say of tables that fill and drain. `tests/plans.rs` runs with these.
pub const PLANNING: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_sort", "off"),
    ("jit", "off"),
];

/// So long after a connection answered, it is used without being asked.
const BELIEVED_ALIVE: Duration = Duration::from_secs(1);

/// Connects as configured; fails at once if PostgreSQL does not answer or is too old.
pub async fn connect(database: &Database) -> Result<PgPool, SchemaError> {
    let url = database.url()?.expose_secret();
    // The driver itself takes any scheme.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(SchemaError::Url);
    }
    let options: PgConnectOptions = url.parse().map_err(|_| SchemaError::Url)?;
    let idle_in_transaction = format!("{}s", database.idle_in_transaction_s);
    let options = options.application_name("cerby-reconciler").options(PLANNING).options([
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", &idle_in_transaction),
        ("lock_timeout", "10s"),
        // A host that went without a word must not keep its sessions for hours.
        ("tcp_keepalives_idle", "30"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(database.max_connections)
        .acquire_timeout(Duration::from_secs(database.acquire_timeout_s))
        .test_before_acquire(false)
        .before_acquire(|connection, meta| Box::pin(is_alive(connection, meta.idle_for)))
        .connect_with(options)
        .await
        .map_err(SchemaError::Unreachable)?;
    check_server(&pool).await?;
    Ok(pool)
}

/// Whether a connection answers. The driver asks it whenever it is given back, and that is believed for a moment, so that
/// work does not wait for a second trip to the server and back.
async fn is_alive(connection: &mut PgConnection, idle_for: Duration) -> Result<bool, sqlx::Error> {
    if idle_for > BELIEVED_ALIVE {
        connection.ping().await?;
    }
    Ok(true)
}

async fn check_server(pool: &PgPool) -> Result<(), SchemaError> {
    let (number, text): (i32, String) = sqlx::query_as(
        "select current_setting('server_version_num')::int, current_setting('server_version')",
    )
    .fetch_one(pool)
    .await
    .map_err(SchemaError::Unreachable)?;
    if number < 140_000 {
        return Err(SchemaError::ServerTooOld(text));
    }
    Ok(())
}

/// Runs the outstanding migrations. A second run at the same time waits for the first.
pub async fn migrate(pool: &PgPool) -> Result<i64, SchemaError> {
    if let Err(newer @ SchemaError::Newer { .. }) = check(pool).await {
        return Err(newer);
    }
    let migrator = Migrator {
        migrations: MIGRATIONS.migrations.clone(),
        table_name: Cow::Borrowed("reconciler.schema_migrations"),
        create_schemas: Cow::Borrowed(&[Cow::Borrowed("reconciler")]),
        ..Migrator::DEFAULT
    };
    // A session of its own: dropped with whatever it holds, however this ends.
    let mut session = pool.acquire().await.map_err(SchemaError::Unreachable)?.detach();
    wait_for_other_runs(&mut session).await.map_err(SchemaError::Unreadable)?;
    migrator.run(&mut session).await.map_err(SchemaError::Migration)?;
    // The table is the migrator's own, so no migration can speak of it; everybody who starts checks it.
    sqlx::query(
        "grant select on reconciler.schema_migrations
         to reconciler_daemon, reconciler_operator, reconciler_viewer",
    )
    .execute(&mut session)
    .await
    .map_err(SchemaError::Unreadable)?;
    session.close().await.map_err(SchemaError::Unreadable)?;
    Ok(needed_version())
}

/// Waits as long as another run takes, and then keeps the next one out until the session ends: the migrator's
/// own lock would not cover the grant. A migration may take its time, but not wait long for a busy table.
async fn wait_for_other_runs(session: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("set statement_timeout = 0").execute(&mut *session).await?;
    sqlx::query("set lock_timeout = 0").execute(&mut *session).await?;
    sqlx::query("select pg_advisory_lock(hashtextextended('reconciler.schema_migrations', 0))")
        .execute(&mut *session)
        .await?;
    sqlx::query("reset lock_timeout").execute(&mut *session).await?;
    Ok(())
}

/// Whether the schema is the one that this program needs.
pub async fn check(pool: &PgPool) -> Result<i64, SchemaError> {
    let known: bool =
        sqlx::query_scalar("select to_regclass('reconciler.schema_migrations') is not null")
            .fetch_one(pool)
            .await
            .map_err(SchemaError::Unreadable)?;
    if !known {
        return Err(SchemaError::Missing);
    }
    let found: Option<i64> =
        sqlx::query_scalar("select max(version) from reconciler.schema_migrations where success")
            .fetch_one(pool)
            .await
            .map_err(SchemaError::Unreadable)?;
    let needed = needed_version();
    match found {
        None => Err(SchemaError::Missing),
        Some(found) if found < needed => Err(SchemaError::Older { found, needed }),
        Some(found) if found > needed => Err(SchemaError::Newer { found, needed }),
        Some(found) => Ok(found),
    }
}
