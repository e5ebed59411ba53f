//! What may happen next to one member, with the decisions that the daemon itself makes.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cerby_reconciler::backend::{Failure, Progress};
use cerby_reconciler::config::Config;
use cerby_reconciler::lease::Lease;
use cerby_reconciler::membership::{
    Desired, Marks, MemberKey, Membership, Observation, Operation, SeenMember, Trigger,
};
use cerby_reconciler::retry::decide::{
    AfterRead, JOB_NEVER_ENDED, after_failure, after_lost_job, after_read, effects_for,
    is_believed, reports_desired_state,
};
use cerby_reconciler::retry::{ClaimedTask, RetryPolicy, TaskOutcome, Uncertainty};
use chrono::{DateTime, TimeDelta, Utc};

use crate::state::{
    Claim, Job, LeftOut, Outcome, Place, Runs, Stands, State, Uncertain, Worker, id,
};

/// Attempts before a person is asked.
const ATTEMPTS: &str = "2";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Arrive(usize),
    Order,
    Claim(usize),
    /// A claimed request is looked at, and its operation asked for if that is what follows.
    Work(usize),
    /// The same, and the answer to what was asked for is lost.
    WorkAndLoseTheReply(usize),
    Record(usize),
    /// A worker ends without a word, whatever it had done.
    Crash(usize),
    /// The lease ends while its worker goes on.
    LeaseEnds,
    JobEnds {
        job: usize,
        works: bool,
        says_so: bool,
    },
    /// All the time is over that a job may take, and it runs on.
    JobRunsOn(usize),
    /// So much time passes that no job of unknown outcome runs any more.
    Settle,
    PersonDoes,
    PersonSaysDone,
    PersonWithdraws,
    PersonDismisses,
    PersonReturns,
    SyncStarts,
    SyncReads {
        is_cut: bool,
    },
    SyncJudges,
}

fn policy() -> &'static RetryPolicy {
    static POLICY: OnceLock<RetryPolicy> = OnceLock::new();
    POLICY.get_or_init(|| {
        let keys = ["INVITE", "CHANGE_ROLE", "REMOVE"];
        let variables =
            keys.map(|key| (format!("RECONCILER__RETRY__{key}__ATTEMPTS"), ATTEMPTS.to_owned()));
        let config = Config::from_sources(None, Some(variables.into())).expect("sound settings");
        RetryPolicy::new(&config)
    })
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time of this century")
}

/// So long ago that a job of then has ended.
fn long_ago() -> DateTime<Utc> {
    now() - TimeDelta::hours(1)
}

pub(crate) fn desired(state: &State, request: usize) -> Desired {
    Desired {
        operation: state.operation(request),
        member: "jo".to_owned(),
        email: "jo@example.com".to_owned(),
        username: None,
        entitlements: ["EDITOR".to_owned()].into(),
    }
}

/// Somebody as a list shows them who is in an app since this operation.
pub(crate) fn seen(place: Place) -> Option<SeenMember> {
    let role = match place? {
        Operation::ChangeRole => "EDITOR",
        Operation::Invite | Operation::Remove => "VIEWER",
    };
    Some(SeenMember {
        member: Some("jo".to_owned()),
        email: Some("jo@example.com".to_owned()),
        username: None,
        entitlements: [role.to_owned()].into(),
        membership: Membership::Joined,
        marks: Marks::default(),
    })
}

/// A claim as the decisions take it.
fn task(state: &State, claim: &Claim) -> ClaimedTask {
    let request = &state.requests[claim.request];
    let running = claim.running.map(|job| {
        let is_overlong = state.jobs[job].runs == Runs::Overlong;
        ("job".to_owned(), if is_overlong { long_ago() } else { now() })
    });
    ClaimedTask {
        traceparent: None,
        id: id(claim.request),
        lease: Lease {
            token: i64::from(claim.token),
            ends: Instant::now() + Duration::from_secs(60),
        },
        key: MemberKey { workspace: "w".into(), integration: "i".into(), member: "jo".into() },
        desired: desired(state, claim.request),
        hub_role: String::new(),
        application: "an_app_nobody_catalogued".into(),
        trigger: Trigger::Manual,
        has_automation: true,
        job: None,
        requested_at: now(),
        returned: request.returned,
        reopened: false,
        is_probe: false,
        first_failure: Failure::ours("LoginTimeout"),
        attempts: u32::from(claim.attempts),
        trying_since: (claim.attempts > 0).then(now),
        running,
        uncertain_since: claim.uncertain.map(|uncertain| match uncertain {
            Uncertain::Fresh => now(),
            Uncertain::Settled => long_ago(),
        }),
        unanswered_since: None,
        superseded_by: claim.superseded_by.map(id),
        cancel_reason: None,
        unreleased_claims: 1,
        claimed_at: now(),
        touched_by_hand: claim.touched_by_hand,
        tried_before: claim.tried_before,
        found_by_id: false,
        taken_in_order: None,
        pickup: None,
    }
}

