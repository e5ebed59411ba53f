//! From the job of an event to rows of the inbound contract, as the backend would insert them.

use std::time::{Duration, Instant};

use super::store::{self, Open};
use crate::backend::{BackendError, Client, DescribedJob, Failure, Progress};
use crate::database::PgPool;
use crate::intake::inbound::{self, InboundTask, Numbered};
use crate::membership::{MemberKey, Operation, Trigger};
use crate::store::{StoreError, begin};
use crate::telemetry::chain;

/// The contract takes one row for each member, and a job with more is not read.
const MOST_MEMBERS: usize = 1000;

/// How long members are read before the others have to wait for the next claim. A stop must not wait for a large job.
const WITHIN: Duration = Duration::from_secs(10);

/// The kind of an integration that is not known yet: the published API has business hubs. A person may correct it.
const FIRST_KIND: &str = "business_hub";

/// What became of one attempt at an event.
#[derive(Debug)]
pub enum Resolution {
    /// Each member has its row; so many are new.
    Tasks(u64),
    /// The job changes no members.
    NoMembers,
    /// A part of the members has rows; the others are next.
    Unfinished,
    Problem(Unresolved),
}

/// Why there are no rows yet.
#[derive(Debug)]
pub struct Unresolved {
    pub(super) text: String,
    /// Whether it is about this event alone. An outage concerns all, and a job may take its time.
    pub(super) is_about_event: bool,
    /// How long the backend asks to wait.
    pub(super) asked: Duration,
}

impl Unresolved {
    fn of_event(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_about_event: true, asked: Duration::ZERO }
    }

    fn passing(text: impl Into<String>) -> Self {
        Self { is_about_event: false, ..Self::of_event(text) }
    }

    fn of_backend(what: &str, error: &BackendError) -> Self {
        let is_about_event =
            error.is_usable() && !matches!(error, BackendError::RateLimited { .. });
        let text = format!("{what}: {}", chain(error));
        Self { text, is_about_event, asked: error.asked().unwrap_or_default() }
    }
}

/// A job that ended, and the event that named it.
struct Ended<'a> {
    open: &'a Open,
    job: DescribedJob,
    operation: Operation,
    /// `None` if it succeeded.
    failure: Option<Failure>,
    integration: String,
    application: String,
    kind: String,
}

pub(super) async fn resolve(
    pool: &PgPool,
    backend: &Client,
    open: &Open,
) -> Result<Resolution, StoreError> {
    let job = match backend.described_job(&open.workspace, &open.job).await {
        Ok(job) => job,
        Err(error) => {
            let unresolved = Unresolved::of_backend("the job cannot be read", &error);
            return Ok(Resolution::Problem(unresolved));
        }
    };
    let Some(operation) = job.operation else { return Ok(Resolution::NoMembers) };
    match ended(pool, open, job, operation).await? {
        Ok(ended) => insert_missing(pool, backend, &ended).await,
        Err(unresolved) => Ok(Resolution::Problem(unresolved)),
    }
}

async fn ended<'a>(
    pool: &PgPool,
    open: &'a Open,
    job: DescribedJob,
    operation: Operation,
) -> Result<Result<Ended<'a>, Unresolved>, StoreError> {
    let failure = match &job.progress {
        Progress::Running => return Ok(Err(Unresolved::passing("the job has not ended"))),
        Progress::Finished => None,
        Progress::Failed(failure) => Some(failure.clone()),
    };
    if !(1..=MOST_MEMBERS).contains(&job.members.len()) {
        let text = format!("the job names {} members, not 1 to {MOST_MEMBERS}", job.members.len());
        return Ok(Err(Unresolved::of_event(text)));
    }
    let (Some(integration), Some(application)) = (job.integration.clone(), job.application.clone())
    else {
        return Ok(Err(Unresolved::of_event("the job names no integration or no application")));
    };
    let kind = store::kind(pool, &open.workspace, &integration).await?;
    let kind = kind.unwrap_or_else(|| FIRST_KIND.to_owned());
    Ok(Ok(Ended { open, job, operation, failure, integration, application, kind }))
}

