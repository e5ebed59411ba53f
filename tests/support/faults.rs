//! Plays a story once for every request that the daemon makes in it and every way in which that request can go
//! wrong, and says which of them ended wrongly.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cerby_reconciler::backend::Client;
use cerby_reconciler::config::{Config, ManualAction};
use cerby_reconciler::flow::{RetryStage, SyncStage, nudges};
use cerby_reconciler::manual_action::instructions::Library;
use cerby_reconciler::schema::Planning;
use cerby_reconciler::worker::Stage;
use cerby_reconciler::{database, intake, schema};
use sqlx::{ConnectOptions, PgPool, Row};
use testkit::simulator::{Author, Settings, Simulator};
use tokio::task::JoinError;

use super::{ROUNDS, World, apps, config, eventually, oracle, work};
use testkit::fault_proxy::{Asked, At, Fault, FaultProxy, Kind, Line};

/// No story takes nearly as long; one that does waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

type Changes = fn(&mut Config);

/// Where processes live: their fault_proxy, and what is costly to make and holds no state of theirs.
#[derive(Clone)]
struct Env {
    pool: PgPool,
    fault_proxy: Arc<FaultProxy>,
    config: Config,
    client: Client,
}

impl Env {
    async fn new(pool: PgPool, changes: Changes) -> Self {
        let options = pool.connect_options();
        let real = SocketAddr::new(options.get_host().parse().unwrap(), options.get_port());
        let fault_proxy = FaultProxy::lay(real).await;
        let mut url = options.to_url_lossy();
        url.set_ip_host(fault_proxy.database.ip()).unwrap();
        url.set_port(Some(fault_proxy.database.port())).unwrap();
        url.set_query(None);
        let base_url = format!("http://{}/{{workspace}}/api/v1", fault_proxy.backend);
        let mut config = config(url.as_str(), base_url, Settings::default().api_key);
        // Enough for one thing at a time, and every run sends the same.
        config.database.max_connections = 1;
        changes(&mut config);
        let client = Client::new(&config.backend).unwrap();
        Self { pool, fault_proxy: Arc::new(fault_proxy), config, client }
    }

    async fn world(&self) -> World {
        forget_everything(&self.pool).await;
        let apps = Simulator::start(apps(), Settings::default()).await.unwrap();
        World::with_client(self.pool.clone(), apps, self.config.clone(), self.client.clone())
    }
}

/// The daemon as one process: its pool and its stages, all on fault_proxy that can break.
pub(crate) struct Process {
    line: Line,
    pool: database::PgPool,
    /// A pool that no wire breaks, for looking on.
    spectator: PgPool,
    policy: intake::IntakePolicy,
    actions: ManualAction,
    tasks: Arc<RetryStage>,
    syncs: Arc<SyncStage>,
}

impl Process {
    async fn start(env: &Env, apps: &Simulator) -> Self {
        let line = env.fault_proxy.hand_over(apps.address());
        let (config, client) = (&env.config, &env.client);
        let pool = schema::connect(&config.database, Planning::Fixed).await.unwrap();
        let library = Arc::<Library>::default();
        let tasks = RetryStage::new(config, library.clone(), pool.clone(), client.clone());
        let syncs = SyncStage::new(config, library, pool.clone(), client.clone());
        line.arm(None);
        let (policy, spectator) = (intake::IntakePolicy::new(config), env.pool.clone());
        let actions = config.manual_action.clone();
        Self { line, pool, spectator, policy, actions, tasks, syncs }
    }

    /// What its loops do once, as far as there is something to do. What fails is left to the next time.
    async fn round(&self, due: Due) {
        if due.arrivals {
            let _ = nudges::take_up_some(&self.pool, &self.actions).await;
            let _ = intake::order_arrivals(&self.pool, &self.policy, 500).await;
        }
        if due.tasks {
            for task in self.tasks.claim(100).await.unwrap_or_default() {
                oracle::compare(&self.spectator, &task).await;
                work(&self.tasks, task).await;
            }
        }
        if due.syncs {
            for sync in self.syncs.claim(100).await.unwrap_or_default() {
                work(&self.syncs, sync).await;
            }
        }
    }
}

/// What there is to do.
#[derive(Clone, Copy, Debug)]
struct Due {
    arrivals: bool,
    tasks: bool,
    syncs: bool,
}

/// A world whose daemon may die or lose a request, and is started anew whenever it died.
pub(crate) struct CrashableDaemon {
    pub(crate) world: World,
    process: Process,
    env: Env,
    fault: Option<Fault>,
    is_doomed: bool,
    pub(crate) deaths: usize,
}

impl CrashableDaemon {
    /// One whose every process meets the fault.
    pub(crate) async fn doomed(pool: PgPool, fault: Fault) -> Self {
        schema::migrate(&pool.clone().into()).await.unwrap();
        let mortal = Self::on(Env::new(pool, |_| {}).await, Some(fault)).await;
        mortal.faults_begin();
        Self { is_doomed: true, ..mortal }
    }

