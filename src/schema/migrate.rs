//! `migrate`: brings the schema to this program's version while replicas work on it.

use std::time::Instant;

use sqlx::migrate::{MigrateError, Migration};
use sqlx::{Connection, Executor, PgConnection, Row};

use super::blockers::{self, watched};
use super::compatibility::{Applied, ProgramVersion, Usable, compare, oldest_program};
use super::{SchemaError, applied, is_there};
use crate::database::PgPool;

/// While a migration waits for a lock on a table, every other statement on that table queues behind it. The daemon gives
/// up such a wait after 40 % of `database.answer_timeout_s` (4 s), so a migration gives up earlier.
const LOCK_TIMEOUT: &str = "3s";

/// An index that is built or dropped concurrently waits until the transactions that use its table have ended. Nobody queues
/// behind that wait, but it has to end.
const CONCURRENT_LOCK_TIMEOUT: &str = "10min";

/// The SQLSTATE of a lock that was not available in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The session that migrates, and the pool that looks at it from outside.
struct Run<'a> {
    session: PgConnection,
    pid: i32,
    pool: &'a PgPool,
    tell: &'a mut (dyn FnMut(&str) + Send),
}

/// Applies those of these migrations that the schema lacks, and tells what it does. A second run at the same time waits
/// for the first. A schema that a newer program has migrated stays as it is.
pub async fn apply(
    pool: &PgPool,
    migrations: &[Migration],
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<Usable, SchemaError> {
    // A session of its own: its locks and settings are dropped with it, however this ends.
    let mut session = pool
        .acquire()
        .await
        .and_then(|connection| connection.detach())
        .map_err(SchemaError::unreadable)?;
    let pid = refuse_transaction_pooler(pool, &mut session).await?;
    let mut run = Run { session, pid, pool, tell };
    run.wait_for_other_runs().await.map_err(SchemaError::unreadable)?;
    let usable = run.bring_up(migrations).await?;
    run.session.close().await.map_err(SchemaError::unreadable)?;
    Ok(usable)
}

/// A pooler in transaction mode gives each transaction any session, so the locks and settings of a migration would be
/// lost or stay with others. Two sessions that are open at the same time show it: they have one server process, or one of
/// them changes its process. Returns the process of the session.
async fn refuse_transaction_pooler(
    pool: &PgPool,
    session: &mut PgConnection,
) -> Result<i32, SchemaError> {
    let processes = async {
        let first = process(&mut *session).await?;
        let mut other = pool.begin().await?;
        let others = process(&mut *other).await?;
        let second = process(&mut *session).await?;
        other.rollback().await?;
        Ok((first, others, second))
    };
    let (first, others, second) = processes.await.map_err(SchemaError::unreadable)?;
    if first == others || first != second { Err(SchemaError::Pooler) } else { Ok(first) }
}

/// Not as a prepared statement, which a pooler may lose.
async fn process(session: impl Executor<'_, Database = sqlx::Postgres>) -> sqlx::Result<i32> {
    sqlx::raw_sql("select pg_backend_pid()").fetch_one(session).await?.try_get(0)
}

impl Run<'_> {
    /// Waits as long as another run takes, and then blocks the next run until the session ends.
    async fn wait_for_other_runs(&mut self) -> sqlx::Result<()> {
        self.session.execute("set statement_timeout = 0; set lock_timeout = 0").await?;
        let lock = sqlx::query(
            "select pg_advisory_lock(hashtextextended('reconciler.schema_migrations', 0))",
        );
        let work = lock.execute(&mut self.session);
        watched(self.pool, self.pid, self.tell, work).await.0.map(|_| ())
    }

    async fn bring_up(&mut self, migrations: &[Migration]) -> Result<Usable, SchemaError> {
        let own: Vec<i64> = migrations.iter().map(|one| one.version).collect();
        let found = self.found().await.map_err(SchemaError::unreadable)?;
        match compare(&own, &found, ProgramVersion::OWN) {
            Ok(newer @ Usable::Newer { .. }) => return Ok(newer),
            Ok(Usable::Own { .. }) | Err(SchemaError::Missing | SchemaError::Older { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
        self.create_table().await.map_err(SchemaError::unreadable)?;
        self.refuse_changed(migrations).await?;
        self.drop_invalid_indexes().await?;
        let is_found = |version| found.iter().any(|one: &Applied| one.version == version);
        for migration in migrations.iter().filter(|one| !is_found(one.version)) {
            self.apply_one(migration).await?;
        }
        self.grant().await.map_err(SchemaError::unreadable)?;
        Ok(Usable::Own { version: own.iter().copied().max().unwrap_or_default() })
    }

    async fn found(&mut self) -> sqlx::Result<Vec<Applied>> {
        match is_there(&mut self.session).await? {
            true => applied(&mut self.session).await,
            false => Ok(Vec::new()),
        }
    }

    /// The driver's own table of migrations, and in addition the oldest program that may run on each of them.
    async fn create_table(&mut self) -> sqlx::Result<()> {
        let create = "create schema if not exists reconciler;
            create table if not exists reconciler.schema_migrations (
                version        bigint      primary key,
                description    text        not null,
                installed_on   timestamptz not null default now(),
                success        boolean     not null,
                checksum       bytea       not null,
                execution_time bigint      not null,
                oldest_program text
            )";
        self.session.execute(create).await.map(|_| ())
    }

    async fn refuse_changed(&mut self, migrations: &[Migration]) -> Result<(), SchemaError> {
        let recorded: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select version, checksum from reconciler.schema_migrations")
                .fetch_all(&mut self.session)
                .await
                .map_err(SchemaError::unreadable)?;
        let is_changed = |one: &&Migration| {
            let stored = recorded.iter().find(|(version, _)| *version == one.version);
            stored.is_some_and(|(_, checksum)| *checksum != *one.checksum)
        };
        match migrations.iter().find(is_changed) {
            Some(one) => Err(SchemaError::Migration(MigrateError::VersionMismatch(one.version))),
            None => Ok(()),
        }
    }

    /// An interrupted concurrent build leaves an index that no query uses and that every write maintains. It is dropped
    /// here, and the migration that was interrupted builds it again.
    async fn drop_invalid_indexes(&mut self) -> Result<(), SchemaError> {
        let invalid: Vec<String> = sqlx::query_scalar(
            "select format('%I.%I', n.nspname, c.relname)
             from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = 'reconciler' and not i.indisvalid
             order by 1",
        )
        .fetch_all(&mut self.session)
        .await
        .map_err(SchemaError::unreadable)?;
        for index in invalid {
            let statement = format!("drop index concurrently if exists {index}");
            let drop = async |session: &mut PgConnection| {
                session.execute(sqlx::AssertSqlSafe(statement)).await.map(|_| ())
            };
            let what = format!("dropping the invalid index {index}");
            self.with_lock_timeout(CONCURRENT_LOCK_TIMEOUT, &what, drop)
                .await?
                .map_err(|error| SchemaError::Migration(MigrateError::Execute(error)))?;
            (self.tell)(&format!("dropped the index {index}, whose building was interrupted"));
        }
        Ok(())
    }

    async fn apply_one(&mut self, migration: &Migration) -> Result<(), SchemaError> {
        let began = Instant::now();
        let timeout = if migration.no_tx { CONCURRENT_LOCK_TIMEOUT } else { LOCK_TIMEOUT };
        let run = async |session: &mut PgConnection| execute(session, migration).await;
        let what = format!("migration {} ({})", migration.version, migration.description);
        self.with_lock_timeout(timeout, &what, run).await?.map_err(|error| {
            SchemaError::Migration(MigrateError::ExecuteMigration(error, migration.version))
        })?;
        let (version, description) = (migration.version, &migration.description);
        let took = began.elapsed().as_millis();
        (self.tell)(&format!("{version} {description}: {took} ms"));
        Ok(())
    }

    /// Runs something that waits for locks this long at most. The outer error says who held the lock.
    async fn with_lock_timeout(
        &mut self,
        timeout: &'static str,
        what: &str,
        run: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<()>,
    ) -> Result<sqlx::Result<()>, SchemaError> {
        let session = &mut self.session;
        let work = async {
            sqlx::query("select set_config('lock_timeout', $1, false)")
                .bind(timeout)
                .execute(&mut *session)
                .await?;
            run(session).await
        };
        let (ended, blockers) = watched(self.pool, self.pid, self.tell, work).await;
        match ended {
            Err(error) if code(&error) == LOCK_NOT_AVAILABLE => Err(SchemaError::Blocked {
                what: what.to_owned(),
                waited: timeout,
                by: blockers::list(&blockers),
            }),
            ended => Ok(ended),
        }
    }

    /// No migration can grant this, because the first one creates the roles. Every program reads the table at its start.
    async fn grant(&mut self) -> sqlx::Result<()> {
        let grant = "grant select on reconciler.schema_migrations
            to reconciler_daemon, reconciler_backend, reconciler_operator, reconciler_viewer";
        self.session.execute(grant).await.map(|_| ())
    }
}

fn code(error: &sqlx::Error) -> String {
    let error = error.as_database_error();
    error.and_then(|error| error.code()).unwrap_or_default().into_owned()
}

/// The migration and its row are one transaction, so that no schema is without its oldest program. Only what cannot run in
/// a transaction is recorded after it.
async fn execute(session: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
    let began = Instant::now();
    if migration.no_tx {
        session.execute(migration.sql.clone()).await?;
        return record(session, migration, began).await;
    }
    let mut transaction = session.begin().await?;
    transaction.execute(migration.sql.clone()).await?;
    record(&mut transaction, migration, began).await?;
    transaction.commit().await
}

async fn record(
    session: &mut PgConnection,
    migration: &Migration,
    began: Instant,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into reconciler.schema_migrations
             (version, description, success, checksum, execution_time, oldest_program)
         values ($1, $2, true, $3, $4, $5)",
    )
    .bind(migration.version)
    .bind(&*migration.description)
    .bind(&*migration.checksum)
    .bind(i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX))
    .bind(oldest_program(migration.sql.as_str()).map(|version| version.to_string()))
    .execute(session)
    .await
    .map(|_| ())
}