/// What a step says, in the words of the rows.
fn outcome(state: &State, claim: &Claim, next: &TaskOutcome) -> Outcome {
    let effects = effects_for(policy(), &task(state, claim), now());
    let (tried, unsettled) = (effects.is_some(), effects.is_some_and(|left| !left.is_zero()));
    match next {
        TaskOutcome::Succeed { .. } => Outcome::Succeed { unsettled },
        TaskOutcome::Retry { lost, .. } => Outcome::Retry { lost: *lost != Uncertainty::Nothing },
        TaskOutcome::Wait { lost, .. } => Outcome::Wait {
            lost: *lost != Uncertainty::Nothing,
            counts: *lost == Uncertainty::Answer,
        },
        TaskOutcome::Escalate { .. } => Outcome::Escalate { tried, unsettled },
        TaskOutcome::Abandon => Outcome::Abandon { tried, unsettled },
        TaskOutcome::Watch { .. } | TaskOutcome::Park { .. } => {
            unreachable!("the model has no such answers")
        }
    }
}

impl State {
    /// Whether a claim may take the request whose turn it is.
    pub(crate) fn may_claim(&self) -> bool {
        let Some(head) = self.head else { return false };
        let is_removal = |one: &usize| self.operation(*one) == Operation::Remove;
        let is_hindered =
            self.running.is_none() && !is_removal(&head) && self.arrivals.iter().any(is_removal);
        !self.is_leased && !self.is_unsettled && !is_hindered
    }

    pub(crate) fn claim(&mut self, worker: usize) {
        let Some(request) = self.head else { return };
        if self.is_unreleased && self.running.is_none() {
            self.uncertain = Some(Uncertain::Fresh);
        }
        self.token += 1;
        (self.is_leased, self.is_unreleased) = (true, false);
        let operation = self.operation(request);
        let (touched, tried) = match operation {
            Operation::Remove => (self.admitted_by_hand, self.removal_tried),
            Operation::Invite | Operation::ChangeRole => {
                (self.removed_by_hand, self.admission_tried)
            }
        };
        let superseded_by = self.requests[request].superseded_by;
        self.workers[worker] = Worker::Claimed(Claim {
            token: self.token,
            request,
            attempts: self.requests[request].attempts,
            running: self.running,
            uncertain: self.uncertain,
            superseded_by: superseded_by.or_else(|| self.overtaken_by(request)),
            touched_by_hand: touched.is_some(),
            tried_before: touched.is_some() && tried.is_some(),
        });
    }

    /// Looks at the member or at the job, decides, and asks for what follows.
    pub(crate) fn work(&mut self, worker: usize, is_reply_lost: bool) {
        let Worker::Claimed(claim) = self.workers[worker].clone() else { return };
        let outcome = match claim.running {
            Some(job) => self.watch(&claim, job),
            None => self.read_and_run(&claim, is_reply_lost),
        };
        self.workers[worker] = Worker::Holds(claim.token, claim.request, outcome);
    }

    fn observe(&self, claim: &Claim) -> Observation {
        desired(self, claim.request).compare(seen(self.known).as_ref())
    }

    fn read_and_run(&mut self, claim: &Claim, is_reply_lost: bool) -> Outcome {
        let observed = self.observe(claim);
        let task = task(self, claim);
        match after_read(policy(), &task, &observed, now()) {
            AfterRead::Record(next) => {
                let next = match next {
                    TaskOutcome::Escalate { .. } if self.left_out == Some(LeftOut::Evidence) => {
                        TaskOutcome::Succeed { reason: "" }
                    }
                    next => next,
                };
                if matches!(next, TaskOutcome::Succeed { .. }) && observed != Observation::AsDesired
                {
                    self.broken = Some("used-up attempts are never success");
                }
                outcome(self, claim, &next)
            }
            AfterRead::Run => {
                self.jobs.push(Job { request: claim.request, runs: Runs::Running });
                match is_reply_lost {
                    true => Outcome::Wait { lost: true, counts: true },
                    false => Outcome::Watch { job: self.jobs.len() - 1, started: true },
                }
            }
        }
    }

