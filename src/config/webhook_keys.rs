//! The keys that Cerby signs webhooks with, as the configuration gives them.
//!
//! Each key belongs to a workspace. A webhook names its workspace by an id that only Cerby knows, and whoever has the key
//! of one workspace must not speak for another. So the key alone says which workspace an event is about.

use std::collections::HashSet;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::{Config, ConfigError, Intake, SecretFile};

/// A key that a webhook may be signed with.
#[derive(Debug, Clone)]
pub struct WebhookKey {
    pub workspace: String,
    /// The id in `X-Cerby-Signature-Key-Id`.
    pub id: String,
    pub algorithm: Algorithm,
    /// The public key of ed25519, or the shared secret.
    pub bytes: SecretSlice<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Ed25519,
    HmacSha256,
}

impl Algorithm {
    /// The word in front of a signature.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ed25519" => Some(Self::Ed25519),
            "hmac-sha256" => Some(Self::HmacSha256),
            _ => None,
        }
    }
}

const MOST_KEYS: usize = 1000;

const ED25519_KEY: usize = 32;

/// What stands in front of a public key of ed25519 in the form SubjectPublicKeyInfo.
const ED25519_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A shorter secret could be guessed.
const SHORTEST_SECRET: usize = 16;

impl Intake {
    /// The keys of webhooks; none if none are configured.
    pub fn webhook_keys(&self) -> Result<Vec<WebhookKey>, ConfigError> {
        self.webhook_keys.as_ref().map_or_else(|| Ok(Vec::new()), parse_webhook_keys)
    }

    /// The file of the keys, if they are in one.
    pub fn secret_file(&self) -> Option<SecretFile> {
        let (file, keys) = (self.webhook_keys_file.as_ref()?, self.webhook_keys.as_ref()?);
        Some(SecretFile::new("intake.webhook_keys", file, keys))
    }
}

/// Reads `WORKSPACE/KEY-ID=ALGORITHM:BASE64, …`. An error names the number of the entry and quotes nothing.
pub fn parse_webhook_keys(text: &SecretString) -> Result<Vec<WebhookKey>, ConfigError> {
    let entries = text.expose_secret().split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let (mut keys, mut ids) = (Vec::new(), HashSet::new());
    for (entry, number) in entries.zip(1..) {
        let wrong = |what: &str| {
            ConfigError::Wrong(vec![format!("intake.webhook_keys: entry {number} {what}")])
        };
        let key = parse(entry).map_err(wrong)?;
        if !ids.insert(key.id.clone()) {
            return Err(wrong("has the key id of an entry before it"));
        }
        if number > MOST_KEYS {
            return Err(wrong("is one more than the 1000 that are allowed"));
        }
        keys.push(key);
    }
    match keys.is_empty() {
        true => Err(ConfigError::Wrong(vec!["intake.webhook_keys is empty".to_owned()])),
        false => Ok(keys),
    }
}

fn parse(entry: &str) -> Result<WebhookKey, &'static str> {
    let form =
        "must be WORKSPACE/KEY-ID=ALGORITHM:BASE64, with ed25519 or hmac-sha256 as the algorithm";
    let (name, key) = entry.split_once('=').ok_or(form)?;
    let (workspace, id) = name.split_once('/').ok_or(form)?;
    let (algorithm, key) = key.split_once(':').ok_or(form)?;
    let algorithm = Algorithm::named(algorithm).ok_or(form)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_workspace = workspace.len() <= 63
        && workspace.chars().all(is_plain)
        && workspace.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !is_workspace {
        return Err("has a workspace that is not 1 to 63 letters, digits, hyphens and underscores");
    }
    if !(1..=100).contains(&id.len()) || !id.chars().all(is_plain) {
        return Err("has a key id that is not 1 to 100 letters, digits, hyphens and underscores");
    }
    let bytes = decoded(key).ok_or("has a key that is not base64")?;
    let bytes = match algorithm {
        Algorithm::Ed25519 => {
            bytes.strip_prefix(&ED25519_PREFIX).map(<[u8]>::to_vec).unwrap_or(bytes)
        }
        Algorithm::HmacSha256 => bytes,
    };
    let fits = match algorithm {
        Algorithm::Ed25519 => bytes.len() == ED25519_KEY,
        Algorithm::HmacSha256 => bytes.len() >= SHORTEST_SECRET,
    };
    if !fits {
        return Err("has a key of a wrong length: ed25519 has 32 bytes, a secret 16 or more");
    }
    let (workspace, id) = (workspace.to_owned(), id.to_owned());
    Ok(WebhookKey { workspace, id, algorithm, bytes: bytes.into() })
}

