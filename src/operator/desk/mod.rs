//! What people may do: one function for each verb, used by every interface (command line, API, console).
//!
//! A function takes the actor, runs one transaction in the actor's name, and returns a result or a [`Refusal`] that
//! every interface can show. The rules are in the database, so that they hold in psql too; an interface parses, calls
//! and renders.

mod actions;
mod backlogs;
mod events;
mod follow;
mod import;
mod instructions;
mod integrations;
mod people;
mod refusal;
mod replies;
mod reports;
mod returns;
mod sessions;
mod syncs;
mod tasks;
mod tokens;
mod verbs;
mod views;
mod webhooks;

pub use actions::{ActionCard, Done, Marked};
use backlogs::Counted;
pub use follow::TrailReader;
pub use import::Imported;
pub use integrations::Integration;
pub use people::Names;
pub use refusal::{DeskError, Refusal, RefusalKind};
pub use replies::Repeated;
pub use reports::{AskedEvidence, AskedWork};
pub use returns::Chosen;
pub use sessions::{Lasts, Session};
pub use syncs::SyncCard;
pub use tasks::TaskCard;
pub(in crate::operator) use tokens::hash;
pub(in crate::operator) use verbs::check_many;
pub use verbs::{ActionVerb, Words};
pub use views::NewView;

use std::sync::Arc;

use crate::access::Access;
use crate::database::{PgPool, Transaction};
use crate::store::{self, begin_as};
use crate::text::printable;

/// Who acts. The trail records the login, and the name beside it; or the token, or the person whom the issuer named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Empty for a person who gives none.
    name: String,
    /// What they may do; `None` where the database login alone decides.
    access: Option<Access>,
}

impl Actor {
    /// A person who is known by the database login alone.
    pub fn by_login() -> Self {
        Self { name: String::new(), access: None }
    }

    /// A person by the name that they give.
    pub fn named(name: &str) -> Result<Self, Refusal> {
        let name = name.trim();
        let is_plain = !name.is_empty() && printable(name) == name && !name.contains(BESIDE);
        let is_taken = name == "daemon" || [TOKEN, PERSON].iter().any(|of| name.starts_with(of));
        if !is_plain || is_taken || name.chars().count() > LONGEST_NAME {
            return Err(Refusal {
                kind: RefusalKind::Invalid,
                message: format!("{:?} cannot be the name of a person", printable(name)),
                hint: Some(format!("Give your own name, in up to {LONGEST_NAME} characters.")),
            });
        }
        Ok(Self { name: name.to_owned(), access: None })
    }

    /// A token that is valid.
    fn by_token(name: &str, access: Access) -> Self {
        Self { name: format!("{TOKEN}{name}"), access: Some(access) }
    }

    /// As the trail records it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn access(&self) -> Option<&Access> {
        self.access.as_ref()
    }

    /// The workspace that a list is about: the one that is asked for, or the only one that there is for the actor. The
    /// database leaves out all others in any case, but finds the rows of one by an index.
    pub(in crate::operator) fn workspace_or<'a>(
        &'a self,
        asked: Option<&'a str>,
    ) -> Option<&'a str> {
        let own = self.access.as_ref().and_then(|access| access.workspaces.as_deref());
        asked.or(match own {
            Some([only]) => Some(only),
            _ => None,
        })
    }

    /// The database refuses it too, in its own words.
    fn check_change(&self) -> Result<(), Refusal> {
        match &self.access {
            Some(access) if !access.role.may_change() => Err(Refusal {
                kind: RefusalKind::Forbidden,
                message: format!("{} has the role {}, which only reads", self.name, access.role),
                hint: Some("Use a token of the role operator, or ask for that role.".to_owned()),
            }),
            _ => Ok(()),
        }
    }
}

/// What the database puts between a name and the login that gave it.
const BESIDE: &str = " via login ";

/// What the name of a token has before it in the trail.
const TOKEN: &str = "token:";

/// What a person whom the issuer named has before that name in the trail.
const PERSON: &str = "oidc:";

const LONGEST_NAME: usize = 100;

/// A row as its caller saw it: what is done to it is refused if it has changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub id: i64,
    /// `None` for a caller who wants the change whatever the row is now.
    pub revision: Option<i64>,
}

impl From<i64> for Seen {
    fn from(id: i64) -> Self {
        Self { id, revision: None }
    }
}

#[derive(Debug, Clone)]
pub struct Desk {
    pool: PgPool,
    counted: Arc<Counted>,
}

impl Desk {
    pub fn new(pool: PgPool) -> Self {
        Self { pool, counted: Arc::default() }
    }

    /// Whether the login is that of the daemon, which people share: a name has to tell them apart.
    pub async fn is_shared(&self) -> Result<bool, DeskError> {
        Ok(store::is_shared_login(&self.pool).await?)
    }

    async fn begin(&self, actor: &Actor) -> Result<Transaction, DeskError> {
        Ok(begin_as(&self.pool, &actor.name, actor.access.as_ref()).await?)
    }

    async fn begin_change(&self, actor: &Actor) -> Result<Transaction, DeskError> {
        actor.check_change()?;
        self.begin(actor).await
    }
}

async fn commit(tx: Transaction) -> Result<(), DeskError> {
    Ok(tx.commit().await?)
}
