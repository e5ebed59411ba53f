//! A world for stories: a database of its own, the simulator over real HTTP, and the daemon's stages driven
//! by hand, with time that passes when the test says so.

#![expect(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

pub(crate) mod collector;
pub(crate) mod faults;
pub(crate) mod frozen;
pub(crate) mod issuer;
pub(crate) mod log;
pub(crate) mod openmetrics;
pub(crate) mod oracle;
pub(crate) mod replica;

use std::sync::Arc;
use std::time::Duration;

use cerby_reconciler::backend::Client;
use cerby_reconciler::config::Config;
use cerby_reconciler::flow::{RetryStage, SyncStage, nudges};
use cerby_reconciler::manual_action::instructions::Library;
use cerby_reconciler::worker::Stage;
use cerby_reconciler::{intake, schema, upkeep};
use sqlx::{PgPool, Row};
use testkit::simulator::{Integration, Kind, Member, Settings, Simulator, World as Apps};

/// A step, and its record.
pub(crate) async fn work<S: Stage>(stage: &Arc<S>, claim: S::Claim) {
    if let Some(outcome) = stage.step(&claim).await {
        stage.record(claim, outcome).await;
    }
}

pub(crate) const WORKSPACE: &str = "acme";
pub(crate) const APP: &str = "an-app";
pub(crate) const HUB: &str = "a-hub";

/// Rounds without an end mean that something waits for ever.
const ROUNDS: usize = 400;

pub(crate) struct World {
    pub(crate) pool: PgPool,
    pub(crate) apps: Simulator,
    pub(crate) config: Config,
    pub(crate) tasks: Arc<RetryStage>,
    pub(crate) syncs: Arc<SyncStage>,
}

/// The stages of a daemon with this configuration.
fn stages(config: &Config, pool: &PgPool, backend: Client) -> (Arc<RetryStage>, Arc<SyncStage>) {
    let library = Arc::new(Library::new(&config.instructions).unwrap());
    let tasks = RetryStage::new(config, library.clone(), pool.clone().into(), backend.clone());
    (tasks, SyncStage::new(config, library, pool.clone().into(), backend))
}

/// A failed task to insert; the rest of the contract has ordinary values.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) source: String,
    pub(crate) integration: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) application: &'static str,
    pub(crate) member: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) roles: Vec<&'static str>,
    pub(crate) trigger: &'static str,
    pub(crate) job: Option<&'static str>,
    pub(crate) code: Option<&'static str>,
    pub(crate) outcome: &'static str,
    pub(crate) requested: i32,
}

pub(crate) fn a_failed(
    operation: &'static str,
    integration: &'static str,
    member: &'static str,
) -> Task {
    Task {
        source: format!("{operation}-{integration}-{member}"),
        integration,
        kind: if integration == HUB { "business_hub" } else { "app" },
        application: "asana_tenant",
        member,
        operation,
        roles: if operation == "remove" { vec![] } else { vec!["EDITOR"] },
        trigger: "manual",
        job: Some("job-that-failed"),
        code: Some("LoginTimeout"),
        outcome: "failed",
        requested: 10,
    }
}

impl Task {
    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn requested_minutes_ago(mut self, minutes: i32) -> Self {
        self.requested = minutes;
        self.source = format!("{}-{minutes}", self.source);
        self
    }

    pub(crate) fn deprovisioned(mut self) -> Self {
        self.trigger = "user_deprovisioned";
        self
    }

    pub(crate) fn without_job(mut self) -> Self {
        self.job = None;
        self.code = None;
        self
    }

    /// Automation did it elsewhere.
    pub(crate) fn succeeded(mut self) -> Self {
        self.outcome = "succeeded";
        self.job = None;
        self.code = None;
        self
    }

    pub(crate) fn of_application(mut self, application: &'static str) -> Self {
        self.application = application;
        self
    }
}

