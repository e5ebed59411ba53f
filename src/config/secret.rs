//! The file of a secret, which may be replaced while the program runs.
//!
//! A secret that was read only at the start would never recover from a rotation. So its users read the file again before
//! they open a connection, and after a refusal.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use super::read;
use crate::emit;

/// The file of a secret, and what was last read from it.
#[derive(Debug)]
pub struct SecretFile {
    key: &'static str,
    path: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: SecretString,
    /// Whether the file could not be used when it was last read. This is logged once.
    is_unusable: bool,
}

impl SecretFile {
    pub(super) fn new(key: &'static str, path: &str, known: &SecretString) -> Self {
        let state = State { known: known.clone(), is_unusable: false };
        Self { key, path: path.to_owned(), state: Mutex::new(state) }
    }

    /// Reads the file again. If it has another secret than before, returns what `parse` makes of it. While the file
    /// cannot be used, the secret that is known stays in use.
    pub fn changed<T, E: fmt::Display>(
        &self,
        parse: impl FnOnce(&SecretString) -> Result<T, E>,
    ) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let read = read::secret_in_file(self.key, &self.path).map_err(|error| error.to_string());
        let parsed = match read {
            Ok(secret) if secret.expose_secret() == state.known.expose_secret() => {
                state.is_unusable = false;
                return None;
            }
            Ok(secret) => parse(&secret).map(|parsed| (secret, parsed)).map_err(|e| e.to_string()),
            Err(error) => Err(error),
        };
        match parsed {
            Ok((secret, parsed)) => {
                *state = State { known: secret, is_unusable: false };
                emit!(SECRET_CHANGED, key = self.key, "A secret was read again from its file");
                Some(parsed)
            }
            Err(error) => {
                if !std::mem::replace(&mut state.is_unusable, true) {
                    emit!(
                        SECRET_UNUSABLE,
                        key = self.key,
                        error,
                        "The file of a secret cannot be used"
                    );
                }
                None
            }
        }
    }
}
