//! Connects as configured: the URL, the settings of every session, and whether the server can be used at all.

use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::SchemaError;
use crate::config::Database;
use crate::database::{self, Limits, PgPool, Renewal, Sessions};

/// The planner settings of the daemon's sessions. Tables fill and drain, so statistics mislead the planner. With these
/// settings it makes the same few plans once and keeps them: row by row, by the index that has the requested order.
/// `tests/plans.rs` runs with these.
const PLANNING: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_sort", "off"),
];

/// A plan that a session keeps for all values reads a whole table for what is rare. And what people ask for is in memory,
/// so that an index in the requested order costs little.
const PLANNING_OF_PEOPLE: [(&str, &str); 2] =
    [("plan_cache_mode", "force_custom_plan"), ("random_page_cost", "1.1")];

/// The parameters that a URL may have. The driver would log any other parameter with its value.
pub(super) const PARAMETERS: [&str; 13] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// The settings of all sessions.
const SESSION: [(&str, &str); 6] = [
    // Compiling a plan takes longer than running it: a list of integrations took 220 ms instead of 40 ms.
    ("jit", "off"),
    // Statements decide by locks and by committed rows, and a recorded outcome must not be lost.
    ("default_transaction_isolation", "read committed"),
    ("synchronous_commit", "on"),
    // A host that disappeared without closing its connections must not keep its sessions for hours.
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// How the statements of a session are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planning {
    /// By the few plans that are made once: for the daemon.
    Fixed,
    /// By the statistics and by the values that are asked for: for people, who combine filters as they like.
    ByStatistics,
}

/// The settings of a session, whatever the defaults of the database or the role are.
pub fn settings(planning: Planning) -> impl Iterator<Item = (&'static str, &'static str)> {
    let own = match planning {
        Planning::Fixed => &PLANNING[..],
        Planning::ByStatistics => &PLANNING_OF_PEOPLE[..],
    };
    SESSION.into_iter().chain(own.iter().copied())
}

/// The limits of every session. The server ends a statement that takes too long, or waits too long for a lock, before
/// the daemon takes the server for dead.
fn limits_of_server(database: &Database) -> [(&'static str, String); 3] {
    let part =
        |percent: u64| format!("{}ms", database.answer_timeout_s.saturating_mul(10 * percent));
    let idle_in_transaction = format!("{}s", database.idle_in_transaction_s);
    [
        ("statement_timeout", part(80)),
        ("lock_timeout", part(40)),
        ("idle_in_transaction_session_timeout", idle_in_transaction),
    ]
}

/// The settings that a transaction can make, too. The isolation of a transaction is made otherwise, and the keepalives
/// belong to the connection.
fn settings_of_transactions(database: &Database, planning: Planning) -> database::Settings {
    let settings = settings(planning).map(|(name, value)| (name, value.to_owned()));
    let of_session = |name: &str| name.starts_with("tcp_") || name.starts_with("default_");
    settings.filter(|(name, _)| !of_session(name)).chain(limits_of_server(database)).collect()
}

/// Connects as configured; fails at once if PostgreSQL does not answer, is too old, or cannot hold all text.
pub async fn connect(database: &Database, planning: Planning) -> Result<PgPool, SchemaError> {
    let options = options(database, database.url()?, planning)?;
    let within = Duration::from_secs(database.acquire_timeout_s);
    let settings = settings_of_transactions(database, planning);
    let is_set = check_server(&options, &settings, within).await?;
    let limits = Limits {
        // The listener uses one of them.
        connections: database.max_connections.saturating_sub(1).max(1),
        acquire_within: within,
        answer_within: database.answer_within(),
    };
    let settings = (!is_set).then_some(settings);
    let renewal = renewal(database, planning);
    Ok(PgPool::lazy(Sessions { options, renewal, settings }, limits))
}

/// The options as the file of the URL has them now, where the URL is in a file.
fn renewal(database: &Database, planning: Planning) -> Option<Renewal> {
    let (file, database) = (database.secret_file()?, database.clone());
    Some(Renewal::new(move || file.changed(|url| options(&database, url, planning))))
}

fn options(
    database: &Database,
    url: &SecretString,
    planning: Planning,
) -> Result<PgConnectOptions, SchemaError> {
    let url = url.expose_secret();
    // The driver itself accepts any scheme.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(SchemaError::Url);
    }
    check_parameters(&reqwest::Url::parse(url).map_err(|_| SchemaError::Url)?)?;
    let options: PgConnectOptions = url.parse().map_err(|_| SchemaError::Url)?;
    Ok(options
        .application_name("cerby-reconciler")
        .options(limits_of_server(database))
        .options(settings(planning)))
}

