//! The client: one method per call of `docs/backend-api.yaml`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{ClientBuilder, Method, RequestBuilder, redirect};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer;
use super::change::{self, Change, encoded};
use super::silence::Silences;
use super::wire::{self, Identified, JobObject, One, Page, ReportObject, User};
use super::{BackendError, Gap, Job, Snapshot, UpdateReport};
use crate::config::{Backend, ConfigError, Paths};
use crate::emit;
use crate::membership::{Entitlements, MemberKey, SeenMember};

/// Speaks to the backend with bounded time and bounded bodies, over reused connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    paths: Paths,
    page_size: u32,
    max_pages: u32,
    max_bytes: usize,
    request_timeout: Duration,
    /// Workspaces whose refusal of our key was told: once each, since only a restart brings another key.
    key_refusals: Arc<Mutex<HashSet<(String, u16)>>>,
    silences: Arc<Silences>,
}

impl Client {
    /// A client as configured. Fails if base URL or key are missing or cannot be sent.
    pub fn new(backend: &Backend) -> Result<Self, ConfigError> {
        let wrong = |text: String| ConfigError::Wrong(vec![text]);
        let mut key = HeaderValue::from_str(backend.api_key()?.expose_secret()).map_err(|_| {
            wrong("backend.api_key has characters that no HTTP header can carry".to_owned())
        })?;
        key.set_sensitive(true);
        // The process's one TLS provider; a second call finds it there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = through(backend.proxy.as_deref())
            .map_err(|_| wrong("backend.proxy cannot be used".to_owned()))?
            .default_headers(HeaderMap::from_iter([(
                reqwest::header::HeaderName::from_static("x-api-key"),
                key,
            )]))
            .user_agent(concat!("cerby-reconciler/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(backend.connect_timeout_s))
            .timeout(backend.request_timeout())
            // A redirect would carry the key to another address.
            .redirect(redirect::Policy::none())
            // A retry below us would be invisible to the one retry layer, the queue.
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| wrong(format!("the HTTP client cannot be built: {error}")))?;
        Ok(Self {
            http,
            base_url: backend.base_url()?.trim_end_matches('/').to_owned(),
            paths: backend.paths.clone(),
            page_size: backend.page_size,
            max_pages: backend.max_pages,
            max_bytes: usize::try_from(backend.max_response_kib.saturating_mul(1024))
                .unwrap_or(usize::MAX),
            request_timeout: backend.request_timeout(),
            key_refusals: Arc::default(),
            silences: Arc::new(Silences::new(
                backend.silent_after,
                Duration::from_secs_f64(backend.silent_max_s),
            )),
        })
    }

    /// The longest one request may take.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// The workspaces whose backend does not answer, and whose tasks are better left alone for now.
    pub fn silent_workspaces(&self) -> Vec<String> {
        self.silences.workspaces(Instant::now())
    }

    /// Starts an invitation with `hub_role` and `entitlements`; answers with the job's id.
    pub async fn invite(
        &self,
        key: &MemberKey,
        hub_role: &str,
        entitlements: &Entitlements,
    ) -> Result<String, BackendError> {
        self.start_change(key, change::invitation(&self.paths, key, hub_role, entitlements)).await
    }

    /// Starts the replacement of all of a member's roles; answers with the job's id.
    pub async fn change_role(
        &self,
        key: &MemberKey,
        entitlements: &Entitlements,
    ) -> Result<String, BackendError> {
        self.start_change(key, change::change_of_role(&self.paths, key, entitlements)).await
    }

    /// Starts a removal; answers with the job's id.
    pub async fn remove(&self, key: &MemberKey) -> Result<String, BackendError> {
        self.start_change(key, change::removal(&self.paths, key)).await
    }

    async fn start_change(&self, key: &MemberKey, change: Change) -> Result<String, BackendError> {
        self.start_job(change.method, &key.workspace, &change.path, change.body).await
    }

    /// One member as the backend knows them; `None` only if the integration exists and they do not.
    pub async fn member(&self, key: &MemberKey) -> Result<Option<SeenMember>, BackendError> {
        let answer =
            self.get::<One<User>>(&key.workspace, &change::of_member(&self.paths, key)).await;
        match answer {
            Ok(one) => match one.data.0.seen() {
                Ok(seen) => {
                    as_asked(seen.member.as_deref(), &key.member, "member").map(|()| Some(seen))
                }
                Err(_) => {
                    Err(BackendError::Nonsense("a member without id, email and name".to_owned()))
                }
            },
            Err(BackendError::NotFound { code }) if code == "user_not_found" => Ok(None),
            // The published 404 does not say what was not found: an integration that is gone proves no absence.
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
        let found = self.get::<One<Identified>>(workspace, &path).await?;
        as_asked(Some(&found.data.0.id), integration, "integration")
    }

    /// All members, page by page, with whatever makes the snapshot incomplete.
    pub async fn members(
        &self,
        workspace: &str,
        integration: &str,
    ) -> Result<Snapshot, BackendError> {
        let path = self.paths.users.replace("{integration}", &encoded(integration));
        let mut snapshot = Snapshot::default();
        let mut known = HashSet::new();
        for number in 1..=self.max_pages {
            let page = self.page(workspace, &path, number).await?;
            let more = page.has_next();
            let empty = page.data.is_empty();
            let repeats = take(&mut snapshot, &mut known, page);
            if repeats {
                break; // an endless or repeated page: the gap is noted
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

    async fn page(&self, workspace: &str, path: &str, number: u32) -> Result<Page, BackendError> {
        let request = self
            .request(Method::GET, workspace, path)
            .query(&[("page[number]", number), ("page[size]", self.page_size)]);
        self.send(workspace, request).await
    }

    /// A job, as it stands.
    pub async fn job(&self, workspace: &str, job: &str) -> Result<Job, BackendError> {
        let path = self.paths.job.replace("{job}", &encoded(job));
        let request = self.request(Method::GET, workspace, &path);
        let (found, now) = self.send_dated::<One<JobObject>>(workspace, request).await?;
        let found = found.data.0;
        as_asked(found.id.as_deref(), job, "job")?;
        Ok(found.job(now))
    }

    /// Starts a sync; answers with the job's id.
    pub async fn start_sync(
        &self,
        workspace: &str,
        integration: &str,
    ) -> Result<String, BackendError> {
        let path = self.paths.sync.replace("{integration}", &encoded(integration));
        self.start_job(Method::POST, workspace, &path, None).await
    }

    /// Starts a check for updates; answers with the job's id.
    pub async fn start_check(
        &self,
        workspace: &str,
        integration: &str,
    ) -> Result<String, BackendError> {
        let path = self.paths.update_checks.replace("{integration}", &encoded(integration));
        self.start_job(Method::POST, workspace, &path, None).await
    }

    /// The latest report of a check for updates; `None` if there is none.
    pub async fn report(
        &self,
        workspace: &str,
        integration: &str,
    ) -> Result<Option<UpdateReport>, BackendError> {
        let path = self.paths.update_report.replace("{integration}", &encoded(integration));
        match self.get::<One<ReportObject>>(workspace, &path).await {
            Ok(one) => {
                let report = UpdateReport::from(one.data.0);
                as_segment(&report.id, "report")?;
                Ok(Some(report))
            }
            Err(BackendError::NotFound { code }) if code == "report_not_found" => Ok(None),
            Err(BackendError::NotFound { .. }) => {
                self.integration(workspace, integration).await.map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    /// Starts the apply of exactly this report; answers with the job's id.
    pub async fn apply_report(
        &self,
        workspace: &str,
        integration: &str,
        report: &str,
    ) -> Result<String, BackendError> {
        let path = self.paths.apply_report.replace("{integration}", &encoded(integration));
        let path = path.replace("{report}", &encoded(report));
        self.start_job(Method::POST, workspace, &path, None).await
    }

    async fn start_job(
        &self,
        method: Method,
        workspace: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<String, BackendError> {
        let mut request = self.request(method, workspace, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let job: One<Identified> = self.send(workspace, request).await?;
        let id = job.data.0.id;
        as_segment(&id, "job")?;
        Ok(id)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        workspace: &str,
        path: &str,
    ) -> Result<T, BackendError> {
        self.send(workspace, self.request(Method::GET, workspace, path)).await
    }

    fn request(&self, method: Method, workspace: &str, path: &str) -> RequestBuilder {
        let base = self.base_url.replace("{workspace}", &encoded(workspace));
        self.http.request(method, format!("{base}{path}"))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        workspace: &str,
        request: RequestBuilder,
    ) -> Result<T, BackendError> {
        self.send_dated(workspace, request).await.map(|(answer, _)| answer)
    }

    /// The answer, and the time by the backend's clock.
    async fn send_dated<T: DeserializeOwned>(
        &self,
        workspace: &str,
        request: RequestBuilder,
    ) -> Result<(T, Option<DateTime<Utc>>), BackendError> {
        let answer = match request.send().await {
            Ok(response) => answer::read(response, self.max_bytes).await,
            Err(error) => Err(answer::from_reqwest(error)),
        };
        self.silences.note(workspace, answer.as_ref().err(), Instant::now());
        if let Err(BackendError::KeyRefused { status }) = &answer {
            self.tell_refusal(workspace, *status);
        }
        answer
    }

    fn tell_refusal(&self, workspace: &str, status: u16) {
        let mut told = self.key_refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert((workspace.to_owned(), status)) {
            emit!(
                BACKEND_REFUSES_KEY,
                workspace.id = workspace,
                status,
                "The backend rejected the API key ({status}); tasks are on hold"
            );
        }
    }
}

/// Through the configured proxy or none: one that the environment names would be sent the key.
fn through(proxy: Option<&str>) -> reqwest::Result<ClientBuilder> {
    let direct = reqwest::Client::builder().no_proxy();
    Ok(match proxy {
        Some(proxy) => direct.proxy(reqwest::Proxy::all(proxy)?),
        None => direct,
    })
}

/// Adds a page; whether it repeated somebody of an earlier page. Two alike on one page are no fault of paging.
fn take(snapshot: &mut Snapshot, earlier: &mut HashSet<Identity>, page: Page) -> bool {
    snapshot.pages += 1;
    let total = page.total();
    if snapshot.pages > 1 && total != snapshot.total {
        snapshot.gaps.push(Gap::TotalChanged);
    }
    snapshot.total = total;
    let mut listed = HashSet::new();
    for entry in page.data {
        match wire::listed(entry) {
            Ok(seen) => {
                listed.insert(match &seen.member {
                    Some(id) => (Some(id.clone()), None, None),
                    None => (None, seen.email.clone(), seen.username.clone()),
                });
                snapshot.members.push(seen);
            }
            Err(gap) => snapshot.gaps.push(gap),
        }
    }
    let repeats = !earlier.is_disjoint(&listed);
    earlier.extend(listed);
    if repeats {
        snapshot.gaps.push(Gap::RepeatedMember);
    }
    repeats
}

/// Id, or else email and name in the app.
type Identity = (Option<String>, Option<String>, Option<String>);

/// The last look at a snapshot: do the counts agree?
fn closed(mut snapshot: Snapshot) -> Snapshot {
    if snapshot.total.is_some_and(|total| total != snapshot.members.len() as u64) {
        snapshot.gaps.push(Gap::TotalDiffers);
    }
    snapshot
}

/// Refuses an answer about something else than was asked for. One that does not say what it is about passes.
fn as_asked(answered: Option<&str>, asked: &str, kind: &str) -> Result<(), BackendError> {
    match answered {
        Some(id) if id != asked => Err(BackendError::Nonsense(format!("another {kind}"))),
        _ => Ok(()),
    }
}

/// Refuses an id that no path or row can carry: dots alone would be a path, not a segment.
fn as_segment(id: &str, kind: &str) -> Result<(), BackendError> {
    let is_visible = id.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if matches!(id, "" | "." | "..") || id.len() > 200 || !is_visible {
        return Err(BackendError::Nonsense(format!("a {kind} id that cannot be one")));
    }
    Ok(())
}
