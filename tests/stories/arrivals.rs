//! Rows as they really arrive: late, in batches, out of transactions held open, behind jobs that run again.

use std::time::Duration;

use crate::support::{APP, Task, WORKSPACE, World, a_failed, eventually};
use cerby_reconciler::member::store::raise_next_due_times;
use cerby_reconciler::worker::Stage;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use testkit::simulator::{Call, Fate, Member, Operation, Place};

const INSERT: &str = "insert into reconciler.automation_tasks
    (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application, member_id,
     member_email, operation, entitlements, trigger, requested_at, failure_code)
 values ('acme', $1, 'job', 'an-app', 'app', 'Asana', 'asana_tenant', $2, $2 || '@example.com', $3, '{EDITOR}',
         'manual', now() - make_interval(mins => $4), 'LoginTimeout')";

#[sqlx::test(migrations = false)]
async fn an_older_invite_out_of_a_transaction_held_open_never_overtakes_the_removal(pool: PgPool) {
    let world = World::new(pool).await;
    let mut held_open = world.pool.begin().await.unwrap();
    let invite = sqlx::query(INSERT).bind("old-invite").bind("lee").bind("invite").bind(9);
    invite.execute(&mut *held_open).await.unwrap();
    let removal = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(5)).await;
    world.drive().await;
    assert_eq!(world.state(removal).await, "succeeded");
    held_open.commit().await.unwrap();
    world.drive().await;
    let invite = "select state || ' by ' || superseded_by from reconciler.automation_tasks where source_id = 'old-invite' and id <> $1";
    assert_eq!(world.text(invite, 0).await, format!("superseded by {removal}"));
    assert_eq!(world.apps.counters().requests(Call::Invite), 0);
    assert!(!world.is_in_app(APP, "lee"));
}

#[sqlx::test(migrations = false)]
async fn a_transaction_held_open_does_not_keep_other_rows_waiting(pool: PgPool) {
    let world = World::new(pool).await;
    let mut held_open = world.pool.begin().await.unwrap();
    let invite = sqlx::query(INSERT).bind("held").bind("lee").bind("invite").bind(9);
    invite.execute(&mut *held_open).await.unwrap();
    let removal = world.insert(&a_failed("remove", APP, "jo")).await;
    world.drive().await;
    assert_eq!(world.state(removal).await, "succeeded");
    held_open.rollback().await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_batch_in_one_transaction_is_ordered_by_what_was_desired_when(pool: PgPool) {
    let world = World::new(pool).await;
    let mut batch = world.pool.begin().await.unwrap();
    let rows =
        [("d", "invite", 1), ("b", "change_role", 7), ("c", "remove", 4), ("a", "invite", 9)];
    for (source, operation, minutes) in rows {
        let row = sqlx::query(INSERT).bind(source).bind("lee").bind(operation).bind(minutes);
        row.execute(&mut *batch).await.unwrap();
    }
    batch.commit().await.unwrap();
    world.drive().await;
    let ends: Vec<(String, String)> = sqlx::query_as(
        "select source_id, state from reconciler.automation_tasks order by source_id",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let ends: Vec<_> =
        ends.iter().map(|(source, state)| (source.as_str(), state.as_str())).collect();
    assert_eq!(
        ends,
        [("a", "superseded"), ("b", "superseded"), ("c", "succeeded"), ("d", "succeeded")]
    );
    assert!(world.is_in_app(APP, "lee"), "the last request was an invite");
}

/// A job takes longer than a slow machine does for one look.
const LONG: Duration = Duration::from_secs(2);

fn restart(world: &World, takes: Duration, fate: &Fate) {
    let jo = Member::new("jo", "jo@example.com");
    let place = Place::new(WORKSPACE, APP);
    let removal = Operation::Remove;
    assert!(world.apps.restart_job(&place, "job-that-failed", jo, removal, takes, fate));
}

#[sqlx::test(migrations = false)]
async fn a_failed_job_that_runs_again_is_watched_and_no_other_is_started_beside_it(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.insert(&a_failed("remove", APP, "jo")).await;
    world.order().await;
    restart(&world, LONG, &Fate::Succeed);
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.state(id).await, "running");
    assert_eq!(world.attempts(id).await, 0, "somebody else's attempt");
    eventually("its job has ended", async || {
        world.let_time_pass().await;
        world.step().await;
        world.state(id).await == "succeeded"
    })
    .await;
    let counters = world.apps.counters();
    assert_eq!((counters.requests(Call::Remove), counters.overlapping_jobs), (0, 0));
    assert!(!world.is_in_app(APP, "jo"));
    assert!(world.trail().await.contains(&"task.job_restarted".to_owned()));
}

#[sqlx::test(migrations = false)]
async fn when_the_job_that_ran_again_fails_our_own_attempts_begin(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.insert(&a_failed("remove", APP, "jo")).await;
    world.order().await;
    let fate = Fate::Transient { times: 1, code: "PageChanged".to_owned() };
    restart(&world, Duration::ZERO, &fate);
    world.drive().await;
    assert_eq!(world.state(id).await, "succeeded");
    assert_eq!(world.attempts(id).await, 1);
    assert_eq!(world.apps.counters().requests(Call::Remove), 1);
}

#[sqlx::test(migrations = false)]
async fn a_removal_that_arrives_while_an_invites_job_runs_again_waits_for_its_end(pool: PgPool) {
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "lee").requested_minutes_ago(9)).await;
    world.order().await;
    let lee = Member::new("lee", "lee@example.com").with(&["EDITOR"]);
    let place = Place::new(WORKSPACE, APP);
    assert!(world.apps.restart_job(
        &place,
        "job-that-failed",
        lee,
        Operation::Invite,
        LONG,
        &Fate::Succeed
    ));
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.state(invite).await, "running");
    let removal = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(5)).await;
    eventually("both have ended", async || {
        world.let_time_pass().await;
        world.step().await;
        world.state(removal).await == "succeeded"
    })
    .await;
    assert_eq!(world.state(invite).await, "superseded");
    assert!(!world.is_in_app(APP, "lee"));
    assert_eq!(world.apps.counters().overlapping_jobs, 0);
}

