//! The speed of the demo: the same daemon with times that are shortened by configuration.

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) struct Tempo {
    /// The configuration of the replicas, apart from addresses and secrets.
    pub(super) configuration: &'static [(&'static str, &'static str)],
    /// How long the backend's job for one member takes, in milliseconds.
    pub(super) job_ms: RangeInclusive<u64>,
    /// How long the backend's snapshot of an app takes, in milliseconds.
    pub(super) sync_ms: RangeInclusive<u64>,
    /// After how long an invitation is accepted.
    pub(super) invitation_accepted_after: Duration,
    /// How many failed tasks arrive at a time.
    pub(super) arrivals: usize,
    pub(super) arrive_every: Duration,
    /// How long the scripted operator takes for one action.
    pub(super) operator_takes: Duration,
    /// How long a story rests before somebody does something in it.
    pub(super) story_pause: Duration,
}

impl Tempo {
    /// As fast as the rules of the configuration allow.
    pub(super) fn compressed() -> Self {
        Self {
            configuration: COMPRESSED,
            job_ms: 20..=200,
            sync_ms: 100..=500,
            invitation_accepted_after: Duration::from_secs(1),
            arrivals: 60,
            arrive_every: Duration::from_millis(500),
            operator_takes: Duration::from_millis(10),
            story_pause: Duration::from_millis(100),
        }
    }

    /// Slow enough for people to follow.
    pub(super) fn watchable() -> Self {
        Self {
            configuration: WATCHABLE,
            job_ms: 500..=3000,
            sync_ms: 1000..=4000,
            invitation_accepted_after: Duration::from_secs(20),
            arrivals: 3,
            arrive_every: Duration::from_millis(1500),
            operator_takes: Duration::from_millis(1500),
            story_pause: Duration::from_secs(3),
        }
    }
}

const COMPRESSED: &[(&str, &str)] = &[
    // On a busy machine everything is slow; that must not count as a failure of the database.
    ("DATABASE__ACQUIRE_TIMEOUT_S", "30"),
    ("DATABASE__MAX_CONNECTIONS", "16"),
    ("WORKER__MAX_TASKS_IN_FLIGHT", "12"),
    ("BACKEND__CONNECT_TIMEOUT_S", "1"),
    ("BACKEND__REQUEST_TIMEOUT_S", "2"),
    ("WORKER__LEASE_S", "8"),
    ("WORKER__SYNC_LEASE_S", "10"),
    ("WAKEUP__POLL_MS", "100"),
    ("RETRY__RATE_LIMIT_S", "1"),
    ("RETRY__MAX_RETRY_AFTER_S", "2"),
    ("RETRY__SETTLE_S", "3"),
    ("RETRY__INVITE__FIRST_S", "0.4"),
    ("RETRY__INVITE__FACTOR", "2.0"),
    ("RETRY__INVITE__MAX_S", "2"),
    ("RETRY__INVITE__ATTEMPTS", "4"),
    ("RETRY__INVITE__WITHIN_S", "60"),
    ("RETRY__CHANGE_ROLE__FIRST_S", "0.4"),
    ("RETRY__CHANGE_ROLE__FACTOR", "2.0"),
    ("RETRY__CHANGE_ROLE__MAX_S", "2"),
    ("RETRY__CHANGE_ROLE__ATTEMPTS", "4"),
    ("RETRY__CHANGE_ROLE__WITHIN_S", "60"),
    ("RETRY__REMOVE__FIRST_S", "0.2"),
    ("RETRY__REMOVE__FACTOR", "2.0"),
    ("RETRY__REMOVE__MAX_S", "1"),
    ("RETRY__REMOVE__ATTEMPTS", "4"),
    ("RETRY__REMOVE__WITHIN_S", "60"),
    ("BREAKER__COOLDOWN_FIRST_S", "0.5"),
    ("BREAKER__COOLDOWN_MAX_S", "2"),
    ("BACKEND__OUTAGE_RETRY_MAX_S", "1"),
    ("JOB__POLL_FIRST_S", "0.05"),
    ("JOB__POLL_MAX_S", "0.3"),
    ("JOB__WITHIN_S", "3"),
    ("MANUAL_ACTION__ATTEST_AFTER_S", "2"),
    ("SYNC__REREADS_S", "1,1,2,2,3"),
    ("SYNC__REMOVAL_CHECKS_S", "2,3600"),
    ("SYNC__RETRY_FIRST_S", "1"),
    ("SYNC__RETRY_MAX_S", "1"),
    ("UPKEEP__EVERY_S", "5"),
    ("SHUTDOWN__GRACE_S", "10"),
];

const WATCHABLE: &[(&str, &str)] = &[
    ("DATABASE__ACQUIRE_TIMEOUT_S", "30"),
    ("BACKEND__CONNECT_TIMEOUT_S", "2"),
    ("BACKEND__REQUEST_TIMEOUT_S", "5"),
    ("WORKER__LEASE_S", "15"),
    ("WORKER__SYNC_LEASE_S", "20"),
    ("WAKEUP__POLL_MS", "250"),
    ("RETRY__RATE_LIMIT_S", "5"),
    ("RETRY__MAX_RETRY_AFTER_S", "10"),
    ("RETRY__SETTLE_S", "20"),
    ("RETRY__INVITE__FIRST_S", "4"),
    ("RETRY__INVITE__FACTOR", "2.0"),
    ("RETRY__INVITE__MAX_S", "20"),
    ("RETRY__INVITE__ATTEMPTS", "4"),
    ("RETRY__CHANGE_ROLE__FIRST_S", "4"),
    ("RETRY__CHANGE_ROLE__FACTOR", "2.0"),
    ("RETRY__CHANGE_ROLE__MAX_S", "20"),
    ("RETRY__CHANGE_ROLE__ATTEMPTS", "4"),
    ("RETRY__REMOVE__FIRST_S", "2"),
    ("RETRY__REMOVE__FACTOR", "2.0"),
    ("RETRY__REMOVE__MAX_S", "10"),
    ("RETRY__REMOVE__ATTEMPTS", "4"),
    ("BREAKER__COOLDOWN_FIRST_S", "5"),
    ("BREAKER__COOLDOWN_MAX_S", "20"),
    ("BACKEND__OUTAGE_RETRY_MAX_S", "4"),
    ("JOB__POLL_FIRST_S", "0.5"),
    ("JOB__POLL_MAX_S", "2"),
    ("JOB__WITHIN_S", "20"),
    ("MANUAL_ACTION__ATTEST_AFTER_S", "20"),
    ("MANUAL_ACTION__DUE_REMOVE_S", "600"),
    ("MANUAL_ACTION__DUE_CHANGE_ROLE_S", "1800"),
    ("MANUAL_ACTION__DUE_INVITE_S", "3600"),
    ("SYNC__REREADS_S", "3,6,12,24"),
    ("SYNC__REMOVAL_CHECKS_S", "15,60,300"),
    ("SYNC__RETRY_FIRST_S", "2"),
    ("SYNC__RETRY_MAX_S", "10"),
    ("UPKEEP__EVERY_S", "10"),
    ("SHUTDOWN__GRACE_S", "10"),
];