    async fn on(env: Env, fault: Option<Fault>) -> Self {
        let world = env.world().await;
        let process = Process::start(&env, &world.apps).await;
        Self { world, process, env, fault, is_doomed: false, deaths: 0 }
    }

    /// From here on requests are counted, and the fault comes. What a story needs before is spared.
    pub(crate) fn faults_begin(&self) {
        self.process.line.arm(self.fault);
    }

    /// Lets time pass and work be done until only people can go on, whoever dies meanwhile.
    pub(crate) async fn drive(&mut self) {
        for _ in 0..ROUNDS {
            let due = self.due().await;
            if !(due.arrivals || due.tasks || due.syncs) {
                return;
            }
            self.let_time_pass().await;
            self.round(due).await;
        }
        panic!("still busy after {ROUNDS} rounds: {:?}", self.world.trail().await);
    }

    /// Lets time pass and work be done until a count is no longer 0.
    pub(crate) async fn drive_until(&mut self, count: &'static str) {
        for _ in 0..ROUNDS {
            if self.world.count(count).await > 0 {
                return;
            }
            self.let_time_pass().await;
            self.round(self.due().await).await;
        }
        panic!("never so: {count}: {:?}", self.world.trail().await);
    }

    async fn round(&mut self, due: Due) {
        tokio::select! {
            biased;
            () = self.process.line.death() => {}
            () = self.process.round(due) => return,
        }
        self.deaths += 1;
        self.process = Process::start(&self.env, &self.world.apps).await;
        if self.is_doomed {
            self.faults_begin();
        }
    }

    /// Ends it, and lets the database be dropped.
    pub(crate) async fn end(self) {
        let Self { process, env, .. } = self;
        process.pool.close().await;
        let pool = env.pool.clone();
        drop(env);
        end_sessions(&pool).await;
    }

    /// Makes everything due that waits for a time, the end of a lease included.
    pub(crate) async fn let_time_pass(&self) {
        sqlx::raw_sql(
            "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members
             set next_attempt_at = now(), lease_until = case when lease_until is not null then now() end
             where ready_task_id is not null;
             update reconciler.syncs
             set next_step_at = now(), lease_until = case when lease_until is not null then now() end
             where state in ('requested', 'started', 'report_ready', 'applying')",
        )
        .execute(&self.world.pool)
        .await
        .unwrap();
    }

    async fn due(&self) -> Due {
        let row = sqlx::query(
            "select exists (select from reconciler.arrivals) or exists (select from reconciler.nudges),
                    exists (select from reconciler.members where ready_task_id is not null),
                    exists (select from reconciler.syncs
                            where state in ('requested', 'started', 'report_ready', 'applying'))",
        )
        .fetch_one(&self.world.pool)
        .await
        .unwrap();
        Due { arrivals: row.get(0), tasks: row.get(1), syncs: row.get(2) }
    }

    /// What holds at the end of every story, whatever went wrong in it.
    async fn assert_nothing_is_left_or_doubled(&self, repeats: u64) {
        for (rule, query) in RULES {
            let broken: Vec<String> =
                sqlx::query_scalar(query).fetch_all(&self.world.pool).await.unwrap();
            assert!(broken.is_empty(), "{rule}: {broken:?}; {:?}", self.world.trail().await);
        }
        let counters = self.world.apps.counters();
        assert_eq!((counters.duplicate_effects, counters.overlapping_jobs), (0, 0));
        assert!(
            counters.repeated_requests <= repeats,
            "{} changes were asked for that held already",
            counters.repeated_requests
        );
    }

    /// The automation's changes in the apps, in their order: `remove jo`.
    pub(crate) fn effects(&self) -> Vec<String> {
        let effects = self.world.apps.effects();
        let ours = effects.iter().filter(|effect| effect.author == Author::Automation);
        ours.map(|effect| format!("{:?} {}", effect.operation, effect.member)).collect()
    }
}

