//! Ends processes and removes files whose owner could not do it: it was killed, aborted, or ended through `exit`.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Waits for a line, which means that the owner cleans up itself, or for the end of its input, which means that the
/// owner is gone. In the second case it ends the processes by `$2`, kills those that are left, and removes the
/// directory `$1`. The processes are those whose ids follow, or the one in PostgreSQL's own file.
const SCRIPT: &str = r#"
read -r _ && exit 0
dir=$1 signal=$2
shift 2
[ "$#" -gt 0 ] || set -- "$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null)"
case $* in
*[!0-9\ ]* | '') ;;
*)
    kill -"$signal" "$@"
    left=100
    while [ "$left" -gt 0 ] && kill -0 "$@"; do
        sleep 0.1
        left=$((left - 1))
    done
    kill -KILL "$@"
    ;;
esac
rm -rf "$dir"
"#;

/// A shell that outlives this process just long enough to clean up after it.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
}

impl Guard {
    /// Guards a server and its files.
    pub(super) fn of_server(dir: &Path) -> anyhow::Result<Self> {
        Self::watch(dir, "QUIT", std::iter::empty())
    }

    /// Guards processes that end by SIGTERM, and their directory.
    pub(crate) fn of_processes(dir: &Path, ids: impl Iterator<Item = u32>) -> anyhow::Result<Self> {
        Self::watch(dir, "TERM", ids)
    }

    fn watch(dir: &Path, signal: &str, ids: impl Iterator<Item = u32>) -> anyhow::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(dir)
            .arg(signal)
            .args(ids.map(|id| id.to_string()))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        Ok(Self { shell })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut input) = self.shell.stdin.take() {
            // If the line cannot be written, the guard reads the end of its input, ends the processes and removes the
            // files.
            let _ = input.write_all(b"\n");
        }
        let _ = self.shell.wait();
    }
}
