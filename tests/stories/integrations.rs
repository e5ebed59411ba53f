//! What an integration is: as it was first seen, until a person corrects it.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use crate::support::{APP, HUB, Task, World, a_failed};
use cerby_reconciler::catalogue;
use cerby_reconciler::integration::store::{IntegrationFilter, IntegrationLine};
use cerby_reconciler::operator::desk::{Actor, Desk};
use sqlx::PgPool;

/// An app that cannot be read: where it stood, every word would be believed.
fn unreadable() -> &'static str {
    &catalogue::all().iter().find(|app| !app.can_sync).expect("one such app").application
}

/// A removal whose row says another kind and application of the integration.
fn misfit(member: &'static str) -> Task {
    let task = Task { kind: "business_hub", ..a_failed("remove", APP, member) };
    task.of_application(unreadable())
}

/// Name, kind and application.
async fn said_of(world: &World, integration: &str) -> String {
    sqlx::query_scalar(
        "select concat_ws(', ', name, kind, application) from reconciler.integrations where integration_id = $1",
    )
    .bind(integration)
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

async fn place(world: &World, task: i64) -> String {
    world.text("select (select place from reconciler.task_places where task_id = $1)", task).await
}

async fn told(world: &World, what: &str) -> Vec<String> {
    sqlx::query_scalar("select detail::text from reconciler.events where what = $1 order by id")
        .bind(what)
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

async fn run(world: &World, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&world.pool).await.unwrap();
}

/// Held rows are looked at again.
async fn look_again(world: &World) {
    run(world, "update reconciler.arrivals set not_before = '-infinity'").await;
    world.order().await;
}

#[sqlx::test(migrations = false)]
async fn one_row_does_not_redefine_an_integration_for_all(pool: PgPool) {
    let world = World::new(pool).await;
    let removal = world.insert(&a_failed("remove", APP, "jo").code("NotEnoughSeats")).await;
    world.drive().await;
    let action = world.action_of(removal).await;
    let odd = world.insert(&misfit("kim")).await;
    run(
        &world,
        &format!("update reconciler.automation_tasks set integration_name = 'X' where id = {odd}"),
    )
    .await;
    world.mark_done(action).await; // a lie
    world.drive().await;
    assert_eq!(world.verdict(action).await, "contradicted");
    assert_eq!(said_of(&world, APP).await, "an-app, app, asana_tenant");
    assert_eq!(
        (world.state(odd).await, place(&world, odd).await),
        ("pending".into(), "held".into())
    );
    look_again(&world).await;
    assert_eq!(place(&world, odd).await, "held");
    let why = format!(
        "kind is business_hub, but app of the integration, application is {}, but asana_tenant of the integration",
        unreadable()
    );
    let held = told(&world, "task.held").await;
    assert_eq!(held.len(), 1, "told once: {held:?}");
    assert!(held[0].contains(&why), "{held:?}");
    assert_eq!(world.apps.counters().duplicate_effects, 0);
    assert!(world.is_in_app(APP, "kim"), "nothing was tried");
}

#[sqlx::test(migrations = false)]
async fn of_rows_that_come_together_the_first_says_what_the_integration_is(pool: PgPool) {
    let world = World::new(pool).await;
    let first = world.insert(&a_failed("remove", APP, "jo")).await;
    let odd = world.insert(&misfit("kim")).await;
    world.drive().await;
    assert_eq!(said_of(&world, APP).await, "an-app, app, asana_tenant");
    assert_eq!(world.state(first).await, "succeeded");
    assert_eq!(place(&world, odd).await, "held");
    let introduced = told(&world, "integration.introduced").await;
    assert_eq!(introduced.len(), 1, "{introduced:?}");
}

#[sqlx::test(migrations = false)]
async fn a_held_row_is_tried_once_a_person_has_corrected_the_integration(pool: PgPool) {
    let world = World::new(pool).await;
    let lie = Task { application: "youtube_tenant", ..a_failed("remove", APP, "jo") };
    world.insert(&lie).await;
    world.order().await;
    let right = world.insert(&a_failed("remove", APP, "kim")).await;
    world.order().await;
    assert_eq!(place(&world, right).await, "held");
    let correct = "update reconciler.integrations set application = 'asana_tenant'";
    run(&world, &format!("{correct} where integration_id = '{APP}'")).await;
    look_again(&world).await;
    world.drive().await;
    assert_eq!(world.state(right).await, "succeeded");
    let set = told(&world, "integration.set").await;
    let changed = r#"{"application": {"to": "asana_tenant", "from": "youtube_tenant"}}"#;
    assert_eq!(set, [changed]);
}

#[sqlx::test(migrations = false)]
async fn a_held_row_is_cancelled_by_a_person(pool: PgPool) {
    let world = World::new(pool).await;
    world.insert(&a_failed("remove", APP, "jo")).await;
    let odd = world.insert(&misfit("kim")).await;
    world.order().await;
    run(&world, &format!("select reconciler.cancel_task({odd}, 'a wrong row')")).await;
    // While somebody orders rows, it waits: whoever orders may be giving it a place.
    let mut ordering = world.pool.begin().await.unwrap();
    let lock = "select from reconciler.exclusive_work where name = 'intake' for update";
    sqlx::query(lock).execute(&mut *ordering).await.unwrap();
    world.take_up().await;
    assert_eq!(world.state(odd).await, "pending");
    ordering.rollback().await.unwrap();
    run(&world, "update reconciler.nudges set not_before = '-infinity'").await;
    world.take_up().await;
    assert_eq!(world.state(odd).await, "cancelled");
    assert_eq!(world.closed_reason(odd).await, "Cancelled by a person: a wrong row");
    assert_eq!(place(&world, odd).await, "");
    world.drive().await;
    assert!(world.is_in_app(APP, "kim"));
}

#[sqlx::test(migrations = false)]
async fn a_new_name_is_in_the_trail_and_a_misfits_name_is_not_taken(pool: PgPool) {
    let world = World::new(pool).await;
    for member in ["jo", "kim"] {
        world.insert(&a_failed("remove", HUB, member)).await;
        let name =
            "update reconciler.automation_tasks set integration_name = 'Asana of ' || member_id
                    where ordered_at is null";
        run(&world, name).await;
        world.order().await;
    }
    let renamed = told(&world, "integration.renamed").await;
    assert_eq!(renamed, [r#"{"to": "Asana of kim", "from": "Asana of jo"}"#]);
    let odd = world.insert(&a_failed("remove", HUB, "lee").of_application(unreadable())).await;
    run(
        &world,
        &format!("update reconciler.automation_tasks set integration_name = 'X' where id = {odd}"),
    )
    .await;
    world.order().await;
    assert_eq!(told(&world, "integration.renamed").await, renamed);
    assert_eq!(said_of(&world, HUB).await, "Asana of kim, business_hub, asana_tenant");
}

async fn listed(world: &World) -> IntegrationLine {
    let filter = IntegrationFilter { id: Some(APP), limit: 1, ..IntegrationFilter::default() };
    let desk = Desk::new(world.pool.clone().into());
    desk.integrations(&Actor::by_login(), filter).await.unwrap().remove(0)
}

#[sqlx::test(migrations = false)]
async fn an_integration_shows_what_waits_and_what_runs_and_counts_no_further_than_a_thousand(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    for member in ["kim", "lee", "max"] {
        world.insert(&a_failed("remove", APP, member)).await;
    }
    world.order().await;
    world.insert(&a_failed("change_role", APP, "kim")).await;
    run(
        &world,
        "update reconciler.members set running_job_id = 'job', running_since = now()
                 where member_id = 'lee'",
    )
    .await;
    let few = listed(&world).await;
    assert_eq!((few.waiting, few.in_flight), (3, 1));

    let many = "insert into reconciler.arrivals (task_id, workspace_id, integration_id, member_id, is_removal)
         select 100000 + n, $1, $2, 'member-' || n, true from generate_series(1, 1000) n";
    let many = many.replace("$1", "'acme'").replace("$2", &format!("'{APP}'"));
    run(&world, &many).await;
    let many = listed(&world).await;
    assert_eq!((many.waiting, many.in_flight), (1001, 1));
}
