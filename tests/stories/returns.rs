//! Back to automation after a fix: one action, or many behind a canary.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use cerby_reconciler::operator::desk::{Actor, Chosen, Desk, DeskError, Integration, RefusalKind};
use sqlx::PgPool;

use crate::support::log::Log;
use crate::support::{APP, WORKSPACE, World, a_failed, eventually};
use testkit::simulator::{Call, Fate, Kind, Member, Operation, Settings, World as Apps};

const MEMBERS: [&str; 5] = ["m0", "m1", "m2", "m3", "m4"];

/// Five removals that only a person can fix, each with its action.
async fn with_five_actions(pool: PgPool) -> World {
    let mut apps = Apps::new().integration(testkit::simulator::Integration::new(
        WORKSPACE,
        APP,
        "Asana",
        Kind::App,
        "asana_tenant",
    ));
    for id in MEMBERS {
        let member = Member::new(id, &format!("{id}@example.com"));
        apps = apps.member(WORKSPACE, APP, member);
    }
    let world = World::with(pool, apps, Settings::default()).await;
    for id in MEMBERS {
        world.insert(&a_failed("remove", APP, id).code("NotEnoughSeats")).await;
        world.drive().await;
    }
    assert_eq!(statuses(&world).await, ["open"; 5]);
    world
}

fn fail_again(world: &World, members: &[&str]) {
    for id in members {
        let fate = Fate::Permanent("NotEnoughSeats".to_owned());
        world.apps.set_fate(WORKSPACE, APP, id, Operation::Remove, fate);
    }
}

