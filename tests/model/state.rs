//! The rows of one member, their app and who works on them, as far as the rules depend on them.
//!
//! Times are few: an attempt of unknown outcome is fresh or has settled, and snapshots are counted.

use std::collections::BTreeSet;

use cerby_reconciler::intake::order::{Intent, Order, Standing, order};
use cerby_reconciler::member::Effects;
use cerby_reconciler::membership::Operation;
use chrono::{DateTime, Utc};

/// Whether and how somebody is in an app: not at all, or since this request's change.
pub(crate) type Place = Option<Operation>;

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stands {
    Unborn,
    Pending,
    WithAPerson,
    /// Seen as desired, by automation or by a snapshot.
    Done,
    Superseded,
    Dismissed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) operation: Operation,
    pub(crate) minute: u8,
    /// Automation did it elsewhere.
    pub(crate) elsewhere: bool,
    pub(crate) stands: Stands,
    pub(crate) attempts: u8,
    pub(crate) superseded_by: Option<usize>,
    pub(crate) returned: bool,
}

/// An attempt of unknown outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Uncertain {
    Fresh,
    Settled,
}

/// A job that we started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Job {
    pub(crate) request: usize,
    pub(crate) runs: Runs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Runs {
    Running,
    /// It runs on after all the time that a job may take.
    Overlong,
    Finished,
    Failed,
}

/// A person's work on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Action {
    pub(crate) request: usize,
    /// When it was called done, in snapshots begun until then; `None` while it is open.
    pub(crate) done_at: Option<u8>,
    pub(crate) was_done: bool,
}

/// What a worker holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Worker {
    Idle,
    /// A claim, as the rows were then.
    Claimed(Claim),
    /// What is to be recorded.
    Holds(u8, usize, Outcome),
}

impl Worker {
    fn token(&self) -> Option<u8> {
        match self {
            Self::Idle => None,
            Self::Claimed(claim) => Some(claim.token),
            Self::Holds(token, ..) => Some(*token),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    pub(crate) token: u8,
    pub(crate) request: usize,
    pub(crate) attempts: u8,
    pub(crate) running: Option<usize>,
    pub(crate) uncertain: Option<Uncertain>,
    pub(crate) superseded_by: Option<usize>,
    pub(crate) touched_by_hand: bool,
    pub(crate) tried_before: bool,
}

/// What to record, in the words of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Succeed { unsettled: bool },
    Watch { job: usize, started: bool },
    Retry { lost: bool },
    Wait { lost: bool, counts: bool },
    Escalate { tried: bool, unsettled: bool },
    Abandon { tried: bool, unsettled: bool },
}

/// A snapshot under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sync {
    pub(crate) number: u8,
    pub(crate) read: Option<Read>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    /// What the list shows.
    pub(crate) shown: Place,
    /// What is true then.
    pub(crate) truth: Place,
    /// Whether the list is known to be cut.
    pub(crate) has_gap: bool,
}

/// A rule that is left out, to see that the model would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LeftOut {
    /// Attempts of unknown outcome settle before their jobs have ended.
    Settling,
    /// A list that was cut has no gap.
    Gaps,
    /// Used-up attempts are called success.
    Evidence,
    /// What is with a person counts as done.
    Waiting,
    Watches,
    /// The end of a request gives nobody their turn.
    Turns,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) left_out: Option<LeftOut>,
    pub(crate) requests: Vec<Request>,
    pub(crate) arrivals: Vec<usize>,
    pub(crate) head: Option<usize>,
    pub(crate) blocked: Vec<usize>,
    pub(crate) action: Option<Action>,
    pub(crate) running: Option<usize>,
    pub(crate) uncertain: Option<Uncertain>,
    /// The latest claim, and whether its lease has not ended.
    pub(crate) token: u8,
    pub(crate) is_leased: bool,
    /// A claim ended without a word.
    pub(crate) is_unreleased: bool,
    /// An attempt whose task has ended may still change the app.
    pub(crate) is_unsettled: bool,
    /// Doubts, by the number of snapshots begun before they arose.
    pub(crate) removed_by_hand: Option<u8>,
    pub(crate) admitted_by_hand: Option<u8>,
    pub(crate) removal_tried: Option<u8>,
    pub(crate) admission_tried: Option<u8>,
    pub(crate) watch: Option<usize>,
    pub(crate) app: Place,
    /// What the backend knows of the app.
    pub(crate) known: Place,
    pub(crate) jobs: Vec<Job>,
    pub(crate) workers: [Worker; 2],
    pub(crate) sync: Option<Sync>,
    pub(crate) snapshots: u8,
    /// Somebody was told that a removed member is there.
    pub(crate) was_told: bool,
    /// Troubles and changes of mind that may still come.
    pub(crate) troubles: u8,
    pub(crate) broken: Option<&'static str>,
}

