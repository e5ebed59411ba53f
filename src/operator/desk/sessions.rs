//! Sessions of the console. Who signs in was found out before: a session only remembers it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::tokens::{hash, secret};
use super::{Actor, Desk, DeskError, Refusal, RefusalKind, commit};
use crate::sessions::{self, SessionLine};
use crate::store::begin_as;

/// How long a session lasts: unused, and in any case.
#[derive(Debug, Clone, Copy)]
pub struct Lasts {
    pub idle: Duration,
    pub longest: Duration,
}

/// A session that somebody uses.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: i64,
    pub actor: Actor,
    /// The time of the database.
    pub now: DateTime<Utc>,
}

impl Desk {
    /// Starts a session of somebody who has signed in. What it returns is its secret, which nobody can read again.
    pub async fn start_session(
        &self,
        actor: &Actor,
        lasts: Lasts,
    ) -> Result<SecretString, DeskError> {
        let Some(access) = &actor.access else {
            let message = "a session needs somebody with a role: a database login has none";
            return Err(Refusal::new(RefusalKind::Forbidden, message).into());
        };
        let secret = secret("");
        let hash = hash(secret.expose_secret());
        // The actor has no right to make sessions: the daemon makes it in their name.
        let mut tx = begin_as(&self.pool, &actor.name, None).await?;
        sessions::insert(&mut tx, &hash, &actor.name, access, lasts.idle, lasts.longest).await?;
        commit(tx).await?;
        Ok(secret)
    }

    /// The session with this secret; `None` if it has ended.
    pub async fn session(&self, secret: &str, lasts: Lasts) -> Result<Option<Session>, DeskError> {
        let found = sessions::find_valid(&self.pool, &hash(secret), lasts.idle).await?;
        Ok(found.map(|found| Session {
            id: found.id,
            actor: Actor { name: found.actor, access: Some(found.access) },
            now: found.now,
        }))
    }

    /// The sessions of the actor; for an administrator those of all.
    pub async fn sessions(&self, actor: &Actor) -> Result<Vec<SessionLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        Ok(sessions::list(&mut tx).await?)
    }

    /// Ends a session of the actor; an administrator may end every one.
    pub async fn end_session(&self, actor: &Actor, id: i64) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        if !sessions::end(&mut tx, id).await? {
            return Err(Refusal::not_found(format!("there is no session {id}")).into());
        }
        commit(tx).await
    }
}