async fn statuses(world: &World) -> Vec<String> {
    sqlx::query_scalar("select status from reconciler.manual_actions order by id")
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

async fn states(world: &World) -> Vec<String> {
    sqlx::query_scalar("select state from reconciler.automation_tasks order by id")
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

async fn return_all(world: &World) -> Option<i64> {
    sqlx::query_scalar(
        "select reconciler.return_to_automation($1, $2, 'NotEnoughSeats', null, 'seats were bought')",
    )
    .bind(WORKSPACE)
    .bind(APP)
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

async fn state_of_return(world: &World) -> String {
    world.text("select state from reconciler.returns where id > $1", 0).await
}

#[sqlx::test(migrations = false)]
async fn one_action_goes_back_with_all_its_attempts_and_its_first_failure_is_not_asked(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let fate = Fate::Transient { times: 6, code: "PageChanged".to_owned() };
    world.apps.set_fate(WORKSPACE, APP, "jo", Operation::Remove, fate);
    let id = world.insert(&a_failed("remove", APP, "jo")).await;
    world.drive().await;
    assert_eq!((world.state(id).await.as_str(), world.attempts(id).await), ("escalated", 6));
    let action = world.action_of(id).await;
    let back = "update reconciler.manual_actions set status = 'returned', note = 'the connector is fixed' where id = $1";
    sqlx::query(back).bind(action).execute(&world.pool).await.unwrap();
    world.order().await;
    assert_eq!((world.state(id).await.as_str(), world.attempts(id).await), ("pending", 0));
    world.drive().await;
    assert_eq!((world.state(id).await.as_str(), world.attempts(id).await), ("succeeded", 1));
    assert_eq!(world.status(action).await, "returned");
    assert!(world.trail().await.contains(&"task.returned".to_owned()));
}

#[sqlx::test(migrations = false)]
async fn a_deprovisioned_member_may_be_given_to_automation_by_a_person(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.insert(&a_failed("remove", APP, "jo").deprovisioned().without_job()).await;
    world.drive().await;
    let action = world.action_of(id).await;
    let back =
        "update reconciler.manual_actions set status = 'returned', note = 'try it' where id = $1";
    sqlx::query(back).bind(action).execute(&world.pool).await.unwrap();
    world.drive().await;
    assert_eq!(world.state(id).await, "succeeded");
    assert!(!world.is_in_app(APP, "jo"));
}

#[sqlx::test(migrations = false)]
async fn a_returned_task_keeps_its_place_before_what_was_desired_later(pool: PgPool) {
    let world = World::new(pool).await;
    let removal = a_failed("remove", APP, "jo").code("NotEnoughSeats").requested_minutes_ago(9);
    let removal = world.insert(&removal).await;
    world.drive().await;
    let invite = world.insert(&a_failed("invite", APP, "jo").requested_minutes_ago(5)).await;
    world.order().await;
    let action = world.action_of(removal).await;
    let back =
        "update reconciler.manual_actions set status = 'returned', note = 'fixed' where id = $1";
    sqlx::query(back).bind(action).execute(&world.pool).await.unwrap();
    // Whoever looks for members that wait behind nothing comes before anybody else.
    world.take_up().await;
    world.upkeep().await;
    let turn = "select place from reconciler.task_places where task_id = $1";
    assert_eq!(world.text(turn, removal).await, "ready");
    assert_eq!(world.text(turn, invite).await, "blocked");
    world.drive().await;
    assert_eq!(world.state(removal).await, "succeeded");
    assert_eq!(world.state(invite).await, "succeeded");
    assert!(world.is_in_app(APP, "jo"), "removed, then invited again");
}

#[sqlx::test(migrations = false)]
async fn a_returned_invite_never_runs_after_a_later_removal(pool: PgPool) {
    let world = World::new(pool).await;
    let invite = a_failed("invite", APP, "lee").code("NotEnoughSeats").requested_minutes_ago(9);
    let invite = world.insert(&invite).await;
    world.drive().await;
    let action = world.action_of(invite).await;
    let back =
        "update reconciler.manual_actions set status = 'returned', note = 'fixed' where id = $1";
    sqlx::query(back).bind(action).execute(&world.pool).await.unwrap();
    world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(5)).await;
    world.drive().await;
    assert_eq!(world.state(invite).await, "superseded");
    assert_eq!(world.apps.counters().requests(Call::Invite), 0);
}

#[sqlx::test(migrations = false)]
async fn the_rest_follows_when_the_canary_has_worked(pool: PgPool) {
    let world = with_five_actions(pool).await;
    return_all(&world).await.unwrap();
    assert_eq!(statuses(&world).await, ["returned", "open", "open", "open", "open"]);
    world.drive().await;
    assert_eq!(state_of_return(&world).await, "released");
    assert_eq!(states(&world).await, ["succeeded"; 5]);
    for id in MEMBERS {
        assert!(!world.is_in_app(APP, id));
    }
}

#[sqlx::test(migrations = false)]
async fn the_rest_stays_with_people_when_the_canary_failed_again(pool: PgPool) {
    let log = Log::here();
    let world = with_five_actions(pool).await;
    fail_again(&world, &MEMBERS);
    return_all(&world).await.unwrap();
    world.drive().await;
    assert_eq!(state_of_return(&world).await, "stopped");
    assert!(log.has("return.stopped"));
    assert_eq!(world.apps.counters().requests(Call::Remove), 1, "the canary alone was tried");
    assert_eq!(statuses(&world).await, ["returned", "open", "open", "open", "open", "open"]);
}

#[sqlx::test(migrations = false)]
async fn an_overtaken_canary_proves_nothing_and_the_next_is_sent(pool: PgPool) {
    let world = with_five_actions(pool).await;
    return_all(&world).await.unwrap();
    world.insert(&a_failed("remove", APP, "m0").requested_minutes_ago(1)).await;
    world.order().await;
    assert_eq!(states(&world).await[0], "superseded");
    world.upkeep().await;
    assert_eq!(state_of_return(&world).await, "waiting");
    assert_eq!(statuses(&world).await, ["returned", "returned", "open", "open", "open"]);
    world.drive().await;
    assert_eq!(state_of_return(&world).await, "released");
    assert!(statuses(&world).await.iter().all(|status| status == "returned"));
}

#[sqlx::test(migrations = false)]
async fn what_a_person_works_on_is_not_taken_from_them(pool: PgPool) {
    let world = with_five_actions(pool).await;
    let claim = "update reconciler.manual_actions set status = 'in_progress' where member_id in ('m0', 'm3')";
    sqlx::query(claim).execute(&world.pool).await.unwrap();
    return_all(&world).await.unwrap();
    let claim =
        "update reconciler.manual_actions set status = 'in_progress' where member_id = 'm4'";
    sqlx::query(claim).execute(&world.pool).await.unwrap();
    world.drive().await;
    assert_eq!(
        statuses(&world).await,
        ["in_progress", "returned", "returned", "in_progress", "in_progress"]
    );
}

#[sqlx::test(migrations = false)]
async fn a_return_of_nothing_and_a_return_without_a_reason_change_nothing(pool: PgPool) {
    let world = with_five_actions(pool).await;
    let nothing: Option<i64> = sqlx::query_scalar(
        "select reconciler.return_to_automation($1, $2, 'InvalidBusinessId', null, 'fixed')",
    )
    .bind(WORKSPACE)
    .bind(APP)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(nothing, None);
    let silent = sqlx::query("select reconciler.return_to_automation($1, $2, null, null, ' ')")
        .bind(WORKSPACE)
        .bind(APP)
        .execute(&world.pool)
        .await;
    assert!(silent.unwrap_err().to_string().contains("needs a reason"));
    assert_eq!(statuses(&world).await, ["open"; 5]);
}

/// All open actions of the app, as somebody saw these.
fn seen(ids: &[i64]) -> Chosen {
    Chosen::Of {
        integration: Integration { workspace: WORKSPACE.to_owned(), id: APP.to_owned() },
        failure_code: None,
        operation: None,
        seen: Some(ids.to_vec()),
    }
}

fn changed(sent: Result<(), DeskError>) -> String {
    match sent {
        Err(DeskError::Refused(refusal)) if refusal.kind == RefusalKind::Changed => refusal.message,
        other => panic!("{other:?}"),
    }
}

#[sqlx::test(migrations = false)]
async fn what_is_sent_back_is_what_was_looked_at_and_nothing_else(pool: PgPool) {
    let world = with_five_actions(pool).await;
    let (desk, kim) = (Desk::new(world.pool.clone().into()), Actor::named("kim").unwrap());
    for (ids, words) in [
        (&[1, 2, 3, 4][..], "1 new, 0 no longer open"),
        (&[1, 2, 3, 4, 5, 6], "0 new, 1 no longer open"),
        (&[1, 2, 3, 4, 6], "1 new, 1 no longer open"),
    ] {
        let told = changed(desk.return_to_automation(&kim, &seen(ids), "fixed").await);
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(statuses(&world).await, ["open"; 5]);
    desk.return_to_automation(&kim, &seen(&[5, 4, 3, 2, 1]), "fixed").await.unwrap();
    assert_eq!(statuses(&world).await, ["returned", "open", "open", "open", "open"]);
}

#[sqlx::test(migrations = false)]
async fn a_colleague_who_is_quicker_with_the_canary_keeps_it(pool: PgPool) {
    let world = with_five_actions(pool).await;
    let mut colleague = world.pool.begin().await.unwrap();
    sqlx::query("select reconciler.claim_action(1)").execute(&mut *colleague).await.unwrap();
    let desk = Desk::new(world.pool.clone().into());
    let sending = tokio::spawn(async move {
        let kim = Actor::named("kim").unwrap();
        desk.return_to_automation(&kim, &seen(&[1, 2, 3, 4, 5]), "fixed").await
    });
    eventually("it waits for the colleague", async || {
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
        world.count(waiting).await == 1
    })
    .await;
    colleague.commit().await.unwrap();
    let told = changed(sending.await.unwrap());
    assert_eq!(told, "manual action 1 has changed since: it is not open");
    assert_eq!(statuses(&world).await, ["in_progress", "open", "open", "open", "open"]);
}
