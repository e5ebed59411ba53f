//! The clock of one replica, which can be set wrong while it runs. It takes libfaketime, where that is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
const FOLDERS: [&str; 4] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
const RIGHT: &str = "+0";
const HOUR_AHEAD: &str = "+3600";
const HOUR_BEHIND: &str = "-3600";

pub(super) struct ReplicaClock {
    library: Option<PathBuf>,
    /// How far the clock is off, in seconds. The library reads it every second.
    offset: PathBuf,
}

impl ReplicaClock {
    /// A clock that is right, with its offset in this file.
    pub(super) fn right(offset: &Path) -> Self {
        let library = FOLDERS.iter().map(|folder| Path::new(folder).join(LIBRARY));
        let clock = Self {
            library: library.into_iter().find(|path| path.exists()),
            offset: offset.to_owned(),
        };
        clock.set(RIGHT);
        clock
    }

    /// What makes a process go by this clock. Times that pass are those of the machine.
    pub(super) fn environment(&self) -> Vec<(&'static str, &Path)> {
        let Some(library) = &self.library else { return Vec::new() };
        vec![
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", &self.offset),
            ("FAKETIME_CACHE_DURATION", Path::new("1")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
        ]
    }

    /// Sets the clock an hour wrong for a while.
    pub(super) async fn run_wrong(&self, is_ahead: bool, lasts: Duration) -> anyhow::Result<()> {
        ensure!(self.library.is_some(), "libfaketime is not installed");
        self.set(if is_ahead { HOUR_AHEAD } else { HOUR_BEHIND });
        sleep(lasts).await;
        self.set(RIGHT);
        Ok(())
    }

    /// A reader finds the old offset or the new one, and never half of it.
    fn set(&self, offset: &str) {
        let new = self.offset.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(new, &self.offset).unwrap();
    }
}
