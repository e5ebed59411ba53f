//! The database that `PGSERVICE` names, as the client libraries of PostgreSQL find it.
//! Source: <https://www.postgresql.org/docs/current/libpq-pgservice.html>

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// The variables that say which service, and where its file is.
pub(super) const VARIABLES: [&str; 4] = ["PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "HOME"];

/// The URL of the service; `None` if the shell names no service.
pub(super) fn url(variables: &HashMap<String, String>) -> Result<Option<String>, ConfigError> {
    let given = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    let Some(service) = given("PGSERVICE") else { return Ok(None) };
    let own = given("PGSERVICEFILE").map(PathBuf::from);
    let own = own.or_else(|| Some(Path::new(given("HOME")?).join(".pg_service.conf")));
    let shared = given("PGSYSCONFDIR").map(|folder| Path::new(folder).join("pg_service.conf"));
    let files: Vec<_> = own.into_iter().chain(shared).collect();
    for file in &files {
        let text = super::read::text_if_there(file)?;
        if let Some(settings) = text.as_deref().and_then(|text| section(text, service)) {
            return address(&settings).map(Some).ok_or_else(|| no_address(service));
        }
    }
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    Err(ConfigError::Wrong(vec![format!(
        "PGSERVICE names {service:?}, which is in none of these files: {}",
        files.join(", ")
    )]))
}

fn no_address(service: &str) -> ConfigError {
    ConfigError::Wrong(vec![format!("the service {service:?} gives no host that can be in a URL")])
}

/// The settings of a service.
fn section<'a>(text: &'a str, service: &str) -> Option<Vec<(&'a str, &'a str)>> {
    let lines = text.lines().map(str::trim);
    let mut lines = lines.skip_while(|line| *line != format!("[{service}]"));
    lines.next()?;
    let own = lines.take_while(|line| !line.starts_with('['));
    Some(
        own.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect(),
    )
}

/// As a URL. What has no place of its own in a URL becomes a parameter, which is checked with those of any URL.
fn address(settings: &[(&str, &str)]) -> Option<String> {
    let mut url = reqwest::Url::parse("postgres://localhost").ok()?;
    for (key, value) in settings.iter().map(|(key, value)| (key.trim(), value.trim())) {
        match key {
            // A folder with a socket cannot be the host of a URL.
            "host" if !value.starts_with('/') => url.set_host(Some(value)).ok()?,
            "port" => url.set_port(Some(value.parse().ok()?)).ok()?,
            "user" => url.set_username(value).ok()?,
            "password" => url.set_password(Some(value)).ok()?,
            "dbname" => url.set_path(value),
            key => drop(url.query_pairs_mut().append_pair(key, value)),
        }
    }
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_becomes_a_url_and_other_services_are_left_alone() {
        let text = "[other]\nhost=nowhere\n\n# ours\n[queue]\nhost = db.example\nport=6432\n#user=x\nuser=kim\n\
                    password=p@ss/word\ndbname=cerby\nsslmode=verify-full\n[last]\nuser=lee\n";
        let url = address(&section(text, "queue").unwrap()).unwrap();
        assert_eq!(url, "postgres://kim:p%40ss%2Fword@db.example:6432/cerby?sslmode=verify-full");
        assert_eq!(section(text, "none"), None);
    }

    #[test]
    fn a_socket_is_a_parameter() {
        let url = address(&[("host", "/var/run/postgresql"), ("dbname", "cerby")]).unwrap();
        assert_eq!(url, "postgres://localhost/cerby?host=%2Fvar%2Frun%2Fpostgresql");
    }
}
