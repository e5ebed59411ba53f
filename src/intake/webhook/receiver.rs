//! The keys of webhooks, which are read again from their file when one does not fit.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Cause, Event, Signed};
use crate::config::{ConfigError, Intake, SecretFile, WebhookKey, parse_webhook_keys};

/// A webhook that is signed by a key of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// The workspace of the key.
    pub workspace: String,
    /// `Ok(None)` for an event that is about something else.
    pub event: Result<Option<Event>, Cause>,
}

/// Verifies webhooks.
#[derive(Debug)]
pub struct Receiver {
    keys: RwLock<Arc<[WebhookKey]>>,
    file: Option<SecretFile>,
}

impl Receiver {
    /// `None` if no keys are configured.
    pub fn new(config: &Intake) -> Result<Option<Self>, ConfigError> {
        let keys = config.webhook_keys()?;
        let receiver = Self { keys: RwLock::new(keys.into()), file: config.secret_file() };
        Ok(config.webhook_keys.is_some().then_some(receiver))
    }

    /// Verifies a body. An unknown key or a wrong signature may mean that a key was replaced, so the file of the keys is
    /// then read again.
    pub fn open(&self, signed: &Signed, body: &[u8]) -> Result<Opened, Cause> {
        let workspace = match self.workspace(signed, body) {
            Err(_) if self.read_again() => self.workspace(signed, body)?,
            known => known?,
        };
        Ok(Opened { workspace, event: Event::read(body) })
    }

    fn workspace(&self, signed: &Signed, body: &[u8]) -> Result<String, Cause> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        signed.signer(&keys, body).map(|key| key.workspace.clone())
    }

    /// Returns whether the file has other keys than before.
    fn read_again(&self) -> bool {
        let changed = self.file.as_ref().and_then(|file| file.changed(parse_webhook_keys));
        let Some(keys) = changed else { return false };
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        true
    }
}
