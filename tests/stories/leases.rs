//! Who may write a row: leases, fencing and what follows a crash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{APP, World, a_failed};
use cerby_reconciler::database::PgConnection;
use cerby_reconciler::lease::LeaseLost;
use cerby_reconciler::retry::claim::{self, Quota};
use cerby_reconciler::retry::lanes::DueFrom;
use cerby_reconciler::retry::record::{
    Breakers, End, EndState, GoesOn, Release, end, release, release_one,
};
use cerby_reconciler::retry::{ClaimedTask, Uncertainty, WaitCause};
use cerby_reconciler::store::begin;
use cerby_reconciler::worker::Stage;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::simulator::Call;

const LEASE: Duration = Duration::from_secs(45);

fn ten() -> Quota {
    Quota {
        tasks: 10,
        max_in_flight: None,
        starts_per_minute: None,
        unavailable: Vec::new(),
        only: None,
        due_from: DueFrom::default(),
    }
}

async fn claim(pool: &PgPool) -> Vec<Arc<ClaimedTask>> {
    claim::claim(&pool.clone().into(), &ten(), LEASE).await.expect("the database answers").tasks
}

fn succeeded<'a>(task: &'a ClaimedTask, reason: &'a str) -> End<'a> {
    End {
        task,
        state: EndState::Succeeded,
        reason,
        effects_for: None,
        failed_attempt: false,
        watch_after: None,
    }
}

/// A world with one task whose attempt is due.
async fn with_a_due_task(pool: PgPool) -> (World, i64) {
    let world = World::new(pool).await;
    let id = world.insert(&a_failed("remove", APP, "jo")).await;
    world.order().await;
    world.let_time_pass().await;
    (world, id)
}

/// Ends every lease as if its holder had died a while ago.
async fn let_leases_end(world: &World) {
    let ended = "update reconciler.members set lease_until = now() - interval '1 s' where lease_until is not null";
    sqlx::query(ended).execute(&world.pool).await.expect("the database answers");
}

#[sqlx::test(migrations = false)]
async fn a_claimed_task_is_nobody_elses_until_its_lease_ends(pool: PgPool) {
    let (world, id) = with_a_due_task(pool).await;
    let first = claim(&world.pool).await;
    assert_eq!(first.len(), 1);
    assert!(claim(&world.pool).await.is_empty());
    let_leases_end(&world).await;
    let second = claim(&world.pool).await;
    assert_eq!(second[0].id, id);
    assert!(second[0].lease.token > first[0].lease.token);
}

/// A claim begins a second before the last task that it took.
#[sqlx::test(migrations = false)]
async fn a_task_that_came_long_ago_and_is_ordered_now_is_claimed_at_once(pool: PgPool) {
    let (world, _) = with_a_due_task(pool).await;
    assert_eq!(world.tasks.claim(10).await.unwrap().len(), 1);
    let late = world.insert(&a_failed("remove", APP, "lee")).await;
    let long_ago =
        "update reconciler.automation_tasks
         set received_at = now() - interval '1 h', requested_at = now() - interval '2 h' where id = $1";
    sqlx::query(long_ago).bind(late).execute(&world.pool).await.unwrap();
    world.order().await;
    let claimed = world.tasks.claim(10).await.unwrap();
    assert_eq!(claimed.iter().map(|task| task.id).collect::<Vec<_>>(), [late]);
}

/// Two at once would each give a member's tasks their places without those of the other.
#[sqlx::test(migrations = false)]
async fn while_one_replica_orders_new_rows_another_finds_none(pool: PgPool) {
    let world = World::new(pool).await;
    world.insert(&a_failed("remove", APP, "jo")).await;
    let mut other = world.pool.begin().await.unwrap();
    let orders = "select from reconciler.exclusive_work where name = 'intake' for update";
    sqlx::query(orders).execute(&mut *other).await.unwrap();
    world.order().await;
    assert_eq!(places(&world).await, ["unordered"]);
    other.rollback().await.unwrap();
    world.order().await;
    assert_eq!(places(&world).await, ["ready"]);
}

