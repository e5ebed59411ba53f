//! Sessions of the console. Who signs in was found out before: a session only remembers it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::tokens::{hash, secret};
use super::{Actor, BESIDE, Desk, DeskError, Names, PERSON, Refusal, RefusalKind, commit};
use crate::access::Access;
use crate::sessions::{self, SessionLine, Signed};
use crate::store::begin_as;
use crate::text::printable;

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
    /// What pages call people whom the issuer named.
    pub names: Arc<Names>,
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
        let who = Signed { actor: &actor.name, email: None, access };
        sessions::insert(&mut tx, &hash, who, lasts.idle, lasts.longest).await?;
        commit(tx).await?;
        Ok(secret)
    }

    /// Starts a session of a person whom the issuer calls so, and ends those that began with another role or with other
    /// workspaces. Without access, all of them are ended and none starts.
    pub async fn sign_in_person(
        &self,
        subject: &str,
        email: Option<&str>,
        access: Option<&Access>,
        lasts: Lasts,
    ) -> Result<Option<SecretString>, DeskError> {
        let actor = person(subject)?;
        let mut tx = begin_as(&self.pool, &actor, None).await?;
        sessions::end_outdated(&mut tx, &actor, access).await?;
        let secret = secret("");
        match access {
            Some(access) => {
                let hash = hash(secret.expose_secret());
                let who = Signed { actor: &actor, email, access };
                sessions::insert(&mut tx, &hash, who, lasts.idle, lasts.longest).await?;
            }
            None => sessions::note_without_access(&mut tx, &actor).await?,
        }
        commit(tx).await?;
        Ok(access.map(|_| secret))
    }

    /// The session with this secret; `None` if it has ended.
    pub async fn session(&self, secret: &str, lasts: Lasts) -> Result<Option<Session>, DeskError> {
        let found = sessions::find_valid(&self.pool, &hash(secret), lasts.idle).await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(Session {
            id: found.id,
            actor: Actor { name: found.actor, access: Some(found.access) },
            now: found.now,
            names: Arc::new(sessions::people(&self.pool).await?.into()),
        }))
    }

    /// Whether the issuer may be asked, without a word from the person, if the session with this secret can go on: it ended
    /// because its time was over, and not because it was unused or somebody ended it.
    pub async fn may_renew(&self, secret: &str, lasts: Lasts) -> Result<bool, DeskError> {
        Ok(sessions::is_renewable(&self.pool, &hash(secret), lasts.idle).await?)
    }

    /// A secret for a sign-in that goes to the issuer.
    pub fn begin_sign_in(&self) -> SecretString {
        secret("")
    }

    /// Notes that a sign-in was answered; returns whether it had not been before.
    pub async fn use_sign_in(&self, secret: &str) -> Result<bool, DeskError> {
        Ok(sessions::use_sign_in(&self.pool, &hash(secret)).await?)
    }

    /// The sessions of the actor; for an administrator those of everybody who may see no more.
    pub async fn sessions(&self, actor: &Actor) -> Result<Vec<SessionLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        Ok(sessions::list(&mut tx).await?)
    }

    /// Ends a session of the actor; an administrator may end every one that they see.
    pub async fn end_session(&self, actor: &Actor, id: i64) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        if !sessions::end(&mut tx, id).await? {
            return Err(Refusal::not_found(format!("there is no session {id}")).into());
        }
        commit(tx).await
    }
}

/// How the trail records a person whom the issuer calls so.
fn person(subject: &str) -> Result<String, Refusal> {
    let is_plain =
        !subject.is_empty() && printable(subject) == subject && !subject.contains(BESIDE);
    if !is_plain || subject.chars().count() > LONGEST_SUBJECT {
        let message = format!(
            "the issuer calls somebody by something other than 1 to {LONGEST_SUBJECT} plain characters (claim sub)"
        );
        return Err(Refusal::new(RefusalKind::Invalid, message));
    }
    Ok(format!("{PERSON}{subject}"))
}

/// Actors of the trail have 200 characters at most.
const LONGEST_SUBJECT: usize = 150;