/// Rules of every end, each with a query for what breaks it.
const RULES: [(&str, &str); 7] = [
    (
        "no task is left unfinished or leased",
        "select task_id || ' ' || place from reconciler.task_places",
    ),
    (
        "every unfinished task has its turn",
        "select t.id || ' ' || t.state from reconciler.automation_tasks t
         where t.closed_at is null
           and not exists (select from reconciler.task_places h where h.task_id = t.id and h.workspace_id = t.workspace_id)",
    ),
    (
        "no sync is left unfinished or leased",
        "select id || ' ' || state from reconciler.syncs
         where state not in ('finished', 'failed') or lease_until is not null",
    ),
    (
        "every task is ordered once and closed once",
        "select t.id || ' ' || string_agg(e.what, ', ' order by e.id)
         from reconciler.automation_tasks t
         join reconciler.events e on e.subject = 'task' and e.subject_id = t.id::text
         group by t.id, t.state
         having count(*) filter (where e.what = 'task.ordered') <> 1
             or count(*) filter (where e.what = 'task.' || t.state) <> 1
             or count(*) filter (where e.what in ('task.succeeded', 'task.escalated', 'task.superseded')) <> 1",
    ),
    (
        "every action is opened once and ended at most once",
        "select a.id || ' ' || string_agg(e.what, ', ' order by e.id)
         from reconciler.manual_actions a
         join reconciler.events e on e.subject = 'action' and e.subject_id = a.id::text
         group by a.id, a.reopened_count
         having count(*) filter (where e.what = 'action.opened') <> 1
             or count(*) filter (where e.what in ('action.verified', 'action.attested', 'action.not_needed',
                                                  'action.dismissed', 'action.superseded')) > 1
             or count(*) filter (where e.what = 'action.contradicted') <> a.reopened_count",
    ),
    (
        "a task has one action if it was escalated, and none otherwise",
        "select t.id || ' ' || t.state || ' ' || count(a.id)
         from reconciler.automation_tasks t left join reconciler.manual_actions a on a.task_id = t.id
         group by t.id, t.state
         having count(a.id) <> case t.state when 'escalated' then 1 else 0 end",
    ),
    (
        "every sync is requested once, started, and ended once",
        "select s.id || ' ' || string_agg(e.what, ', ' order by e.id)
         from reconciler.syncs s
         join reconciler.events e on e.subject = 'sync' and e.subject_id = s.id::text
         group by s.id
         having count(*) filter (where e.what = 'sync.requested') <> 1
             or count(*) filter (where e.what = 'sync.started') = 0
             or count(*) filter (where e.what in ('sync.finished', 'sync.failed')) <> 1",
    ),
];

/// A story, and what it may cost.
#[derive(Clone, Copy)]
pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) play:
        for<'a> fn(&'a mut CrashableDaemon) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    pub(crate) changes: Changes,
    /// It makes at least so many statements and calls.
    pub(crate) at_least: (usize, usize),
    /// Requests that may find their change made, because looking could not tell.
    pub(crate) repeats: u64,
}

/// Plays the story without a fault and then with each. Whoever is dead cannot tell whether the last answer
/// came: a death before a request is the death after the request before it.
pub(crate) async fn survives_every_fault(pool: PgPool, story: Story) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let env = Env::new(pool.clone(), story.changes).await;
    let whole = play(&env, story, None).await;
    whole.ended.expect("it ends well without a fault");
    let asked = whole.line.asked();
    let statements = asked.iter().filter(|asked| asked.is_statement).count();
    let (found, floor) = ((statements, asked.len() - statements), story.at_least);
    assert!(found.0 >= floor.0 && found.1 >= floor.1, "{}: only {found:?}", story.name);

    let (mut broken, mut wrong) = (0, Vec::new());
    for (nth, request) in asked.iter().enumerate() {
        for kind in kinds(request) {
            let played = play(&env, story, Some(Fault { at: At::Nth(nth), kind })).await;
            broken += usize::from(played.line.is_broken());
            if let Err(why) = played.ended {
                wrong.push(format!("{kind:?} at request {nth}, {}\n    {why}", request.text));
            }
        }
    }
    drop(env);
    end_sessions(&pool).await;
    assert_eq!(broken, 2 * found.0 + 3 * found.1, "{}: every fault comes", story.name);
    let list = wrong.join("\n");
    assert!(wrong.is_empty(), "{}: {} of {broken} end wrongly:\n{list}", story.name, wrong.len());
}

/// What can go wrong with a request. A statement that never arrived leaves what a death before it leaves.
fn kinds(request: &Asked) -> impl Iterator<Item = Kind> {
    let lost = (!request.is_statement).then_some(Kind::LostRequest);
    [Kind::DeathAfter, Kind::LostReply].into_iter().chain(lost)
}

struct Played {
    /// What the first process did.
    line: Line,
    /// Why the end is wrong, if it is.
    ended: Result<(), String>,
}

async fn play(env: &Env, story: Story, fault: Option<Fault>) -> Played {
    let mut mortal = CrashableDaemon::on(env.clone(), fault).await;
    let line = mortal.process.line.clone();
    let playing = tokio::spawn(async move {
        let played = tokio::time::timeout(PATIENCE, (story.play)(&mut mortal)).await;
        played.expect("a story ends");
        mortal.assert_nothing_is_left_or_doubled(story.repeats).await;
        mortal.process.pool.close().await;
        mortal.world.apps.stop().await.unwrap();
    });
    Played { line, ended: playing.await.map_err(words) }
}

fn words(error: JoinError) -> String {
    let panic = error.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

async fn forget_everything(pool: &PgPool) {
    sqlx::raw_sql(
        "select set_config('reconciler.retention', 'on', true);
         delete from reconciler.manual_actions; delete from reconciler.syncs;
         delete from reconciler.automation_tasks; delete from reconciler.members; delete from reconciler.arrivals;
         delete from reconciler.nudges; delete from reconciler.integration_settings;
         delete from reconciler.integration_states; delete from reconciler.events",
    )
    .execute(pool)
    .await
    .unwrap();
}

/// Lets the database be dropped.
async fn end_sessions(pool: &PgPool) {
    let others = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                  where datname = current_database() and application_name = 'cerby-reconciler'";
    eventually("the sessions end", async || {
        let count: i64 = sqlx::query_scalar(others).fetch_one(pool).await.unwrap();
        count == 0
    })
    .await;
}
