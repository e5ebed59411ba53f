//! The state of the simulator. It needs no timers: before each access, everything that has become due since the last
//! one happens, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::Settings;
use super::chance::Draw;
use super::clock::Clock;
use super::counters::{Counters, MemberKey};
use super::fate::{Fates, Operation, Outcome};
use super::faults::Troubles;
use super::jobs::{Job, JobError, Work};
use super::seen::{Author, Effect, Start};
use super::site::{Change, Report, Site};
use super::world::{Invitation, Member, Place, World};

enum Due {
    End(String),
    Accept(MemberKey),
}

pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) troubles: Troubles,
    pub(super) clock: Clock,
    pub(super) fates: Fates,
    pub(super) counters: Counters,
    pub(super) effects: Vec<Effect>,
    pub(super) starts: Vec<Start>,
    sites: HashMap<Place, Site>,
    people: HashMap<(String, String), Member>,
    jobs: HashMap<String, Job>,
    due: BTreeMap<(Instant, u64), Due>,
    running: HashMap<MemberKey, u64>,
    unended_statuses: HashMap<(MemberKey, Operation), String>,
    /// The latest invitation of each member: an older one is not accepted any more.
    invitations: HashMap<MemberKey, u64>,
    moment: u64,
}

impl State {
    pub(super) fn new(world: World, settings: Settings) -> io::Result<Self> {
        let now = super::now();
        let sites = world.integrations.into_iter();
        let people = world.people.into_iter();
        let mut state = Self {
            troubles: Troubles::new(settings.seed, settings.faults.clone()),
            clock: Clock::default(),
            fates: Fates::new(settings.seed, settings.faults.clone()),
            counters: Counters::default(),
            effects: Vec::new(),
            starts: Vec::new(),
            sites: sites.map(|each| (each.place(), Site::new(each, now))).collect(),
            people: people.map(|(workspace, who)| ((workspace, who.id.clone()), who)).collect(),
            jobs: HashMap::new(),
            due: BTreeMap::new(),
            running: HashMap::new(),
            unended_statuses: HashMap::new(),
            invitations: HashMap::new(),
            moment: 0,
            settings,
        };
        world.members.into_iter().try_for_each(|(place, member)| state.settle(&place, member))?;
        Ok(state)
    }

