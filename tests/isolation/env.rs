//! Where the cases happen: a replica on a login of the daemon's role, logins of people, and the round of ordinary work
//! that must go on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cerby_reconciler::schema;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};
use testkit::simulator::{
    Fate, Integration, Kind, Member, Operation, Settings, Simulator, World as Apps,
};

use super::support::eventually;
use super::support::replica::Replica;

pub(crate) const HERE: &str = "acme";
pub(crate) const ELSEWHERE: &str = "other";
/// The app that the bad things happen in; another member of it is removed in every round.
pub(crate) const DESK: &str = "desk";
/// Another app of the same workspace, in which people do what they are asked.
pub(crate) const BY_HAND: &str = "by-hand";
/// Whose actions people leave locked.
pub(crate) const VICTIM: &str = "victim";

const ROUNDS: usize = 24;

/// No transaction of the daemon takes longer, however much there is to do.
const LONGEST: Duration = Duration::from_secs(5);

/// A machine on which others build may take this long for nothing.
const FLOOR: Duration = Duration::from_secs(5);

/// So many times the undisturbed time is still undisturbed.
const FEW: u32 = 2;

pub(crate) struct Env {
    pub(crate) pool: PgPool,
    pub(crate) apps: Simulator,
    pub(crate) replica: Replica,
    backend: PgPool,
    operator: PgPool,
    suffix: String,
    rounds: AtomicUsize,
    /// An action that nobody works on, to be reminded of.
    reminder: i64,
}

/// A failed task as the backend inserts it.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) workspace: &'a str,
    pub(crate) integration: &'a str,
    pub(crate) name: &'a str,
    pub(crate) member: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) code: &'a str,
}

impl<'a> Row<'a> {
    pub(crate) fn removal(integration: &'a str, member: &'a str) -> Self {
        let (workspace, name) = (HERE, integration);
        Self { workspace, integration, name, member, operation: "remove", code: "LoginTimeout" }
    }

    /// What only a person can do.
    pub(crate) fn needs_no_automation(self) -> Self {
        Self { code: "NotEnoughSeats", ..self }
    }
}

