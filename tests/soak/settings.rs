//! How long, from which seed, and how the replicas are configured.

use std::time::Duration;

/// The length of a run and what its plan is drawn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(super) seconds: u64,
    pub(super) seed: u64,
    pub(super) troubles: Troubles,
}

/// How trouble comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Troubles {
    /// Each kind by itself, with its recovery measured, and then together until the time is over.
    OneByOne,
    /// Many at a time.
    Together,
}

/// Without settings the run is one of the tests.
const SECONDS: u64 = 180;
const SEED: u64 = 1;

/// What a task may try; the checks know it.
pub(super) const ATTEMPTS: i32 = 3;

/// What differs from `support::replica::serve`, sized for two cores. A key that shortens a wait of the
/// daemon's belongs here.
pub(super) const CONFIGURATION: &[(&str, &str)] = &[
    ("DATABASE__MAX_CONNECTIONS", "5"),
    ("DATABASE__ACQUIRE_TIMEOUT_S", "30"),
    ("WORKER__MAX_SYNCS_IN_FLIGHT", "4"),
    ("RETRY__RATE_LIMIT_S", "1"),
    ("RETRY__MAX_RETRY_AFTER_S", "2"),
    ("RETRY__INVITE__ATTEMPTS", "3"),
    ("RETRY__CHANGE_ROLE__ATTEMPTS", "3"),
    ("RETRY__REMOVE__ATTEMPTS", "3"),
    ("RETRY__INVITE__WITHIN_S", "60"),
    ("RETRY__CHANGE_ROLE__WITHIN_S", "60"),
    ("RETRY__REMOVE__WITHIN_S", "60"),
    ("BREAKER__COOLDOWN_FIRST_S", "0.3"),
    ("BREAKER__COOLDOWN_MAX_S", "1"),
    ("BACKEND__OUTAGE_RETRY_MAX_S", "1"),
    ("JOB__WITHIN_S", "2"),
    ("RETRY__SETTLE_S", "2"),
    ("MANUAL_ACTION__ATTEST_AFTER_S", "1"),
    ("SYNC__REREADS_S", "1,1,2"),
    // After whatever may land late: who came back is found before the run ends.
    ("SYNC__REMOVAL_CHECKS_S", "3,9"),
    ("SYNC__RETRY_FIRST_S", "1"),
    ("SYNC__RETRY_MAX_S", "1"),
    ("UPKEEP__EVERY_S", "5"),
    ("SHUTDOWN__GRACE_S", "5"),
    ("TELEMETRY__FORMAT", "json"),
];

impl Settings {
    /// As the environment says.
    pub(crate) fn from_env() -> Self {
        Self {
            seconds: number("SOAK_SECONDS").unwrap_or(SECONDS),
            seed: number("SOAK_SEED").unwrap_or(SEED),
            troubles: match text("SOAK_TROUBLES").as_deref() {
                None | Some("one-by-one") => Troubles::OneByOne,
                Some("together") => Troubles::Together,
                Some(other) => {
                    panic!("SOAK_TROUBLES has to be one-by-one or together, not {other:?}")
                }
            },
        }
    }

    pub(super) fn replicas(&self) -> usize {
        match self.troubles {
            Troubles::OneByOne => 2,
            Troubles::Together => 3,
        }
    }

    /// How long tasks arrive and troubles are made; the rest is for calming down.
    pub(super) fn storm(&self) -> Duration {
        Duration::from_secs(self.seconds).mul_f64(if self.seconds < 60 { 0.45 } else { 0.9 })
    }

    /// How long nothing may end while everything calms down before what is unfinished counts as lost.
    pub(super) fn calm(&self) -> Duration {
        Duration::from_secs(90)
    }
}

/// A variable of the environment, if it is set to something.
pub(super) fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number(name: &str) -> Option<u64> {
    let text = text(name)?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} has to be a number, not {text:?}")))
}
