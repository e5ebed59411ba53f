//! Every order of events of one member, not a random one: three requests that come in any order, two workers with leases,
//! lost replies and crashes, jobs that take effect late or although they failed, a person who does, says, withdraws,
//! dismisses and sends back, and snapshots. What is decided is decided by the daemon's own pure functions.

mod people;
mod state;
mod steps;

use cerby_reconciler::membership::Operation;
use state::{LeftOut, Request, Runs, Stands, State, Worker};
use stateright::{Checker, HasDiscoveries, Model, Property};
use steps::Step;

/// The histories that begin in one of these ways, up to a length.
struct OneMember {
    starts: Vec<State>,
    /// Snapshots of one history.
    snapshots: u8,
    /// Jobs that we start in one history.
    jobs: usize,
}

impl Model for OneMember {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        self.starts.clone()
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.broken.is_some() {
            return;
        }
        let unborn = state.requests.iter().position(|one| one.stands == Stands::Unborn);
        steps.extend(unborn.map(Step::Arrive));
        if !state.arrivals.is_empty() {
            steps.push(Step::Order);
        }
        of_workers(state, steps);
        of_jobs(state, steps);
        of_people(state, steps);
        of_syncs(state, self.snapshots, steps);
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        if is_trouble(step) {
            state.troubles -= 1;
        }
        take(&mut state, step);
        state.forget_old_claims();
        (state != *before && state.jobs.len() <= self.jobs).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("decisions keep their rules", |_, state: &State| {
                state.broken.is_none()
            }),
            Property::always("no second attempt is in flight", |_, state: &State| {
                let runs = |job: &&state::Job| matches!(job.runs, Runs::Running | Runs::Overlong);
                state.jobs.iter().filter(runs).count() <= 1
            }),
            Property::always("a later removal has the last word", |_, state: &State| {
                !state.is_over() || removal_had_the_last_word(state)
            }),
            Property::always(
                "no removal makes way for what came to nothing",
                |_, state: &State| !state.is_over() || no_removal_was_lost(state),
            ),
            Property::always("everything can end", |model, state: &State| {
                let mut steps = Vec::new();
                model.actions(state, &mut steps);
                state.is_over() || state.broken.is_some() || !steps.is_empty()
            }),
            Property::sometimes("all is over", |_, state: &State| state.is_over()),
        ]
    }
}

fn of_workers(state: &State, steps: &mut Vec<Step>) {
    let may_trouble = state.troubles > 0;
    for (number, worker) in state.workers.iter().enumerate() {
        match worker {
            // Workers are alike: the first that is idle.
            Worker::Idle
                if state.may_claim()
                    && !steps.iter().any(|step| matches!(step, Step::Claim(_))) =>
            {
                steps.push(Step::Claim(number));
            }
            Worker::Idle => {}
            // Nothing is asked for once too little of the lease is left.
            Worker::Claimed(claim) if claim.token == state.token && state.is_leased => {
                steps.push(Step::Work(number));
                if may_trouble {
                    steps.extend([Step::WorkAndLoseTheReply(number), Step::Crash(number)]);
                }
            }
            Worker::Claimed(_) => steps.push(Step::Record(number)),
            Worker::Holds(..) => {
                steps.push(Step::Record(number));
                if may_trouble && state.is_leased {
                    steps.push(Step::Crash(number));
                }
            }
        }
    }
    if state.is_leased && may_trouble {
        steps.push(Step::LeaseEnds);
    }
}

fn of_jobs(state: &State, steps: &mut Vec<Step>) {
    for (job, one) in state.jobs.iter().enumerate() {
        if matches!(one.runs, Runs::Running | Runs::Overlong) {
            steps.push(Step::JobEnds { job, works: true, says_so: true });
            steps.push(Step::JobEnds { job, works: false, says_so: false });
            if state.troubles > 0 {
                steps.push(Step::JobEnds { job, works: true, says_so: false });
            }
        }
        if one.runs == Runs::Running && state.running == Some(job) && state.troubles > 0 {
            steps.push(Step::JobRunsOn(job));
        }
    }
    let waits = state.is_unsettled || state.uncertain == Some(state::Uncertain::Fresh);
    if waits && (!state.is_any_unseen() || state.left_out == Some(LeftOut::Settling)) {
        steps.push(Step::Settle);
    }
}

