//! Bearer tokens: who may use the listener for operators.

use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{Actor, Desk, DeskError, Refusal, RefusalKind, commit};
use crate::access::Access;
use crate::text::hex;
use crate::tokens::{self, TokenLine};

/// What every token begins with, so that a scanner of leaked secrets knows it.
const PREFIX: &str = "cerbyrec_";

impl Desk {
    /// Makes a token. What it returns is the token itself, which nobody can read again.
    pub async fn create_token(
        &self,
        actor: &Actor,
        name: &str,
        access: &Access,
        valid_days: u32,
    ) -> Result<SecretString, DeskError> {
        let token = secret(PREFIX);
        let hash = hash(token.expose_secret());
        let mut tx = self.begin_change(actor).await?;
        match tokens::insert(&mut tx, name, access, &hash, valid_days).await {
            Ok(()) => commit(tx).await?,
            Err(error) => return Err(refused(error.into(), name)),
        }
        Ok(token)
    }

    pub async fn tokens(&self, actor: &Actor) -> Result<Vec<TokenLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        Ok(tokens::list(&mut tx).await?)
    }

    /// Whether there is a token with which somebody could sign in.
    pub async fn has_tokens(&self) -> Result<bool, DeskError> {
        Ok(tokens::is_any_valid(&self.pool).await?)
    }

    /// Ends a token at once.
    pub async fn revoke_token(&self, actor: &Actor, name: &str) -> Result<(), DeskError> {
        let mut tx = self.begin_change(actor).await?;
        if !tokens::revoke(&mut tx, name).await? {
            return Err(Refusal::not_found(format!("there is no token {name}")).into());
        }
        commit(tx).await
    }

    /// Who acts with a token; `None` if it is not valid.
    pub async fn actor_of(&self, token: &str) -> Result<Option<Actor>, DeskError> {
        let found = tokens::find_valid(&self.pool, &hash(token)).await?;
        Ok(found.map(|(name, access)| Actor::by_token(&name, access)))
    }
}

/// The error of the database, or a clear refusal where it says that the name is taken or the token reaches too far.
fn refused(error: DeskError, name: &str) -> DeskError {
    match error {
        DeskError::Refused(refusal) if refusal.message.contains("row-level security") => Refusal {
            kind: RefusalKind::Forbidden,
            message: "a token reaches no further than the administrator who makes it".to_owned(),
            hint: Some("Name only workspaces that you may see yourself.".to_owned()),
        }
        .into(),
        DeskError::Refused(refusal) if refusal.message.contains("tokens_pkey") => Refusal {
            kind: RefusalKind::NotAllowedNow,
            message: format!("there was a token {name} before"),
            hint: Some("The trail names tokens: give each a name of its own.".to_owned()),
        }
        .into(),
        error => error,
    }
}

/// A new secret, with a prefix.
pub(super) fn secret(prefix: &str) -> SecretString {
    let bytes = rand::rng().random::<[u8; 32]>();
    format!("{prefix}{}", hex(&bytes)).into()
}

/// What is kept of a secret.
pub(in crate::operator) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
