//! Outages of the backend: workspaces and apps for which it gives no usable answer.
//!
//! Without a limit, every waiting task would send requests and write log lines during an outage. So the tasks of such a
//! workspace or app back off: nothing starts for a while, twice as long each time. When the backoff ends, one step goes
//! first as a probe, and each usable answer then lets two more steps through. Each replica detects an outage by itself
//! and shares it: one replica of the fleet probes and logs, and the others follow it.
//!
//! The scope follows from the requests that failed. The workspace is in an outage if requests about two apps failed in
//! a row, or if the error can only concern the connection or the key. An app is in an outage if requests about the app
//! itself or about many of its members failed. A single member is no outage; the caller limits how long it asks about
//! one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::BackendError;
use crate::emit;
use crate::telemetry::chain;

mod request;
mod rest;

use request::Streak;
pub(super) use request::{About, Ended, Subject};
use rest::{OutageLine, Rest};

/// How many workspaces and apps are probed in one round at most.
const PROBES_AT_ONCE: usize = 4;

/// A workspace, or one of its apps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    pub workspace: String,
    /// The app; `None` for the whole workspace.
    pub integration: Option<String>,
}

impl Scope {
    /// Its name in statements. The name of a workspace has no slash, so this is unambiguous.
    pub fn key(&self) -> String {
        match &self.integration {
            Some(app) => format!("{}/{app}", self.workspace),
            None => self.workspace.clone(),
        }
    }
}

/// A backoff that ends: how many steps may start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub scope: Scope,
    pub room: u32,
}

#[derive(Debug, Default)]
struct App {
    streak: Streak,
    /// The same for changes alone: an answer to a read does not end it.
    changes: Streak,
    rest: Option<Rest>,
    /// Whether the rejected key was logged since the app last answered.
    told_refusal: bool,
}

#[derive(Debug, Default)]
struct Workspace {
    streak: Streak,
    /// The apps that the streak is about, two at most.
    failing: BTreeSet<String>,
    rest: Option<Rest>,
    apps: HashMap<String, App>,
}

/// What is known of every workspace without a usable answer.
#[derive(Debug)]
pub(super) struct OutageTracker {
    after: u32,
    longest: Duration,
    remind: Duration,
    by_workspace: Mutex<HashMap<String, Workspace>>,
    /// Outages of other replicas, which probe them.
    of_others: Mutex<HashSet<Scope>>,
    /// Where the next round begins, if more backoffs end at a time than are probed. Not all of them have work to do, so
    /// each round takes others.
    turn: AtomicUsize,
}

impl OutageTracker {
    pub(super) fn new(after: u32, longest: Duration, remind: Duration) -> Self {
        let (by_workspace, of_others, turn) = Default::default();
        Self { after, longest, remind, by_workspace, of_others, turn }
    }

    /// Records how a request ended.
    pub(super) fn note(&self, ended: &Ended<'_>, now: Instant) {
        let mut all = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        match ended.error.filter(|error| !error.is_usable()) {
            None => {
                let Some(workspace) = all.get_mut(ended.of.workspace) else { return };
                workspace.succeed(ended, now);
                if workspace.is_well() {
                    all.remove(ended.of.workspace);
                }
            }
            Some(error) => {
                all.entry(ended.of.workspace.to_owned()).or_default().fail(self, ended, error, now);
            }
        }
    }

    /// The scopes for which nothing may start, unless it is let through at the end of the backoff.
    pub(super) fn unavailable(&self) -> Vec<Scope> {
        let here = self.rests(Instant::now()).into_iter().map(|opening| opening.scope);
        here.chain(self.of_others().iter().cloned()).collect()
    }

    /// The outages that this replica detected and that have had no usable answer since.
    pub(super) fn found(&self) -> Vec<Scope> {
        let all = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(name, workspace): (&String, &Workspace)| {
            let silent = workspace.rests().filter(|(_, rest)| rest.answers == 0);
            let scope = |integration: Option<&String>| Scope {
                workspace: name.clone(),
                integration: integration.cloned(),
            };
            silent.map(|(app, _)| scope(app)).collect::<Vec<_>>()
        };
        all.iter().flat_map(of).collect()
    }

    /// Logs the outages of this replica, and starts or ends those of other replicas.
    pub(super) fn go_by(&self, ours: &[Scope], others: HashSet<Scope>, now: Instant) {
        let mut all = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        for scope in ours {
            let rest = all.get_mut(&scope.workspace).and_then(|one| one.rest_of(scope));
            if let Some(line) = rest.and_then(|rest| rest.line.take()) {
                line.say();
            }
        }
        for scope in &others {
            if let Some(workspace) = all.get_mut(&scope.workspace) {
                workspace.forget(scope);
            }
        }
        let mut known = self.of_others.lock().unwrap_or_else(PoisonError::into_inner);
        for scope in known.difference(&others).filter(|scope| !ours.contains(scope)) {
            let workspace = all.entry(scope.workspace.clone()).or_default();
            workspace.end_rest(scope, now, self.longest);
        }
        *known = others;
    }

