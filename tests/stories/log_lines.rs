//! Log lines of what no other story is about.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::sync::Arc;
use std::time::Duration;

use cerby_reconciler::poll_interval::PollInterval;
use cerby_reconciler::store::StoreError;
use cerby_reconciler::telemetry::metrics::LoopName;
use cerby_reconciler::worker::{Stage, Worker};
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;

use crate::support::log::Log;
use crate::support::{APP, HUB, World, a_failed, eventually};

async fn run(world: &World, statement: &'static str) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&world.pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn an_application_that_the_catalogue_lacks_is_told_and_its_rows_worked_on(pool: PgPool) {
    let log = Log::here();
    let world = World::new(pool).await;
    let id = world.insert(&a_failed("remove", APP, "jo").of_application("nobodys_app")).await;
    world.drive().await;
    assert_eq!(world.state(id).await, "succeeded");
    assert!(log.has("integration.application_unknown"));
}

#[sqlx::test(migrations = false)]
async fn a_sync_that_cannot_be_read_is_told_and_keeps_no_other_waiting(pool: PgPool) {
    let log = Log::here();
    let world = World::new(pool).await;
    let mut tasks = Vec::new();
    for (integration, member) in [(APP, "jo"), (HUB, "kim")] {
        tasks.push(
            world.insert(&a_failed("remove", integration, member).code("NotEnoughSeats")).await,
        );
    }
    world.drive().await;
    for task in tasks {
        world.mark_done(world.action_of(task).await).await;
    }
    world.take_up().await;
    run(
        &world,
        "alter table reconciler.syncs drop constraint procedure_is_check_and_apply_or_sync;
         update reconciler.syncs set procedure = 'hearsay' where integration_id = 'an-app'",
    )
    .await;
    world.step().await;
    assert!(log.has("sync.quarantined"));
    let read = "select count(*) from reconciler.syncs where integration_id = 'a-hub' and state <> 'requested'";
    assert_eq!(world.count(read).await, 1);
}

#[sqlx::test(migrations = false)]
async fn what_a_person_did_and_the_database_refuses_to_follow_is_told_and_kept(pool: PgPool) {
    let log = Log::here();
    let (world, action) = World::with_an_action(pool).await;
    world.mark_done(action).await;
    run(&world, "alter table reconciler.syncs add constraint no_syncs check (false) not valid")
        .await;
    world.take_up().await;
    assert!(log.has("nudge.quarantined"));
    assert_eq!(world.count("select count(*) from reconciler.nudges").await, 1);
}

#[sqlx::test(migrations = false)]
async fn a_step_of_upkeep_that_the_database_refuses_is_told_and_the_others_go_on(pool: PgPool) {
    let log = Log::here();
    let (world, _) = World::with_an_action(pool).await;
    run(&world, "update reconciler.manual_actions set due_at = now() - interval '1 s'").await;
    run(&world, "alter table reconciler.returns rename to returned").await;
    world.upkeep().await;
    assert!(log.has("upkeep.step_failed"));
    assert!(log.has("action.overdue"), "a later step");
}

/// Has one row, whose work panics.
struct Panics;

impl Stage for Panics {
    type Claim = ();
    type Outcome = ();

    async fn claim(&self, _: usize) -> Result<Vec<()>, StoreError> {
        Ok(vec![()])
    }

    async fn step(&self, (): &()) -> Option<()> {
        panic!("on purpose");
    }

    async fn record(&self, (): (), (): ()) {}

    async fn hand_back(&self, _: Vec<()>) {}

    fn span(&self, (): &()) -> tracing::Span {
        tracing::Span::none()
    }
}

#[tokio::test]
async fn work_that_panics_is_told() {
    let log = Log::here();
    let stop = CancellationToken::new();
    let worker = Worker {
        stage: Arc::new(Panics),
        max_in_flight: 1,
        max_ahead: 0,
        new_work: Arc::default(),
        poll_interval: PollInterval::new(LoopName::Tasks, Duration::from_millis(10)),
    };
    let running = tokio::spawn(worker.run(stop.clone()));
    eventually("it is told", async || log.has("worker.panicked")).await;
    stop.cancel();
    running.await.unwrap();
}
