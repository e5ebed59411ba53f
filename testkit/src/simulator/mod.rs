//! A Cerby backend with its external apps, over real HTTP.
//!
//! Every app has the members who are really in it and those whom Cerby knows of. The API reads the known ones; jobs and
//! people change the real ones. Syncs, applied reports and the job of a single member update what Cerby knows. Faults
//! are drawn from a seed and the names of what they affect, so that a run can be repeated whatever the order of its
//! requests.

mod bodies;
mod chance;
mod clock;
mod connection;
mod control;
mod counters;
mod fate;
mod faults;
mod gate;
mod hold;
mod http;
mod jobs;
mod seen;
mod shapes;
mod site;
mod state;
mod world;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use clock::{Clock, Stamps};
use connection::{Breaker, Door};
pub use counters::{Counters, Effects, MemberKey};
pub use fate::{Fate, LOGIN_CODES, Operation, PERMANENT_CODES, TRANSIENT_CODES};
pub use faults::{Call, FaultPlan, HttpFault, Injection, RetryAfter};
pub use hold::Held;
use hold::HoldingArea;
use jobs::Work;
pub use seen::{Author, Effect, Start};
use site::Change;
use state::State;
pub use world::{Capabilities, HubRole, Integration, Invitation, Kind, Member, PersonStatus};
pub use world::{Place, World};

/// The settings of a simulator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The same seed gives the same fates, faults and durations.
    pub seed: u64,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long the job of a change takes, in milliseconds.
    pub job_ms: RangeInclusive<u64>,
    /// The same for a job whose start is not reported to the client; `None` for the same time as any other.
    pub unheard_job_ms: Option<RangeInclusive<u64>>,
    /// How long a sync takes, in milliseconds; a check and the apply of its report take half of that each.
    pub sync_ms: RangeInclusive<u64>,
    /// The faults, and how often they occur.
    pub faults: FaultPlan,
    /// After how long an invitation is accepted; `None` for never.
    pub invitation_accepted_after: Option<Duration>,
    /// The most members on one page, at least 1.
    pub page_size_cap: usize,
    /// The required value of the header `X-API-Key`.
    pub api_key: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            job_ms: 0..=0,
            unheard_job_ms: None,
            sync_ms: 0..=0,
            faults: FaultPlan::none(),
            invitation_accepted_after: None,
            page_size_cap: 100,
            api_key: "simulator-key".to_owned(),
        }
    }
}

/// What the simulator and its HTTP handlers share.
#[derive(Clone)]
struct Handle {
    state: Arc<Mutex<State>>,
    stopping: CancellationToken,
    holding: Arc<HoldingArea>,
}

impl Handle {
    /// The state as it is now: everything that is due has happened.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance(Instant::now());
        state
    }

    fn person_changes(&self, place: &Place, operation: Operation, who: &Member) -> Option<Change> {
        self.state().change(Author::Person, place, operation, who, Instant::now())
    }

    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.stopping.run_until_cancelled(future).await
    }
}

/// A running simulator. Dropping it leaves the server running until the runtime ends; [`stop`] ends it in order.
///
/// [`stop`]: Simulator::stop
pub struct Simulator {
    handle: Handle,
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    server: JoinHandle<io::Result<()>>,
}