async fn places(world: &World) -> Vec<String> {
    let places = sqlx::query_scalar("select place from reconciler.task_places order by task_id");
    places.fetch_all(&world.pool).await.expect("the database answers")
}

#[sqlx::test(migrations = false)]
async fn a_worker_whose_lease_was_taken_over_changes_nothing(pool: PgPool) {
    let (world, id) = with_a_due_task(pool).await;
    let stalled = claim(&world.pool).await.remove(0);
    let_leases_end(&world).await;
    let owner = claim(&world.pool).await.remove(0);

    let mut tx = begin(&world.pool.clone().into()).await.unwrap();
    for goes_on in every_way_to_go_on() {
        let late = Release { task: &stalled, after: LEASE, goes_on };
        assert_eq!(release_one(&mut tx, &late).await.unwrap(), Err(LeaseLost), "{goes_on:?}");
        assert!(release(&mut tx, &[late]).await.unwrap().is_empty(), "{goes_on:?}");
    }
    assert!(is_not_ended(&mut tx, &succeeded(&stalled, "late")).await);
    tx.commit().await.unwrap();
    assert_eq!((world.state(id).await, world.attempts(id).await), ("pending".to_owned(), 0));

    let mut tx = begin(&world.pool.clone().into()).await.unwrap();
    assert!(!is_not_ended(&mut tx, &succeeded(&owner, "mine")).await);
}

fn every_way_to_go_on() -> [GoesOn<'static>; 4] {
    [
        GoesOn::Watch { job: "job", started: true, found_by_id: true },
        GoesOn::Retry { error: "why", lost: Uncertainty::Nothing },
        GoesOn::Wait { why: "why", lost: Uncertainty::Nothing, cause: WaitCause::Outage },
        GoesOn::Park { error: "why" },
    ]
}

async fn is_not_ended(connection: &mut PgConnection, ended: &End<'_>) -> bool {
    end(connection, &[*ended], Breakers::Nobody)
        .await
        .expect("the database answers")
        .tasks
        .is_empty()
}

#[sqlx::test(migrations = false)]
async fn an_attempt_whose_worker_died_is_of_unknown_outcome(pool: PgPool) {
    let (world, _) = with_a_due_task(pool).await;
    let first = claim(&world.pool).await;
    assert_eq!(first[0].uncertain_since, None);
    let_leases_end(&world).await;
    let second = claim(&world.pool).await;
    assert!(second[0].uncertain_since.is_some());
    assert_eq!(second[0].unreleased_claims, 2);
}

#[sqlx::test(migrations = false)]
async fn a_task_that_kills_its_workers_goes_to_a_person(pool: PgPool) {
    let (world, id) = with_a_due_task(pool).await;
    for _ in 0..3 {
        assert_eq!(claim(&world.pool).await.len(), 1);
        let_leases_end(&world).await;
    }
    world.step().await;
    assert_eq!(world.state(id).await, "escalated");
    assert_eq!(world.apps.counters().requests(Call::Remove), 0);
}

#[sqlx::test(migrations = false)]
async fn claims_handed_back_are_due_at_once_and_leave_no_doubt(pool: PgPool) {
    let (world, _) = with_a_due_task(pool).await;
    let claims = world.tasks.claim(10).await.unwrap();
    world.tasks.hand_back(claims).await;
    let again = claim(&world.pool).await;
    assert_eq!((again[0].uncertain_since, again[0].unreleased_claims), (None, 1));
}

#[sqlx::test(migrations = false)]
async fn claimers_at_the_same_time_never_share_a_task_and_leave_none(pool: PgPool) {
    let world = World::new(pool).await;
    for n in 0..200 {
        let member: &'static str = format!("member{n}").leak();
        world.insert(&a_failed("remove", APP, member)).await;
    }
    world.order().await;
    world.let_time_pass().await;
    let claimers = (0..8).map(|_| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claims =
                    claim::claim(&pool.clone().into(), &Quota { tasks: 7, ..ten() }, LEASE)
                        .await
                        .expect("the database answers")
                        .tasks;
                if claims.is_empty() {
                    return mine;
                }
                mine.extend(claims.into_iter().map(|task| task.id));
            }
        })
    });
    let mut all = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        all.extend(claimer.await.unwrap());
    }
    assert_eq!(all.len(), 200);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 200);
}

