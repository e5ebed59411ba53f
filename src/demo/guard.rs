//! Ends the replicas of a demo that had no chance to do it itself.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Waits for a line, which means that all is in order, or for the end of its input, which means that
/// the demo is gone.
const SCRIPT: &str = r#"
read -r _ && exit 0
dir=$1
shift
kill -TERM "$@"
left=50
while [ "$left" -gt 0 ] && kill -0 "$@"; do
    sleep 0.1
    left=$((left - 1))
done
kill -KILL "$@"
rm -rf "$dir"
"#;

/// A shell that outlives this process just long enough to end the replicas and remove their logs.
pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    pub(super) fn watch(dir: &Path, replicas: impl Iterator<Item = u32>) -> anyhow::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "demo-guard"])
            .arg(dir)
            .args(replicas.map(|id| id.to_string()))
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
            // A guard that cannot be told sees its input end and ends what is left.
            let _ = input.write_all(b"\n");
        }
        let _ = self.shell.wait();
    }
}