#[sqlx::test(migrations = false)]
async fn a_task_whose_workers_died_while_they_looked_goes_to_a_person(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.insert(&a_failed("remove", APP, "jo")).await;
    world.order().await;
    world.let_time_pass().await;
    for _ in 0..6 {
        drop(world.tasks.claim(10).await.unwrap());
        let ended =
            "update reconciler.members set lease_until = now() where lease_until is not null";
        sqlx::query(ended).execute(&world.pool).await.unwrap();
    }
    let looks = world.apps.counters().requests(Call::GetMember);
    world.step().await;
    assert_eq!(world.state(id).await, "escalated");
    assert_eq!(
        world.closed_reason(id).await,
        "The worker crashed repeatedly on this task: LoginTimeout"
    );
    assert_eq!(world.apps.counters().requests(Call::GetMember), looks, "unlooked at");
}

#[sqlx::test(migrations = false)]
async fn no_invite_is_claimed_while_a_later_removal_is_stored_ordered_or_not(pool: PgPool) {
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "lee").requested_minutes_ago(9)).await;
    let other = world.insert(&a_failed("invite", APP, "max").requested_minutes_ago(9)).await;
    world.order().await;
    world.let_time_pass().await;
    world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(5)).await;
    let claimed = world.tasks.claim(10).await.unwrap();
    assert_eq!(claimed.iter().map(|task| task.id).collect::<Vec<_>>(), [other]);
    world.tasks.hand_back(claimed).await;
    world.drive().await;
    assert_eq!(world.state(invite).await, "superseded");
    assert_eq!(world.apps.counters().effects(WORKSPACE, APP, "lee").invites, 0);
}

#[sqlx::test(migrations = false)]
async fn a_job_that_runs_is_polled_although_a_removal_has_no_place_yet(pool: PgPool) {
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "lee").requested_minutes_ago(9)).await;
    world.order().await;
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.state(invite).await, "running");
    world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(5)).await;
    world.let_time_pass().await;
    assert_eq!(world.tasks.claim(10).await.unwrap().len(), 1);
}

