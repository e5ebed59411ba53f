//! Consoles: attempts through the real program while many people have the console open, beside a run without them. Each
//! console asks for its page as the script of the page does: whether it has changed, every five seconds. Prints ratios,
//! and the memory of the program.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use cerby_reconciler::access::{Access, Role};
use cerby_reconciler::operator::desk::{Actor, Desk};
use reqwest::header::{CONTENT_TYPE, COOKIE, ETAG, HeaderValue, IF_NONE_MATCH, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::bed;
use crate::http::Queue;
use crate::shape::{Place, Shape, number, rate};

const CONSOLES: usize = 50;
const ASKS_EVERY: Duration = Duration::from_secs(5);

/// What the consoles show.
const ACTIONS: usize = 5000;

const PAGES: [&str; 6] =
    ["/", "/actions", "/actions?operation=remove", "/apps/acme/app-7", "/tasks", "/integrations"];

pub(crate) async fn measure(shape: &Shape<'_>) -> anyhow::Result<()> {
    let (runs, tasks) = (number("RUNS", 5)?, number("TASKS", 40_000)?);
    for run in 1..=runs {
        let without = async || attempts(shape, tasks, 0).await;
        let with = async || attempts(shape, tasks, CONSOLES).await;
        // What is measured first has the machine in another state, so the order changes.
        let (with, without) = if run % 2 == 0 {
            let with = with().await?;
            (with, without().await?)
        } else {
            let without = without().await?;
            (with().await?, without)
        };
        ensure!(with.pages >= CONSOLES, "only {} pages were answered", with.pages);
        println!(
            "run {run}: with {CONSOLES} consoles {:.0} of {:.0} attempts/s: {:.3}; {} pages; {:.1} MB, without {:.1} MB",
            with.rate,
            without.rate,
            with.rate / without.rate,
            with.pages,
            with.memory_mb,
            without.memory_mb
        );
        let details = json!({"tasks": tasks, "unfinished actions": ACTIONS, "pages": with.pages});
        shape.ours("none open", run, (without.rate, "attempts/s"), details.clone())?;
        shape.ours("50 open", run, (with.rate, "attempts/s"), details.clone())?;
        shape.ours("memory, 50 open", run, (with.memory_mb, "MB"), details)?;
    }
    Ok(())
}

struct Attempts {
    /// Attempts per second.
    rate: f64,
    memory_mb: f64,
    /// How many pages the consoles were answered.
    pages: usize,
}

async fn attempts(shape: &Shape<'_>, tasks: usize, consoles: usize) -> anyhow::Result<Attempts> {
    let queue = Queue::fill(shape, tasks).await?;
    open_actions(&queue.place).await?;
    // A table that has just filled has no statistics yet, which a real one has within a minute.
    bed::settle(&queue.place.url).await?;
    let token = token(&queue.place).await?;
    let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let pages = Arc::new(AtomicUsize::new(0));
    let mut people = JoinSet::new();
    for number in 0..consoles {
        let console = Console::new(address, number, token.clone(), Arc::clone(&pages))?;
        people.spawn(console.watch());
    }
    let listen = ("RECONCILER__OPERATORS__LISTEN", address.to_string());
    let drained = queue.drain(&[listen]).await?;
    let answered = pages.load(Ordering::SeqCst);
    people.shutdown().await;
    drained.apps.stop().await?;
    Ok(Attempts { rate: rate(tasks, drained.took), memory_mb: drained.memory_mb, pages: answered })
}

async fn open_actions(place: &Place) -> anyhow::Result<()> {
    let mut tx = place.pool.begin().await?;
    sqlx::raw_sql("set local session_replication_role = replica").execute(&mut *tx).await?;
    let actions = "
        insert into reconciler.manual_actions
            (status, operation, workspace_id, integration_id, integration_name, integration_kind, application, member_id,
             member_email, trigger, reason, failure_code, instructions, shown, due_at, task_id)
        select 'open', (array['remove', 'invite', 'change_role'])[1 + n % 3], 'acme', 'app-' || n % 50, 'App', 'app',
               'asana_tenant', 'person-' || n, 'person-' || n || '@example.com', 'workspace_policy',
               'All automatic retries were used', 'NotEnoughSeats', 'Open the members page of the app.',
               '{\"template\": \"app_remove\", \"text\": \"Open the members page of the app.\"}',
               now() + interval '1 day', n
        from generate_series(1, $1) n";
    sqlx::query(actions).bind(ACTIONS as i64).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

async fn token(place: &Place) -> anyhow::Result<SecretString> {
    let access = Access { role: Role::Operator, workspaces: Some(vec!["acme".to_owned()]) };
    let desk = Desk::new(place.pool.clone().into());
    Ok(desk.create_token(&Actor::by_login(), "consoles", &access, 1).await?)
}

/// A tab that somebody left open.
struct Console {
    client: Client,
    address: String,
    page: &'static str,
    /// When it asks first: people do not open it all at once.
    after: Duration,
    token: SecretString,
    pages: Arc<AtomicUsize>,
}

impl Console {
    fn new(
        address: SocketAddr,
        number: usize,
        token: SecretString,
        pages: Arc<AtomicUsize>,
    ) -> anyhow::Result<Self> {
        // The process has one TLS provider; a second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(Policy::none()).timeout(ASKS_EVERY).build()?;
        let after = ASKS_EVERY * u32::try_from(number)? / u32::try_from(CONSOLES)?;
        let page = PAGES[number % PAGES.len()];
        Ok(Self { client, address: format!("http://{address}"), page, after, token, pages })
    }

    async fn watch(self) {
        let mut rounds = interval_at(Instant::now() + self.after, ASKS_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut cookie, mut tag) = (None, None);
        loop {
            rounds.tick().await;
            if cookie.is_none() {
                // The program may not listen yet, and ends in the middle of an answer.
                cookie = self.sign_in().await.ok();
            }
            let Some(cookie) = &cookie else { continue };
            if let Ok(now) = self.look(cookie, tag.clone()).await {
                tag = now.or(tag);
                self.pages.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    async fn sign_in(&self) -> anyhow::Result<String> {
        let answer = self
            .client
            .post(format!("{}/sign-in", self.address))
            .header("sec-fetch-site", "same-origin")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("token={}", self.token.expose_secret()))
            .send()
            .await?;
        let cookie = answer.headers().get(SET_COOKIE).context("the token signs in")?.to_str()?;
        Ok(cookie.split(';').next().unwrap_or_default().to_owned())
    }

    /// The tag of the page if it has changed.
    async fn look(
        &self,
        cookie: &str,
        tag: Option<HeaderValue>,
    ) -> anyhow::Result<Option<HeaderValue>> {
        let mut request =
            self.client.get(format!("{}{}", self.address, self.page)).header(COOKIE, cookie);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let answer = request.send().await?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let answer = answer.error_for_status()?;
        let tag = answer.headers().get(ETAG).cloned();
        answer.bytes().await?;
        Ok(tag)
    }
}
