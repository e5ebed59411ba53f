//! The backoff of a workspace or an app during an outage: its duration, the probe, the ramp after it, and its log line.

use std::time::{Duration, Instant};

use crate::emit;

const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// If a probe led to no request, another follows after this long.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// Usable answers after which everything is let through again.
const RAMP_END: u32 = 32;

/// How many more steps each usable answer lets through while a backoff ends.
const RAMP_STEP: u32 = 2;

/// A workspace or an app that backs off, or whose backoff ends.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) pause: Duration,
    pub(super) since: Instant,
    /// Nothing starts until then, unless there is room.
    pub(super) until: Instant,
    /// Whether a probe was let through and has not failed.
    pub(super) is_probing: bool,
    pub(super) room: u32,
    /// Usable answers since the last request without one.
    pub(super) answers: u32,
    pub(super) told_at: Instant,
    /// The log line, kept until it is known which replica of the fleet writes it.
    pub(super) line: Option<OutageLine>,
}

impl Rest {
    pub(super) fn begin(now: Instant, longest: Duration) -> Self {
        let pause = FIRST_PAUSE.min(longest);
        let (since, until) = (now, now + pause);
        Self {
            pause,
            since,
            until,
            is_probing: false,
            room: 0,
            answers: 0,
            told_at: now,
            line: None,
        }
    }

    /// An outage of another replica ended: the state is the same as after a first usable answer.
    pub(super) fn end(now: Instant, longest: Duration) -> Self {
        Self { until: now, answers: 1, ..Self::begin(now, longest) }
    }

    pub(super) fn room(&self, now: Instant) -> u32 {
        if self.until <= now { self.room.max(1) } else { self.room }
    }

    pub(super) fn let_through(&mut self, steps: u32, now: Instant, longest: Duration) {
        if steps == 0 {
            return;
        }
        self.room = self.room(now).saturating_sub(steps);
        self.is_probing = true;
        self.until = now + PROBE_TIMEOUT.min(longest);
    }

    /// Backs off again. Failures of requests that were sent before the backoff began do not make it longer.
    pub(super) fn fail(&mut self, is_streak: bool, now: Instant, longest: Duration) {
        let probes = self.is_probing && self.answers == 0;
        if probes || self.answers > 0 && is_streak {
            self.pause = (self.pause * 2).min(longest);
            self.until = now + self.pause;
            (self.is_probing, self.room, self.answers) = (false, 0, 0);
        }
    }

    /// Records one more usable answer; returns whether the outage is over.
    pub(super) fn succeed(&mut self) -> bool {
        self.answers += 1;
        self.room = self.room.saturating_add(RAMP_STEP);
        self.answers >= RAMP_END
    }
}

/// What one replica of the fleet logs about an outage.
#[derive(Debug)]
pub(super) struct OutageLine {
    pub(super) workspace: String,
    pub(super) app: Option<String>,
    pub(super) unanswered: u32,
    pub(super) status: Option<u16>,
    pub(super) host: String,
    pub(super) cause: String,
    pub(super) outage_s: u64,
}

impl OutageLine {
    pub(super) fn say(&self) {
        let of = if self.app.is_some() { "for the app" } else { "for the workspace" };
        emit!(
            BACKEND_UNAVAILABLE,
            workspace.id = self.workspace,
            integration.id = self.app,
            unanswered = self.unanswered,
            status = self.status,
            host = self.host,
            cause = self.cause,
            outage_s = self.outage_s,
            "The backend gives no usable answer {of}; its tasks are on hold"
        );
    }
}
