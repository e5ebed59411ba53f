//! What the automation did, and how well its client behaved.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::fate::Operation;
use super::faults::{Call, HttpFault};
use super::site::Change;
use super::world::Place;

/// How often the automation changed a member in the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effects {
    pub invites: u64,
    /// Memberships that ended or invitations that were revoked.
    pub removals: u64,
    pub role_changes: u64,
}

/// A place and the id of a member.
pub type MemberKey = (Place, String);

/// What was counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// The effects of the automation, by member.
    #[serde(serialize_with = "as_list")]
    pub members: BTreeMap<MemberKey, Effects>,
    /// Effects that repeated one which was still in place: a second invitation while the first is pending.
    pub duplicate_effects: u64,
    /// Requested changes that were already in place when their job ran.
    pub repeated_requests: u64,
    /// Jobs that were requested while another job of the same member ran. Jobs that never end and jobs whose reply was
    /// lost are left out: a client cannot wait for them.
    pub overlapping_jobs: u64,
    /// The most jobs of one member that ran at once, with the same exceptions.
    pub max_concurrent_jobs: u64,
    /// Requests received, by operation; including faults and refusals.
    pub requests: BTreeMap<Call, u64>,
    /// The faults among them: by operation and kind of fault, a status as its number.
    pub faults: BTreeMap<Call, BTreeMap<String, u64>>,
}

impl Counters {
    /// The effects on one member.
    pub fn effects(&self, workspace: &str, integration: &str, member: &str) -> Effects {
        let key = (Place::new(workspace, integration), member.to_owned());
        self.members.get(&key).copied().unwrap_or_default()
    }

    /// The requests of one operation.
    pub fn requests(&self, call: Call) -> u64 {
        self.requests.get(&call).copied().unwrap_or_default()
    }

    /// Counts a request; returns its number among those of its operation, from 0.
    pub(super) fn request(&mut self, call: Call) -> u64 {
        let count = self.requests.entry(call).or_default();
        *count += 1;
        *count - 1
    }

    pub(super) fn fault(&mut self, call: Call, fault: HttpFault) {
        *self.faults.entry(call).or_default().entry(fault.name()).or_default() += 1;
    }

    pub(super) fn change(&mut self, key: MemberKey, operation: Operation, change: Change) {
        match (operation, change) {
            (_, Change::Already) | (Operation::Remove, Change::Absent) => {
                self.repeated_requests += 1;
            }
            (_, Change::Absent) => {}
            (_, Change::Made) => self.effect(key, operation),
            (_, Change::MadeAgain) => {
                self.duplicate_effects += 1;
                self.effect(key, operation);
            }
        }
    }

    fn effect(&mut self, key: MemberKey, operation: Operation) {
        let effects = self.members.entry(key).or_default();
        match operation {
            Operation::Invite => effects.invites += 1,
            Operation::Remove => effects.removals += 1,
            Operation::ChangeRole => effects.role_changes += 1,
        }
    }

    pub(super) fn concurrent(&mut self, jobs: u64) {
        self.max_concurrent_jobs = self.max_concurrent_jobs.max(jobs);
        self.overlapping_jobs += u64::from(jobs > 1);
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    place: &'a Place,
    member: &'a str,
    #[serde(flatten)]
    effects: &'a Effects,
}

fn as_list<S: Serializer>(
    members: &BTreeMap<MemberKey, Effects>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let entries = members.iter();
    serializer.collect_seq(entries.map(|((place, member), effects)| Entry {
        place,
        member,
        effects,
    }))
}