    fn of_others(&self) -> MutexGuard<'_, HashSet<Scope>> {
        self.of_others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_told_by_others(&self, workspace: &str, integration: &str) -> bool {
        let others = self.of_others();
        let is_one = |integration: Option<&str>| {
            let integration = integration.map(str::to_owned);
            others.contains(&Scope { workspace: workspace.to_owned(), integration })
        };
        !others.is_empty() && (is_one(None) || is_one(Some(integration)))
    }

    /// Backoffs that end now; if there are many, each call returns others.
    pub(super) fn openings(&self, now: Instant) -> Vec<Opening> {
        let rests = self.rests(now).into_iter();
        let mut open: Vec<_> = rests.filter(|opening| opening.room > 0).collect();
        if open.len() > PROBES_AT_ONCE {
            open.sort_by(|one, other| one.scope.cmp(&other.scope));
            let turn = self.turn.fetch_add(PROBES_AT_ONCE, Ordering::Relaxed) % open.len();
            open.rotate_left(turn);
            open.truncate(PROBES_AT_ONCE);
        }
        open
    }

    /// Records how many steps start for a backoff that ends.
    pub(super) fn let_through(&self, scope: &Scope, steps: u32, now: Instant) {
        let mut all = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workspace) = all.get_mut(&scope.workspace)
            && let Some(rest) = workspace.rest_of(scope)
        {
            rest.let_through(steps, now, self.longest);
        }
    }

    /// Whether an app is paused by a backoff: a claim that was made before the backoff began is better handed back.
    pub(super) fn pauses(&self, workspace: &str, integration: &str, now: Instant) -> bool {
        if self.is_told_by_others(workspace, integration) {
            return true;
        }
        let all = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(workspace) = all.get(workspace) else { return false };
        let app = workspace.apps.get(integration).and_then(|app| app.rest.as_ref());
        let mut rests = workspace.rest.iter().chain(app);
        rests.any(|rest| !rest.is_probing && rest.until > now)
    }

    /// Whether an app or its workspace is in an outage and has had no usable answer since.
    pub(super) fn is_down(&self, workspace: &str, integration: &str) -> bool {
        if self.is_told_by_others(workspace, integration) {
            return true;
        }
        let all = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(workspace) = all.get(workspace) else { return false };
        let app = workspace.apps.get(integration).and_then(|app| app.rest.as_ref());
        workspace.rest.iter().chain(app).any(|rest| rest.answers == 0)
    }

    fn rests(&self, now: Instant) -> Vec<Opening> {
        let all = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(name, workspace): (&String, &Workspace)| {
            let rests = workspace.rests().map(|(app, rest)| {
                let scope = Scope { workspace: name.clone(), integration: app.cloned() };
                Opening { scope, room: rest.room(now) }
            });
            rests.collect::<Vec<_>>()
        };
        all.iter().flat_map(of).collect()
    }
}

impl Workspace {
    fn is_well(&self) -> bool {
        self.rest.is_none() && self.apps.is_empty()
    }

    /// The backoff of the workspace, and those of its apps.
    fn rests(&self) -> impl Iterator<Item = (Option<&String>, &Rest)> {
        let apps = self.apps.iter().map(|(name, app)| (Some(name), &app.rest));
        let all = apps.chain([(None, &self.rest)]);
        all.filter_map(|(app, rest)| rest.as_ref().map(|rest| (app, rest)))
    }

    fn rest_of(&mut self, scope: &Scope) -> Option<&mut Rest> {
        match &scope.integration {
            None => self.rest.as_mut(),
            Some(app) => self.apps.get_mut(app)?.rest.as_mut(),
        }
    }

    /// An outage of another replica ended: the ramp begins, unless this replica has detected an outage itself.
    fn end_rest(&mut self, scope: &Scope, now: Instant, longest: Duration) {
        let rest = match &scope.integration {
            None => &mut self.rest,
            Some(app) => &mut self.apps.entry(app.clone()).or_default().rest,
        };
        rest.get_or_insert_with(|| Rest::end(now, longest));
    }

    /// Forgets what this replica detected, because another replica owns the outage.
    fn forget(&mut self, scope: &Scope) {
        self.streak = Streak::default();
        self.failing.clear();
        match &scope.integration {
            None => (self.rest, self.apps) = Default::default(),
            Some(app) => drop(self.apps.remove(app)),
        }
    }

