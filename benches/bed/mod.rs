//! Where queues are measured: one private server that flushes to disk, and a fresh database for every run.

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use testkit::private_postgres::{Options, PrivatePostgres, Shutdown};

/// What the server is told beside its defaults; printed and recorded with every number. `synchronous_commit` stays on.
pub(crate) const SERVER_SETTINGS: &[(&str, &str)] =
    &[("shared_buffers", "2GB"), ("max_wal_size", "8GB"), ("checkpoint_timeout", "30min")];

pub(crate) struct Bed {
    server: PrivatePostgres,
    admin: PgPool,
    version: String,
}

impl Bed {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut server = PrivatePostgres::start(Options { durable: true }).await?;
        let admin = PgPool::connect(&server.url()).await?;
        for (name, value) in SERVER_SETTINGS {
            let statement = format!("alter system set {name} = '{value}'");
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&admin).await?;
        }
        admin.close().await;
        server.restart(Shutdown::Fast).await?;
        let admin = PgPool::connect(&server.url()).await?;
        let version = sqlx::query_scalar("show server_version").fetch_one(&admin).await?;
        Ok(Self { server, admin, version })
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Its programs and files.
    pub(crate) fn postgres(&self) -> &PrivatePostgres {
        &self.server
    }

    /// Makes an empty database; its URL.
    pub(crate) async fn database(&self, name: &str) -> anyhow::Result<String> {
        for statement in [
            format!("drop database if exists {name} with (force)"),
            format!("create database {name}"),
        ] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&self.admin).await?;
        }
        let url = self.server.url();
        let (server, _) = url.rsplit_once('/').context("a URL names a database")?;
        Ok(format!("{server}/{name}"))
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.admin.close().await;
        self.server.stop().await
    }
}

/// Puts a database into the state that every run starts from.
pub(crate) async fn settle(url: &str) -> anyhow::Result<()> {
    let mut connection = connect(url).await?;
    sqlx::raw_sql("vacuum analyze").execute(&mut connection).await?;
    sqlx::raw_sql("checkpoint").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// One connection, which logs no statement.
pub(crate) async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    let options: PgConnectOptions = url.parse()?;
    Ok(options.disable_statement_logging().connect().await?)
}
