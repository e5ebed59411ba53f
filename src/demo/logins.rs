//! The three logins of the demo's database, each with one role's privileges and no more.

use anyhow::Context;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};

use crate::private_postgres::PrivatePostgres;

/// URLs to log in with.
pub(super) struct Logins {
    /// For `serve`.
    pub(super) daemon: String,
    /// For whoever inserts failed tasks.
    pub(super) backend: String,
    /// For whoever works manual actions.
    pub(super) operator: String,
}

impl Logins {
    /// Makes the logins; the roles are there once the migrations ran.
    pub(super) async fn create(owner: &PgPool, server: &PrivatePostgres) -> anyhow::Result<Self> {
        Ok(Self {
            daemon: create(owner, server.port(), "demo_daemon", "reconciler_daemon").await?,
            backend: create(owner, server.port(), "demo_backend", "reconciler_backend").await?,
            operator: create(owner, server.port(), "demo_operator", "reconciler_operator").await?,
        })
    }
}

async fn create(owner: &PgPool, port: u16, login: &str, role: &str) -> anyhow::Result<String> {
    let password = secret();
    // No parameters in DDL; each part is a name above or hexadecimal digits.
    let statement = format!("create role {login} login password '{password}' in role {role}");
    sqlx::query(AssertSqlSafe(statement))
        .execute(owner)
        .await
        .with_context(|| format!("the login {login} cannot be made"))?;
    Ok(format!("postgres://{login}:{password}@127.0.0.1:{port}/postgres"))
}

/// A few connections.
pub(super) async fn connect(url: &str) -> anyhow::Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(4)
        .connect(url)
        .await
        .context("the private PostgreSQL does not answer")
}

/// A secret that lasts as long as the demo.
pub(super) fn secret() -> String {
    format!("{:032x}", rand::random::<u128>())
}
