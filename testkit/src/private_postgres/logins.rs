//! Logins with one role's privileges and no more.

use anyhow::Context;
use sqlx::{AssertSqlSafe, PgPool};

use super::PrivatePostgres;

impl PrivatePostgres {
    /// Makes the login `name` in `role`; the URL to log in with. Both are plain words of the caller's own.
    ///
    /// # Errors
    /// When the login exists or the role does not.
    pub async fn login(&self, owner: &PgPool, name: &str, role: &str) -> anyhow::Result<String> {
        let password = super::secret();
        // No parameters in DDL; the password is hexadecimal digits.
        let statement = format!("create role {name} login password '{password}' in role {role}");
        sqlx::query(AssertSqlSafe(statement))
            .execute(owner)
            .await
            .with_context(|| format!("the login {name} cannot be made"))?;
        Ok(format!("postgres://{name}:{password}@127.0.0.1:{}/postgres", self.port()))
    }
}
