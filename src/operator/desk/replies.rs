//! Requests that a program sends again: they are answered as before.

use sha2::{Digest, Sha256};

use super::{Actor, Desk, DeskError};
use crate::replies::{self, Reply};

/// Whether a request was sent before.
#[derive(Debug, PartialEq, Eq)]
pub enum Repeated {
    No,
    Answered(Reply),
    /// The first one has not ended.
    Running,
    /// Another request had the same key.
    Other,
}

impl Desk {
    /// Whether the actor sent this request before, with this key. If not, it counts as running from now on.
    pub async fn repeated(
        &self,
        actor: &Actor,
        key: &str,
        request: &[u8],
    ) -> Result<Repeated, DeskError> {
        let request = Sha256::digest(request);
        if replies::begin(&self.pool, &actor.name, key, &request).await? {
            return Ok(Repeated::No);
        }
        let stored = replies::find(&self.pool, &actor.name, key).await?;
        Ok(match stored {
            Some(stored) if stored.request != request.as_slice() => Repeated::Other,
            Some(replies::Stored { reply: Some(reply), .. }) => Repeated::Answered(reply),
            _ => Repeated::Running,
        })
    }

    /// Stores what a request was answered with; `None` if it failed, so that it may be tried again.
    pub async fn answered(
        &self,
        actor: &Actor,
        key: &str,
        reply: Option<&Reply>,
    ) -> Result<(), DeskError> {
        match reply {
            Some(reply) => replies::store(&self.pool, &actor.name, key, reply).await?,
            None => replies::forget(&self.pool, &actor.name, key).await?,
        }
        Ok(())
    }
}
