//! New passwords: the options of connections are read again from the file of the URL.

use std::fmt;
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;

/// Reads the file of the URL again.
#[derive(Clone)]
pub struct Renewal(Arc<dyn Fn() -> Option<PgConnectOptions> + Send + Sync>);

impl Renewal {
    pub fn new(changed: impl Fn() -> Option<PgConnectOptions> + Send + Sync + 'static) -> Self {
        Self(Arc::new(changed))
    }

    /// The options, if they are others than before.
    pub(super) fn changed(&self) -> Option<PgConnectOptions> {
        (self.0)()
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Renewal")
    }
}

/// Whether the server refused the login or its password (SQLSTATE class 28).
pub fn is_login_refused(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("28"))
}
