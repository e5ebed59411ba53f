//! What people do, and the snapshots that judge it.

use cerby_reconciler::backend::{Gap, Snapshot};
use cerby_reconciler::manual_action::status::{ActionEnd, ActionStatus};
use cerby_reconciler::membership::{Observation, Operation};
use cerby_reconciler::sync::verdict::{Sightings, Verdict, judge};
use cerby_reconciler::sync::watch::{self, after_snapshot};

use crate::state::{Action, LeftOut, Read, Stands, State, Sync};
use crate::steps::{desired, seen};

impl State {
    pub(crate) fn open_action(&mut self, request: usize) {
        self.requests[request].stands = Stands::WithAPerson;
        self.action = Some(Action { request, done_at: None, was_done: false });
    }

    /// A person makes the change in the app.
    pub(crate) fn person_does(&mut self) {
        let Some(action) = self.action else { return };
        self.app = self.change(self.app, self.operation(action.request));
        self.action = Some(Action { was_done: true, ..action });
    }

    pub(crate) fn person_says(&mut self, is_done: bool) {
        if let Some(action) = &mut self.action {
            action.done_at = is_done.then_some(self.snapshots);
        }
    }

    pub(crate) fn person_dismisses(&mut self) {
        self.end_action(Stands::Dismissed);
        self.give_turn();
    }

    /// Sends the request back to automation, with all its attempts, in its place among those that wait.
    pub(crate) fn person_returns(&mut self) {
        let Some(Action { request, .. }) = self.action else { return };
        self.end_action(Stands::Pending);
        self.requests[request].attempts = 0;
        self.requests[request].returned = true;
        self.blocked.push(request);
        let ages: Vec<_> = (0..self.requests.len()).map(|one| self.age(one)).collect();
        self.blocked.sort_by_key(|one| ages[*one]);
        self.give_turn();
    }

    pub(crate) fn start_sync(&mut self) {
        self.snapshots += 1;
        self.sync = Some(Sync { number: self.snapshots, read: None });
    }

    pub(crate) fn read(&mut self, is_cut: bool) {
        if let Some(sync) = &mut self.sync {
            let shown = if is_cut { None } else { self.app };
            sync.read = Some(Read { shown, truth: self.app, has_gap: is_cut });
        }
    }

    /// Judges the action and the watch by what was read.
    pub(crate) fn judge(&mut self) {
        let Some(Sync { number, read: Some(read) }) = self.sync.take() else { return };
        let is_told = read.has_gap && self.left_out != Some(LeftOut::Gaps);
        let gaps = if is_told { vec![Gap::Shrunk] } else { Vec::new() };
        let members = seen(read.shown).into_iter().collect();
        let snapshot = Snapshot { members, gaps, ..Snapshot::default() };
        let sightings = Sightings::new(&snapshot);
        self.judge_action(number, &read, &sightings);
        self.judge_watch(&read, &sightings);
        if !read.has_gap {
            self.known = read.shown;
        }
        // Doubts from before it began are over.
        for doubt in [
            &mut self.removed_by_hand,
            &mut self.admitted_by_hand,
            &mut self.removal_tried,
            &mut self.admission_tried,
        ] {
            *doubt = doubt.filter(|at| *at >= number);
        }
        self.give_turn();
    }

    fn judge_action(&mut self, number: u8, read: &Read, sightings: &Sightings<'_>) {
        let Some(action) = self.action else { return };
        let desired = desired(self, action.request);
        let verdict = judge(&desired, sightings, true).verdict;
        let is_judged_as_done = action.done_at.is_some_and(|at| at < number);
        let status = match (action.done_at.is_some(), verdict) {
            (true, _) if !is_judged_as_done => return,
            (true, Verdict::Confirmed) => ActionStatus::Verified,
            (false, Verdict::Confirmed) => ActionStatus::NotNeeded,
            (true, Verdict::Contradicted) => ActionStatus::Open,
            _ => return,
        };
        let Some(end) = ActionEnd::of(status) else {
            self.action = Some(Action { done_at: None, ..action });
            return;
        };
        if desired.compare(seen(read.truth).as_ref()) != Observation::AsDesired {
            self.broken = Some("verified implies the change");
        }
        debug_assert!(end.took_effect);
        self.end_action(Stands::Done);
    }

    fn judge_watch(&mut self, read: &Read, sightings: &Sightings<'_>) {
        let Some(watched) = self.watch else { return };
        let is_busy = self.head.is_some() || self.action.is_some() || !self.blocked.is_empty();
        let sighting = sightings.of(&desired(self, watched).identity());
        let outcome = after_snapshot(Operation::Remove, &sighting, true, false);
        if outcome == Some(watch::WatchResult::Returned) && !is_busy {
            debug_assert!(read.truth.is_some());
            self.watch = None;
            self.was_told = true;
            self.open_action(watched);
        }
    }
}