/// Inserts a row for each member who has none. One member who cannot be read keeps no other back, but nobody is asked
/// about the others while the backend does not answer.
async fn insert_missing(
    pool: &PgPool,
    backend: &Client,
    ended: &Ended<'_>,
) -> Result<Resolution, StoreError> {
    let sources: Vec<_> = ended.job.members.iter().map(|member| ended.source(member)).collect();
    let missing = store::missing(pool, &ended.open.workspace, &sources).await?;
    let (mut tasks, mut problem) = (0, None);
    let began = Instant::now();
    for (member, source) in ended.job.members.iter().zip(&sources) {
        if !missing.contains(source) {
            continue;
        }
        if began.elapsed() > WITHIN {
            return Ok(Resolution::Unfinished);
        }
        let inserted = match read_member(backend, &ended.key(member)).await {
            Ok(person) => insert(pool, ended.task(member, source, person)).await?,
            Err(unresolved) => Err(unresolved),
        };
        match inserted {
            Ok(inserted) => tasks += inserted,
            Err(unresolved) if unresolved.is_about_event => problem = Some(unresolved),
            Err(unresolved) => return Ok(Resolution::Problem(unresolved)),
        }
    }
    Ok(problem.map_or(Resolution::Tasks(tasks), Resolution::Problem))
}

/// What is known of a member.
struct Known {
    email: String,
    name: Option<String>,
    /// The name in the app.
    username: Option<String>,
}

/// Reads the person, and their entry in the app for the name there. Somebody who was deleted from the workspace may still
/// be in the app.
async fn read_member(backend: &Client, key: &MemberKey) -> Result<Known, Unresolved> {
    let person = match backend.person(&key.workspace, &key.member).await {
        Ok(person) => Some(person),
        Err(BackendError::NotFound { .. }) => None,
        Err(error) => return Err(Unresolved::of_backend("a member cannot be read", &error)),
    };
    let seen = match backend.member(key).await {
        Ok(seen) => seen,
        Err(error) => {
            let unresolved = Unresolved::of_backend("a member cannot be read in the app", &error);
            if !unresolved.is_about_event {
                return Err(unresolved);
            }
            None
        }
    };
    let (in_app, username) = seen.map_or((None, None), |seen| (seen.email, seen.username));
    let (email, name) = person.map_or((None, None), |person| (person.email, person.name));
    let unknown = "the backend knows no email address of a member";
    let email = email.or(in_app).ok_or_else(|| Unresolved::of_event(unknown))?;
    Ok(Known { email, name, username })
}

/// Inserts a row; returns how many are new, or why the database refuses it.
async fn insert(pool: &PgPool, task: InboundTask) -> Result<Result<u64, Unresolved>, StoreError> {
    let mut tx = begin(pool).await?;
    match inbound::insert(&mut tx, &[Numbered { number: 1, task }]).await.map_err(StoreError::from)
    {
        Ok(inserted) => {
            tx.commit().await?;
            Ok(Ok(inserted))
        }
        Err(error) if error.is_about_rows() => {
            let text = format!("the row of a member is refused: {}", chain(&error));
            Ok(Err(Unresolved::of_event(text)))
        }
        Err(error) => Err(error),
    }
}

impl Ended<'_> {
    fn key(&self, member: &str) -> MemberKey {
        MemberKey {
            workspace: self.open.workspace.clone(),
            integration: self.integration.clone(),
            member: member.to_owned(),
        }
    }

    /// Names the run. A run that succeeded may have several events. Each run that failed has one of its own.
    fn source(&self, member: &str) -> String {
        match &self.failure {
            Some(_) => format!("{}:{member}", self.open.event),
            None => format!("{}:succeeded:{member}", self.open.job),
        }
    }

    fn task(&self, member: &str, source: &str, known: Known) -> InboundTask {
        let (job, failure) = (&self.job, self.failure.clone().unwrap_or_default());
        let is_removal = self.operation == Operation::Remove;
        let entitlements = job.entitlements.iter().filter(|_| !is_removal).cloned().collect();
        let code = failure.code.or_else(|| self.open.error_code.clone());
        InboundTask {
            workspace_id: self.open.workspace.clone(),
            source_id: source.to_owned(),
            job_id: Some(self.open.job.clone()),
            integration_id: self.integration.clone(),
            integration_kind: self.kind.clone(),
            integration_name: job.integration_name.clone().unwrap_or(self.integration.clone()),
            application: self.application.clone(),
            member_id: member.to_owned(),
            member_email: known.email,
            member_username: known.username,
            member_name: known.name,
            operation: self.operation.as_str().to_owned(),
            entitlements,
            hub_role: job.hub_role.clone(),
            trigger: job.trigger.clone().unwrap_or_else(|| Trigger::System.as_str().to_owned()),
            requested_at: job.created_at.unwrap_or(self.open.occurred_at).into(),
            failure_code: code.filter(|_| self.failure.is_some()),
            failure_message: failure.message,
            failure_screenshot_url: failure.screenshot_url,
            can_retry: failure.can_retry,
            user_required: failure.user_required,
            traceparent: None,
            requested_by: job.created_by.clone(),
            outcome: Some(if self.failure.is_some() { "failed" } else { "succeeded" }.to_owned()),
        }
    }
}
