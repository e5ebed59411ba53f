//! A standby, which takes the place of its primary server in a failover.

use anyhow::Context;
use sqlx::{Connection, PgConnection};

use super::{Files, Options, PrivatePostgres, run};

impl PrivatePostgres {
    /// Starts a standby of this server. From then on, a commit waits until the standby has it.
    ///
    /// # Errors
    /// When the server cannot be copied, or the copy does not start.
    pub async fn start_standby(&self, options: Options) -> anyhow::Result<Self> {
        let files = Files::create(
            self.files.programs.clone(),
            self.files.account,
            self.files.password.clone(),
        )?;
        let mut command = files.command("pg_basebackup");
        command
            .args([
                "--checkpoint=fast",
                "--wal-method=stream",
                "--write-recovery-conf",
                "--no-sync",
            ])
            .arg(format!("--dbname={}", self.url()))
            .arg(format!("--pgdata={}", files.data.display()));
        run("pg_basebackup", command).await?;
        // The copy has the configuration of the primary server; later lines win.
        files.configure(options)?;
        let standby = Self::launch(files).await?;
        let mut session = PgConnection::connect(&self.url()).await?;
        sqlx::query("alter system set synchronous_standby_names = '*'")
            .execute(&mut session)
            .await?;
        sqlx::query("select pg_reload_conf()").execute(&mut session).await?;
        session.close().await?;
        Ok(standby)
    }

    /// Makes a standby the primary server.
    ///
    /// # Errors
    /// When it is none, or does not become one in time.
    pub async fn promote(&self) -> anyhow::Result<()> {
        let mut session = PgConnection::connect(&self.url()).await?;
        let is_promoted: bool =
            sqlx::query_scalar("select pg_promote()").fetch_one(&mut session).await?;
        session.close().await?;
        is_promoted.then_some(()).context("the standby was not promoted")
    }
}
