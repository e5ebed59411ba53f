//! Finds the server's programs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::account::Account;
use super::install;

const OLDEST_MAJOR: u32 = 14;

/// Where packages put one directory per major version: parent, what precedes the number, what follows it.
const LAYOUTS: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// A directory with `initdb` and `postgres` that run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    pub(super) dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no initdb and postgres in {}", dir.display())]
    Missing { dir: PathBuf },
    #[error("the programs in {} do not run here", dir.display())]
    Broken { dir: PathBuf },
    #[error("PostgreSQL {major} in {} is too old: {OLDEST_MAJOR} or newer is needed", dir.display())]
    TooOld { dir: PathBuf, major: u32 },
}

/// The programs of the first usable place, after an installation if there is none.
pub(super) fn find_or_install(account: Account) -> anyhow::Result<Programs> {
    if let Some(dir) = env::var_os("PG_BIN_DIR") {
        return inspect(Path::new(&dir), account).context("PG_BIN_DIR cannot be used");
    }
    if let Some(programs) = find(candidates(), account)? {
        return Ok(programs);
    }
    install::server()?;
    find(candidates(), account)?.context(
        "PostgreSQL was installed and its programs were not found: set PG_BIN_DIR to their directory",
    )
}

fn find(dirs: Vec<PathBuf>, account: Account) -> anyhow::Result<Option<Programs>> {
    let mut too_old = None;
    for dir in dirs {
        match inspect(&dir, account) {
            Ok(programs) => return Ok(Some(programs)),
            Err(refusal @ Refusal::TooOld { .. }) => too_old = too_old.or(Some(refusal)),
            Err(Refusal::Missing { .. } | Refusal::Broken { .. }) => {}
        }
    }
    match too_old {
        Some(refusal) => bail!(refusal),
        None => Ok(None),
    }
}

fn inspect(dir: &Path, account: Account) -> Result<Programs, Refusal> {
    let dir = real_dir(dir);
    if !holds_programs(&dir) {
        return Err(Refusal::Missing { dir });
    }
    let version = |program: &str| {
        let command = account.command(&dir.join(program), Path::new("/"));
        major_version(command)
    };
    match (version("initdb"), version("postgres")) {
        (Some(_), Some(major)) if major >= OLDEST_MAJOR => Ok(Programs { dir }),
        (Some(_), Some(major)) => Err(Refusal::TooOld { dir, major }),
        _ => Err(Refusal::Broken { dir }),
    }
}

/// The target of a directory's links, if the whole server is there: then its other programs are there too.
fn real_dir(dir: &Path) -> PathBuf {
    fs::canonicalize(dir.join("postgres"))
        .ok()
        .and_then(|program| Some(program.parent()?.to_owned()))
        .filter(|target| holds_programs(target))
        .unwrap_or_else(|| dir.to_owned())
}

fn holds_programs(dir: &Path) -> bool {
    dir.join("initdb").is_file() && dir.join("postgres").is_file()
}

fn major_version(mut command: Command) -> Option<u32> {
    let output = command.arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| parse_major(&text))?
}

/// The number in `postgres (PostgreSQL) 17.5 (Debian 17.5-1)` and `initdb (PostgreSQL) 19beta1`.
fn parse_major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..end].parse().ok()
}

fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let packaged = LAYOUTS
        .iter()
        .flat_map(|(parent, prefix, rest)| newest_first(Path::new(parent), prefix, rest));
    env::split_paths(&path).chain(configured_dir()).chain(packaged).collect()
}

fn configured_dir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(dir.trim()))
}

fn newest_first(parent: &Path, prefix: &str, rest: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let major = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((major, entry.path().join(rest)))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, dir)| dir).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn fake_programs(dir: &Path, script: &str) {
        fs::create_dir_all(dir).unwrap();
        for name in ["initdb", "postgres"] {
            let path = dir.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn open_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    fn version(number: &str) -> String {
        format!("echo 'postgres (PostgreSQL) {number}'")
    }

    #[test]
    fn reads_the_major_version() {
        assert_eq!(parse_major("postgres (PostgreSQL) 17.5 (Debian 17.5-1)\n"), Some(17));
        assert_eq!(parse_major("initdb (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(parse_major("postgres (PostgreSQL) 9.6.24\n"), Some(9));
        assert_eq!(parse_major("something else"), None);
    }

    #[test]
    fn takes_the_newest_major_first() {
        let parent = open_dir();
        for name in ["pgsql-9", "pgsql-17", "pgsql-10", "other-99", "pgsql-x"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let expected = ["pgsql-17/bin", "pgsql-10/bin", "pgsql-9/bin"];
        assert_eq!(
            newest_first(parent.path(), "pgsql-", "bin"),
            expected.map(|name| parent.path().join(name))
        );
    }

    #[test]
    fn passes_over_what_does_not_run() {
        let root = open_dir();
        let dirs = ["empty", "broken", "good"].map(|name| root.path().join(name));
        fs::create_dir(&dirs[0]).unwrap();
        fake_programs(&dirs[1], "exit 1");
        fake_programs(&dirs[2], &version("18.1"));
        let account = Account::for_server().unwrap();
        let programs = find(dirs.to_vec(), account).unwrap().unwrap();
        assert_eq!(programs.dir, fs::canonicalize(&dirs[2]).unwrap());
    }

    #[test]
    fn says_when_a_version_is_too_old() {
        let root = open_dir();
        fake_programs(root.path(), &version("13.21"));
        let account = Account::for_server().unwrap();
        let error = find(vec![root.path().to_owned()], account).unwrap_err();
        assert!(error.to_string().contains("too old"), "{error}");
    }

    #[test]
    fn follows_links_to_the_whole_server() {
        let root = open_dir();
        let (real, linked) = (root.path().join("real"), root.path().join("linked"));
        fake_programs(&real, &version("16.2"));
        fs::create_dir(&linked).unwrap();
        for name in ["initdb", "postgres"] {
            symlink(real.join(name), linked.join(name)).unwrap();
        }
        assert_eq!(real_dir(&linked), fs::canonicalize(&real).unwrap());
    }
}
