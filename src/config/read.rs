//! Reads values from files and variables. Errors do not contain anything that could be a secret.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{ConfigError, service};

/// The variables that begin with our prefix, and those with which a shell names its database, as text.
pub(super) fn environment() -> Result<HashMap<String, String>, ConfigError> {
    let ours = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let is_shells = name == "DATABASE_URL" || service::VARIABLES.contains(&name.as_str());
        let is_ours = is_shells || name.to_uppercase().starts_with("RECONCILER__");
        is_ours.then_some((name, value))
    });
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(ConfigError::Wrong(vec![format!("{name} is not UTF-8 text")])),
    })
    .collect()
}

/// A variable of the shell that is no setting of ours, such as `USER`; `None` if it is empty or not UTF-8.
pub fn shell(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Checks that the file is TOML. The parser's own message quotes the line, so it is not passed on.
pub(super) fn check_file(path: &Path) -> Result<(), ConfigError> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::File { path: name(), source })?;
    match text.parse::<toml::Table>() {
        Ok(_) => Ok(()),
        Err(error) => {
            let end = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(end).filter(|byte| *byte == b'\n').count() + 1;
            Err(ConfigError::NotToml { path: name(), line, why: error.message().to_owned() })
        }
    }
}

/// The text of a file; `None` if there is no such file.
pub(super) fn text_if_there(path: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::File { path: path.display().to_string(), source }),
    }
}

/// Reads a secret from its file; reports whether the secret was also given directly.
pub(super) fn secret(
    key: &'static str,
    secret: &mut Option<SecretString>,
    file: Option<&str>,
) -> Result<Option<String>, ConfigError> {
    let Some(path) = file else { return Ok(None) };
    if secret.is_some() {
        return Ok(Some(format!("{key} and {key}_file are both set: give one of them")));
    }
    *secret = Some(secret_in_file(key, path)?);
    Ok(None)
}

/// The secret in a file, which holds it on one line.
pub(super) fn secret_in_file(key: &'static str, path: &str) -> Result<SecretString, ConfigError> {
    let text = text_of_secret(Path::new(path)).map_err(|source| ConfigError::SecretFile {
        key,
        path: path.to_owned(),
        source,
    })?;
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_control) {
        return Err(ConfigError::NotOneLine { key, path: path.to_owned() });
    }
    Ok(text.to_owned().into())
}

/// The longest file of a secret that is read: a file without an end must not fill the memory.
const LONGEST_SECRET: u64 = 64 * 1024;

/// Reads regular files only: a pipe could keep the program waiting for ever.
fn text_of_secret(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is a folder, a pipe or a device, not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LONGEST_SECRET + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_SECRET {
        return Err(io::Error::other("it is longer than 64 KiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

/// Whether every account of the machine may read the file.
pub(super) fn is_world_readable(path: &str) -> bool {
    const BY_OTHERS: u32 = 0o004;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & BY_OTHERS != 0)
}

/// A list, or in a variable numbers separated by commas.
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be a list of seconds such as [60, 3600] or 60,3600")]
    enum Given {
        List(Vec<u64>),
        Text(String),
    }
    match Given::deserialize(deserializer)? {
        Given::List(list) => Ok(list),
        Given::Text(text) => {
            text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>().map_err(
                |_| D::Error::custom(format!("{text:?} is not a list of seconds such as 60,3600")),
            )
        }
    }
}

/// A list, or in a variable words separated by commas.
pub(super) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be a list of words such as [\"ADMIN\"] or ADMIN,OWNER")]
    enum Given {
        List(Vec<String>),
        Text(String),
    }
    let words = match Given::deserialize(deserializer)? {
        Given::List(list) => list,
        Given::Text(text) => text.split(',').map(|word| word.trim().to_owned()).collect(),
    };
    Ok(words.into_iter().filter(|word| !word.is_empty()).collect())
}

/// An address, where the key is given.
pub(super) fn optional_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    address(deserializer).map(Some)
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!("{text:?} is not an address with its port such as 127.0.0.1:8087"))
    })
}
