//! What can be done to replicas, database and backend: every kind of trouble, how often it is drawn, and with what.

use std::time::Duration;

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use testkit::private_postgres::Shutdown;
use testkit::simulator::{Clock, FaultPlan, Stamps};

use crate::settings::Settings;

/// Set apart from the plan's draws, so that more trouble changes no intent.
const STREAM: u64 = 0x5eed_0f7a_0b1e;
/// Within the time limit of a request.
const SLOW_MS: std::ops::RangeInclusive<u64> = 300..=800;
/// The trouble that is to come often, and how many times in a run of ten minutes or more.
const KILL: &str = "kill -9";
const KILLS: usize = 20;
const SECONDS_PER_KILL: u64 = 30;
/// How often nothing is done, to see what the measure is worth.
const CONTROLS: usize = 5;
const NOTHING: &str = "(no trouble)";
const LONGEST_OUTAGE: Duration = Duration::from_secs(600);

/// One piece of trouble.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) name: &'static str,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Nothing,
    /// SIGKILL, and a new one after a while.
    Kill {
        replica: usize,
        gone_for: Duration,
    },
    /// SIGSTOP for longer than a lease, then SIGCONT.
    Freeze {
        replica: usize,
        frozen_for: Duration,
    },
    /// What a replica has connected to the database freezes; new connections work.
    FreezeSockets {
        replica: usize,
    },
    /// SIGTERM, and a new one.
    Terminate {
        replica: usize,
    },
    /// The clock of one replica jumps by an hour, and later back.
    ReplicaClock {
        is_ahead: bool,
        lasts: Duration,
    },
    /// The database goes down and comes back.
    Restart(Shutdown),
    /// Some of the database's connections are cut.
    Cut {
        connections: i64,
    },
    /// The person leaves a transaction open that has rows locked.
    HoldLocks {
        lasts: Duration,
    },
    /// The owner has a table locked, so the statements of the replicas wait and their pools are used up.
    LockTable {
        lasts: Duration,
    },
    /// The server accepts no session of the replicas, and old ones are cut.
    NoSessions {
        lasts: Duration,
    },
    /// New sessions of the replicas may not write, as after a failover, and old ones are cut.
    ReadOnly {
        lasts: Duration,
    },
    /// Rows of the daemon's own tables that speak of nothing that is there.
    OddRows,
    /// A workspace floods the queue.
    Flood {
        rows: i32,
    },
    /// Every request is answered with 503.
    Outage {
        lasts: Duration,
    },
    /// The list of an app's members ends after so many.
    CutList {
        app: usize,
        members: usize,
        lasts: Duration,
    },
    /// The backend's clock is set, and writes in another way.
    SetClock(Clock),
    /// Much of one kind goes wrong with requests.
    Faults {
        plan: FaultPlan,
        lasts: Duration,
    },
}

impl What {
    /// Whether work is to go on while the trouble lasts. Otherwise it is to go on after its end.
    pub(super) fn leaves_work_possible(&self) -> bool {
        !matches!(
            self,
            Self::Restart(_)
                | Self::LockTable { .. }
                | Self::NoSessions { .. }
                | Self::ReadOnly { .. }
                | Self::Outage { .. }
                | Self::CutList { .. }
                | Self::Faults { .. }
        )
    }

    /// The replica that it is done to, where it shows more when this one is at work.
    pub(super) fn target(&self) -> Option<usize> {
        match self {
            Self::Kill { replica, .. }
            | Self::Freeze { replica, .. }
            | Self::FreezeSockets { replica } => Some(*replica),
            _ => None,
        }
    }
}

/// A kind of trouble, and how often it is drawn where many come together, of a thousand.
struct Kind {
    name: &'static str,
    weight: u32,
    draw: fn(&mut Draw) -> What,
}

const fn kind(name: &'static str, weight: u32, draw: fn(&mut Draw) -> What) -> Kind {
    Kind { name, weight, draw }
}