    fn settle(&mut self, place: &Place, member: Member) -> io::Result<()> {
        let Some(site) = self.sites.get_mut(place) else {
            let text = format!("no integration {} in {}", place.integration, place.workspace);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        site.known.insert(member.id.clone(), member.clone());
        site.real.insert(member.id.clone(), member);
        Ok(())
    }

    pub(super) fn site(&self, place: &Place) -> Option<&Site> {
        self.sites.get(place)
    }

    pub(super) fn site_mut(&mut self, place: &Place) -> Option<&mut Site> {
        self.sites.get_mut(place)
    }

    pub(super) fn forget(&mut self, place: &Place) -> bool {
        self.sites.remove(place).is_some()
    }

    /// The job, unless it belongs to another workspace or its integration is forgotten.
    pub(super) fn job(&self, workspace: &str, id: &str) -> Option<&Job> {
        let job = self.jobs.get(id).filter(|job| job.place.workspace == workspace)?;
        self.sites.contains_key(&job.place).then_some(job)
    }

    /// The running job that also answers another request for a snapshot of this integration, if the integration
    /// coalesces them.
    pub(super) fn coalescing_job(&self, place: &Place) -> Option<&Job> {
        self.site(place).filter(|site| site.integration.coalesces_snapshots)?;
        let mut running = self.jobs.values().filter(|job| job.end.is_none());
        running.find(|job| job.place == *place && job.work.is_snapshot())
    }

    /// The person of the workspace with this id, holding these entitlements.
    pub(super) fn person(
        &self,
        workspace: &str,
        id: &str,
        entitlements: &BTreeSet<String>,
    ) -> Member {
        let known = self.people.get(&(workspace.to_owned(), id.to_owned())).cloned();
        let person = known.unwrap_or_else(|| Member::new(id, &format!("{id}@{workspace}.example")));
        Member { entitlements: entitlements.clone(), ..person }
    }

    /// The person of the workspace with this id: one to invite, or a member of any of its apps.
    pub(super) fn known_person(&self, workspace: &str, id: &str) -> Option<&Member> {
        let to_invite = self.people.get(&(workspace.to_owned(), id.to_owned()));
        let sites = self.sites.iter().filter(|(place, _)| place.workspace == workspace);
        let mut members = sites.filter_map(|(_, site)| site.known.get(id));
        to_invite.or_else(|| members.next())
    }

    /// The next moment in the order of all events.
    pub(super) fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    pub(super) fn set_unended_status(
        &mut self,
        of: (MemberKey, Operation),
        status: Option<String>,
    ) {
        match status {
            Some(status) => self.unended_statuses.insert(of, status),
            None => self.unended_statuses.remove(&of),
        };
    }

    /// Starts a job; `is_heard` tells whether the client receives its id.
    pub(super) fn start(
        &mut self,
        place: &Place,
        work: Work,
        draw: Draw,
        is_heard: bool,
    ) -> String {
        let unheard_ms = self.settings.unheard_job_ms.as_ref().filter(|_| !is_heard);
        let (range, steps) = match work {
            Work::Change { .. } => (unheard_ms.unwrap_or(&self.settings.job_ms), 1),
            Work::Sync { .. } => (&self.settings.sync_ms, 1),
            Work::Check { .. } | Work::Apply { .. } => (&self.settings.sync_ms, 2),
        };
        let takes = Duration::from_millis(draw.within(range)) / steps;
        let number = self.tick().to_string();
        let id = Draw::new(self.settings.seed, &["job", &number]).uuid();
        let job = self.job_of(place, id.clone(), work, takes);
        let job = Job { is_counted: is_heard && job.is_counted, ..job };
        self.note_start(&job, is_heard);
        for jobs in self.admit(job) {
            self.counters.concurrent(jobs);
        }
        id
    }

    /// Starts a job again under its id, without a request; returns whether it could.
    pub(super) fn restart(&mut self, place: &Place, id: &str, work: Work, takes: Duration) -> bool {
        let is_running = self.jobs.get(id).is_some_and(|job| job.end.is_none());
        if is_running || !self.sites.contains_key(place) {
            return false;
        }
        let job = self.job_of(place, id.to_owned(), work, takes);
        self.admit(Job { is_restarted: true, ..job });
        true
    }

    fn note_start(&mut self, job: &Job, is_heard: bool) {
        let Work::Change { operation, changes } = &job.work else {
            return;
        };
        let takes = TimeDelta::from_std(job.takes).unwrap_or_default();
        let ends_at = (!job.work.never_ends()).then(|| job.created_at + takes);
        self.starts.extend(changes.iter().map(|(member, _)| Start {
            at: job.created_at,
            ends_at,
            place: job.place.clone(),
            member: member.id.clone(),
            operation: *operation,
            entitlements: member.entitlements.clone(),
            job: job.id.clone(),
            is_heard,
        }));
    }

    fn job_of(&self, place: &Place, id: String, work: Work, takes: Duration) -> Job {
        Job {
            id,
            place: place.clone(),
            created: Instant::now(),
            created_at: super::now(),
            takes,
            naive: self.jobs.len() % 2 == 1,
            is_restarted: false,
            unended_status: self.unended_status(place, &work),
            is_counted: !work.never_ends(),
            work,
            end: None,
        }
    }

    fn unended_status(&self, place: &Place, work: &Work) -> Option<String> {
        let Work::Change { operation, changes } = work else {
            return None;
        };
        let mut keys = changes.iter().map(|(member, _)| (place.clone(), member.id.clone()));
        keys.find_map(|key| self.unended_statuses.get(&(key, *operation))).cloned()
    }

    /// Lets the job run; returns for each of its members how many jobs run now.
    fn admit(&mut self, job: Job) -> Vec<u64> {
        let moment = self.tick();
        if !job.work.never_ends() {
            self.due.insert((job.created + job.takes, moment), Due::End(job.id.clone()));
        }
        let members = job.work.members().filter(|_| job.is_counted);
        let counts = members.map(|member| {
            let running = self.running.entry((job.place.clone(), member.to_owned())).or_default();
            *running += 1;
            *running
        });
        let counts = counts.collect();
        self.jobs.insert(job.id.clone(), job);
        counts
    }

    fn count_end(&mut self, job: &Job) {
        for member in job.work.members().filter(|_| job.is_counted) {
            let key = (job.place.clone(), member.to_owned());
            if let Some(running) = self.running.get_mut(&key) {
                *running -= 1;
            }
        }
    }

    /// Makes everything happen that is due by now.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, moment), due) = entry.remove_entry();
            match due {
                Due::End(job) => self.end(&job, at),
                Due::Accept(key) => self.accept(&key, moment),
            }
        }
    }

    fn accept(&mut self, key: &MemberKey, invitation: u64) {
        let is_latest = self.invitations.get(key) == Some(&invitation);
        let member = self.sites.get_mut(&key.0).and_then(|site| site.real.get_mut(&key.1));
        if let Some(member) = member.filter(|_| is_latest)
            && member.invitation == Some(Invitation::Pending)
        {
            member.invitation = None;
        }
    }

    fn end(&mut self, id: &str, at: Instant) {
        let Some(job) = self.jobs.get(id).cloned() else {
            return;
        };
        self.count_end(&job);
        let end = match &job.work {
            Work::Change { operation, changes } => {
                self.end_changes(&job.place, *operation, changes, at)
            }
            Work::Sync { snapshot, outcome } => {
                self.finish(&job.place, outcome, |site| site.import(snapshot))
            }
            Work::Check { snapshot, outcome } => self.finish(&job.place, outcome, |site| {
                site.report = Some(Report {
                    id: Draw::new(0, &["report", &job.id]).uuid(),
                    created_at: job.created_at,
                    naive: job.naive,
                    snapshot: snapshot.clone(),
                    differences: site.differences(snapshot),
                    is_applied: false,
                    apply_job: None,
                });
            }),
            Work::Apply { report, outcome } => self.end_apply(&job.place, report, outcome),
        };
        if let Some(job) = self.jobs.get_mut(id) {
            job.end = Some(end);
            job.work.forget_snapshot();
        }
    }

    fn finish(
        &mut self,
        place: &Place,
        outcome: &Outcome,
        effect: impl FnOnce(&mut Site),
    ) -> Result<(), JobError> {
        if let Some(site) = self.sites.get_mut(place).filter(|_| outcome.is_done()) {
            effect(site);
        }
        JobError::of(outcome).map_or(Ok(()), Err)
    }

    fn end_apply(&mut self, place: &Place, id: &str, outcome: &Outcome) -> Result<(), JobError> {
        let site = self.sites.get_mut(place);
        if let Some(report) = site.and_then(|site| site.report.as_mut()) {
            report.apply_job = None;
        }
        self.finish(place, outcome, |site| {
            let report = site.report.as_mut().filter(|report| report.id == id);
            let snapshot = report.map(|report| {
                report.is_applied = true;
                report.snapshot.clone()
            });
            snapshot.iter().for_each(|snapshot| site.import(snapshot));
        })
    }

    fn end_changes(
        &mut self,
        place: &Place,
        operation: Operation,
        changes: &[(Member, Outcome)],
        at: Instant,
    ) -> Result<(), JobError> {
        let mut errors = Vec::new();
        for (desired, outcome) in changes {
            errors.extend(self.attempt(place, operation, desired, outcome, at));
        }
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    fn attempt(
        &mut self,
        place: &Place,
        operation: Operation,
        desired: &Member,
        outcome: &Outcome,
        at: Instant,
    ) -> Option<JobError> {
        let change = match outcome.is_done() {
            true => self.change(Author::Automation, place, operation, desired, at),
            false => None,
        };
        let moment = self.tick();
        if let Some(site) = self.sites.get_mut(place) {
            site.learn(&desired.id, moment);
        }
        match (operation, change) {
            (Operation::Invite, Some(Change::Already)) => Some(JobError::refused("AlreadyMember")),
            (_, Some(Change::Absent)) => Some(JobError::refused("MemberNotFound")),
            _ => JobError::of(outcome),
        }
    }

    /// Changes the app; `None` without such an integration.
    pub(super) fn change(
        &mut self,
        author: Author,
        place: &Place,
        operation: Operation,
        desired: &Member,
        at: Instant,
    ) -> Option<Change> {
        let site = self.sites.get_mut(place)?;
        let change = match operation {
            Operation::Invite => site.invite(desired),
            Operation::Remove => site.remove(&desired.id),
            Operation::ChangeRole => site.change_role(&desired.id, &desired.entitlements),
        };
        let key = (place.clone(), desired.id.clone());
        if author == Author::Automation {
            self.counters.change(key.clone(), operation, change);
        }
        if change.is_made() {
            self.note_effect(author, &key, operation, &desired.entitlements);
        }
        if change.is_made() && operation == Operation::Invite {
            self.schedule_acceptance(key, at);
        }
        Some(change)
    }

    /// A job that the client did not ask for changes the app, and Cerby knows of it at once.
    pub(super) fn change_elsewhere(
        &mut self,
        place: &Place,
        operation: Operation,
        desired: &Member,
    ) -> bool {
        let change = self.change(Author::Elsewhere, place, operation, desired, Instant::now());
        let moment = self.tick();
        if let Some(site) = self.sites.get_mut(place) {
            site.learn(&desired.id, moment);
        }
        change.is_some_and(Change::is_made)
    }

    /// A person ends a membership and leaves the grants on assets; returns whether there was a membership.
    pub(super) fn leave_assets(&mut self, key: &MemberKey) -> bool {
        let site = self.sites.get_mut(&key.0);
        let Some(left) = site.and_then(|site| site.leave_assets(&key.1)) else {
            return false;
        };
        self.note_effect(Author::Person, key, Operation::Remove, &left);
        true
    }

    fn note_effect(
        &mut self,
        author: Author,
        (place, member): &MemberKey,
        operation: Operation,
        entitlements: &BTreeSet<String>,
    ) {
        self.effects.push(Effect {
            at: super::now(),
            place: place.clone(),
            member: member.clone(),
            operation,
            author,
            entitlements: entitlements.clone(),
        });
    }

    fn schedule_acceptance(&mut self, key: MemberKey, at: Instant) {
        let moment = self.tick();
        self.invitations.insert(key.clone(), moment);
        if let Some(after) = self.settings.invitation_accepted_after {
            self.due.insert((at + after, moment), Due::Accept(key));
        }
    }
}
