//! The database's schema: migrates it to this program's version, and detects versions that it cannot use.

mod blockers;
mod compatibility;
mod connect;
mod migrate;

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::PgDatabaseError;
use sqlx::{Executor, Postgres};

use crate::config::ConfigError;
use crate::database::{self, PgPool};

use compatibility::{Applied, compare};
pub use compatibility::{ProgramVersion, Usable, oldest_program};
use connect::{PARAMETERS, is_lost_statement};
pub use connect::{Planning, Unverified, connect, settings, unverified};
pub use migrate::apply;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The URL is not valid. The source is left out: it could quote the password.
    #[error("database.url is not a PostgreSQL URL such as postgres://user:password@host:5432/name")]
    Url,
    /// The URL has an unknown parameter. Only its name is shown: its value may be a secret.
    #[error("database.url has the parameter {0}, which is not known: known are {known}", known = PARAMETERS.join(", "))]
    Parameter(String),
    #[error("PostgreSQL is not reachable at {host}")]
    Unreachable {
        /// Host, port and database of the connection.
        host: String,
        #[source]
        source: sqlx::Error,
    },
    /// The database's encoding cannot hold all text.
    #[error("the database is encoded in {0}: create it with encoding 'UTF8', or messages are lost")]
    Encoding(String),
    /// The login has no privileges for the daemon's work.
    #[error("the login {0} is not a member of reconciler_daemon: `serve` needs one that is")]
    NotTheDaemon(String),
    #[error("the schema's version cannot be read")]
    Unreadable(#[source] sqlx::Error),
    #[error("PostgreSQL {0} is too old: 14 or newer is needed")]
    ServerTooOld(String),
    #[error(
        "a pooler in front of the database does not keep prepared statements for its clients: PgBouncer needs version \
         1.21 or newer with max_prepared_statements = 200; or connect to PostgreSQL itself"
    )]
    OldPooler,
    /// The message of the pooler, which names the parameter.
    #[error(
        "a pooler in front of the database refuses the connection ({0}): PgBouncer needs \
         ignore_startup_parameters = extra_float_digits,options"
    )]
    StartupParameter(String),
    #[error("the database has no schema: run `cerby-reconciler migrate`")]
    Missing,
    #[error(
        "the schema is at version {found} and lacks migration {lacking}, which this program needs: \
         run `cerby-reconciler migrate`"
    )]
    Older { found: i64, lacking: i64 },
    /// A newer program has migrated the database further.
    #[error(
        "the schema is at version {found}, newer than this program's {own}, and {who}: run a newer program than {program}",
        who = who_may(*oldest), program = ProgramVersion::OWN
    )]
    Newer {
        found: i64,
        own: i64,
        /// `None` if a migration does not say it.
        oldest: Option<ProgramVersion>,
    },
    /// Neither is newer than the other.
    #[error(
        "the schema has migration {unknown}, which this program does not know, and lacks migration {lacking}, which it \
         needs: run a program that has both"
    )]
    Diverged { unknown: i64, lacking: i64 },
    #[error(
        "a pooler in transaction mode, such as PgBouncer, is between this program and PostgreSQL, and loses the locks and \
         settings of a session: let database.url name PostgreSQL itself"
    )]
    Pooler,
    /// Another session holds a lock that a migration needs.
    #[error(
        "{what} gave up after {waited} of waiting for a lock of {by}: let that transaction end, or end it with \
         pg_terminate_backend, then run `cerby-reconciler migrate` again"
    )]
    Blocked { what: String, waited: &'static str, by: String },
    /// A migration failed or was changed after it was applied.
    #[error("the migration failed{}", hint(.0))]
    Migration(#[source] MigrateError),
}

/// What the migration says to do about its failure.
fn hint(error: &MigrateError) -> String {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return String::new();
    };
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref());
    let hint = error.and_then(PgDatabaseError::hint);
    hint.map(|hint| format!(" (hint: {hint})")).unwrap_or_default()
}

fn who_may(oldest: Option<ProgramVersion>) -> String {
    match oldest {
        Some(oldest) => format!("needs program {oldest} or newer"),
        None => "only programs that know it may use it".to_owned(),
    }
}

/// The migrations of this program.
pub fn migrations() -> &'static [Migration] {
    &MIGRATIONS.migrations
}