fn of_people(state: &State, steps: &mut Vec<Step>) {
    let Some(action) = state.action else { return };
    let may_change_mind = state.troubles > 0;
    if !action.was_done {
        steps.push(Step::PersonDoes);
    }
    match action.done_at {
        None => {
            // A lie is a trouble.
            if action.was_done || may_change_mind {
                steps.push(Step::PersonSaysDone);
            }
            if may_change_mind {
                steps.push(Step::PersonReturns);
            }
        }
        Some(_) if may_change_mind => steps.push(Step::PersonWithdraws),
        Some(_) => {}
    }
    steps.push(Step::PersonDismisses);
}

fn of_syncs(state: &State, most: u8, steps: &mut Vec<Step>) {
    let is_asked_for =
        state.action.is_some_and(|action| action.done_at.is_some()) || state.watch.is_some();
    match state.sync {
        None if is_asked_for && state.snapshots < most => steps.push(Step::SyncStarts),
        None => {}
        Some(sync) if sync.read.is_none() => {
            steps.push(Step::SyncReads { is_cut: false });
            if state.troubles > 0 {
                steps.push(Step::SyncReads { is_cut: true });
            }
        }
        Some(_) => steps.push(Step::SyncJudges),
    }
}

fn is_trouble(step: Step) -> bool {
    match step {
        Step::WorkAndLoseTheReply(_)
        | Step::Crash(_)
        | Step::LeaseEnds
        | Step::JobRunsOn(_)
        | Step::PersonWithdraws
        | Step::PersonReturns => true,
        Step::JobEnds { works, says_so, .. } => works && !says_so,
        Step::SyncReads { is_cut } => is_cut,
        _ => false,
    }
}

fn take(state: &mut State, step: Step) {
    match step {
        Step::Arrive(request) => {
            state.requests[request].stands = Stands::Pending;
            state.arrivals.push(request);
        }
        Step::Order => state.order_arrivals(),
        Step::Claim(worker) => state.claim(worker),
        Step::Work(worker) => state.work(worker, false),
        Step::WorkAndLoseTheReply(worker) => state.work(worker, true),
        Step::Record(worker) => state.record(worker),
        Step::Crash(worker) => {
            state.workers[worker] = Worker::Idle;
            (state.is_leased, state.is_unreleased) = (false, true);
        }
        Step::LeaseEnds => (state.is_leased, state.is_unreleased) = (false, true),
        Step::JobEnds { job, works, says_so } => state.end_job(job, works, says_so),
        Step::JobRunsOn(job) => state.jobs[job].runs = Runs::Overlong,
        Step::Settle => state.settle(),
        Step::PersonDoes => state.person_does(),
        Step::PersonSaysDone => state.person_says(true),
        Step::PersonWithdraws => state.person_says(false),
        Step::PersonDismisses => state.person_dismisses(),
        Step::PersonReturns => state.person_returns(),
        Step::SyncStarts => state.start_sync(),
        Step::SyncReads { is_cut } => state.read(is_cut),
        Step::SyncJudges => state.judge(),
    }
}

/// Nobody whose latest request is a removal is a member in the end, unless somebody was told, is to be told by a watch, or
/// decided against it.
fn removal_had_the_last_word(state: &State) -> bool {
    let all = 0..state.requests.len();
    let counts = |one: &usize| state.requests[*one].stands != Stands::Dismissed;
    let Some(latest) = all.clone().filter(counts).max_by_key(|one| state.age(*one)) else {
        return true;
    };
    let is_removal = |one: usize| state.operation(one) == Operation::Remove;
    let is_decided_against = all
        .into_iter()
        .any(|one| is_removal(one) && state.requests[one].stands == Stands::Dismissed);
    !is_removal(latest)
        || is_decided_against
        || state.app.is_none()
        || state.was_told
        || state.watch.is_some()
}

