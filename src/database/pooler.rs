//! Poolers in transaction mode, such as PgBouncer: each transaction may get another session of the server.
//!
//! Such a pooler drops the settings with which a connection is opened, without an error. Then statements are planned as
//! the server likes, and nothing limits their time. So the settings are read back at the start, and where they did not
//! take hold, each transaction makes them, and each statement outside a transaction gets one of its own.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor};

use super::in_time;

/// The names and values of the settings of a session.
pub type Settings = Vec<(&'static str, String)>;

/// What a session shows of the server, and of what is in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub version: i32,
    pub version_text: String,
    pub encoding: String,
    /// Whether all settings took hold that a transaction can make.
    pub is_set: bool,
    /// Whether the server has the driver's own names of prepared statements. A pooler that keeps prepared statements for
    /// its clients gives them other names.
    pub has_own_statements: bool,
}

/// Reads back the settings with which the session was opened: it compares them with those of a transaction that makes
/// them.
pub async fn look_at_session(
    session: &mut sqlx::PgConnection,
    settings: &Settings,
    within: Duration,
) -> sqlx::Result<Session> {
    in_time("the server", within, look(session, settings)).await
}

async fn look(session: &mut sqlx::PgConnection, settings: &Settings) -> sqlx::Result<Session> {
    // One transaction: behind a pooler, the next one may see another session of the server.
    let mut tx = session.begin().await?;
    let (version, version_text, encoding) = sqlx::query_as(
        "-- server
         select current_setting('server_version_num')::int, current_setting('server_version'),
                current_setting('server_encoding')",
    )
    .fetch_one(&mut *tx)
    .await?;
    let before = values(&mut tx, settings).await?;
    tx.execute(AssertSqlSafe(set_local(settings))).await?;
    let is_set = before == values(&mut tx, settings).await?;
    let has_own_statements = sqlx::query_scalar(
        "-- has_own_statements
         select exists (select from pg_prepared_statements where name like 'sqlx\\_s\\_%')",
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.rollback().await?;
    Ok(Session { version, version_text, encoding, is_set, has_own_statements })
}

async fn values(
    session: &mut sqlx::PgConnection,
    settings: &Settings,
) -> sqlx::Result<Vec<Option<String>>> {
    let names: Vec<_> = settings.iter().map(|(name, _)| name.to_string()).collect();
    sqlx::query_scalar(
        "-- session_settings
         select current_setting(name, true) from unnest($1) with ordinality wanted (name, place) order by place",
    )
    .bind(names)
    .fetch_all(session)
    .await
}

/// The statements with which a transaction makes the settings. Its isolation has to come before its first query.
pub(super) fn settings_of_transaction(settings: &Settings) -> String {
    format!("set transaction isolation level read committed; {}", set_local(settings))
}

fn set_local(settings: &Settings) -> String {
    // Names and values are the program's own, and numbers of the configuration.
    settings.iter().map(|(name, value)| format!("set local {name} = '{value}'; ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_makes_the_settings_and_first_its_isolation() {
        let settings = vec![("jit", "off".to_owned()), ("lock_timeout", "4000ms".to_owned())];
        assert_eq!(
            settings_of_transaction(&settings),
            "set transaction isolation level read committed; set local jit = 'off'; set local lock_timeout = '4000ms'; "
        );
    }
}