    fn succeed(&mut self, ended: &Ended<'_>, now: Instant) {
        self.streak = Streak::default();
        self.failing.clear();
        if let Some(rest) = &mut self.rest {
            log_answer(ended.of.workspace, None, rest, now);
            if rest.succeed() {
                self.rest = None;
            }
        }
        if matches!(ended.of.about, About::Existence | About::Job(_)) {
            return;
        }
        let Some(name) = ended.of.integration else { return };
        let Some(app) = self.apps.get_mut(name) else { return };
        app.streak = Streak::default();
        if matches!(ended.of.about, About::Change(_)) || app.changes.count == 0 {
            (app.changes, app.told_refusal) = (Streak::default(), false);
        }
        if let Some(rest) = &mut app.rest {
            log_answer(ended.of.workspace, Some(name), rest, now);
            if rest.succeed() {
                app.rest = None;
            }
        }
        if app.rest.is_none() && app.changes.count == 0 {
            self.apps.remove(name);
        }
    }

    fn fail(&mut self, of: &OutageTracker, ended: &Ended<'_>, error: &BackendError, now: Instant) {
        self.streak.add(ended.of.about, of.after);
        if let Some(name) = ended.of.integration {
            self.fail_app(of, name, ended, error, now);
            if self.failing.len() < 2 {
                self.failing.insert(name.to_owned());
            }
        }
        let is_long = self.streak.count >= of.after;
        let is_all = match self.failing.len() {
            0 => self.streak.is_outage(of.after),
            1 => is_long && error.is_connection_or_key(),
            _ => is_long,
        };
        let told = Told { ended, error, app: None, unanswered: self.streak.count };
        rest(&mut self.rest, is_all, of, &told, now);
        if self.rest.is_some() {
            // The whole workspace backs off now, so its apps need no backoff of their own.
            self.apps.values_mut().for_each(|app| app.rest = None);
        }
    }

    fn fail_app(
        &mut self,
        of: &OutageTracker,
        name: &str,
        ended: &Ended<'_>,
        error: &BackendError,
        now: Instant,
    ) {
        let app = self.apps.entry(name.to_owned()).or_default();
        match ended.of.about {
            About::Change(_) => app.changes.add(ended.of.about, of.after),
            about => app.streak.add(about, of.after),
        }
        let streaks = [&app.streak, &app.changes];
        let is_outage = streaks.iter().any(|streak| streak.is_outage(of.after));
        let unanswered = streaks.map(|streak| streak.count).into_iter().max().unwrap_or_default();
        if let BackendError::KeyRejected { status } = error
            && !app.told_refusal
            && self.rest.is_none()
        {
            app.told_refusal = true;
            emit!(
                BACKEND_KEY_REJECTED,
                workspace.id = ended.of.workspace,
                integration.id = name,
                status,
                host = ended.host,
                "The backend rejected the API key ({status})"
            );
        }
        // If the whole workspace may be affected, it backs off instead of each of its apps.
        let other = self.failing.iter().any(|one| one != name);
        let is_all = self.rest.is_some() || other || error.is_connection_or_key();
        if is_outage && !is_all || app.rest.is_some() {
            let told = Told { ended, error, app: Some(name), unanswered };
            rest(&mut app.rest, is_outage, of, &told, now);
        }
    }
}

struct Told<'a> {
    ended: &'a Ended<'a>,
    error: &'a BackendError,
    app: Option<&'a str>,
    unanswered: u32,
}

/// Begins a backoff or makes it longer, and prepares its log line: at the beginning, and at intervals while it goes on.
fn rest(
    rest: &mut Option<Rest>,
    is_outage: bool,
    of: &OutageTracker,
    told: &Told<'_>,
    now: Instant,
) {
    match rest {
        None if is_outage => {
            let begun = rest.insert(Rest::begin(now, of.longest));
            begun.line = Some(told.line(begun));
        }
        None => {}
        Some(known) => {
            known.fail(is_outage, now, of.longest);
            if now.saturating_duration_since(known.told_at) >= of.remind {
                known.told_at = now;
                known.line = Some(told.line(known));
            }
        }
    }
}

impl Told<'_> {
    fn line(&self, rest: &Rest) -> OutageLine {
        OutageLine {
            workspace: self.ended.of.workspace.to_owned(),
            app: self.app.map(str::to_owned),
            unanswered: self.unanswered,
            status: self.ended.status,
            host: self.ended.host.to_owned(),
            cause: chain(self.error).to_string(),
            outage_s: rest.told_at.saturating_duration_since(rest.since).as_secs(),
        }
    }
}

fn log_answer(workspace: &str, app: Option<&str>, rest: &Rest, now: Instant) {
    if rest.answers == 0 {
        emit!(
            BACKEND_RECOVERED,
            workspace.id = workspace,
            integration.id = app,
            outage_s = now.saturating_duration_since(rest.since).as_secs(),
            "The backend answers again; tasks go on little by little"
        );
    }
}

#[cfg(test)]
mod tests;
