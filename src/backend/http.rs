//! The client: one method per call of `docs/backend-api.yaml`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use reqwest::{ClientBuilder, Method};
use serde::de::DeserializeOwned;

use super::answer::{self, Dated, Limit, Unread};
use super::change::{self, Change, encoded};
use super::described::{Described, DescribedJob, Person, PersonObject};
use super::key::{self, ApiKey};
use super::outage::{Ended, Opening, OutageTracker, Scope, Subject};
use super::request::{Request, outcome};
use super::traced;
use super::wire::{self, Identified, JobObject, One, Page, ReportObject, User};
use super::{BackendError, Gap, Job, Snapshot, UpdateReport};
use crate::config::{Backend, ConfigError, Paths};
use crate::http_client;
use crate::membership::{Entitlements, MemberKey, SeenMember};
use crate::telemetry::metrics::{self, BackendCall};

/// Calls the backend with bounded time and bounded bodies, over reused connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    key: Arc<ApiKey>,
    base_url: String,
    paths: Paths,
    page_size: u32,
    max_pages: u32,
    largest_answer: Limit,
    largest_report: Limit,
    request_timeout: Duration,
    outages: Arc<OutageTracker>,
}

impl Client {
    /// Fails if the base URL or the key is missing or cannot be sent.
    pub fn new(backend: &Backend) -> Result<Self, ConfigError> {
        let wrong = |text: String| ConfigError::Wrong(vec![text]);
        let key = ApiKey::new(backend)?;
        let http = through(backend.proxy.as_deref())
            .map_err(|_| wrong("backend.proxy cannot be used".to_owned()))?
            .connect_timeout(Duration::from_secs(backend.connect_timeout_s))
            .timeout(backend.request_timeout())
            .build()
            .map_err(|error| wrong(format!("the HTTP client cannot be built: {error}")))?;
        Ok(Self {
            http,
            key: Arc::new(key),
            base_url: backend.base_url()?.trim_end_matches('/').to_owned(),
            paths: backend.paths.clone(),
            page_size: backend.page_size,
            max_pages: backend.max_pages,
            largest_answer: Limit {
                key: "backend.max_response_kib",
                kib: backend.max_response_kib,
            },
            largest_report: Limit { key: "backend.max_report_kib", kib: backend.max_report_kib },
            request_timeout: backend.request_timeout(),
            outages: Arc::new(OutageTracker::new(
                backend.outage_after,
                Duration::from_secs_f64(backend.outage_retry_max_s),
                Duration::from_secs(backend.remind_s),
            )),
        })
    }

    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// The workspaces and apps that are in an outage, and for which no work may start now.
    pub fn unavailable(&self) -> Vec<Scope> {
        self.outages.unavailable()
    }

    /// Those of them that this replica detected itself and that have not given a usable answer since.
    pub fn found(&self) -> Vec<Scope> {
        self.outages.found()
    }

    /// Applies what the fleet knows: `ours` are the outages that this replica probes and logs, `others` belong to other
    /// replicas.
    pub fn go_by(&self, ours: &[Scope], others: HashSet<Scope>) {
        self.outages.go_by(ours, others, Instant::now());
    }

    /// Those of them for which a few steps may start now, to find out whether the outage is over.
    pub fn openings(&self) -> Vec<Opening> {
        self.outages.openings(Instant::now())
    }

    /// Records how many steps start for one of them.
    pub fn let_through(&self, scope: &Scope, steps: usize) {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.outages.let_through(scope, steps, Instant::now());
    }

    /// Whether a claim for this app should be handed back, because it was made before an outage began.
    pub fn pauses(&self, workspace: &str, integration: &str) -> bool {
        self.outages.pauses(workspace, integration, Instant::now())
    }

    /// Whether the app or its workspace is in an outage, as far as is known without a request.
    pub fn is_down(&self, workspace: &str, integration: &str) -> bool {
        self.outages.is_down(workspace, integration)
    }

