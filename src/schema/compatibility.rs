//! Which program may run on which schema (pure).
//!
//! A replica that restarts during a rollout meets a schema that a newer program has migrated, and it does not have the
//! files of those migrations. Each migration therefore says which is the oldest program that may run on its schema, and
//! `migrate` records that in the database.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::SchemaError;

/// How a migration names the oldest program that may run on its schema, on a line of its own.
const OLDEST_PROGRAM: &str = "-- oldest program: ";

/// The version of a program, as in `Cargo.toml`. A pre-release counts as its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProgramVersion([u32; 3]);

impl ProgramVersion {
    pub const OWN: Self = Self([
        number(env!("CARGO_PKG_VERSION_MAJOR")),
        number(env!("CARGO_PKG_VERSION_MINOR")),
        number(env!("CARGO_PKG_VERSION_PATCH")),
    ]);
}

const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("a version has three numbers"),
    }
}

/// A text that is not three numbers with dots between them.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAVersion;

impl FromStr for ProgramVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let numbers: Option<Vec<u32>> =
            text.split('.').map(|part| part.parse().ok().filter(|_| is_number(part))).collect();
        let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
        numbers.map(Self).ok_or(NotAVersion)
    }
}

impl fmt::Display for ProgramVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(out, "{major}.{minor}.{patch}")
    }
}

/// What a migration says. Without a valid line, only programs that know the migration may run on its schema.
pub fn oldest_program(sql: &str) -> Option<ProgramVersion> {
    sql.lines().find_map(|line| line.strip_prefix(OLDEST_PROGRAM))?.trim_end().parse().ok()
}

/// A migration that the database has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Applied {
    pub(super) version: i64,
    pub(super) oldest_program: Option<ProgramVersion>,
}

/// A schema that this program can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usable {
    /// It has the migrations of this program and no others.
    Own { version: i64 },
    /// A newer program has migrated it, and says that this one may run on it.
    Newer { version: i64, own: i64 },
}

impl fmt::Display for Usable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own { version } => write!(out, "version {version}, as this program needs"),
            Self::Newer { version, own } => {
                write!(out, "version {version}, newer than this program's {own}, which may use it")
            }
        }
    }
}

/// Whether a program of this version with these migrations may run on a schema with those.
pub(super) fn compare(
    own: &[i64],
    applied: &[Applied],
    program: ProgramVersion,
) -> Result<Usable, SchemaError> {
    let known: BTreeSet<i64> = own.iter().copied().collect();
    let found: BTreeSet<i64> = applied.iter().map(|one| one.version).collect();
    let newest = |versions: &BTreeSet<i64>| versions.last().copied().unwrap_or_default();
    let lacking = known.difference(&found).next().copied();
    let unknown = found.difference(&known).last().copied();
    match (unknown, lacking) {
        _ if found.is_empty() => Err(SchemaError::Missing),
        (None, None) => Ok(Usable::Own { version: newest(&known) }),
        (None, Some(lacking)) => Err(SchemaError::Older { found: newest(&found), lacking }),
        (Some(unknown), Some(lacking)) => Err(SchemaError::Diverged { unknown, lacking }),
        (Some(_), None) => {
            let foreign = applied.iter().filter(|one| !known.contains(&one.version));
            let bounds: Option<Vec<_>> = foreign.map(|one| one.oldest_program).collect();
            let oldest = bounds.and_then(|bounds| bounds.into_iter().max());
            let (version, own) = (newest(&found), newest(&known));
            match oldest.is_some_and(|oldest| oldest <= program) {
                true => Ok(Usable::Newer { version, own }),
                false => Err(SchemaError::Newer { found: version, own, oldest }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ProgramVersion {
        text.parse().expect("a version")
    }

    #[test]
    fn a_version_is_three_numbers_and_compares_by_number() {
        assert!(version("0.9.0") < version("0.10.0"));
        assert!(version("1.0.0") > version("0.99.99"));
        assert_eq!(version("1.20.3").to_string(), "1.20.3");
        for wrong in ["", "1", "1.2", "1.2.3.4", "1.2.x", "1.2.3-rc.1", "+1.2.3", "1.2.99999999999"]
        {
            assert_eq!(wrong.parse::<ProgramVersion>(), Err(NotAVersion), "{wrong}");
        }
    }

    #[test]
    fn a_migration_names_the_oldest_program_on_a_line_of_its_own() {
        let sql =
            "-- no-transaction\n-- oldest program: 0.3.0\ncreate index concurrently x on y (z)";
        assert_eq!(oldest_program(sql), Some(version("0.3.0")));
        assert_eq!(oldest_program("-- oldest program: 0.3.0\r\n"), Some(version("0.3.0")));
        for wrong in ["select 1", "-- oldest program: soon", "select 1 -- oldest program: 0.3.0"] {
            assert_eq!(oldest_program(wrong), None, "{wrong}");
        }
    }

    /// What program 0.2.0 with the migrations 1 and 2 says of a schema with these.
    fn said_of(applied: &[(i64, &str)]) -> String {
        let applied: Vec<_> = applied
            .iter()
            .map(|(version, oldest)| Applied {
                version: *version,
                oldest_program: oldest.parse().ok(),
            })
            .collect();
        match compare(&[1, 2], &applied, version("0.2.0")) {
            Ok(usable) => usable.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_program_runs_on_its_own_schema_and_on_newer_ones_that_allow_it() {
        let [one, two] = [(1, ""), (2, "")];
        let table: [(&[(i64, &str)], &str); 11] = [
            (&[], "has no schema: run `cerby-reconciler migrate`"),
            (&[one], "at version 1 and lacks migration 2"),
            (&[two], "at version 2 and lacks migration 1"),
            (&[one, two], "version 2, as this program needs"),
            (&[one, two, (3, "0.1.0")], "version 3, newer than this program's 2, which may use it"),
            (
                &[one, two, (3, "0.2.0"), (4, "0.1.9")],
                "version 4, newer than this program's 2, which may",
            ),
            (
                &[one, two, (3, "0.2.1"), (4, "0.1.0")],
                "version 4, newer than this program's 2, and needs program 0.2.1",
            ),
            (&[one, two, (3, "0.10.0")], "and needs program 0.10.0 or newer"),
            (&[one, two, (3, ""), (4, "0.1.0")], "and only programs that know it may use it"),
            (
                &[one, (3, "0.1.0")],
                "has migration 3, which this program does not know, and lacks migration 2",
            ),
            // A migration of a patch release that this program was made without.
            (&[(0, "0.1.0"), one, two], "version 2, newer than this program's 2, which may use it"),
        ];
        for (applied, words) in table {
            let said = said_of(applied);
            assert!(said.contains(words), "{applied:?}: {said}");
        }
    }
}