/// Settings of the daemon for a simulator: no jitter, no settling, everything else as delivered.
pub(crate) fn config(database_url: &str, base_url: String, api_key: String) -> Config {
    let variables = [
        ("RECONCILER__DATABASE__URL", database_url.to_owned()),
        ("RECONCILER__BACKEND__BASE_URL", base_url),
        ("RECONCILER__BACKEND__API_KEY", api_key),
        ("RECONCILER__BACKEND__REQUEST_TIMEOUT_S", "2".to_owned()),
        ("RECONCILER__BACKEND__CONNECT_TIMEOUT_S", "1".to_owned()),
        // Rounds follow one another faster than a backend is asked again that did not answer.
        ("RECONCILER__BACKEND__OUTAGE_RETRY_MAX_S", "0.01".to_owned()),
        ("RECONCILER__MANUAL_ACTION__ATTEST_AFTER_S", "0".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
    let mut config = Config::from_sources(None, Some(variables)).unwrap();
    config.retry.settle_s = 0;
    config
}

/// An app and a business hub with two members each, `jo` and `kim`, who are viewers.
pub(crate) fn apps() -> Apps {
    let member = |id: &str| Member::new(id, &format!("{id}@example.com")).with(&["VIEWER"]);
    let mut apps = Apps::new()
        .integration(Integration::new(WORKSPACE, APP, "Asana", Kind::App, "asana_tenant"))
        .integration(Integration::new(
            WORKSPACE,
            HUB,
            "Asana hub",
            Kind::BusinessHub,
            "asana_tenant",
        ));
    for integration in [APP, HUB] {
        for id in ["jo", "kim"] {
            apps = apps.member(WORKSPACE, integration, member(id));
        }
    }
    apps
}

/// The text without the logins beside the names: `kim` instead of `kim via login postgres`.
pub(crate) fn without_logins(text: &str) -> String {
    let mut parts = text.split(" via login ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let login = |c: char| c.is_alphanumeric() || c == '_';
        text + part.trim_start_matches(login)
    })
}

impl World {
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::with(pool, apps(), Settings::default()).await
    }

    pub(crate) async fn with(pool: PgPool, apps: Apps, settings: Settings) -> Self {
        schema::migrate(&pool.clone().into()).await.unwrap();
        Self::start(pool, apps, settings).await
    }

    /// With one open action, to remove `jo` from the app.
    pub(crate) async fn with_an_action(pool: PgPool) -> (Self, i64) {
        let world = Self::new(pool).await;
        let id = world.insert(&a_failed("remove", APP, "jo").code("NotEnoughSeats")).await;
        world.drive().await;
        let action = world.action_of(id).await;
        (world, action)
    }

    /// With a pool that may not migrate.
    pub(crate) async fn on_migrated(pool: PgPool) -> Self {
        Self::start(pool, apps(), Settings::default()).await
    }

    async fn start(pool: PgPool, apps: Apps, settings: Settings) -> Self {
        let apps = Simulator::start(apps, settings).await.unwrap();
        let config = config("postgres://unused", apps.base_url(), apps.api_key());
        let backend = Client::new(&config.backend).unwrap();
        Self::with_client(pool, apps, config, backend)
    }

    pub(crate) fn with_client(
        pool: PgPool,
        apps: Simulator,
        config: Config,
        backend: Client,
    ) -> Self {
        let (tasks, syncs) = stages(&config, &pool, backend);
        Self { pool, apps, config, tasks, syncs }
    }

    /// With other settings from here on, as after a restart.
    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        let backend = Client::new(&self.config.backend).unwrap();
        (self.tasks, self.syncs) = stages(&self.config, &self.pool, backend);
    }

    /// The backend's plain insert; the task's id.
    pub(crate) async fn insert(&self, task: &Task) -> i64 {
        sqlx::query_scalar(
            "insert into reconciler.automation_tasks
                 (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name,
                  application, member_id, member_email, operation, entitlements, trigger, requested_at,
                  failure_code, outcome)
             values ($1, $2, $3, $4, $5, $4, $6, $7, $7 || '@example.com', $8, $9, $10,
                     now() - make_interval(mins => $11), $12, $13)
             returning id",
        )
        .bind(WORKSPACE)
        .bind(&task.source)
        .bind(task.job)
        .bind(task.integration)
        .bind(task.kind)
        .bind(task.application)
        .bind(task.member)
        .bind(task.operation)
        .bind(&task.roles)
        .bind(task.trigger)
        .bind(task.requested)
        .bind(task.code)
        .bind(task.outcome)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Takes up what people did, and gives new rows their place.
    pub(crate) async fn order(&self) {
        self.take_up().await;
        let (pool, policy) = (self.pool.clone().into(), intake::IntakePolicy::new(&self.config));
        let due = "select count(*) from reconciler.arrivals where not_before <= now()";
        // A round before may not have given the work back yet, and then this one takes nothing.
        for _ in 0..ROUNDS {
            while intake::order_arrivals(&pool, &policy, 500).await.unwrap() > 0 {}
            if self.count(due).await == 0 {
                return;
            }
        }
    }

    /// Takes up what people did.
    pub(crate) async fn take_up(&self) {
        let (pool, policy) = (self.pool.clone().into(), &self.config.manual_action);
        let due = "select count(*) from reconciler.nudges where not_before <= now()";
        for _ in 0..ROUNDS {
            while nudges::take_up_some(&pool, policy).await.unwrap() > 0 {}
            if self.count(due).await == 0 {
                return;
            }
        }
    }

    pub(crate) async fn upkeep(&self) {
        upkeep::round(&self.pool.clone().into(), &self.config, &mut Default::default())
            .await
            .unwrap();
    }

    /// Works on everything that is due, once; how much that was.
    pub(crate) async fn step(&self) -> usize {
        self.order().await;
        let tasks = self.tasks.claim(100).await.unwrap();
        let syncs = self.syncs.claim(100).await.unwrap();
        let count = tasks.len() + syncs.len();
        for task in &tasks {
            oracle::compare(&self.pool, task).await;
        }
        for task in tasks {
            work(&self.tasks, task).await;
        }
        for sync in syncs {
            work(&self.syncs, sync).await;
        }
        count
    }

    /// Makes everything due that waits for a time.
    pub(crate) async fn let_time_pass(&self) {
        sqlx::query(
            "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members set next_attempt_at = now() where ready_task_id is not null",
        )
        .execute(&self.pool)
        .await
        .unwrap();
        sqlx::query(
            "update reconciler.integration_states set status_until = now()
             where status = 'tripped' or status = 'probing' and probe_task_id is null",
        )
        .execute(&self.pool)
        .await
        .unwrap();
        sqlx::query(
            "update reconciler.syncs set next_step_at = now()
             where state in ('requested', 'started', 'report_ready', 'applying')",
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// The status of an integration.
    pub(crate) async fn integration_status(&self, integration: &str) -> String {
        sqlx::query_scalar("select status from reconciler.integrations where integration_id = $1")
            .bind(integration)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Lets time pass and work be done until only people can go on.
    pub(crate) async fn drive(&self) {
        for _ in 0..ROUNDS {
            if !self.is_busy().await {
                return;
            }
            self.let_time_pass().await;
            self.step().await;
        }
        panic!("still busy after {ROUNDS} rounds: {:?}", self.trail().await);
    }

    /// Lets syncs go on until they end, and nothing else.
    pub(crate) async fn drive_syncs(&self) {
        for _ in 0..ROUNDS {
            self.let_time_pass().await;
            self.take_up().await;
            let syncs = self.syncs.claim(100).await.unwrap();
            if syncs.is_empty() {
                return;
            }
            for sync in syncs {
                work(&self.syncs, sync).await;
            }
        }
        panic!("a sync goes on after {ROUNDS} rounds");
    }

    async fn is_busy(&self) -> bool {
        sqlx::query_scalar(
            "select exists (select from reconciler.task_places where place in ('unordered', 'ready'))
                 or exists (select from reconciler.nudges)
                 or exists (select from reconciler.syncs
                            where state in ('requested', 'started', 'report_ready', 'applying'))",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    pub(crate) async fn text(&self, query: &'static str, id: i64) -> String {
        let value: Option<String> =
            sqlx::query_scalar(query).bind(id).fetch_one(&self.pool).await.unwrap();
        value.unwrap_or_default()
    }

    pub(crate) async fn state(&self, task: i64) -> String {
        self.text("select state from reconciler.automation_tasks where id = $1", task).await
    }

    pub(crate) async fn attempts(&self, task: i64) -> i32 {
        sqlx::query_scalar("select attempts from reconciler.automation_tasks where id = $1")
            .bind(task)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn closed_reason(&self, task: i64) -> String {
        self.text("select closed_reason from reconciler.automation_tasks where id = $1", task).await
    }

    /// The one action of a task.
    pub(crate) async fn action_of(&self, task: i64) -> i64 {
        sqlx::query_scalar(
            "select id from reconciler.manual_actions where task_id = $1 order by id desc limit 1",
        )
        .bind(task)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    pub(crate) async fn status(&self, action: i64) -> String {
        self.text("select status from reconciler.manual_actions where id = $1", action).await
    }

    pub(crate) async fn verdict(&self, action: i64) -> String {
        self.text("select verdict from reconciler.manual_actions where id = $1", action).await
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// The person's word, as in psql.
    pub(crate) async fn mark_done(&self, action: i64) {
        let written =
            sqlx::query("update reconciler.manual_actions set status = 'done' where id = $1")
                .bind(action)
                .execute(&self.pool)
                .await
                .unwrap();
        assert_eq!(written.rows_affected(), 1);
    }

    /// Makes the change in the app as a person would.
    pub(crate) fn person_does(&self, task: &Task) {
        let (integration, member) = (task.integration, task.member);
        let changed = match task.operation {
            "invite" => {
                let person =
                    Member::new(member, &format!("{member}@example.com")).with(&task.roles);
                self.apps.person_invites(WORKSPACE, integration, person)
            }
            "remove" => self.apps.person_removes(WORKSPACE, integration, member),
            _ => self.apps.person_changes_role(WORKSPACE, integration, member, &task.roles),
        };
        assert!(changed, "{} of {member} changed nothing", task.operation);
    }

    pub(crate) fn is_in_app(&self, integration: &str, member: &str) -> bool {
        self.apps.member(WORKSPACE, integration, member).is_some()
    }

    /// What happened, as words.
    pub(crate) async fn trail(&self) -> Vec<String> {
        sqlx::query("select what from reconciler.events order by id")
            .fetch_all(&self.pool)
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    }
}

/// Waits for something that is about to happen, at most 30 seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(
    what: &str,
    mut happened: impl FnMut() -> F,
) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !happened().await {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
