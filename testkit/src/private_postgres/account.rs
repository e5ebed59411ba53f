//! The account of the server: PostgreSQL refuses to run as root.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use nix::unistd::{Uid, User};

const STAND_INS: [&str; 2] = ["postgres", "nobody"];

/// The account under which the server's programs run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    switch_to: Option<(u32, u32)>,
}

impl Account {
    /// Our own account, or for root the first suitable one.
    pub(super) fn for_server() -> anyhow::Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self { switch_to: None });
        }
        let user = STAND_INS.iter().find_map(|name| User::from_name(name).ok().flatten()).context(
            "PostgreSQL does not run as root, and no user `postgres` or `nobody` exists",
        )?;
        Ok(Self { switch_to: Some((user.uid.as_raw(), user.gid.as_raw())) })
    }

    pub(super) fn is_switched(self) -> bool {
        self.switch_to.is_some()
    }

    /// Gives a file or directory to the account.
    pub(super) fn own(self, path: &Path) -> anyhow::Result<()> {
        let Some((uid, gid)) = self.switch_to else {
            return Ok(());
        };
        chown(path, Some(uid), Some(gid))
            .with_context(|| format!("cannot hand over {}", path.display()))
    }

    /// A program that runs as the account, with the home directory `home` and without the caller's `PG*` settings.
    pub(super) fn command(self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        std::env::vars_os()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG"))
            .for_each(|(name, _)| {
                command.env_remove(name);
            });
        command.current_dir(home).env("HOME", home).env("LC_ALL", "C");
        if let Some((uid, gid)) = self.switch_to {
            command.uid(uid).gid(gid);
        }
        command
    }
}