/// A minute of the model, as a time.
fn at(minute: u8) -> DateTime<Utc> {
    DateTime::from_timestamp(i64::from(minute) * 60, 0).expect("a time of this century")
}

/// The number of a request, as the id of its task.
pub(crate) fn id(request: usize) -> i64 {
    i64::try_from(request).expect("few requests") + 1
}

fn number(id: i64) -> usize {
    usize::try_from(id - 1).expect("an id of the model")
}

impl State {
    pub(crate) fn new(requests: Vec<Request>, app: Place, troubles: u8) -> Self {
        Self {
            left_out: None,
            requests,
            arrivals: Vec::new(),
            head: None,
            blocked: Vec::new(),
            action: None,
            running: None,
            uncertain: None,
            token: 0,
            is_leased: false,
            is_unreleased: false,
            is_unsettled: false,
            removed_by_hand: None,
            admitted_by_hand: None,
            removal_tried: None,
            admission_tried: None,
            watch: None,
            app,
            known: app,
            jobs: Vec::new(),
            workers: [Worker::Idle, Worker::Idle],
            sync: None,
            snapshots: 0,
            was_told: false,
            troubles,
            broken: None,
        }
    }

    pub(crate) fn operation(&self, request: usize) -> Operation {
        self.requests[request].operation
    }

    pub(crate) fn age(&self, request: usize) -> (u8, usize) {
        (self.requests[request].minute, request)
    }

    /// The latest request of an operation that took effect.
    fn latest_done(&self, operation: Operation) -> Option<usize> {
        let all = 0..self.requests.len();
        let is_done = |one: &usize| {
            self.requests[*one].stands == Stands::Done && self.operation(*one) == operation
        };
        all.filter(is_done).max_by_key(|one| self.age(*one))
    }

    fn request(&self, request: usize) -> (i64, DateTime<Utc>) {
        (id(request), at(self.requests[request].minute))
    }

    /// The later request that took effect while this one waited.
    pub(crate) fn overtaken_by(&self, request: usize) -> Option<usize> {
        let latest = |operation| self.latest_done(operation).map(|one| self.request(one));
        let effects =
            Effects { invite: latest(Operation::Invite), role: latest(Operation::ChangeRole) };
        effects.over(self.operation(request), self.request(request)).map(number)
    }

    fn is_in_flight(&self) -> bool {
        self.is_leased || self.is_unreleased || self.running.is_some() || self.uncertain.is_some()
    }

    fn intent(&self, request: usize) -> Option<Intent> {
        let Request { operation, elsewhere, superseded_by, stands, .. } = self.requests[request];
        let standing = match stands {
            Stands::Unborn => return None,
            Stands::Pending if self.arrivals.contains(&request) && elsewhere => Standing::Effective,
            Stands::Pending if self.arrivals.contains(&request) => Standing::Arrived,
            Stands::Pending if self.head != Some(request) => Standing::Blocked,
            Stands::Pending if self.is_in_flight() => {
                Standing::InFlight { superseded_by: superseded_by.map(id) }
            }
            Stands::Pending => Standing::Ready,
            Stands::WithAPerson if self.left_out == Some(LeftOut::Waiting) => Standing::Effective,
            Stands::WithAPerson => Standing::Action(id(request)),
            Stands::Done => Standing::Effective,
            Stands::Superseded | Stands::Dismissed => Standing::Void,
        };
        Some(Intent {
            task: id(request),
            operation,
            requested_at: self.request(request).1,
            standing,
        })
    }