pub fn needed_version() -> i64 {
    migrations().iter().map(|migration| migration.version).max().unwrap_or(0)
}

impl SchemaError {
    fn unreadable(error: sqlx::Error) -> Self {
        if is_lost_statement(&error) { Self::Pooler } else { Self::Unreadable(error) }
    }

    /// Whether the server refused the login or its password.
    pub fn is_login_refused(&self) -> bool {
        matches!(self, Self::Unreachable { source, .. } if database::is_login_refused(source))
    }

    /// Whether the same may work later without another configuration: the server starts, or the network comes back.
    pub fn may_pass(&self) -> bool {
        let source = match self {
            Self::Unreachable { source, .. } | Self::Unreadable(source) => source,
            _ => return false,
        };
        match source {
            sqlx::Error::Configuration(_) => false,
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                !code.starts_with("28") && !code.starts_with("42")
            }
            _ => true,
        }
    }
}

/// The server's version, and where it is: for people, without the password.
pub async fn server(pool: &PgPool) -> Result<String, SchemaError> {
    sqlx::query_scalar(
        "select format('PostgreSQL %s at %s/%s', current_setting('server_version'),
                       coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'a local socket'), current_database())",
    )
    .fetch_one(pool)
    .await
    .map_err(SchemaError::Unreadable)
}

/// What the daemon's role may not do of what it needs, such as `insert on syncs`: a backup may have been restored without
/// privileges.
pub async fn missing_privileges(pool: &PgPool) -> Result<Vec<String>, SchemaError> {
    sqlx::query_scalar(
        "select p.privilege || ' on ' || c.relname
         from pg_class c
         cross join unnest(array['select', 'insert']) p (privilege)
         where c.relnamespace = 'reconciler'::regnamespace and c.relkind in ('r', 'v')
           and (p.privilege = 'select'
                or c.relname in ('arrivals', 'automation_tasks', 'integration_settings', 'integration_states',
                                 'manual_actions', 'members', 'nudges', 'outages', 'returns', 'syncs'))
           and not has_table_privilege('reconciler_daemon', c.oid, p.privilege)
         order by 1",
    )
    .fetch_all(pool)
    .await
    .map_err(SchemaError::Unreadable)
}

/// The login, if it has the privileges for the daemon's work. Without a schema there is nothing to check yet.
pub async fn check_login(pool: &PgPool) -> Result<String, SchemaError> {
    let (login, is_daemon): (String, bool) = sqlx::query_as(
        "select current_user::text,
                coalesce((select pg_has_role(oid, 'usage') from pg_roles where rolname = 'reconciler_daemon'), true)",
    )
    .fetch_one(pool)
    .await
    .map_err(SchemaError::Unreadable)?;
    if is_daemon { Ok(login) } else { Err(SchemaError::NotTheDaemon(login)) }
}

/// Brings the schema to this program's version without telling what it does.
pub async fn migrate(pool: &PgPool) -> Result<i64, SchemaError> {
    match apply(pool, migrations(), &mut |_| {}).await? {
        Usable::Own { version } | Usable::Newer { version, .. } => Ok(version),
    }
}

/// Whether this program can use the schema.
pub async fn check(pool: &PgPool) -> Result<Usable, SchemaError> {
    if !is_there(pool).await.map_err(SchemaError::unreadable)? {
        return Err(SchemaError::Missing);
    }
    let applied = applied(pool).await.map_err(SchemaError::unreadable)?;
    let own: Vec<i64> = migrations().iter().map(|migration| migration.version).collect();
    compare(&own, &applied, ProgramVersion::OWN)
}

async fn is_there(database: impl Executor<'_, Database = Postgres>) -> sqlx::Result<bool> {
    sqlx::query_scalar("select to_regclass('reconciler.schema_migrations') is not null")
        .fetch_one(database)
        .await
}

/// The migrations that the schema has.
async fn applied(database: impl Executor<'_, Database = Postgres>) -> sqlx::Result<Vec<Applied>> {
    let rows: Vec<(i64, Option<String>)> = sqlx::query_as(
        "select version, oldest_program from reconciler.schema_migrations where success",
    )
    .fetch_all(database)
    .await?;
    let applied = rows.into_iter().map(|(version, oldest)| Applied {
        version,
        oldest_program: oldest.and_then(|oldest| oldest.parse().ok()),
    });
    Ok(applied.collect())
}
