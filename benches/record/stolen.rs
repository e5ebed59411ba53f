//! How much of the processors' time neighbours on the same hardware took: what tells a disturbed run from a slow one.

use std::fs;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

/// Less than this between two measurements is one run that measured two things.
const ONE_RUN: u64 = 50;

/// Linux's counts since the machine began, in ticks of a hundredth of a second of one core.
#[derive(Debug, Clone, Copy)]
struct Counts {
    /// What something could have run in.
    desired: u64,
    /// What of it somebody else got.
    stolen: u64,
}

/// Tells the share of each run.
#[derive(Debug)]
pub(super) struct Meter(Mutex<Reading>);

#[derive(Debug)]
struct Reading {
    counts: Counts,
    percent: f64,
}

impl Meter {
    pub(super) fn begin() -> anyhow::Result<Self> {
        Ok(Self(Mutex::new(Reading { counts: Counts::now()?, percent: 0.0 })))
    }

    /// Percent of the wanted time that was stolen since the run before.
    pub(super) fn percent(&self) -> anyhow::Result<f64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = Counts::now()?;
        let desired = counts.desired - last.counts.desired;
        if desired >= ONE_RUN {
            let stolen = counts.stolen - last.counts.stolen;
            *last = Reading { counts, percent: 100.0 * stolen as f64 / desired as f64 };
        }
        Ok(last.percent)
    }
}

impl Counts {
    fn now() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let all = stat.lines().next().context("Linux counts its time")?;
        let ticks: Vec<u64> =
            all.split_whitespace().skip(1).map(str::parse).collect::<Result<_, _>>()?;
        let [user, nice, system, _idle, _waits, interrupts, soft, stolen, ..] = ticks[..] else {
            anyhow::bail!("this Linux does not count stolen time");
        };
        Ok(Self { desired: user + nice + system + interrupts + soft + stolen, stolen })
    }
}