#[sqlx::test(migrations = false)]
async fn a_paused_integration_is_left_alone_and_goes_on_when_it_is_resumed(pool: PgPool) {
    let (world, id) = with_a_due_task(pool).await;
    let status = |status: &'static str| {
        sqlx::query("update reconciler.integrations set status = $1, status_reason = 'maintenance'")
            .bind(status)
    };
    status("paused").execute(&world.pool).await.unwrap();
    assert_eq!(world.step().await, 0);
    assert_eq!((world.state(id).await, world.attempts(id).await), ("pending".to_owned(), 0));
    status("active").execute(&world.pool).await.unwrap();
    world.drive().await;
    assert_eq!(world.state(id).await, "succeeded");
}

/// Who records an outcome may wait for intake, which has just moved the row.
#[sqlx::test(migrations = false)]
async fn an_outcome_is_recorded_although_intake_marks_its_task_meanwhile(pool: PgPool) {
    let (world, id) = with_a_due_task(pool).await;
    for goes_on in every_way_to_go_on() {
        world.let_time_pass().await;
        let task = claim(&world.pool).await.remove(0);
        let recorded = while_intake_moves(&world, id, async |tx: &mut PgConnection| {
            release_one(tx, &Release { task: &task, after: LEASE, goes_on }).await.unwrap()
        });
        assert_eq!(recorded.await, Ok(()), "{goes_on:?}");
        assert_eq!(leased(&world).await, 0, "{goes_on:?}");
    }
    world.let_time_pass().await;
    let task = claim(&world.pool).await.remove(0);
    let lost = while_intake_moves(&world, id, async |tx: &mut PgConnection| {
        is_not_ended(tx, &succeeded(&task, "seen")).await
    });
    assert!(!lost.await);
    assert_eq!((leased(&world).await, world.state(id).await), (0, "succeeded".to_owned()));
}

async fn leased(world: &World) -> i64 {
    let leased = "select count(*) from reconciler.members where lease_until is not null";
    sqlx::query_scalar(leased).fetch_one(&world.pool).await.expect("the database answers")
}

#[sqlx::test(migrations = false)]
async fn a_batch_leaves_out_what_another_claims_while_it_waits(pool: PgPool) {
    let (world, id) = with_a_due_task(pool).await;
    let task = claim(&world.pool).await.remove(0);
    let taken_over =
        "update reconciler.members set lease_token = nextval('reconciler.lease_tokens')";
    let closed = while_another(&world, taken_over, async |tx: &mut PgConnection| {
        is_not_ended(tx, &succeeded(&task, "seen")).await
    });
    assert!(closed.await);
    assert_eq!(world.state(id).await, "pending");
}

/// Runs `record` in a transaction of its own, which finds the task locked and then moved by intake.
async fn while_intake_moves<T>(
    world: &World,
    task: i64,
    record: impl AsyncFnOnce(&mut PgConnection) -> T,
) -> T {
    let moves = format!(
        "update reconciler.members set next_attempt_at = now() where ready_task_id = {task}"
    );
    while_another(world, &moves, record).await
}

/// Runs `record` in a transaction of its own, which finds the task locked by another that ends after this change.
async fn while_another<T>(
    world: &World,
    change: &str,
    record: impl AsyncFnOnce(&mut PgConnection) -> T,
) -> T {
    let mut other = begin(&world.pool.clone().into()).await.expect("the database answers");
    sqlx::query(AssertSqlSafe(change)).execute(&mut *other).await.expect("the database answers");
    let recording = async {
        let mut tx = begin(&world.pool.clone().into()).await.expect("the database answers");
        let recorded = record(&mut tx).await;
        tx.commit().await.expect("the database answers");
        recorded
    };
    let other_commits = async {
        let waits = "select exists (select from pg_stat_activity
                                    where datname = current_database() and wait_event_type = 'Lock')";
        while !sqlx::query_scalar::<_, bool>(waits)
            .fetch_one(&world.pool)
            .await
            .expect("the database answers")
        {}
        other.commit().await.expect("the database answers");
    };
    tokio::join!(recording, other_commits).0
}
