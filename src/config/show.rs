//! Secrets in the form that people may see.

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

const REDACTED: &str = "redacted";

/// The URL without its password and query.
pub(super) fn database_url<S: Serializer>(
    url: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match url {
        None => serializer.serialize_none(),
        Some(url) => serializer.serialize_some(&without_password(url.expose_secret())),
    }
}

/// The URL of a collector without its query, which may contain a key. It has no password, or it would be refused.
pub(super) fn endpoint<S: Serializer>(
    url: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let shown = |url: &SecretString| {
        let mut url = reqwest::Url::parse(url.expose_secret()).ok()?;
        url.set_query(None);
        Some(url.to_string())
    };
    let shown = url.as_ref().map(|url| shown(url).unwrap_or_else(|| REDACTED.to_owned()));
    shown.serialize(serializer)
}

/// Shows that a key is set, and nothing of the key.
pub(super) fn api_key<S: Serializer>(
    key: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match key {
        None => serializer.serialize_none(),
        Some(_) => serializer.serialize_some(REDACTED),
    }
}

/// Shows nothing if a password with unusual characters may have ended up in another part of the URL.
fn without_password(url: &str) -> String {
    let Ok(mut parsed) = reqwest::Url::parse(url) else {
        return REDACTED.to_owned();
    };
    let ordinary = matches!(parsed.scheme(), "postgres" | "postgresql")
        && parsed.fragment().is_none()
        && !parsed.path().contains('@')
        && !parsed.query().is_some_and(|query| query.contains('@'));
    if !ordinary || parsed.password().is_some() && parsed.set_password(Some(REDACTED)).is_err() {
        return REDACTED.to_owned();
    }
    parsed.set_query(None);
    parsed.to_string()
}