/// Reads either alphabet of base64, with or without its padding.
pub fn decoded(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(false);
    let alphabet =
        if text.contains(['+', '/']) { &alphabet::STANDARD } else { &alphabet::URL_SAFE };
    GeneralPurpose::new(alphabet, lenient).decode(text).ok()
}

/// An error says which entry is wrong and never quotes it.
pub(super) fn check(config: &Config, must: &mut impl FnMut(bool, String)) {
    if let Err(ConfigError::Wrong(texts)) = config.intake.webhook_keys() {
        texts.into_iter().for_each(|text| must(false, text));
    }
    must(
        config.intake.webhook_keys.is_none() || config.operators.listen.is_some(),
        "intake.webhook_keys is set and operators.listen is not: webhooks come to that listener, so set both or none"
            .to_owned(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<WebhookKey>, String> {
        parse_webhook_keys(&text.to_owned().into()).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_of_both_kinds_are_read_in_every_form_of_base64() {
        let raw = "A".repeat(43);
        let spki = "MCowBQYDK2VwAyEA".to_owned() + &raw;
        let text = format!(
            "acme/k-1=ed25519:{raw}, acme/k-2=ed25519:{spki}=,globex/k-3=hmac-sha256:__-_AAAAAAAAAAAAAAAAAA,\
             globex/k-4=hmac-sha256://+/AAAAAAAAAAAAAAAAAA=="
        );
        let keys = parsed(&text).unwrap();
        let names: Vec<_> = keys.iter().map(|key| (&*key.workspace, &*key.id)).collect();
        assert_eq!(names, [("acme", "k-1"), ("acme", "k-2"), ("globex", "k-3"), ("globex", "k-4")]);
        assert_eq!(keys[0].bytes.expose_secret(), [0; 32]);
        assert_eq!(keys[1].bytes.expose_secret(), [0; 32]);
        assert_eq!(keys[2].bytes.expose_secret(), keys[3].bytes.expose_secret());
    }

    #[test]
    fn a_wrong_entry_is_named_by_its_number_and_not_quoted() {
        let good = "acme/k=hmac-sha256:c2VjcmV0c2VjcmV0c2VjcmV0";
        for (bad, why) in [
            ("secret", "entry 2 must be"),
            ("acme/k2=rsa:c2VjcmV0c2VjcmV0c2VjcmV0", "entry 2 must be"),
            ("acme!/k2=hmac-sha256:c2VjcmV0c2VjcmV0c2VjcmV0", "workspace"),
            ("acme/=hmac-sha256:c2VjcmV0c2VjcmV0c2VjcmV0", "key id"),
            ("acme/k2=hmac-sha256:secret!", "not base64"),
            ("acme/k2=hmac-sha256:c2VjcmV0", "wrong length"),
            ("acme/k2=ed25519:c2VjcmV0c2VjcmV0c2VjcmV0", "wrong length"),
            (good, "an entry before it"),
        ] {
            let error = parsed(&format!("{good}, {bad}")).unwrap_err();
            assert!(error.contains(why) && !error.contains("c2Vj"), "{bad}: {error}");
        }
        assert!(parsed(" , ").unwrap_err().contains("is empty"));
    }
}
