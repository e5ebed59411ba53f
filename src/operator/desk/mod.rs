//! What people may do: one function for each verb, used by every interface (command line, API, console).
//!
//! A function takes the actor, runs one transaction in the actor's name, and returns a result or a [`Refusal`] that
//! every interface can show. The rules are in the database, so that they hold in psql too; an interface parses, calls
//! and renders.

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
pub use tasks::TaskPage;

use crate::database::{PgPool, Transaction};
use crate::store::begin_as;

/// Who acts, in the form that the trail records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// A person at the command line, by the name that they give.
    pub fn at_command_line(name: &str) -> Self {
        Self(format!("cli:{name}"))
    }

    pub fn import() -> Self {
        Self("import".to_owned())
    }
}

#[derive(Debug, Clone)]
pub struct Desk {
    pool: PgPool,
}

impl Desk {
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
