//! What happens in a run, drawn from its seed: apps, members, intents and when they arrive, fates.

use std::time::Duration;

use cerby_reconciler::intake::inbound::InboundTask;
use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use testkit::simulator::{Fate, Integration, Kind, Operation, PERMANENT_CODES, TRANSIENT_CODES};

use super::names;
use super::settings::Settings;

/// Workspace, id, kind and application: with all automation, without invitations, without reading, without
/// changes of role, unknown to the catalogue.
const APPS: [(&str, &str, Kind, &str); 6] = [
    ("acme", "asana-app", Kind::App, "asana_tenant"),
    ("acme", "asana-hub", Kind::BusinessHub, "asana_tenant"),
    ("acme", "no-invite", Kind::App, "6sense_tenant"),
    ("acme", "unreadable", Kind::App, "atlassianbhr_tenant"),
    ("globex", "no-role", Kind::BusinessHub, "autodesk_tenant"),
    ("globex", "unknown", Kind::App, "nowhere_tenant"),
];

const TASKS_PER_SECOND: f64 = 14.0;
const TASKS_PER_MEMBER: usize = 4;

/// The role of everybody who is there before the first task.
pub(super) const FORMER_ROLE: &str = "VIEWER";

/// Which member of which app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) workspace: String,
    pub(super) integration: String,
    pub(super) member: String,
}

/// Rows that arrive in one transaction.
pub(super) struct Batch {
    pub(super) at: Duration,
    /// How long the transaction stays open between its first row and its last.
    pub(super) open_for: Duration,
    /// After how long the same rows are inserted once more.
    pub(super) again_after: Option<Duration>,
    pub(super) rows: Vec<InboundTask>,
    /// Automation does all of it elsewhere when the batch comes, and the rows are inserted so much later.
    pub(super) done_elsewhere: Option<Duration>,
    /// What becomes of the coming attempts.
    pub(super) fates: Vec<(Key, Operation, Fate)>,
}

/// Everything that is drawn before the run.
pub(super) struct Plan {
    pub(super) apps: Vec<Integration>,
    /// Everybody whom something is asked of, and whether they are in the app before.
    pub(super) members: Vec<(Key, bool)>,
    pub(super) batches: Vec<Batch>,
}

impl Plan {
    /// The plan of a seed for a run that starts at `start`.
    pub(super) fn draw(settings: &Settings, start: DateTime<Utc>) -> Self {
        let mut rng = StdRng::seed_from_u64(settings.seed);
        let storm = settings.storm();
        let tasks = (storm.as_secs_f64() * TASKS_PER_SECOND) as usize;
        let per_app = (tasks / TASKS_PER_MEMBER / APPS.len()).clamp(5, 60);
        let members = members(&mut rng, per_app);
        let mut draft = Draft { rng, start, storm, members: &members, drawn: 0 };
        let mut batches = Vec::new();
        while draft.drawn < tasks {
            batches.push(draft.batch());
        }
        batches.sort_by_key(|batch| batch.at);
        Self { apps: APPS.map(app).into(), members, batches }
    }

    /// How many rows there will be.
    pub(super) fn tasks(&self) -> usize {
        self.batches.iter().map(|batch| batch.rows.len()).sum()
    }
}

fn app((workspace, id, kind, application): (&str, &str, Kind, &str)) -> Integration {
    // A client that asks twice is to be seen.
    Integration {
        resends_invitations: true,
        ..Integration::new(workspace, id, id, kind, application)
    }
}

fn members(rng: &mut StdRng, per_app: usize) -> Vec<(Key, bool)> {
    let mut members = Vec::new();
    for (workspace, integration, ..) in APPS {
        for n in 0..per_app {
            // The same people are in all apps of a workspace.
            let key = Key {
                workspace: workspace.to_owned(),
                integration: integration.to_owned(),
                member: format!("m{n:03}"),
            };
            members.push((key, rng.random_bool(0.6)));
        }
    }
    members
}

struct Draft<'a> {
    rng: StdRng,
    start: DateTime<Utc>,
    storm: Duration,
    members: &'a [(Key, bool)],
    drawn: usize,
}

