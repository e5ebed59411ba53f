//! What people may do, one function for each verb, for whatever door they come through: command line, API, console.
//!
//! A function takes who acts, runs one transaction in their name and answers with what came of it, or with a [`Refusal`]
//! that any door can show. The rules are the database's own, so that psql obeys them too; a door parses, calls and renders.

mod actions;
mod import;
mod integrations;
mod refusal;
mod returns;
mod syncs;
mod tasks;

pub use actions::{ActionCard, Done};
pub use import::Imported;
pub use integrations::Integration;
pub use refusal::{DeskError, Refusal, RefusalKind};
pub use returns::Chosen;
pub use syncs::SyncCard;

use crate::database::{PgPool, Transaction};
use crate::store::begin_as;

/// Who acts, as the trail names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// Somebody at the command line, by the name that they give.
    pub fn at_command_line(name: &str) -> Self {
        Self(format!("cli:{name}"))
    }

    /// An import of a file.
    pub fn import() -> Self {
        Self("import".to_owned())
    }
}

/// Where people act.
#[derive(Debug, Clone)]
pub struct Desk {
    pool: PgPool,
}

impl Desk {
    /// A desk on a database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    async fn begin(&self, actor: &Actor) -> Result<Transaction, DeskError> {
        Ok(begin_as(&self.pool, &actor.0).await?)
    }
}

async fn commit(tx: Transaction) -> Result<(), DeskError> {
    Ok(tx.commit().await?)
}
