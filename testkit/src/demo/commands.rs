//! What to type in another terminal: a file to source, and short commands.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::replicas;
use crate::private_postgres::PrivatePostgres;

/// The name under which this program is what people type.
pub const NAME: &str = "reconciler-demo";
pub(super) const APPS: &str = "RECONCILER_DEMO_APPS";
pub(super) const PSQL: &str = "RECONCILER_DEMO_PSQL";
const FILE: &str = "demo.env";

/// The file that makes the commands work, as long as the demo runs.
///
/// It has a password, so it is in the demo's own folder, which only this user can read and which goes away with the
/// demo. The name of that folder differs each time, so a link with a fixed name in the folder of the build leads to it.
/// The present folder would be no place for the link: it may be read-only.
#[derive(Debug)]
pub(super) struct Commands {
    file: PathBuf,
    link: Option<PathBuf>,
}

impl Commands {
    pub(super) fn offer(
        dir: &Path,
        url: &str,
        apps: SocketAddr,
        server: &PrivatePostgres,
    ) -> anyhow::Result<Self> {
        let programs = dir.join("bin");
        let here = std::env::current_exe().context("this program cannot find itself")?;
        fs::create_dir(&programs).context("cannot make a folder for the commands")?;
        symlink(&here, programs.join(NAME)).context("cannot link the commands")?;
        symlink(replicas::daemon()?, programs.join("cerby-reconciler"))?;
        let file = dir.join(FILE);
        let text = [
            export("RECONCILER__DATABASE__URL", url),
            export(APPS, &format!("http://{apps}")),
            export(PSQL, &server.bin_dir().join("psql").display().to_string()),
            format!("PATH={}:$PATH\nexport PATH\n", quoted(&programs.display().to_string())),
        ];
        fs::write(&file, text.concat()).context("cannot write the environment of the demo")?;
        // Without the link, the file itself still works.
        let link = here.ancestors().nth(2).map(|target| target.join(FILE));
        let link = link.filter(|link| replace_link(&file, link).is_ok());
        Ok(Self { file, link })
    }

    /// What to source, as short as it can be said from the present folder.
    pub(super) fn source(&self) -> String {
        let path = self.link.as_ref().unwrap_or(&self.file);
        let here = std::env::current_dir().unwrap_or_default();
        format!(". {}", path.strip_prefix(here).unwrap_or(path).display())
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        let Some(link) = &self.link else { return };
        // A demo that began later has a link of its own there.
        if fs::read_link(link).is_ok_and(|target| target == self.file) {
            let _ = fs::remove_file(link);
        }
    }
}

/// A rename replaces what another demo left there, even if both begin at once.
fn replace_link(file: &Path, link: &Path) -> io::Result<()> {
    let new = link.with_extension(std::process::id().to_string());
    symlink(file, &new)?;
    fs::rename(new, link)
}

fn export(name: &str, value: &str) -> String {
    format!("export {name}={}\n", quoted(value))
}

/// A word for a shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_quotes_and_blanks_is_one_word_for_a_shell() {
        let path = "/tmp/it's $HOME/x y";
        let echo = format!("printf %s {}", quoted(path));
        let output = std::process::Command::new("sh").args(["-c", &echo]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), path);
    }
}
