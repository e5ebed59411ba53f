//! A sign-in that goes to the issuer and comes back (pure).
//!
//! Its secret is in a cookie of the browser that began it, and nowhere else. State, nonce and the verifier of PKCE are made
//! of it, so any replica can take the answer, and nobody can make them who has no such cookie.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::text::hex;

/// Where the issuer sends the browser back.
pub(in crate::operator) const PATH: &str = "/sign-in/callback";

#[derive(Debug)]
pub(in crate::operator) struct SignIn {
    secret: SecretString,
}

impl SignIn {
    pub(in crate::operator) fn new(secret: SecretString) -> Self {
        Self { secret }
    }

    pub(in crate::operator) fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// Goes through the browser and comes back with the answer.
    pub(in crate::operator) fn state(&self) -> String {
        self.made_for("state")
    }

    /// Which of several sign-ins of a browser this is. It is the beginning of the state.
    pub(in crate::operator) fn id(state: &str) -> Option<&str> {
        state.get(..16).filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }

    pub(super) fn nonce(&self) -> String {
        self.made_for("nonce")
    }

    pub(super) fn verifier(&self) -> String {
        self.made_for("verifier")
    }

    fn made_for(&self, purpose: &str) -> String {
        hex(&Sha256::digest(format!("{purpose} {}", self.secret())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_a_secret_differs_by_purpose_and_is_the_same_for_every_replica() {
        let one = SignIn::new("a".to_owned().into());
        let all = [one.state(), one.nonce(), one.verifier()];
        assert!(all.iter().all(|text| text.len() == 64));
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
        assert_eq!(SignIn::new("a".to_owned().into()).state(), all[0]);
        assert_ne!(SignIn::new("b".to_owned().into()).state(), all[0]);
        assert_eq!(SignIn::id(&all[0]).map(str::len), Some(16));
        for odd in ["", "abc", "../../../../../../x", "ääääääääääää"] {
            assert_eq!(SignIn::id(odd), None, "{odd}");
        }
    }
}
