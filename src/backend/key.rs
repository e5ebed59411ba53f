//! The API key, which is read again from its file after a refusal.

use std::sync::{PoisonError, RwLock};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::config::{Backend, ConfigError, SecretFile};

pub(super) const HEADER: &str = "x-api-key";

#[derive(Debug)]
pub(super) struct ApiKey {
    header: RwLock<HeaderValue>,
    file: Option<SecretFile>,
}

impl ApiKey {
    pub(super) fn new(backend: &Backend) -> Result<Self, ConfigError> {
        let header = header(backend.api_key()?)?;
        Ok(Self { header: RwLock::new(header), file: backend.secret_file() })
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.header.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key to use instead of one that the backend refused, if the file has another one by now. Another request may
    /// have read it already.
    pub(super) fn instead_of(&self, refused: &HeaderValue) -> Option<HeaderValue> {
        if let Some(changed) = self.file.as_ref()?.changed(header) {
            *self.header.write().unwrap_or_else(PoisonError::into_inner) = changed;
        }
        Some(self.header()).filter(|header| header != refused)
    }
}

fn header(key: &SecretString) -> Result<HeaderValue, ConfigError> {
    let wrong = "backend.api_key has characters that no HTTP header can carry";
    let mut header = HeaderValue::from_str(key.expose_secret())
        .map_err(|_| ConfigError::Wrong(vec![wrong.to_owned()]))?;
    header.set_sensitive(true);
    Ok(header)
}
