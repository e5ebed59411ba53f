//! What people may do: one function for each verb, used by every interface (command line, API, console).
//!
//! A function takes the actor, runs one transaction in the actor's name, and returns a result or a [`Refusal`] that
//! every interface can show. The rules are in the database, so that they hold in psql too; an interface parses, calls
//! and renders.

mod actions;
mod events;
mod import;
mod integrations;
mod refusal;
mod returns;
mod syncs;
mod tasks;

pub use actions::{ActionCard, Done, Marked};
pub use import::Imported;
pub use integrations::Integration;
pub use refusal::{DeskError, Refusal, RefusalKind};
pub use returns::Chosen;
pub use syncs::SyncCard;
pub use tasks::TaskCard;

use crate::database::{PgPool, Transaction};
use crate::store::{self, begin_as};
use crate::text::printable;

/// Who acts. The trail records the login, and the name beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Empty for a person who gives none.
    name: String,
}

impl Actor {
    /// A person who is known by the database login alone.
    pub fn by_login() -> Self {
        Self { name: String::new() }
    }

    /// A person by the name that they give.
    pub fn named(name: &str) -> Result<Self, Refusal> {
        let name = name.trim();
        let is_plain = !name.is_empty() && printable(name) == name && !name.contains(BESIDE);
        if !is_plain || name == "daemon" || name.chars().count() > LONGEST_NAME {
            return Err(Refusal {
                kind: RefusalKind::Invalid,
                message: format!("{:?} cannot be the name of a person", printable(name)),
                hint: Some(format!("Give your own name, in up to {LONGEST_NAME} characters.")),
            });
        }
        Ok(Self { name: name.to_owned() })
    }
}

/// What the database puts between a name and the login that gave it.
const BESIDE: &str = " via login ";

const LONGEST_NAME: usize = 100;

#[derive(Debug, Clone)]
pub struct Desk {
    pool: PgPool,
}

impl Desk {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Whether the login is that of the daemon, which people share: a name has to tell them apart.
    pub async fn is_shared(&self) -> Result<bool, DeskError> {
        Ok(store::is_shared_login(&self.pool).await?)
    }

    async fn begin(&self, actor: &Actor) -> Result<Transaction, DeskError> {
        Ok(begin_as(&self.pool, &actor.name).await?)
    }
}

async fn commit(tx: Transaction) -> Result<(), DeskError> {
    Ok(tx.commit().await?)
}