impl Draft<'_> {
    fn batch(&mut self) -> Batch {
        let at = self.storm.mul_f64(self.rng.random_range(0.0..0.97));
        let of_one_member = self.rng.random_bool(0.25).then(|| self.member());
        let size = self.rng.random_range(if of_one_member.is_some() { 2..=4 } else { 1..=10 });
        let mut fates = Vec::new();
        let mut rows = Vec::new();
        for _ in 0..size {
            let key = of_one_member.clone().unwrap_or_else(|| self.member());
            let row = self.row(&key, at);
            if self.rng.random_bool(0.5) {
                fates.push((key, operation(&row.operation), self.fate()));
            }
            rows.push(row);
        }
        let done_elsewhere = self.rng.random_bool(0.15).then(|| match self.rng.random_bool(0.5) {
            true => Duration::ZERO,
            false => self.millis(0..8000),
        });
        let open = self.rng.random_bool(0.15);
        let again = self.rng.random_bool(0.15);
        Batch {
            at,
            open_for: if open { self.millis(300..5000) } else { Duration::ZERO },
            again_after: again.then(|| self.millis(0..6000)),
            rows,
            done_elsewhere,
            fates,
        }
    }

    /// Some are asked more of than others.
    fn member(&mut self) -> Key {
        let skewed = self.rng.random_range(0.0_f64..1.0).powi(2);
        let per_app = self.members.len() / APPS.len();
        let app = self.rng.random_range(0..APPS.len());
        self.members[app * per_app + (skewed * per_app as f64) as usize].0.clone()
    }

    fn row(&mut self, key: &Key, at: Duration) -> InboundTask {
        let number = self.drawn;
        self.drawn += 1;
        let (.., kind, application) = *APPS.iter().find(|app| app.1 == key.integration).unwrap();
        let operation = *["invite", "remove", "change_role"].choose(&mut self.rng).unwrap();
        let deprovisioned = operation == "remove" && self.rng.random_bool(0.25);
        let trigger = match deprovisioned {
            true => "user_deprovisioned",
            false => ["manual", "workspace_policy", "system"].choose(&mut self.rng).unwrap(),
        };
        let has_job = !deprovisioned || self.rng.random_bool(0.5);
        InboundTask {
            workspace_id: key.workspace.clone(),
            source_id: format!("source-{number}"),
            job_id: has_job.then(|| format!("failed-{number}")),
            integration_id: key.integration.clone(),
            integration_kind: match kind {
                Kind::App => "app".to_owned(),
                Kind::BusinessHub => "business_hub".to_owned(),
            },
            integration_name: key.integration.clone(),
            application: application.to_owned(),
            member_id: key.member.clone(),
            member_email: names::told(key, number),
            member_username: None,
            member_name: None,
            operation: operation.to_owned(),
            entitlements: match operation {
                "remove" => Vec::new(),
                _ => vec![marker(number), "EDITOR".to_owned()],
            },
            hub_role: None,
            trigger: trigger.to_owned(),
            requested_at: self.requested_at(at).into(),
            failure_code: has_job.then(|| self.first_code()).flatten(),
            failure_message: None,
            failure_screenshot_url: None,
            can_retry: None,
            user_required: None,
            traceparent: None,
            requested_by: None,
            outcome: None,
        }
    }

    /// Mostly just before the arrival, sometimes long before, and several at the same moment.
    fn requested_at(&mut self, at: Duration) -> DateTime<Utc> {
        let before = match self.rng.random_range(0..10) {
            0..=5 => self.rng.random_range(0.0..1.0),
            6..=8 => self.rng.random_range(1.0..8.0),
            _ => self.rng.random_range(8.0..60.0),
        };
        let halves = ((at.as_secs_f64() - before) * 2.0).floor() as i64;
        self.start + TimeDelta::milliseconds(halves * 500)
    }

    fn first_code(&mut self) -> Option<String> {
        match self.rng.random_range(0..100) {
            0..=9 => None,
            10..=17 => Some((*PERMANENT_CODES.choose(&mut self.rng).unwrap()).to_owned()),
            _ => Some(self.transient_code()),
        }
    }

    fn transient_code(&mut self) -> String {
        (*TRANSIENT_CODES.choose(&mut self.rng).unwrap()).to_owned()
    }

    fn fate(&mut self) -> Fate {
        match self.rng.random_range(0..100) {
            0..=11 => Fate::Permanent((*PERMANENT_CODES.choose(&mut self.rng).unwrap()).to_owned()),
            12..=36 => {
                Fate::Transient { times: self.rng.random_range(1..=4), code: self.transient_code() }
            }
            37..=44 => Fate::FailedThoughDone(self.transient_code()),
            45..=52 => Fate::FinishedThoughNotDone,
            53..=56 => Fate::NeverEnds,
            _ => Fate::Succeed,
        }
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }
}

/// A role that only one task gives: whatever a member holds tells where it came from.
fn marker(number: usize) -> String {
    format!("ROLE-{number}")
}

/// The operation of a row.
pub(super) fn operation(word: &str) -> Operation {
    match word {
        "invite" => Operation::Invite,
        "remove" => Operation::Remove,
        "change_role" => Operation::ChangeRole,
        _ => panic!("no operation of a member: {word}"),
    }
}
