//! Logins with the privileges of one role each.

use anyhow::Context;
use sqlx::{AssertSqlSafe, PgPool};

use super::PrivatePostgres;

impl PrivatePostgres {
    /// Creates the login `name` in `role`; returns the URL to log in with. Both names come from the caller and are
    /// plain words.
    ///
    /// # Errors
    /// When the login exists or the role does not.
    pub async fn login(&self, owner: &PgPool, name: &str, role: &str) -> anyhow::Result<String> {
        let password = super::secret();
        // DDL has no parameters; the password consists of hexadecimal digits.
        let statement = format!("create role {name} login password '{password}' in role {role}");
        sqlx::query(AssertSqlSafe(statement))
            .execute(owner)
            .await
            .with_context(|| format!("the login {name} cannot be made"))?;
        Ok(format!("postgres://{name}:{password}@127.0.0.1:{}/postgres", self.port()))
    }
}
