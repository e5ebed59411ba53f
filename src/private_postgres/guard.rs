//! Cleans up after an owner that had no chance to: killed, aborted, or gone through `exit`.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Waits for a line, which means that all is in order, or for the end of its input, which means
/// that the owner is gone.
const SCRIPT: &str = r#"
read -r _ && exit 0
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
case $pid in
'' | *[!0-9]*) ;;
*)
    kill -QUIT "$pid"
    left=100
    while [ "$left" -gt 0 ] && kill -0 "$pid"; do
        sleep 0.1
        left=$((left - 1))
    done
    ;;
esac
rm -rf "$1"
"#;

/// A shell that outlives this process just long enough to stop the server and remove its files.
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    pub(super) fn watch(dir: &Path) -> anyhow::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "private-postgres-guard"])
            .arg(dir)
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
            // A guard that cannot be told sees its input end and finds nothing left to do.
            let _ = input.write_all(b"\n");
        }
        let _ = self.shell.wait();
    }
}