/// How long each part of a round took.
pub(crate) struct Round(Vec<(&'static str, Duration)>);

impl Round {
    /// Whether this round, with somebody in the way, took about as long as an undisturbed one.
    pub(crate) fn assert_like(&self, undisturbed: &Self, culprit: &str) {
        for ((what, took), (_, usual)) in self.0.iter().zip(&undisturbed.0) {
            let most = *usual * FEW + FLOOR;
            assert!(*took <= most, "{culprit}: {what} took {took:?}, undisturbed {usual:?}");
        }
    }

    /// How long one part took.
    pub(crate) fn of(&self, part: &str) -> Duration {
        self.0.iter().find(|(what, _)| *what == part).unwrap().1
    }

    pub(crate) fn longest(&self) -> Duration {
        self.0.iter().map(|(_, took)| *took).max().unwrap_or_default()
    }
}

fn apps() -> Apps {
    let mut apps = Apps::new();
    let mut add = |workspace: &str, id: &str, members: Vec<String>| {
        let app = Integration::new(workspace, id, id, Kind::App, "asana_tenant");
        apps = std::mem::take(&mut apps).integration(app);
        for member in members {
            let member = Member::new(&member, &format!("{member}@example.com")).with(&["VIEWER"]);
            apps = std::mem::take(&mut apps).member(workspace, id, member);
        }
    };
    let members =
        || (0..ROUNDS).map(|n| format!("m{n}")).chain([VICTIM.to_owned(), "quiet".to_owned()]);
    for (workspace, id) in [(HERE, DESK), (HERE, BY_HAND), (HERE, "invites"), (ELSEWHERE, DESK)] {
        add(workspace, id, members().collect());
    }
    for n in 0..ROUNDS {
        add(HERE, &format!("brittle-{n}"), vec!["m".to_owned()]);
    }
    for n in 0..8 {
        add(HERE, &format!("slow-{n}"), members().collect());
    }
    apps
}

impl Env {
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::with(pool, &[]).await
    }

    pub(crate) async fn with(pool: PgPool, more: &[(&str, &str)]) -> Self {
        static DATABASES: AtomicUsize = AtomicUsize::new(0);
        schema::migrate(&pool.clone().into()).await.unwrap();
        let apps = Simulator::start(apps(), Settings::default()).await.unwrap();
        let suffix =
            format!("{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
        let logins =
            ["reconciler_daemon", "reconciler_backend", "reconciler_operator", "reconciler_viewer"];
        for role in logins {
            let login = format!("create role {role}_{suffix} login password 'x' in role {role}");
            sqlx::query(AssertSqlSafe(login)).execute(&pool).await.unwrap();
        }
        let options = options(&pool, "reconciler_daemon", &suffix);
        let changes = [
            ("RECONCILER__BREAKER__FAILURES", "1"),
            ("RECONCILER__UPKEEP__EVERY_S", "1"),
            // A busy machine is not a backend that does not answer.
            ("RECONCILER__BACKEND__REQUEST_TIMEOUT_S", "5"),
            ("RECONCILER__BACKEND__CONNECT_TIMEOUT_S", "5"),
            ("RECONCILER__WORKER__LEASE_S", "15"),
            ("RECONCILER__WORKER__SYNC_LEASE_S", "20"),
        ];
        let url = options.to_url_lossy();
        let replica = Replica::start(url.as_str(), &apps, &[&changes[..], more].concat()).await;
        let connect = async |role| {
            let options = self::options(&pool, role, &suffix);
            PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
        };
        let backend = connect("reconciler_backend").await;
        let operator = connect("reconciler_operator").await;
        let mut env = Self {
            backend,
            operator,
            suffix,
            rounds: AtomicUsize::new(0),
            reminder: 0,
            pool,
            apps,
            replica,
        };
        let row = Row { workspace: ELSEWHERE, ..Row::removal(DESK, "quiet").needs_no_automation() };
        env.reminder = env.with_action(row).await;
        env
    }

    /// A session of a login in this role.
    pub(crate) async fn session(&self, role: &str) -> PgConnection {
        let options = options(&self.pool, role, &self.suffix);
        PgConnection::connect_with(&options).await.unwrap()
    }

    /// Inserts a failed task in the backend's role, which sees its id.
    pub(crate) async fn insert(&self, row: Row<'_>) -> i64 {
        sqlx::query_scalar(INSERT)
            .bind(row.workspace)
            .bind(row.integration)
            .bind(row.name)
            .bind(row.member)
            .bind(row.operation)
            .bind(row.code)
            .fetch_one(&self.backend)
            .await
            .unwrap()
    }

    /// Inserts a task that only a person can do; its action.
    pub(crate) async fn with_action(&self, row: Row<'_>) -> i64 {
        let task = self.insert(row).await;
        self.action_of(task).await
    }

    pub(crate) async fn action_of(&self, task: i64) -> i64 {
        let of = "select max(id) from reconciler.manual_actions where task_id = $1";
        let action = async || -> Option<i64> {
            sqlx::query_scalar(of).bind(task).fetch_one(&self.pool).await.unwrap()
        };
        eventually("its action is open", async || action().await.is_some()).await;
        action().await.unwrap()
    }

    /// Whether a query about one id says yes.
    pub(crate) async fn is(&self, query: &'static str, id: i64) -> bool {
        sqlx::query_scalar(query).bind(id).fetch_one(&self.pool).await.unwrap()
    }

    /// Whether a query says yes.
    pub(crate) async fn says(&self, query: &'static str) -> bool {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn text(&self, query: &'static str, id: i64) -> String {
        sqlx::query_scalar(query).bind(id).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// Statements of the owner.
    pub(crate) async fn own(&self, statements: impl Into<String>) {
        sqlx::raw_sql(AssertSqlSafe(statements.into())).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn succeeds(&self, task: i64) {
        let is = "select state = 'succeeded' from reconciler.automation_tasks where id = $1";
        eventually("it succeeds", async || self.is(is, task).await).await;
    }

    pub(crate) async fn mark_done(&self, action: i64) {
        sqlx::query("update reconciler.manual_actions set status = 'done' where id = $1")
            .bind(action)
            .execute(&self.operator)
            .await
            .unwrap();
    }

    pub(crate) async fn is_verified(&self, action: i64) -> bool {
        let is = "select status = 'verified' from reconciler.manual_actions where id = $1";
        self.is(is, action).await
    }

    /// A round of ordinary work, all of it at the same time.
    pub(crate) async fn round(&self) -> Round {
        let n = self.rounds.fetch_add(1, Ordering::Relaxed);
        assert!(n < ROUNDS, "more rounds than members");
        let member = format!("m{n}");
        // The name changes, so that intake writes the settings of the app.
        let name = format!("Desk, now {n}");
        let (same, elsewhere, invited, tripped, by_hand, reminded) = tokio::join!(
            self.removed(Row { name: &name, ..Row::removal(DESK, &member) }),
            self.removed(Row { workspace: ELSEWHERE, ..Row::removal(DESK, &member) }),
            self.invited(n),
            self.tripped(n),
            self.done_by_hand(&member),
            self.reminded(),
        );
        Round(vec![
            ("a removal of another member of the same app", same),
            ("a removal in another workspace", elsewhere),
            ("an invite to another app", invited),
            ("a failure that trips another app", tripped),
            ("an escalation, a done and its verdict", by_hand),
            ("upkeep", reminded),
        ])
    }

    async fn removed(&self, row: Row<'_>) -> Duration {
        let began = Instant::now();
        let task = self.insert(row).await;
        self.succeeds(task).await;
        assert!(self.apps.member(row.workspace, row.integration, row.member).is_none());
        began.elapsed()
    }

    async fn invited(&self, n: usize) -> Duration {
        let began = Instant::now();
        let member = format!("new{n}");
        let row = Row { operation: "invite", ..Row::removal("invites", &member) };
        let task = self.insert(row).await;
        self.succeeds(task).await;
        began.elapsed()
    }

    async fn tripped(&self, n: usize) -> Duration {
        let began = Instant::now();
        let app = format!("brittle-{n}");
        let fate = Fate::Transient { times: 1000, code: "LoginTimeout".to_owned() };
        self.apps.set_fate(HERE, &app, "m", Operation::Remove, fate);
        let task = self.insert(Row::removal(&app, "m")).await;
        let is = "select exists (select from reconciler.integrations i
                                 join reconciler.automation_tasks t using (workspace_id, integration_id)
                                 where t.id = $1 and i.status in ('tripped', 'probing'))";
        eventually("the app trips", async || self.is(is, task).await).await;
        began.elapsed()
    }

    async fn done_by_hand(&self, member: &str) -> Duration {
        let began = Instant::now();
        let action = self.with_action(Row::removal(BY_HAND, member).needs_no_automation()).await;
        assert!(self.apps.person_removes(HERE, BY_HAND, member));
        self.mark_done(action).await;
        eventually("it is verified", async || self.is_verified(action).await).await;
        began.elapsed()
    }

    async fn reminded(&self) -> Duration {
        let began = Instant::now();
        let late =
            "update reconciler.manual_actions set reminded_at = null, due_at = now() where id = $1";
        sqlx::query(late).bind(self.reminder).execute(&self.pool).await.unwrap();
        let is = "select reminded_at is not null from reconciler.manual_actions where id = $1";
        eventually("somebody is reminded", async || self.is(is, self.reminder).await).await;
        began.elapsed()
    }

    /// A round with nobody in the way, after one that makes all sessions and plans.
    pub(crate) async fn undisturbed(&self) -> Round {
        self.round().await;
        self.round().await
    }

    /// Makes the slow apps known.
    pub(crate) async fn know_slow_apps(&self) {
        self.own(
            "insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application)
             select 'acme', 'slow-' || n, 'Slow', 'app', 'asana_tenant' from generate_series(0, 7) n;
             insert into reconciler.integration_states (workspace_id, integration_id)
             select 'acme', 'slow-' || n from generate_series(0, 7) n",
        )
        .await;
    }

    /// How long a task waited for its place.
    pub(crate) async fn wait_for_order(&self, task: i64) -> Duration {
        let waited = "select extract(epoch from ordered_at - received_at)::float8
                      from reconciler.automation_tasks where id = $1";
        let seconds: f64 =
            sqlx::query_scalar(waited).bind(task).fetch_one(&self.pool).await.unwrap();
        Duration::from_secs_f64(seconds)
    }

    /// Waits until a count is zero, as long as it becomes less.
    pub(crate) async fn dwindles(&self, what: &str, query: &'static str) {
        let mut left = self.count(query).await;
        while left > 0 {
            eventually(what, async || self.count(query).await < left).await;
            left = self.count(query).await;
        }
    }

    /// Waits until the daemon has taken up what people did.
    pub(crate) async fn nudges_are_taken_up(&self) {
        self.dwindles("nudges are taken up", "select count(*) from reconciler.nudges").await;
    }

    /// Watches how long transactions of the daemon take.
    pub(crate) fn watch_transactions(&self) -> Watch {
        let longest = Arc::new(Mutex::new((Duration::ZERO, String::new())));
        let (pool, login) = (self.pool.clone(), format!("reconciler_daemon_{}", self.suffix));
        let seen = Arc::clone(&longest);
        let watching = tokio::spawn(async move {
            let oldest =
                "select (1000 * extract(epoch from clock_timestamp() - xact_start))::bigint,
                                 concat_ws(' ', state, wait_event, left(query, 80))
                          from pg_stat_activity
                          -- A session that listens takes in what it hears while it is idle.
                          where usename = $1 and xact_start is not null and state <> 'idle'
                          order by xact_start limit 1";
            loop {
                let found: Option<(i64, String)> =
                    sqlx::query_as(oldest).bind(&login).fetch_optional(&pool).await.unwrap();
                if let Some((age, doing)) = found {
                    let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
                    let mut longest = seen.lock().unwrap();
                    if age > longest.0 {
                        *longest = (age, doing);
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Watch { longest, watching }
    }

    /// The lines of the log with this event.
    pub(crate) fn said(&self, event: &str) -> usize {
        self.replica.count(event)
    }

    /// Ends the replica and takes the logins away.
    pub(crate) async fn leave(mut self) {
        self.replica.signal(nix::sys::signal::Signal::SIGKILL);
        self.replica.ended().await;
        self.backend.close().await;
        self.operator.close().await;
        let gone = "select count(*) = 0 from pg_stat_activity where usename like '%' || $1";
        eventually("the sessions end", async || {
            sqlx::query_scalar(gone).bind(&self.suffix).fetch_one(&self.pool).await.unwrap()
        })
        .await;
        for role in ["daemon", "backend", "operator", "viewer"] {
            let drop = format!("drop role reconciler_{role}_{}", self.suffix);
            sqlx::query(AssertSqlSafe(drop)).execute(&self.pool).await.unwrap();
        }
    }
}

/// Looks at the transactions of the daemon until it is dropped.
pub(crate) struct Watch {
    longest: Arc<Mutex<(Duration, String)>>,
    watching: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// The longest that was seen, which is short enough.
    pub(crate) fn assert_short(&self) -> Duration {
        let (longest, doing) = self.longest.lock().unwrap().clone();
        assert!(longest < LONGEST, "a transaction took {longest:?}: {doing}");
        longest
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.replica.log());
        }
    }
}

fn options(pool: &PgPool, role: &str, suffix: &str) -> PgConnectOptions {
    let options = (*pool.connect_options()).clone();
    options.username(&format!("{role}_{suffix}")).password("x")
}

const INSERT: &str = "
    insert into reconciler.automation_tasks
        (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, operation, entitlements, trigger, requested_at, failure_code)
    values ($1, gen_random_uuid()::text, 'job', $2, 'app', $3, 'asana_tenant', $4, $4 || '@example.com', $5,
            case $5 when 'remove' then '{}'::text[] else '{VIEWER}' end, 'manual', now() - interval '1 min', $6)
    returning id";
