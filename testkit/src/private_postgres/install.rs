//! Installs PostgreSQL where it is missing.

use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use nix::unistd::Uid;

use cerby_reconciler::operator::cli::terminal::complain;

const ADVICE: &str = "install the PostgreSQL server (14 or newer) with its package `postgresql` or \
     `postgresql-server`, set PG_BIN_DIR to the directory of its programs, or set DATABASE_URL to a \
     running server";

/// A package manager: its program, an index update that may fail, the installation, and whether it needs root.
#[derive(Debug, PartialEq, Eq)]
struct Manager {
    program: &'static str,
    update: &'static [&'static str],
    install: &'static [&'static str],
    as_root: bool,
}

const MANAGERS: [Manager; 6] = [
    Manager {
        program: "apt-get",
        update: &["update"],
        install: &["install", "--yes", "--no-install-recommends", "postgresql"],
        as_root: true,
    },
    Manager {
        program: "dnf",
        update: &[],
        install: &["install", "--assumeyes", "postgresql-server"],
        as_root: true,
    },
    Manager {
        program: "yum",
        update: &[],
        install: &["install", "--assumeyes", "postgresql-server"],
        as_root: true,
    },
    Manager {
        program: "apk",
        update: &[],
        install: &["add", "--no-cache", "postgresql"],
        as_root: true,
    },
    Manager {
        program: "pacman",
        update: &[],
        install: &["-Sy", "--noconfirm", "--needed", "postgresql"],
        as_root: true,
    },
    Manager {
        program: "brew",
        update: &[],
        install: &["install", "postgresql@17"],
        as_root: false,
    },
];

/// Installs the server's package with the first package manager that exists.
pub(super) fn server() -> anyhow::Result<()> {
    let manager = MANAGERS
        .iter()
        .find(|manager| on_path(manager.program))
        .with_context(|| format!("PostgreSQL is missing: {ADVICE}"))?;
    ensure!(
        !manager.as_root || Uid::effective().is_root() || sudo_works(),
        "PostgreSQL is missing and installing it needs root: {ADVICE}"
    );
    complain(&format!("PostgreSQL is missing: installing it with {}", manager.program));
    if !manager.update.is_empty() && !run(manager, manager.update)? {
        complain(&format!("{} could not update its index", manager.program));
    }
    if run(manager, manager.install)? {
        return Ok(());
    }
    bail!("{} could not install PostgreSQL: {ADVICE}", manager.program)
}

fn run(manager: &Manager, arguments: &[&str]) -> anyhow::Result<bool> {
    let mut line = privileges(manager);
    line.extend(["env", "DEBIAN_FRONTEND=noninteractive", manager.program]);
    line.extend(arguments);
    let status = Command::new(line[0])
        .args(&line[1..])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot run {}", manager.program))?;
    Ok(status.success())
}

fn privileges(manager: &Manager) -> Vec<&'static str> {
    if manager.as_root && !Uid::effective().is_root() { vec!["sudo", "-n"] } else { Vec::new() }
}

fn sudo_works() -> bool {
    Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).any(|file| file.is_file())
}