const KINDS: &[Kind] = &[
    kind(KILL, 200, |d| What::Kill { replica: d.any(), gone_for: d.millis(100..1500) }),
    kind("SIGSTOP for longer than a lease", 220, |d| What::Freeze {
        replica: d.any(),
        frozen_for: d.millis(4500..7000),
    }),
    kind("frozen sockets", 20, |d| What::FreezeSockets { replica: d.any() }),
    kind("SIGTERM", 100, |d| What::Terminate { replica: d.any() }),
    kind("clock of a replica an hour off", 10, |d| What::ReplicaClock {
        is_ahead: d.rng.random_bool(0.5),
        lasts: d.millis(3000..6000),
    }),
    kind("fast restart of PostgreSQL", 40, |_| What::Restart(Shutdown::Fast)),
    kind("immediate restart of PostgreSQL", 40, |_| What::Restart(Shutdown::Immediate)),
    kind("cut connections", 50, |d| What::Cut { connections: d.rng.random_range(1..6) }),
    kind("transaction left open", 50, |d| What::HoldLocks { lasts: d.millis(1000..4000) }),
    kind("long open transaction", 2, |d| What::HoldLocks { lasts: d.length / 20 }),
    kind("pools used up", 10, |d| What::LockTable { lasts: d.millis(1000..6000) }),
    kind("no sessions accepted", 10, |d| What::NoSessions { lasts: d.millis(200..3000) }),
    kind("sessions that may not write", 20, |d| What::ReadOnly { lasts: d.millis(100..1500) }),
    kind("odd rows", 16, |_| What::OddRows),
    kind("flood", 3, |d| What::Flood { rows: d.rng.random_range(1000..3000) }),
    kind("backend down", 27, |d| What::Outage { lasts: d.millis(200..3000) }),
    // Only where each kind comes by itself.
    kind("backend down for long", 0, |d| What::Outage {
        lasts: (d.length / 10).min(LONGEST_OUTAGE),
    }),
    kind("slow backend", 4, |d| What::Faults {
        plan: FaultPlan { delay: 1.0, delay_ms: SLOW_MS, ..FaultPlan::none() },
        lasts: d.length / 20,
    }),
    kind("clock of the backend", 50, |d| What::SetClock(d.clock())),
    kind("empty list", 17, |d| d.cut_list(0)),
    kind("cut list", 33, |d| {
        // Where a page ends: a list that ends elsewhere can deceive, as the document on verification says.
        let members = if d.rng.random_bool(0.5) { 25 } else { 50 };
        d.cut_list(members)
    }),
    kind("429 storm", 14, |d| d.storm(FaultPlan { rate_limited: 0.6, ..FaultPlan::none() })),
    kind("storm of lost replies", 14, |d| {
        d.storm(FaultPlan { lost_reply: 0.4, ..FaultPlan::none() })
    }),
    kind("storm of resets", 14, |d| d.storm(FaultPlan { reset: 0.4, ..FaultPlan::none() })),
    kind("storm of stalls", 14, |d| d.storm(FaultPlan { stall: 0.2, ..FaultPlan::none() })),
    kind("storm of delays", 14, |d| {
        d.storm(FaultPlan { delay: 0.8, delay_ms: 100..=700, ..FaultPlan::none() })
    }),
    kind("storm of 502 and 503", 14, |d| {
        d.storm(FaultPlan { unavailable: 0.5, ..FaultPlan::none() })
    }),
    kind("storm of nonsense", 14, |d| {
        d.storm(FaultPlan {
            server_error: 0.15,
            unavailable: 0.15,
            html: 0.15,
            ok_with_errors: 0.1,
            ..FaultPlan::none()
        })
    }),
];

/// Draws trouble from a seed.
pub(super) struct Draw {
    pub(super) rng: StdRng,
    /// Of the run: what lasts for long lasts for a part of it.
    length: Duration,
}

impl Draw {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            rng: StdRng::seed_from_u64(settings.seed ^ STREAM),
            length: Duration::from_secs(settings.seconds),
        }
    }

    /// Any trouble, each kind as often as its weight says.
    pub(super) fn trouble(&mut self) -> Trouble {
        let kind = KINDS.choose_weighted(&mut self.rng, |kind| kind.weight).unwrap();
        Trouble { name: kind.name, what: (kind.draw)(self) }
    }

    /// Each kind once, the kills as often as the run is long, and moments without trouble, in any order.
    pub(super) fn one_of_each(&mut self) -> Vec<Trouble> {
        let kills = usize::try_from(self.length.as_secs() / SECONDS_PER_KILL).unwrap().min(KILLS);
        let mut all: Vec<Trouble> = KINDS
            .iter()
            .flat_map(|kind| {
                let count = if kind.name == KILL { kills.max(1) } else { 1 };
                std::iter::repeat_n(kind, count)
            })
            .map(|kind| Trouble { name: kind.name, what: (kind.draw)(self) })
            .collect();
        all.extend((0..CONTROLS).map(|_| Trouble { name: NOTHING, what: What::Nothing }));
        all.shuffle(&mut self.rng);
        all
    }

    /// A clock that is hours ahead or behind, or right, and writes times as it likes.
    pub(super) fn clock(&mut self) -> Clock {
        const STAMPS: [Stamps; 6] = [
            Stamps::Mixed,
            Stamps::Naive,
            Stamps::Compact,
            Stamps::Seconds,
            Stamps::Milliseconds,
            Stamps::Missing,
        ];
        let minutes = [0, self.rng.random_range(-300..300)];
        Clock {
            ahead: TimeDelta::minutes(*minutes.choose(&mut self.rng).unwrap()),
            stamps: *STAMPS.choose(&mut self.rng).unwrap(),
        }
    }

    fn any(&mut self) -> usize {
        self.rng.random_range(0..1000)
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    fn cut_list(&mut self, members: usize) -> What {
        What::CutList { app: self.any(), members, lasts: self.millis(2000..8000) }
    }

    fn storm(&mut self, plan: FaultPlan) -> What {
        What::Faults { plan, lasts: self.millis(1000..4000) }
    }
}