/// A server that the connection does not prove to be the right one, although it is on another machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Unverified {
    pub host: String,
    pub sslmode: &'static str,
}

/// Whether somebody between this machine and the server could answer for the server, or read along.
pub fn unverified(database: &Database) -> Result<Option<Unverified>, SchemaError> {
    let options = options(database, database.url()?, Planning::ByStatistics)?;
    let host = options.get_host().trim_matches(['[', ']']).to_owned();
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_local = options.get_socket().is_some()
        || host.starts_with('/')
        || is_loopback
        || host == "localhost";
    let sslmode = match options.get_ssl_mode() {
        PgSslMode::VerifyFull => return Ok(None),
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::Require => "require",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Allow => "allow",
        PgSslMode::Disable => "disable",
    };
    Ok((!is_local).then_some(Unverified { host, sslmode }))
}

/// A password that contains a `?` looks like parameters. In that case not even a name is shown.
fn check_parameters(url: &reqwest::Url) -> Result<(), SchemaError> {
    let is_ordinary = !url.query().unwrap_or_default().contains('@');
    let unknown = url.query_pairs().find(|(name, _)| !PARAMETERS.contains(&name.as_ref()));
    unknown.map_or(Ok(()), |(name, _)| {
        let is_name =
            is_ordinary && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let told = if is_name { format!("{name:?}") } else { "after ? or &".to_owned() };
        Err(SchemaError::Parameter(told))
    })
}

fn unreachable(options: &PgConnectOptions, source: sqlx::Error) -> SchemaError {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    SchemaError::Unreachable { host: format!("{host}/{database}"), source }
}

/// Returns whether the settings of the session took hold. Uses a connection of its own, whose error contains the cause;
/// a pool only reports a timeout.
async fn check_server(
    options: &PgConnectOptions,
    settings: &database::Settings,
    within: Duration,
) -> Result<bool, SchemaError> {
    let mut session = database::connect(options, within).await.map_err(|error| {
        refused_by_pooler(&error).unwrap_or_else(|| unreachable(options, error))
    })?;
    let seen =
        database::look_at_session(&mut session, settings, within).await.map_err(|error| {
            match is_lost_statement(&error) {
                true => SchemaError::OldPooler,
                false => unreachable(options, error),
            }
        })?;
    let _ = database::in_time("the server", within, session.close()).await;
    if seen.version < 140_000 {
        return Err(SchemaError::ServerTooOld(seen.version_text));
    }
    if seen.encoding != "UTF8" {
        return Err(SchemaError::Encoding(seen.encoding));
    }
    if !seen.is_set && seen.has_own_statements {
        return Err(SchemaError::OldPooler);
    }
    Ok(seen.is_set)
}

/// A pooler names the parameter of the connection that it does not know.
fn refused_by_pooler(error: &sqlx::Error) -> Option<SchemaError> {
    let message = error.as_database_error()?.message();
    message.contains("startup parameter").then(|| SchemaError::StartupParameter(message.to_owned()))
}

/// Another client's statement has the name, or the one that was prepared is not there any more: both come of a pooler
/// that does not keep statements for its clients.
pub(super) fn is_lost_statement(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["42P05", "26000"].contains(&code.as_ref()))
}
