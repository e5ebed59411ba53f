//! The database: the server, the login and its privileges, the schema.

use std::io;

use super::Verdict;
use crate::config::Database;
use crate::database::PgPool;
use crate::integration;
use crate::schema::{self, Planning, SchemaError};
use crate::telemetry::chain;

pub(super) struct Checked {
    pub(super) verdicts: Vec<(&'static str, Verdict)>,
    /// A workspace that the database knows.
    pub(super) workspace: Option<String>,
}

/// The parts in the order in which one needs the other.
pub(super) async fn check(config: &Database) -> Checked {
    let pool = match schema::connect(config, Planning::ByStatistics).await {
        Ok(pool) => pool,
        Err(error) => {
            let later = || Verdict::Skipped("the database has to answer first".to_owned());
            let verdicts =
                vec![("database", failed(&error)), ("login", later()), ("schema", later())];
            return Checked { verdicts, workspace: None };
        }
    };
    let server = match schema::server(&pool).await {
        Ok(server) => Verdict::Ok(format!("{server} answers{}{}", poolers(&pool), risk(config))),
        Err(error) => failed(&error),
    };
    let schema = match schema::check(&pool).await {
        Ok(usable) => Verdict::Ok(usable.to_string()),
        Err(error) => failed(&error),
    };
    let login = match &schema {
        Verdict::Ok(_) => login(&pool).await,
        _ => Verdict::Skipped("the schema has to be right first".to_owned()),
    };
    let workspace = match &schema {
        Verdict::Ok(_) => integration::store::some_workspace(&pool).await.ok().flatten(),
        _ => None,
    };
    let verdicts = vec![("database", server), ("schema", schema), ("login", login)];
    Checked { verdicts, workspace }
}

fn poolers(pool: &PgPool) -> &'static str {
    match pool.is_pooled() {
        true => "; a pooler is in front of it: `serve` does not listen there, and polls for work",
        false => "",
    }
}

/// What the connection leaves open.
fn risk(config: &Database) -> String {
    match schema::unverified(config) {
        Ok(Some(schema::Unverified { sslmode, .. })) => format!(
            "; sslmode={sslmode} does not prove that it is the right server: add sslmode=verify-full to database.url"
        ),
        _ => String::new(),
    }
}

async fn login(pool: &PgPool) -> Verdict {
    let login = match schema::check_login(pool).await {
        Ok(login) => login,
        Err(error) => return failed(&error),
    };
    match (schema::missing_privileges(pool).await, pool.can_write().await) {
        (Err(error), _) => failed(&error),
        (_, Err(error)) => failed(&SchemaError::Unreadable(error)),
        (Ok(missing), _) if !missing.is_empty() => Verdict::failed(
            format!("the role reconciler_daemon has no {}", missing.join(", no ")),
            "Was the schema restored without its privileges? Restore it with them, or grant these to the role.",
        ),
        (_, Ok(false)) => Verdict::failed(
            "the database is read-only",
            "Connect to the primary server, not to a standby; check default_transaction_read_only.",
        ),
        (Ok(_), Ok(true)) => {
            Verdict::Ok(format!("{login} is a member of reconciler_daemon and can write"))
        }
    }
}

fn failed(error: &SchemaError) -> Verdict {
    Verdict::failed(chain(error), remedy(error))
}

fn remedy(error: &SchemaError) -> &'static str {
    match error {
        SchemaError::Config(_) | SchemaError::Url | SchemaError::Parameter(_) => {
            "Correct RECONCILER__DATABASE__URL."
        }
        SchemaError::Unreachable { source, .. } | SchemaError::Unreadable(source) => {
            remedy_of_connection(source)
        }
        SchemaError::OldPooler | SchemaError::StartupParameter(_) => {
            "Change the configuration of the pooler, or put the address of PostgreSQL itself into database.url."
        }
        SchemaError::Encoding(_) => "Create a database with encoding 'UTF8' and migrate it.",
        SchemaError::NotTheDaemon(_) => {
            "As an administrator, grant it: grant reconciler_daemon to the login."
        }
        SchemaError::ServerTooOld(_) => "Use a newer server.",
        SchemaError::Missing | SchemaError::Older { .. } => {
            "Run `cerby-reconciler migrate` as a role that may create schemas and roles."
        }
        SchemaError::Newer { .. } | SchemaError::Diverged { .. } => {
            "Run the program that migrated it, or a newer one."
        }
        SchemaError::Pooler => "Let database.url name PostgreSQL itself.",
        SchemaError::Blocked { .. } => "Let the other transaction end, and migrate again.",
        SchemaError::Migration(_) => "Read the cause; nothing of a failed migration is kept.",
    }
}

/// By the SQLSTATE of the server, if it answered.
fn remedy_of_connection(error: &sqlx::Error) -> &'static str {
    if let sqlx::Error::Io(error) = error
        && let Some(remedy) = remedy_of_tls(error)
    {
        return remedy;
    }
    if matches!(error, sqlx::Error::Tls(_)) {
        return "Set ssl = on at the server, and check sslmode, sslrootcert, sslcert and sslkey in database.url.";
    }
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    match code.as_ref() {
        code if code.starts_with("28") => "Check the login and its password in database.url.",
        "3D000" => "Create the database, or correct its name in database.url.",
        "42501" => "Grant the login connect on the database, and a role of reconciler.",
        code if code.starts_with("53") => {
            "The server has no connections left: raise its max_connections, or lower those of its clients."
        }
        code if code.starts_with("57P") => "The server starts or stops: try again in a moment.",
        _ => {
            "Check the host and port in database.url, and that the server can be reached from this machine."
        }
    }
}

/// What to do about the certificate of the server, or about a file that the connection needs.
fn remedy_of_tls(error: &io::Error) -> Option<&'static str> {
    use rustls::CertificateError as E;
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) {
        return Some(
            "Check the files in database.url: sslrootcert, sslcert, sslkey, or the folder of the socket.",
        );
    }
    let rustls::Error::InvalidCertificate(error) = error.get_ref()?.downcast_ref()? else {
        return None;
    };
    Some(match error {
        E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => {
            "Renew the certificate of the server, and check the clock of this machine."
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "Use the name in database.url that the certificate is for, or have a certificate made for this one."
        }
        E::UnknownIssuer => {
            "Set sslrootcert in database.url to the certificate of the authority that signed that of the server."
        }
        _ => "Have a certificate made for the server that is valid for its name.",
    })
}