#[sqlx::test(migrations = false)]
async fn a_removal_that_succeeded_elsewhere_supersedes_the_invite_that_waits(pool: PgPool) {
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "jo").requested_minutes_ago(9)).await;
    world.order().await;
    assert!(world.apps.person_removes(WORKSPACE, APP, "jo"));
    let removal = a_failed("remove", APP, "jo").requested_minutes_ago(5).succeeded();
    let removal = world.insert(&removal).await;
    world.drive().await;
    assert_eq!(world.state(invite).await, "superseded");
    assert_eq!(
        (world.state(removal).await, world.attempts(removal).await),
        ("succeeded".into(), 0)
    );
    let late = world.insert(&a_failed("invite", APP, "jo").requested_minutes_ago(7)).await;
    world.drive().await;
    assert_eq!(world.state(late).await, "superseded", "an older one that arrives later loses too");
    assert_eq!(world.apps.counters().requests(Call::Invite), 0);
    assert!(!world.is_in_app(APP, "jo"));
}

#[sqlx::test(migrations = false)]
async fn an_invite_that_succeeded_elsewhere_ends_the_watch_on_a_proven_removal(pool: PgPool) {
    let world = World::new(pool).await;
    let removal = world.insert(&a_failed("remove", APP, "jo").requested_minutes_ago(9)).await;
    world.drive().await;
    assert_eq!(world.state(removal).await, "succeeded");
    let watched = "select count(*) from reconciler.members where watch_task_id is not null";
    assert_eq!(world.count(watched).await, 1);
    let person = Member::new("jo", "jo@example.com");
    assert!(world.apps.person_invites(WORKSPACE, APP, person));
    world.insert(&a_failed("invite", APP, "jo").requested_minutes_ago(1).succeeded()).await;
    world.drive().await;
    assert_eq!(world.count(watched).await, 0);
    let desired = "select count(*) from reconciler.members where desired_operation = 'invite'";
    assert_eq!(world.count(desired).await, 1, "what snapshots are judged against");
    sqlx::query("select reconciler.request_snapshot('acme', 'an-app')")
        .execute(&world.pool)
        .await
        .unwrap();
    world.drive().await;
    assert_eq!(world.count("select count(*) from reconciler.manual_actions").await, 0);
}

#[sqlx::test(migrations = false)]
async fn whoever_automation_removed_elsewhere_is_looked_for_afterwards(pool: PgPool) {
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "lee").requested_minutes_ago(9)).await;
    while world.state(invite).await != "running" {
        world.let_time_pass().await;
        world.step().await;
    }
    let removal = a_failed("remove", APP, "lee").requested_minutes_ago(5).succeeded();
    let removal = world.insert(&removal).await;
    world.drive().await;
    assert_eq!(world.state(removal).await, "succeeded");
    assert_eq!(world.state(invite).await, "superseded");
    assert!(world.is_in_app(APP, "lee"), "the invite's job ended after it");
    let falls_due =
        "update reconciler.members set watch_due_at = now() where watch_task_id is not null";
    assert_eq!(sqlx::query(falls_due).execute(&world.pool).await.unwrap().rows_affected(), 1);
    world.upkeep().await;
    world.drive().await;
    let action = world.action_of(removal).await;
    let told = "select operation || ' ' || status from reconciler.manual_actions where id = $1";
    assert_eq!(world.text(told, action).await, "remove open");
}

/// A change of role that is with a person, and a removal that was asked for before it and arrives after it.
async fn a_late_removal_behind_a_person(world: &World) -> (Task, i64, i64) {
    let role = a_failed("change_role", APP, "jo").code("NotEnoughSeats").requested_minutes_ago(5);
    let change = world.insert(&role).await;
    world.drive().await;
    let action = world.action_of(change).await;
    let removal = world.insert(&a_failed("remove", APP, "jo").requested_minutes_ago(9)).await;
    world.drive().await;
    assert_eq!(world.state(removal).await, "pending", "nothing took effect yet");
    assert_eq!(world.status(action).await, "open");
    (role, action, removal)
}

#[sqlx::test(migrations = false)]
async fn a_late_removal_is_carried_out_when_the_later_request_comes_to_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, action, removal) = a_late_removal_behind_a_person(&world).await;
    let dismiss =
        "update reconciler.manual_actions set status = 'dismissed', note = 'no' where id = $1";
    sqlx::query(dismiss).bind(action).execute(&world.pool).await.unwrap();
    world.drive().await;
    assert_eq!(world.state(removal).await, "succeeded");
    assert!(!world.is_in_app(APP, "jo"));
}