    /// Starts an invitation with `hub_role` and `entitlements`; returns the id of the job.
    pub async fn invite(
        &self,
        key: &MemberKey,
        hub_role: &str,
        entitlements: &Entitlements,
    ) -> Result<String, BackendError> {
        let change = change::invitation(&self.paths, key, hub_role, entitlements);
        self.start_change(BackendCall::Invite, key, change).await
    }

    /// Starts the replacement of all of a member's roles; returns the id of the job.
    pub async fn change_role(
        &self,
        key: &MemberKey,
        entitlements: &Entitlements,
    ) -> Result<String, BackendError> {
        let change = change::change_of_role(&self.paths, key, entitlements);
        self.start_change(BackendCall::ChangeRole, key, change).await
    }

    /// Starts a removal; returns the id of the job.
    pub async fn remove(&self, key: &MemberKey) -> Result<String, BackendError> {
        self.start_change(BackendCall::Remove, key, change::removal(&self.paths, key)).await
    }

    async fn start_change(
        &self,
        call: BackendCall,
        key: &MemberKey,
        change: Change,
    ) -> Result<String, BackendError> {
        let request = self.request(call, change.method, Subject::change(key), &change.path);
        self.start_job(request.with_body(change.body)).await
    }

    /// One member as the backend knows them; `None` only if the integration exists and the member does not.
    pub async fn member(&self, key: &MemberKey) -> Result<Option<SeenMember>, BackendError> {
        let path = change::of_member(&self.paths, key);
        let of = Subject::member(key);
        match self.send::<One<User>>(self.get(BackendCall::Member, of, &path)).await {
            Ok(one) => match one.data.0.seen() {
                Ok(seen) => {
                    as_asked(seen.member.as_deref(), &key.member, "member").map(|()| Some(seen))
                }
                Err(_) => Err(BackendError::UnexpectedResponse(
                    "a member without id, email and name".to_owned(),
                )),
            },
            Err(BackendError::NotFound { code }) if code == "user_not_found" => Ok(None),
            // The published 404 does not say what was not found. A missing integration must not prove that the member
            // is absent.
            Err(BackendError::NotFound { .. }) => {
                self.integration(&key.workspace, &key.integration).await.map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the integration exists: `Ok`, or [`BackendError::NotFound`].
    pub async fn integration(
        &self,
        workspace: &str,
        integration: &str,
    ) -> Result<(), BackendError> {
        let path = self.paths.integration.replace("{integration}", &encoded(integration));
        let of = Subject::existence(workspace, integration);
        let request = self.get(BackendCall::Integration, of, &path);
        let found: One<Identified> = self.send(request).await?;
        as_asked(Some(&found.data.0.id), integration, "integration")
    }

    /// All members, page by page, with everything that makes the snapshot incomplete.
    pub async fn members(
        &self,
        workspace: &str,
        integration: &str,
    ) -> Result<Snapshot, BackendError> {
        self.first_members(workspace, integration, self.max_pages).await
    }

    /// The same for at most `pages` pages. If the list is longer, little more is read than the fact that it is longer.
    pub async fn first_members(
        &self,
        workspace: &str,
        integration: &str,
        pages: u32,
    ) -> Result<Snapshot, BackendError> {
        let path = self.paths.users.replace("{integration}", &encoded(integration));
        let (of, most) = (Subject::app(workspace, integration), pages.min(self.max_pages));
        let mut size = self.page_size;
        loop {
            let pages = most.saturating_mul(self.page_size / size);
            match self.members_in_pages(of, &path, size, pages).await {
                // Reads again from the first page: not every server counts pages by the size in the request.
                Err(Unread::TooLarge(_)) if size > 1 => size /= 2,
                read => return Ok(read?),
            }
        }
    }

    async fn members_in_pages(
        &self,
        of: Subject<'_>,
        path: &str,
        size: u32,
        pages: u32,
    ) -> Result<Snapshot, Unread> {
        let mut snapshot = Snapshot::default();
        let mut known = HashSet::new();
        let is_all = pages >= self.max_pages.saturating_mul(self.page_size / size);
        for number in 1..=pages {
            let request = self.get(BackendCall::Members, of, path).of_page(number, size);
            let (page, _) = self.send_up_to::<Page>(request, self.largest_answer).await?;
            if page.is_of_something_else() {
                return Err(BackendError::UnexpectedResponse(
                    "a list of something else".to_owned(),
                )
                .into());
            }
            let more = page.has_next();
            let (empty, allowed) =
                (page.data.is_empty(), u64::from(pages) * page.data.len() as u64);
            let repeats = take(&mut snapshot, &mut known, page);
            if let Some(total) =
                snapshot.total.filter(|total| number == 1 && more && *total > allowed)
            {
                if is_all {
                    return Err(self.too_many(total, allowed).into());
                }
                break; // the part that may be read cannot show who is missing
            }
            if repeats {
                break; // an endless or repeated page: the gap is recorded
            }
            if !more {
                return Ok(closed(snapshot));
            }
            if empty {
                break;
            }
        }
        if !snapshot.gaps.contains(&Gap::RepeatedMember) {
            snapshot.gaps.push(Gap::EndlessPages);
        }
        Ok(closed(snapshot))
    }

    /// Reported at the first page, and not after all the pages that are allowed.
    fn too_many(&self, members: u64, allowed: u64) -> BackendError {
        BackendError::UnexpectedResponse(format!(
            "the app has {members} members; backend.max_pages = {} allows {allowed}",
            self.max_pages
        ))
    }

    pub async fn job(&self, workspace: &str, job: &str) -> Result<Job, BackendError> {
        let path = self.paths.job.replace("{job}", &encoded(job));
        let of = Subject::job(workspace, job);
        let request = self.get(BackendCall::Job, of, &path);
        let (found, now) = self.send_dated::<One<JobObject>>(request).await?;
        let found = found.data.0;
        as_asked(found.id.as_deref(), job, "job")?;
        Ok(found.job(now))
    }

    /// A job that the daemon did not start, with what it is about.
    pub async fn described_job(
        &self,
        workspace: &str,
        job: &str,
    ) -> Result<DescribedJob, BackendError> {
        let path = self.paths.job.replace("{job}", &encoded(job));
        let request = self.get(BackendCall::Job, Subject::job(workspace, job), &path);
        let (found, now) = self.send_dated::<Described>(request).await?;
        as_asked(found.id(), job, "job")?;
        let described = found.described(now)?;
        // Paths are made of them.
        described.members.iter().try_for_each(|id| as_segment(id, "member"))?;
        described.integration.iter().try_for_each(|id| as_segment(id, "integration"))?;
        Ok(described)
    }

    /// A person of the workspace, or [`BackendError::NotFound`].
    pub async fn person(&self, workspace: &str, id: &str) -> Result<Person, BackendError> {
        let path = self.paths.person.replace("{member}", &encoded(id));
        let request = self.get(BackendCall::Person, Subject::person(workspace, id), &path);
        let found = self.send::<One<PersonObject>>(request).await?.data.0;
        as_asked(found.id.as_deref(), id, "person")?;
        Ok(found.person())
    }

    /// Starts a sync; returns the id of the job.
    pub async fn start_sync(
        &self,
        workspace: &str,
        integration: &str,
    ) -> Result<String, BackendError> {
        let path = self.paths.sync.replace("{integration}", &encoded(integration));
        let of = Subject::app(workspace, integration);
        self.start_job(self.request(BackendCall::StartSync, Method::POST, of, &path)).await
    }

    /// Starts a check for updates; returns the id of the job.
    pub async fn start_check(
        &self,
        workspace: &str,
        integration: &str,
    ) -> Result<String, BackendError> {
        let path = self.paths.update_checks.replace("{integration}", &encoded(integration));
        let of = Subject::app(workspace, integration);
        self.start_job(self.request(BackendCall::StartCheck, Method::POST, of, &path)).await
    }

    /// The latest report of a check for updates, and its age by the backend's own clock; `None` if there is none.
    pub async fn report(
        &self,
        workspace: &str,
        integration: &str,
    ) -> Result<Option<(UpdateReport, Option<Duration>)>, BackendError> {
        let path = self.paths.update_report.replace("{integration}", &encoded(integration));
        let of = Subject::app(workspace, integration);
        let request = self.get(BackendCall::Report, of, &path);
        let answer = self.send_up_to::<One<ReportObject>>(request, self.largest_report).await;
        match answer.map_err(BackendError::from) {
            Ok((one, now)) => {
                let (report, age) = one.data.0.dated(now);
                as_segment(&report.id, "report")?;
                Ok(Some((report, age)))
            }
            Err(BackendError::NotFound { code }) if code == "report_not_found" => Ok(None),
            Err(BackendError::NotFound { .. }) => {
                self.integration(workspace, integration).await.map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    /// Starts the apply of exactly this report; returns the id of the job.
    pub async fn apply_report(
        &self,
        workspace: &str,
        integration: &str,
        report: &str,
    ) -> Result<String, BackendError> {
        let path = self.paths.apply_report.replace("{integration}", &encoded(integration));
        let path = path.replace("{report}", &encoded(report));
        let of = Subject::app(workspace, integration);
        self.start_job(self.request(BackendCall::ApplyReport, Method::POST, of, &path)).await
    }

    async fn start_job(&self, request: Request<'_>) -> Result<String, BackendError> {
        let job: One<Identified> = self.send(request).await?;
        let id = job.data.0.id;
        as_segment(&id, "job")?;
        Ok(id)
    }

    fn get<'a>(&self, call: BackendCall, of: Subject<'a>, path: &str) -> Request<'a> {
        self.request(call, Method::GET, of, path)
    }

    fn request<'a>(
        &self,
        call: BackendCall,
        method: Method,
        of: Subject<'a>,
        path: &str,
    ) -> Request<'a> {
        let base = self.base_url.replace("{workspace}", &encoded(of.workspace));
        Request { call, of, http: self.http.request(method, format!("{base}{path}")) }
    }

    async fn send<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, BackendError> {
        self.send_dated(request).await.map(|(answer, _)| answer)
    }

    async fn send_dated<T: DeserializeOwned>(
        &self,
        request: Request<'_>,
    ) -> Result<Dated<T>, BackendError> {
        Ok(self.send_up_to(request, self.largest_answer).await?)
    }

    async fn send_up_to<T: DeserializeOwned>(
        &self,
        request: Request<'_>,
        largest: Limit,
    ) -> Result<Dated<T>, Unread> {
        let Request { call, of, http } = request;
        let mut request = http.build().map_err(answer::from_reqwest)?;
        let span = traced::begin(&mut request, &self.paths);
        let host = host(request.url());
        let began = Instant::now();
        let (status, answer) = self.exchange(request, largest).await;
        traced::end(span, status, answer.as_ref().err());
        // The limit on the size is our own configuration. The backend has answered, so this is no sign of an outage.
        let error = match &answer {
            Err(Unread::Error(error)) => Some(error),
            Ok(_) | Err(Unread::TooLarge(_)) => None,
        };
        metrics::request_ended(call, outcome(&answer), began.elapsed());
        let ended = Ended { of, host: &host, status, error };
        self.outages.note(&ended, Instant::now());
        answer
    }

    /// Sends the request, and sends it again if its key was refused and the file of the key has another one by now. A
    /// request whose key was refused had no effect.
    async fn exchange<T: DeserializeOwned>(
        &self,
        request: reqwest::Request,
        largest: Limit,
    ) -> (Option<u16>, Result<Dated<T>, Unread>) {
        let (used, again) = (self.key.header(), request.try_clone());
        let (status, answer) = self.exchange_with(used.clone(), request, largest).await;
        let is_refused = matches!(answer, Err(Unread::Error(BackendError::KeyRejected { .. })));
        let renewed = if is_refused { self.key.instead_of(&used) } else { None };
        match renewed.zip(again) {
            Some((key, request)) => self.exchange_with(key, request, largest).await,
            None => (status, answer),
        }
    }

    async fn exchange_with<T: DeserializeOwned>(
        &self,
        key: HeaderValue,
        mut request: reqwest::Request,
        largest: Limit,
    ) -> (Option<u16>, Result<Dated<T>, Unread>) {
        request.headers_mut().insert(key::HEADER, key);
        match self.http.execute(request).await {
            Ok(response) => {
                (Some(response.status().as_u16()), answer::read(response, largest).await)
            }
            Err(error) => (None, Err(answer::from_reqwest(error).into())),
        }
    }
}

/// Uses the configured proxy or none.
fn through(proxy: Option<&str>) -> reqwest::Result<ClientBuilder> {
    let direct = http_client::direct();
    Ok(match proxy {
        Some(proxy) => direct.proxy(reqwest::Proxy::all(proxy)?),
        None => direct,
    })
}

/// The host of a request, for the log line of an outage.
fn host(url: &reqwest::Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// Adds a page; returns whether it repeated somebody of an earlier page. Two entries of one person on one page are no
/// fault of paging. If the same entry comes twice, however, another one may be missing.
fn take(snapshot: &mut Snapshot, earlier: &mut HashSet<u64>, page: Page) -> bool {
    snapshot.pages += 1;
    let total = page.total();
    if snapshot.pages > 1 && total != snapshot.total {
        snapshot.gaps.push(Gap::TotalChanged);
    }
    snapshot.total = total;
    let (mut listed, mut entries) = (HashSet::new(), HashSet::new());
    let mut is_doubled = false;
    for entry in page.data {
        match entry.seen {
            Ok(seen) => {
                listed.insert(person(&seen));
                is_doubled |= !entries.insert(hash(&seen));
                snapshot.members.push(seen);
            }
            Err(gap) => snapshot.gaps.push(gap),
        }
    }
    let repeats = !earlier.is_disjoint(&listed);
    earlier.extend(listed);
    if repeats || is_doubled {
        snapshot.gaps.push(Gap::RepeatedMember);
    }
    repeats
}

/// A hash of the id, or else of email and name in the app. It saves memory for many thousands of members.
fn person(seen: &SeenMember) -> u64 {
    match &seen.member {
        Some(id) => hash(&(true, id)),
        None => hash(&(&seen.email, &seen.username)),
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Completes a snapshot: compares the total with the number of members.
fn closed(mut snapshot: Snapshot) -> Snapshot {
    match snapshot.total {
        Some(total) if total == snapshot.members.len() as u64 => {}
        Some(_) => snapshot.gaps.push(Gap::TotalDiffers),
        None => snapshot.gaps.push(Gap::NoTotal),
    }
    snapshot
}

/// Refuses an answer about something other than what was requested. An answer that does not say what it is about
/// passes.
fn as_asked(answered: Option<&str>, asked: &str, kind: &str) -> Result<(), BackendError> {
    match answered {
        Some(id) if id != asked => Err(BackendError::UnexpectedResponse(format!("another {kind}"))),
        _ => Ok(()),
    }
}

/// Refuses an id that does not fit into a path or a row: an id of dots alone would change the path.
fn as_segment(id: &str, kind: &str) -> Result<(), BackendError> {
    let is_visible = id.chars().all(|c| !c.is_whitespace()) && wire::is_storable(id);
    if matches!(id, "" | "." | "..") || id.len() > 200 || !is_visible {
        return Err(BackendError::UnexpectedResponse(format!("a {kind} id that cannot be one")));
    }
    Ok(())
}