    fn watch(&mut self, claim: &Claim, job: usize) -> Outcome {
        let task = task(self, claim);
        let (ended, failure, lost) = match self.jobs[job].runs {
            Runs::Running => return Outcome::Watch { job, started: false },
            Runs::Overlong => (Progress::Running, JOB_NEVER_ENDED, true),
            Runs::Finished => (Progress::Finished, "FinishedWithoutEffect", false),
            Runs::Failed => {
                (Progress::Failed(Failure::ours("LoginTimeout")), "LoginTimeout", false)
            }
        };
        let seen = self.observe(claim);
        let is_as_desired = seen == Observation::AsDesired;
        if !task.is_abandoned() && is_believed(&task, &ended, &seen) {
            let effects = effects_for(policy(), &task, now());
            let unsettled = effects.is_some_and(|left| !left.is_zero());
            return Outcome::Succeed { unsettled };
        }
        debug_assert!(is_as_desired || !reports_desired_state(&task, &ended) || !lost);
        let failure = Failure::ours(failure);
        let next = match lost {
            true => after_lost_job(policy(), &task, failure, now()),
            false => after_failure(policy(), &task, failure, now()),
        };
        outcome(self, claim, &next)
    }

    /// Records what a worker holds, under its token.
    pub(crate) fn record(&mut self, worker: usize) {
        let held = std::mem::replace(&mut self.workers[worker], Worker::Idle);
        let Worker::Holds(token, request, outcome) = held else { return };
        if token != self.token || self.head != Some(request) {
            return; // a late worker changes nothing
        }
        let is_abandoned = self.requests[request].superseded_by.is_some();
        if let Outcome::Escalate { .. } = outcome
            && is_abandoned
        {
            (self.is_leased, self.is_unreleased) = (false, false);
            return; // looked at again
        }
        (self.is_leased, self.is_unreleased) = (false, false);
        let goes_on = self.goes_on(request, outcome);
        if !goes_on {
            self.ends(request, outcome);
        }
    }

    fn goes_on(&mut self, request: usize, outcome: Outcome) -> bool {
        let had_job = self.running.is_some();
        match outcome {
            Outcome::Watch { job, started } => {
                self.running = Some(job);
                self.uncertain = None;
                self.requests[request].attempts += u8::from(started);
            }
            Outcome::Retry { lost } => {
                self.running = None;
                self.uncertain = lost.then_some(Uncertain::Fresh);
                self.requests[request].attempts += u8::from(!had_job);
            }
            Outcome::Wait { lost, counts } => {
                self.running = None;
                if lost {
                    self.uncertain = Some(Uncertain::Fresh);
                }
                self.requests[request].attempts += u8::from(counts);
            }
            Outcome::Succeed { .. } | Outcome::Escalate { .. } | Outcome::Abandon { .. } => {
                return false;
            }
        }
        true
    }

    fn ends(&mut self, request: usize, outcome: Outcome) {
        let has_tried = self.requests[request].attempts > 0;
        self.head = None;
        (self.running, self.uncertain) = (None, None);
        match outcome {
            Outcome::Succeed { unsettled } => {
                self.requests[request].stands = Stands::Done;
                self.is_unsettled |= unsettled;
                if has_tried {
                    // What the app shows was proven by an attempt.
                    (self.removed_by_hand, self.admitted_by_hand) = (None, None);
                    (self.removal_tried, self.admission_tried) = (None, None);
                }
                self.watch_after_success(request);
            }
            Outcome::Escalate { tried, unsettled } => {
                self.is_unsettled |= unsettled;
                if tried {
                    self.remember_tried(request);
                }
                self.open_action(request);
            }
            Outcome::Abandon { tried, unsettled } => {
                self.is_unsettled |= unsettled;
                if tried {
                    self.remember_tried(request);
                }
                self.requests[request].stands = Stands::Superseded;
            }
            Outcome::Watch { .. } | Outcome::Retry { .. } | Outcome::Wait { .. } => {}
        }
        self.give_turn();
    }

    /// Ends a job, with or without its effect, and whatever it says of that.
    pub(crate) fn end_job(&mut self, job: usize, works: bool, says_so: bool) {
        let operation = self.operation(self.jobs[job].request);
        if works {
            self.app = self.change(self.app, operation);
            self.known = self.change(self.known, operation);
        }
        self.jobs[job].runs = if says_so { Runs::Finished } else { Runs::Failed };
    }

    /// So much time passes that no job of unknown outcome runs any more.
    pub(crate) fn settle(&mut self) {
        self.is_unsettled = false;
        if self.uncertain.is_some() {
            self.uncertain = Some(Uncertain::Settled);
        }
    }

    /// Whether a job runs that nobody polls: it ends before an attempt of unknown outcome has settled.
    pub(crate) fn is_any_unseen(&self) -> bool {
        let runs = |job: &Job| matches!(job.runs, Runs::Running | Runs::Overlong);
        self.jobs.iter().enumerate().any(|(one, job)| runs(job) && self.running != Some(one))
    }
}
