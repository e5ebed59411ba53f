//! The logins of the demo's database, each with the privileges of one role.

use anyhow::Context;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::private_postgres::PrivatePostgres;

pub(super) struct Logins {
    pub(super) daemon: String,
    /// For the insertion of failed tasks.
    pub(super) backend: String,
    /// For the scripted operator. The trail shows the names of logins, so they are names of people.
    pub(super) colleague: String,
    /// For whoever tries the demo.
    pub(super) visitor: String,
}

impl Logins {
    /// Creates the logins; the roles exist once the migrations ran.
    pub(super) async fn create(owner: &PgPool, server: &PrivatePostgres) -> anyhow::Result<Self> {
        Ok(Self {
            daemon: server.login(owner, "demo_daemon", "reconciler_daemon").await?,
            backend: server.login(owner, "demo_backend", "reconciler_backend").await?,
            colleague: server.login(owner, "robin", "reconciler_operator").await?,
            visitor: server.login(owner, "you", "reconciler_operator").await?,
        })
    }
}

pub(super) async fn connect(url: &str) -> anyhow::Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(4)
        .connect(url)
        .await
        .context("the private PostgreSQL does not answer")
}