    /// Gives everything that arrived its place, as intake does.
    pub(crate) fn order_arrivals(&mut self) {
        let intents: Vec<_> = (0..self.requests.len()).filter_map(|one| self.intent(one)).collect();
        let Order { closed, marked, ended_actions, blocked, ready } = order(&intents);
        for arrived in std::mem::take(&mut self.arrivals) {
            if self.requests[arrived].elsewhere {
                self.requests[arrived].stands = Stands::Done;
                self.watch_after_success(arrived);
            }
        }
        for loser in closed {
            let loser = number(loser.task);
            if self.requests[loser].attempts > 0 {
                self.remember_tried(loser);
            }
            self.requests[loser].stands = Stands::Superseded;
        }
        for loser in marked {
            self.requests[number(loser.task)].superseded_by = Some(number(loser.by));
        }
        for (action, _) in ended_actions {
            self.end_action(Stands::Superseded);
            debug_assert_eq!(self.requests[number(action)].stands, Stands::Superseded);
        }
        let head = ready.map(number);
        self.blocked = blocked.into_iter().map(number).collect();
        if self.head.is_none() || head != self.head {
            self.head = None;
            self.blocked.splice(0..0, head);
        }
        self.give_turn();
    }

    pub(crate) fn give_turn(&mut self) {
        if self.left_out == Some(LeftOut::Turns) && !self.jobs.is_empty() {
            return;
        }
        if self.head.is_none() && self.action.is_none() && !self.blocked.is_empty() {
            self.head = Some(self.blocked.remove(0));
        }
    }

    /// A removal or an invitation that took effect is watched, in place of what is older.
    pub(crate) fn watch_after_success(&mut self, request: usize) {
        let is_latest = self.watch.is_none_or(|one| self.age(one) < self.age(request));
        if is_latest && self.left_out != Some(LeftOut::Watches) {
            self.watch = (self.operation(request) == Operation::Remove).then_some(request);
        }
    }

    /// What an attempt whose task ended without success may have changed.
    pub(crate) fn remember_tried(&mut self, request: usize) {
        match self.operation(request) {
            Operation::Remove => self.removal_tried = Some(self.snapshots),
            Operation::Invite | Operation::ChangeRole => {
                self.admission_tried = Some(self.snapshots)
            }
        }
    }

    /// Ends the action, and says what that leaves of its member.
    pub(crate) fn end_action(&mut self, stands: Stands) {
        let Some(action) = self.action.take() else { return };
        self.requests[action.request].stands = stands;
        if stands == Stands::Done {
            self.watch_after_success(action.request);
            return;
        }
        match self.operation(action.request) {
            Operation::Remove => self.removed_by_hand = Some(self.snapshots),
            Operation::Invite | Operation::ChangeRole => {
                self.admitted_by_hand = Some(self.snapshots)
            }
        }
    }

    /// Changes the app as an operation does.
    pub(crate) fn change(&self, place: Place, operation: Operation) -> Place {
        match operation {
            Operation::Remove => None,
            Operation::Invite => place.or(Some(Operation::Invite)),
            Operation::ChangeRole => place.map(|_| Operation::ChangeRole),
        }
    }

    /// Numbers the claims anew: which one is the latest is all that matters of them.
    pub(crate) fn forget_old_claims(&mut self) {
        let held = self.workers.iter().filter_map(Worker::token);
        let known: BTreeSet<_> = held.chain([self.token]).collect();
        let anew = |token: u8| known.range(..token).count();
        let anew = |token| u8::try_from(anew(token)).expect("few claims");
        self.token = anew(self.token);
        for worker in &mut self.workers {
            match worker {
                Worker::Idle => {}
                Worker::Claimed(claim) => claim.token = anew(claim.token),
                Worker::Holds(token, ..) => *token = anew(*token),
            }
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        let ended = |one: &Request| {
            matches!(one.stands, Stands::Done | Stands::Superseded | Stands::Dismissed)
        };
        self.requests.iter().all(ended)
            && self.workers.iter().all(|worker| *worker == Worker::Idle)
            && self.action.is_none()
            && self.sync.is_none()
            && !self.jobs.iter().any(|job| matches!(job.runs, Runs::Running | Runs::Overlong))
    }
}