/// A removal ends by being seen, by a person's decision, or because of something later that was done.
fn no_removal_was_lost(state: &State) -> bool {
    (0..state.requests.len()).all(|one| {
        let is_lost = state.operation(one) == Operation::Remove
            && state.requests[one].stands == Stands::Superseded;
        let made_way = |later: usize| {
            let request = &state.requests[later];
            state.age(later) > state.age(one)
                && (request.operation == Operation::Remove || request.stands == Stands::Done)
        };
        !is_lost || (0..state.requests.len()).any(made_way)
    })
}

const OPERATIONS: [Operation; 3] = [Operation::Invite, Operation::Remove, Operation::ChangeRole];

/// All histories that begin with so many requests, of any operations, requested in any order, one of them perhaps done elsewhere.
fn starts(requests: usize, troubles: u8) -> Vec<State> {
    let mut starts = Vec::new();
    let orders: &[&[u8]] = match requests {
        2 => &[&[1, 2], &[2, 1], &[1, 1]],
        _ => &[&[1, 2, 3], &[1, 3, 2], &[2, 1, 3], &[2, 3, 1], &[3, 1, 2], &[3, 2, 1], &[1, 1, 1]],
    };
    for minutes in orders {
        for code in 0..OPERATIONS.len().pow(u32::try_from(requests).expect("few")) {
            for elsewhere in 0..=requests {
                let request = |at: usize| Request {
                    operation: OPERATIONS
                        [code / OPERATIONS.len().pow(u32::try_from(at).expect("few")) % 3],
                    minute: minutes[at],
                    elsewhere: at == elsewhere,
                    stands: Stands::Unborn,
                    attempts: 0,
                    superseded_by: None,
                    returned: false,
                };
                let requests: Vec<_> = (0..requests).map(request).collect();
                // A removal is of somebody who is there, an invitation of somebody who is not.
                let app = (requests[0].operation != Operation::Invite).then_some(Operation::Invite);
                starts.push(State::new(requests, app, troubles));
            }
        }
    }
    starts
}

/// Looks at every state that can be reached, and says how many there are.
fn check(model: OneMember) {
    let begun = model.starts.len();
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!("{} states of {begun} beginnings", checker.unique_state_count());
    checker.assert_properties();
}

/// Histories of the usual length, or with `MODEL=full` of twice that: `make model`.
fn histories(starts: Vec<State>) -> OneMember {
    match std::env::var("MODEL").as_deref() {
        Ok("full") => OneMember { starts, snapshots: 2, jobs: 4 },
        _ => OneMember { starts, snapshots: 1, jobs: 3 },
    }
}

#[test]
fn no_order_of_events_of_two_requests_with_a_trouble_breaks_a_rule() {
    check(histories(starts(2, 1)));
}

#[test]
fn no_order_of_events_of_three_requests_breaks_a_rule() {
    check(histories(starts(3, 0)));
}

/// Where a rule is left out, the property that it keeps is seen to fail.
#[test]
fn each_property_fails_where_its_rule_is_left_out() {
    let table = [
        (LeftOut::Settling, "no second attempt is in flight"),
        (LeftOut::Gaps, "decisions keep their rules"),
        (LeftOut::Evidence, "decisions keep their rules"),
        (LeftOut::Waiting, "no removal makes way for what came to nothing"),
        (LeftOut::Watches, "a later removal has the last word"),
        (LeftOut::Turns, "everything can end"),
    ];
    for (left_out, property) in table {
        let starts =
            starts(2, 1).into_iter().map(|state| State { left_out: Some(left_out), ..state });
        let model = OneMember { starts: starts.collect(), snapshots: 2, jobs: 4 };
        let checker =
            model.checker().threads(2).finish_when(HasDiscoveries::AnyOf([property].into()));
        let checker = checker.spawn_bfs().join();
        assert!(checker.discovery(property).is_some(), "{left_out:?} breaks nothing");
    }
}