#[sqlx::test(migrations = false)]
async fn a_late_removal_makes_way_once_the_later_request_took_effect(pool: PgPool) {
    let world = World::new(pool).await;
    let (role, action, removal) = a_late_removal_behind_a_person(&world).await;
    world.person_does(&role);
    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "verified");
    let ended = "select state || ' by ' || t.superseded_by || ', ' || t.closed_reason from reconciler.automation_tasks t
                 where id = $1";
    let task: i64 =
        sqlx::query_scalar("select task_id from reconciler.manual_actions where id = $1")
            .bind(action)
            .fetch_one(&world.pool)
            .await
            .unwrap();
    let expected = format!(
        "superseded by {task}, Replaced by a newer request while it had its turn (task {task})"
    );
    assert_eq!(world.text(ended, removal).await, expected);
    assert_eq!(world.apps.counters().requests(Call::Remove), 0);
    assert!(world.is_in_app(APP, "jo"));
}

#[sqlx::test(migrations = false)]
async fn a_success_that_is_older_than_what_is_desired_changes_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let removal = world.insert(&a_failed("remove", APP, "jo").requested_minutes_ago(5)).await;
    world.order().await;
    let invite = a_failed("invite", APP, "jo").requested_minutes_ago(9).succeeded();
    let invite = world.insert(&invite).await;
    world.drive().await;
    assert_eq!(world.state(invite).await, "succeeded");
    assert_eq!(world.state(removal).await, "succeeded");
    assert!(!world.is_in_app(APP, "jo"));
}

/// Claims and polls do not look at an integration before something of it is due, however much waits there.
#[sqlx::test(migrations = false)]
async fn an_integration_sleeps_until_its_next_request_is_due(pool: PgPool) {
    let world = World::new(pool).await;
    world.insert(&a_failed("remove", APP, "jo")).await;
    world.order().await;
    assert_eq!(
        looked_at_from(&world).await,
        Some(due(&world, "jo").await),
        "not before the first attempt"
    );
    world.insert(&a_failed("remove", APP, "kim").deprovisioned().without_job()).await;
    world.order().await;
    assert_eq!(looked_at_from(&world).await, Some(due(&world, "kim").await), "the earliest counts");
    world.step().await;
    raise_next_due_times(&world.pool.clone().into()).await.unwrap();
    assert_eq!(
        looked_at_from(&world).await,
        Some(due(&world, "jo").await),
        "kim has gone to a person"
    );
    world.drive().await;
    raise_next_due_times(&world.pool.clone().into()).await.unwrap();
    assert_eq!(looked_at_from(&world).await, None, "nothing is left");
}

/// Whoever is overtaken while an attempt of theirs waits is looked at now.
#[sqlx::test(migrations = false)]
async fn an_integration_that_sleeps_is_woken_for_an_overtaken_attempt(pool: PgPool) {
    let world = World::new(pool).await;
    world.apps.set_fate(WORKSPACE, APP, "lee", Operation::Invite, Fate::NeverEnds);
    let invite = world.insert(&a_failed("invite", APP, "lee")).await;
    world.order().await;
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.state(invite).await, "running");
    raise_next_due_times(&world.pool.clone().into()).await.unwrap();
    let removal = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(0)).await;
    world.order().await;
    assert_eq!(looked_at_from(&world).await, Some(due(&world, "lee").await));
    assert_eq!(world.tasks.claim(10).await.unwrap()[0].superseded_by, Some(removal));
}

async fn looked_at_from(world: &World) -> Option<DateTime<Utc>> {
    let awake = "select next_due_at from reconciler.integration_states where integration_id = $1";
    sqlx::query_scalar(awake).bind(APP).fetch_one(&world.pool).await.expect("the database answers")
}

async fn due(world: &World, member: &str) -> DateTime<Utc> {
    let due = "select next_attempt_at from reconciler.members where member_id = $1";
    sqlx::query_scalar(due).bind(member).fetch_one(&world.pool).await.expect("the database answers")
}