impl Simulator {
    /// Listens and serves the API. Fails if a member of the world has no integration.
    pub async fn start(world: World, settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::new(world, settings)?));
        let holding = Arc::new(HoldingArea::new());
        let handle = Handle { state, stopping: CancellationToken::new(), holding };
        let service = http::router(handle.clone());
        let service = service.into_make_service_with_connect_info::<Breaker>();
        let stopped = handle.stopping.clone().cancelled_owned();
        let accepted = Arc::new(AtomicU64::new(0));
        let door = Door { listener, accepted: Arc::clone(&accepted) };
        let serve = axum::serve(door, service).with_graceful_shutdown(stopped);
        let server = tokio::spawn(serve.into_future());
        Ok(Self { handle, address, accepted, server })
    }

    /// The base URL of the API as a template; `{workspace}` stands for the workspace.
    pub fn base_url(&self) -> String {
        format!("http://{}/{{workspace}}/api/v1", self.address)
    }

    /// The address of the server; the control paths start at its root.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The required value of the header `X-API-Key`.
    pub fn api_key(&self) -> String {
        self.handle.state().settings.api_key.clone()
    }

    /// From now on the header `X-API-Key` must have this value.
    pub fn set_api_key(&self, key: &str) {
        key.clone_into(&mut self.handle.state().settings.api_key);
    }

    /// The member in the app.
    pub fn member(&self, workspace: &str, integration: &str, member: &str) -> Option<Member> {
        let state = self.handle.state();
        state.site(&Place::new(workspace, integration))?.real.get(member).cloned()
    }

    /// The member as Cerby knows it.
    pub fn known(&self, workspace: &str, integration: &str, member: &str) -> Option<Member> {
        let state = self.handle.state();
        state.site(&Place::new(workspace, integration))?.known.get(member).cloned()
    }

    /// A person logs in to the app and sends an invitation. Returns whether that changed anything.
    pub fn person_invites(&self, workspace: &str, integration: &str, person: Member) -> bool {
        self.person_changes(workspace, integration, Operation::Invite, &person)
    }

    /// A person logs in to the app and removes a member. Returns whether that changed anything.
    pub fn person_removes(&self, workspace: &str, integration: &str, member: &str) -> bool {
        let member = Member::new(member, "");
        self.person_changes(workspace, integration, Operation::Remove, &member)
    }

    /// A person logs in to the app and removes a member, but not the grants on its assets: the member is still listed.
    /// Returns whether that changed anything.
    pub fn person_removes_but_leaves_assets(
        &self,
        workspace: &str,
        integration: &str,
        member: &str,
    ) -> bool {
        let key = (Place::new(workspace, integration), member.to_owned());
        self.handle.state().leave_assets(&key)
    }

    /// A person logs in to the app and replaces a member's entitlements. Returns whether that changed anything.
    pub fn person_changes_role(
        &self,
        workspace: &str,
        integration: &str,
        member: &str,
        entitlements: &[&str],
    ) -> bool {
        let member = Member::new(member, "").with(entitlements);
        self.person_changes(workspace, integration, Operation::ChangeRole, &member)
    }

    /// Automation that the client did not ask for changes the app, and Cerby knows of it at once. Returns whether that
    /// changed anything.
    pub fn changes_elsewhere(
        &self,
        workspace: &str,
        integration: &str,
        member: &str,
        operation: Operation,
        entitlements: &BTreeSet<String>,
    ) -> bool {
        let mut state = self.handle.state();
        let person = state.person(workspace, member, entitlements);
        state.change_elsewhere(&Place::new(workspace, integration), operation, &person)
    }

    /// A person fixes the login that the automation uses in the app: no attempt fails because of it any more.
    pub fn person_mends_login(&self, workspace: &str, integration: &str) {
        self.handle.state().fates.mend_login(Place::new(workspace, integration));
    }

    fn person_changes(
        &self,
        workspace: &str,
        integration: &str,
        operation: Operation,
        member: &Member,
    ) -> bool {
        let place = Place::new(workspace, integration);
        self.handle.person_changes(&place, operation, member).is_some_and(Change::is_made)
    }

    /// Makes a member of the app join (`None`), or sets its invitation to pending or expired. Returns whether there is
    /// such a member.
    pub fn set_invitation(
        &self,
        workspace: &str,
        integration: &str,
        member: &str,
        invitation: Option<Invitation>,
    ) -> bool {
        let mut state = self.handle.state();
        let site = state.site_mut(&Place::new(workspace, integration));
        let member = site.and_then(|site| site.real.get_mut(member));
        member.map(|member| member.invitation = invitation).is_some()
    }

    /// Sets the outcomes of the next attempts of this operation on this member.
    pub fn set_fate(
        &self,
        workspace: &str,
        integration: &str,
        member: &str,
        operation: Operation,
        fate: Fate,
    ) {
        let place = Place::new(workspace, integration);
        self.handle.state().fates.set(place, member, operation.name(), fate);
    }

    /// Sets the outcomes of the next syncs, checks and applies of this integration, each counted separately.
    pub fn set_sync_fate(&self, workspace: &str, integration: &str, fate: Fate) {
        let mut state = self.handle.state();
        for step in ["sync", "check", "apply"] {
            state.fates.set(Place::new(workspace, integration), "", step, fate.clone());
        }
    }

    /// The next checks read at most this many members: their reports are incomplete.
    pub fn limit_snapshot(&self, workspace: &str, integration: &str, members: Option<usize>) {
        let mut state = self.handle.state();
        if let Some(site) = state.site_mut(&Place::new(workspace, integration)) {
            site.snapshot_limit = members;
        }
    }

    /// From now on the list of members ends after this many, with that as its total. A member is still found by id.
    pub fn cut_list(&self, workspace: &str, integration: &str, members: Option<usize>) {
        let mut state = self.handle.state();
        if let Some(site) = state.site_mut(&Place::new(workspace, integration)) {
            site.list_limit = members;
        }
    }

    /// Makes the latest report look older by this much. Returns whether there is one.
    pub fn backdate_report(&self, workspace: &str, integration: &str, by: Duration) -> bool {
        let mut state = self.handle.state();
        let site = state.site_mut(&Place::new(workspace, integration));
        let report = site.and_then(|site| site.report.as_mut());
        report.map(|report| report.created_at -= by).is_some()
    }

    /// From now on Cerby knows neither the integration nor its jobs, and running jobs change nothing. Returns whether
    /// it knew the integration.
    pub fn forget_integration(&self, workspace: &str, integration: &str) -> bool {
        self.handle.state().forget(&Place::new(workspace, integration))
    }

    /// Sets the backend's clock from now on, also for what it wrote before.
    pub fn set_clock(&self, clock: Clock) {
        self.handle.state().clock = clock;
    }

    /// Sets a fault of one request.
    pub fn inject(&self, injection: Injection) {
        self.handle.state().troubles.inject(injection);
    }

    /// Waits for a request that is held by [`HttpFault::Hold`] or [`HttpFault::HoldReply`]. Each is handed over once,
    /// in the order in which they came.
    pub async fn held(&self) -> Held {
        self.handle.holding.held().await
    }

    /// A person runs a job again by hand, under the same id. Its changes count as the automation's, and jobs that are
    /// requested while it runs count as overlapping; the job itself does not count as overlapping. Returns whether it
    /// could start: not if it already runs, or if there is no such integration.
    pub fn restart_job(
        &self,
        place: &Place,
        job_id: &str,
        member: Member,
        operation: Operation,
        takes: Duration,
        fate: &Fate,
    ) -> bool {
        self.job_elsewhere(place, job_id, operation, &[(member, fate.clone())], takes)
    }

    /// Automation that the client did not ask for runs a job for several members, under this id. Returns whether it
    /// could start.
    pub fn job_elsewhere(
        &self,
        place: &Place,
        job_id: &str,
        operation: Operation,
        members: &[(Member, Fate)],
        takes: Duration,
    ) -> bool {
        let changes = members.iter().map(|(member, fate)| (member.clone(), fate.outcome(0)));
        let work = Work::Change { operation, changes: changes.collect() };
        self.handle.state().restart(place, job_id, work, takes)
    }

    /// Sets the status that the next jobs of this operation on this member report before they end, instead of the usual
    /// ones; `None` restores these.
    pub fn set_unended_status(
        &self,
        workspace: &str,
        integration: &str,
        member: &str,
        operation: Operation,
        status: Option<&str>,
    ) {
        let key = (Place::new(workspace, integration), member.to_owned());
        self.handle.state().set_unended_status((key, operation), status.map(str::to_owned));
    }

    /// Sets whether every request is answered with 503, from now on.
    pub fn set_outage(&self, outage: bool) {
        self.handle.state().troubles.outage = outage;
    }

    /// Sets the faults of requests from now on; fates do not change.
    pub fn set_http_faults(&self, plan: FaultPlan) {
        self.handle.state().troubles.plan = plan;
    }

    pub fn counters(&self) -> Counters {
        self.handle.state().counters.clone()
    }

    /// The connections to the simulator since the start.
    pub fn connections(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Every change made in the apps so far, oldest first.
    pub fn effects(&self) -> Vec<Effect> {
        self.handle.state().effects.clone()
    }

    /// Every job for a member that was started so far, oldest first.
    pub fn starts(&self) -> Vec<Start> {
        self.handle.state().starts.clone()
    }

    /// The ids of the members in the app.
    pub fn members(&self, workspace: &str, integration: &str) -> BTreeSet<String> {
        let state = self.handle.state();
        let site = state.site(&Place::new(workspace, integration));
        site.map(|site| site.real.keys().cloned().collect()).unwrap_or_default()
    }

    /// Ends every connection once its reply is sent, and stops listening.
    pub async fn stop(self) -> io::Result<()> {
        self.handle.stopping.cancel();
        self.server.await.map_err(io::Error::other)?
    }
}

#[expect(clippy::disallowed_methods, reason = "the simulated backend has a clock of its own")]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
