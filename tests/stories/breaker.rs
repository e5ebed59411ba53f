//! Circuit breakers: whose tasks are admitted, how many at a time, and what trips and recovers them.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::log::Log;
use crate::support::{APP, HUB, WORKSPACE, World, a_failed, work};
use cerby_reconciler::retry::ClaimedTask;
use cerby_reconciler::retry::claim::{self as tasks, Quota};
use cerby_reconciler::retry::lanes::DueFrom;
use cerby_reconciler::worker::Stage;
use sqlx::PgPool;
use testkit::simulator::{
    Call, Fate, HttpFault, Injection, Integration, Kind, Member, Operation, RetryAfter, Settings,
    World as Apps,
};

const MEMBERS: [&str; 12] =
    ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10", "m11"];

/// An app and a hub with a dozen members each, and a removal for each member of the app, due now.
async fn with_a_dozen_removals(pool: PgPool) -> World {
    let mut apps = Apps::new()
        .integration(Integration::new(WORKSPACE, APP, "Asana", Kind::App, "asana_tenant"))
        .integration(Integration::new(WORKSPACE, HUB, "Hub", Kind::BusinessHub, "asana_tenant"));
    for id in MEMBERS {
        for integration in [APP, HUB] {
            let member = Member::new(id, &format!("{id}@example.com")).with(&["VIEWER"]);
            apps = apps.member(WORKSPACE, integration, member);
        }
    }
    let world = World::with(pool, apps, Settings::default()).await;
    for id in MEMBERS {
        world.insert(&a_failed("remove", APP, id)).await;
    }
    world.order().await;
    world.let_time_pass().await;
    world
}

/// Every removal of the app fails as if the app were down.
fn break_app(world: &World) {
    for id in MEMBERS {
        let fate = Fate::Transient { times: 1000, code: "LoginTimeout".to_owned() };
        world.apps.set_fate(WORKSPACE, APP, id, Operation::Remove, fate);
    }
}

fn fix_app(world: &World) {
    for id in MEMBERS {
        world.apps.set_fate(WORKSPACE, APP, id, Operation::Remove, Fate::Succeed);
    }
}

/// The rows as they are stored: a row that nobody touched is the same version still.
async fn versions(world: &World) -> Vec<(String, String)> {
    sqlx::query_as(
        "select h.member_id, h.xmin::text || ' ' || t.xmin::text
         from reconciler.members h
         join reconciler.automation_tasks t on t.id = h.ready_task_id
         where h.integration_id = $1 and t.state = 'pending' and t.last_error is null
         order by t.id",
    )
    .bind(APP)
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

/// Claims and works on tasks until nothing is due, at most `most` at a time, jobs in flight before new ones.
async fn work_off(world: &World, most: usize) -> usize {
    let mut worked = 0;
    loop {
        let claims = world.tasks.claim(most).await.unwrap();
        if claims.is_empty() {
            return worked;
        }
        worked += claims.len();
        for claim in claims {
            work(&world.tasks, claim).await;
        }
        // Before what has not begun, as it would be if looks at jobs were not so far apart.
        let due = "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members m
                   set next_attempt_at = (select least(now(), min(o.next_attempt_at)) from reconciler.members o
                                          where o.integration_id = m.integration_id and o.ready_task_id is not null)
                                         - interval '1 ms'
                   where running_job_id is not null";
        sqlx::query(due).execute(&world.pool).await.unwrap();
    }
}

/// What four replicas get that claim at the same time.
async fn claimed_by_four_replicas(world: &World) -> Vec<Arc<ClaimedTask>> {
    let claim = || world.tasks.claim(10);
    let (a, b, c, d) = tokio::join!(claim(), claim(), claim(), claim());
    [a, b, c, d].into_iter().flat_map(Result::unwrap).collect()
}

async fn end_closing(world: &World) {
    let ended =
        "update reconciler.integration_states set status_until = now() where status = 'tripped'";
    sqlx::query(ended).execute(&world.pool).await.unwrap();
}

async fn number(world: &World, query: &'static str) -> i64 {
    world.count(query).await
}

#[sqlx::test(migrations = false)]
async fn five_failures_in_a_row_trip_the_integration_and_touch_no_other_task(pool: PgPool) {
    let log = Log::here();
    let world = with_a_dozen_removals(pool).await;
    break_app(&world);
    let before = versions(&world).await;
    work_off(&world, 1).await;
    assert_eq!(world.integration_status(APP).await, "tripped");
    assert!(log.has("integration.tripped"));
    assert_eq!(world.apps.counters().requests(Call::Remove), 5);
    let after = versions(&world).await;
    assert_eq!(after.len(), 7);
    assert!(after.iter().all(|row| before.contains(row)), "untouched: {after:?}");
    assert_eq!(
        number(&world, "select sum(attempts) from reconciler.automation_tasks").await,
        5,
        "a tripped integration uses no attempt"
    );
    let hub = world.insert(&a_failed("remove", HUB, "m0")).await;
    world.order().await;
    sqlx::query(
        "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members set next_attempt_at = now() where ready_task_id = $1",
    )
    .bind(hub)
    .execute(&world.pool)
    .await
    .unwrap();
    work_off(&world, 10).await;
    assert_eq!(world.state(hub).await, "succeeded", "other integrations go on");
}

#[sqlx::test(migrations = false)]
async fn an_answer_of_any_other_kind_forgets_the_failures_before_it(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    break_app(&world);
    for (at, id) in MEMBERS.iter().enumerate() {
        if at % 4 == 3 {
            let fate = Fate::Permanent("NotEnoughSeats".to_owned());
            world.apps.set_fate(WORKSPACE, APP, id, Operation::Remove, fate);
        }
    }
    work_off(&world, 1).await;
    assert_eq!(world.integration_status(APP).await, "active");
    assert_eq!(number(&world, "select count(*) from reconciler.manual_actions").await, 3);
}

#[sqlx::test(migrations = false)]
async fn one_task_of_the_whole_fleet_tries_and_its_failure_closes_for_twice_as_long(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    break_app(&world);
    work_off(&world, 1).await;
    let closed_for = "select extract(epoch from status_until - status_since)::bigint
                      from reconciler.integrations where integration_id = 'an-app'";
    let first = number(&world, closed_for).await;
    assert!((53..=66).contains(&first), "{first} s");

    end_closing(&world).await;
    let mut probes = claimed_by_four_replicas(&world).await;
    assert_eq!(probes.len(), 1, "one probe for the whole fleet");
    assert_eq!(world.integration_status(APP).await, "probing");
    work(&world.tasks, probes.remove(0)).await;
    assert_eq!(world.tasks.claim(10).await.unwrap().len(), 0, "its job runs: nobody else tries");
    work_off(&world, 10).await;
    let watched =
        "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members set next_attempt_at = now() where running_job_id is not null";
    sqlx::query(watched).execute(&world.pool).await.unwrap();
    work_off(&world, 10).await;
    assert_eq!(world.integration_status(APP).await, "tripped");
    let second = number(&world, closed_for).await;
    assert!((106..=132).contains(&second), "{second} s");
    assert_eq!(world.apps.counters().requests(Call::Remove), 6);
}

#[sqlx::test(migrations = false)]
async fn a_probe_that_dies_is_followed_by_another_when_its_lease_ends(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    break_app(&world);
    work_off(&world, 1).await;
    end_closing(&world).await;
    let dead = world.tasks.claim(10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(world.tasks.claim(10).await.unwrap().is_empty());
    let ended =
        "update reconciler.integration_states set status_until = now() where status = 'probing'";
    sqlx::query(ended).execute(&world.pool).await.unwrap();
    let next = world.tasks.claim(10).await.unwrap();
    assert_eq!(next.len(), 1);
    assert_ne!(next[0].id, dead[0].id);
}

#[sqlx::test(migrations = false)]
async fn after_an_opening_one_more_passes_with_each_that_works(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    break_app(&world);
    work_off(&world, 1).await;
    fix_app(&world);
    end_closing(&world).await;
    let probe = world.tasks.claim(10).await.unwrap().remove(0);
    work(&world.tasks, probe).await;
    let due =
        "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members set next_attempt_at = now() where ready_task_id is not null";
    let mut widths = Vec::new();
    while number(&world, "select count(*) from reconciler.members where ready_task_id is not null")
        .await
        > 0
    {
        sqlx::query(due).execute(&world.pool).await.unwrap();
        let claims = world.tasks.claim(100).await.unwrap();
        widths.push(claims.iter().filter(|claim| claim.running.is_none()).count());
        for claim in claims {
            work(&world.tasks, claim).await;
        }
    }
    assert_eq!(world.integration_status(APP).await, "active");
    // The probe's job is watched first; then one runs, is watched, two run, and so on.
    assert_eq!(widths[..6], [0, 1, 0, 2, 0, 4], "{widths:?}");
}

#[sqlx::test(migrations = false)]
async fn late_news_from_before_a_closing_moves_nothing(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    break_app(&world);
    let late = world.tasks.claim(1).await.unwrap().remove(0);
    let started = late.id;
    work(&world.tasks, late).await; // its job is started before the integration trips
    work_off_others(&world, started).await;
    assert_eq!(world.integration_status(APP).await, "tripped");
    sqlx::query("update reconciler.integrations set status = 'active'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.order().await;
    let due = "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members set next_attempt_at = now() where ready_task_id = $1";
    sqlx::query(due).bind(started).execute(&world.pool).await.unwrap();
    let watched = world.tasks.claim(100).await.unwrap();
    let watched = watched.into_iter().find(|claim| claim.id == started).unwrap();
    work(&world.tasks, watched).await;
    let failures = "select consecutive_failures::bigint from reconciler.integration_states where integration_id = 'an-app'";
    assert_eq!(number(&world, failures).await, 0, "it began before the status last changed");
}

async fn work_off_others(world: &World, except: i64) {
    let hold = "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members set next_attempt_at = now() + interval '1 hour' where ready_task_id = $1";
    for _ in 0..20 {
        sqlx::query(hold).bind(except).execute(&world.pool).await.unwrap();
        for claim in world.tasks.claim(1).await.unwrap() {
            work(&world.tasks, claim).await;
        }
        let due = "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members set next_attempt_at = now() where running_job_id is not null";
        sqlx::query(due).execute(&world.pool).await.unwrap();
    }
}

#[sqlx::test(migrations = false)]
async fn jobs_in_flight_are_watched_whatever_the_status(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    let claims = world.tasks.claim(3).await.unwrap();
    let ids: Vec<_> = claims.iter().map(|claim| claim.id).collect();
    for claim in claims {
        work(&world.tasks, claim).await;
    }
    let pause =
        "update reconciler.integrations set status = 'paused', status_reason = 'maintenance'";
    sqlx::query(pause).execute(&world.pool).await.unwrap();
    world.let_time_pass().await;
    assert_eq!(work_off(&world, 10).await, 3);
    for id in ids {
        assert_eq!(world.state(id).await, "succeeded");
    }
    assert_eq!(world.apps.counters().requests(Call::Remove), 3, "nothing new is started");
}

#[sqlx::test(migrations = false)]
async fn a_rate_limit_holds_the_integration_for_as_long_as_it_asks(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    let fault = HttpFault::RateLimited(RetryAfter::Seconds(120));
    world.apps.inject(Injection { call: Call::Remove, nth: 1, fault });
    work_off(&world, 1).await;
    assert_eq!(world.integration_status(APP).await, "tripped");
    let (cause, failures, seconds): (String, i32, i64) = sqlx::query_as(
        "select status_cause, consecutive_failures, extract(epoch from status_until - status_since)::bigint
         from reconciler.integration_states where integration_id = $1",
    )
    .bind(APP)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!((cause.as_str(), failures), ("rate_limit", 0));
    assert!((118..=120).contains(&seconds), "{seconds} s");
    assert_eq!(world.apps.counters().requests(Call::Remove), 2, "nothing was asked since");
    let attempts = "select sum(attempts) from reconciler.automation_tasks";
    assert_eq!(number(&world, attempts).await, 1, "a refused request is no attempt");
    world.drive().await;
    assert_eq!(
        number(
            &world,
            "select count(*) from reconciler.automation_tasks where state = 'succeeded'"
        )
        .await,
        12
    );
}

#[sqlx::test(migrations = false)]
async fn a_rate_limit_without_a_time_to_come_holds_for_twice_as_long_each_time(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    let odd = [RetryAfter::Seconds(0), RetryAfter::Past, RetryAfter::Absent];
    for ((nth, retry_after), expected) in (0..).zip(odd).zip([300, 600, 1200]) {
        let fault = HttpFault::RateLimited(retry_after);
        world.apps.inject(Injection { call: Call::Remove, nth, fault });
        world.let_time_pass().await;
        work_off(&world, 1).await;
        let seconds = "select extract(epoch from status_until - status_since)::bigint
                       from reconciler.integration_states where status = 'tripped'";
        let seconds = number(&world, seconds).await;
        assert!((expected - 2..=expected).contains(&seconds), "{seconds} s");
        assert_eq!(world.apps.counters().requests(Call::Remove), nth + 1);
    }
}

#[sqlx::test(migrations = false)]
async fn looks_that_are_answered_end_a_rate_limit_and_raise_the_ramp(pool: PgPool) {
    let world = World::new(pool).await;
    for id in MEMBERS {
        world.insert(&a_failed("remove", APP, id)).await;
    }
    world.order().await;
    world.let_time_pass().await;
    let fault = HttpFault::RateLimited(RetryAfter::Seconds(120));
    world.apps.inject(Injection { call: Call::GetMember, nth: 0, fault });
    work_off(&world, 1).await;
    assert_eq!(world.integration_status(APP).await, "tripped");
    let mut at_a_time = Vec::new();
    while at_a_time.iter().sum::<usize>() < MEMBERS.len() {
        world.let_time_pass().await;
        let claims = world.tasks.claim(20).await.unwrap();
        at_a_time.push(claims.len());
        for claim in claims {
            work(&world.tasks, claim).await;
        }
    }
    assert_eq!(at_a_time, [1, 1, 2, 4, 4], "the probe, and then one more for each answer");
    assert_eq!(world.apps.counters().requests(Call::Remove), 0, "nobody is there");
}

/// Every removal of the app is refused with the same credential code, as is the check for updates.
fn refuse_login(world: &World) {
    let code = || Fate::Permanent("BadCredentials".to_owned());
    for id in MEMBERS {
        world.apps.set_fate(WORKSPACE, APP, id, Operation::Remove, code());
    }
    world.apps.set_sync_fate(WORKSPACE, APP, code());
}

#[sqlx::test(migrations = false)]
async fn a_refused_login_asks_one_person_once_and_costs_no_attempt(pool: PgPool) {
    let log = Log::here();
    let world = with_a_dozen_removals(pool).await;
    refuse_login(&world);
    work_off(&world, 1).await;
    assert_eq!(world.integration_status(APP).await, "login_rejected");
    assert!(log.has("integration.login_rejected"));
    let actions: Vec<(String, String, String)> =
        sqlx::query_as("select operation, member_id, failure_code from reconciler.manual_actions")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(actions, [("reconnect".to_owned(), String::new(), "BadCredentials".to_owned())]);
    let counts = "select sum(attempts) from reconciler.automation_tasks where state = 'pending'";
    assert_eq!(number(&world, counts).await, 0);
    assert_eq!(world.apps.counters().requests(Call::Remove), 1);
}

#[sqlx::test(migrations = false)]
async fn a_mended_login_is_believed_when_the_app_was_read_with_it(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    refuse_login(&world);
    work_off(&world, 1).await;
    let action: i64 = number(&world, "select id from reconciler.manual_actions").await;
    world.mark_done(action).await;
    world.drive_syncs().await;
    assert_eq!(world.status(action).await, "open", "the app still refuses it");
    assert_eq!(world.verdict(action).await, "contradicted");
    assert_eq!(world.integration_status(APP).await, "login_rejected");

    world.apps.person_mends_login(WORKSPACE, APP);
    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "verified");
    assert_eq!(world.integration_status(APP).await, "active");
    for id in MEMBERS {
        assert!(!world.is_in_app(APP, id));
    }
    assert_eq!(number(&world, "select count(*) from reconciler.manual_actions").await, 1);
}

#[sqlx::test(migrations = false)]
async fn a_task_that_arrives_with_a_rejected_login_stops_the_integration_before_any_attempt(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let first = world.insert(&a_failed("remove", APP, "jo").code("BadCredentials")).await;
    let second = world.insert(&a_failed("invite", APP, "lee").code("EmptyPasswordError")).await;
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.integration_status(APP).await, "login_rejected");
    assert_eq!(world.apps.counters().requests(Call::Remove), 0);
    assert_eq!(number(&world, "select count(*) from reconciler.manual_actions").await, 1);
    let resume = "update reconciler.integrations set status = 'active'";
    sqlx::query(resume).execute(&world.pool).await.unwrap();
    world.order().await;
    let status = "select count(*) from reconciler.manual_actions where status = 'dismissed'";
    assert_eq!(number(&world, status).await, 1, "who resumes answers for the login");
    world.drive().await;
    for id in [first, second] {
        assert_eq!(
            world.state(id).await,
            "succeeded",
            "what failed before the opening is not asked"
        );
    }
}

#[sqlx::test(migrations = false)]
async fn a_cap_holds_for_all_replicas_together(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    sqlx::query("update reconciler.integrations set max_in_flight = 3")
        .execute(&world.pool)
        .await
        .unwrap();
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.extend(claimed_by_four_replicas(&world).await);
    }
    assert_eq!(taken.len(), 3, "leased");
    for claim in taken {
        work(&world.tasks, claim).await;
    }
    assert!(world.tasks.claim(10).await.unwrap().is_empty(), "their jobs run");
    world.drive().await;
    let running = "select count(*) from reconciler.automation_tasks where state = 'succeeded'";
    assert_eq!(number(&world, running).await, 12);
}

#[sqlx::test(migrations = false)]
async fn a_dead_replicas_places_come_back_with_its_leases(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    sqlx::query("update reconciler.integrations set max_in_flight = 2")
        .execute(&world.pool)
        .await
        .unwrap();
    for _ in 0..3 {
        assert_eq!(world.tasks.claim(10).await.unwrap().len(), 2);
        assert!(world.tasks.claim(10).await.unwrap().is_empty());
        let ended =
            "update reconciler.members set lease_until = now() where lease_until is not null";
        sqlx::query(ended).execute(&world.pool).await.unwrap();
    }
}

#[sqlx::test(migrations = false)]
async fn starts_per_minute_are_counted_over_all_replicas(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    sqlx::query("update reconciler.integrations set starts_per_minute = 120")
        .execute(&world.pool)
        .await
        .unwrap();
    let began = Instant::now();
    // A slow machine may see the next ones due meanwhile: one every half second.
    let meanwhile = || usize::try_from(began.elapsed().as_millis() / 500).unwrap();
    let at_once = claimed_by_four_replicas(&world).await.len();
    assert!((2..=2 + meanwhile()).contains(&at_once), "one second's worth at once, not {at_once}");
    let later =
        "update reconciler.integration_states set next_start_at = next_start_at - interval '1 s'";
    sqlx::query(later).execute(&world.pool).await.unwrap();
    let all = at_once + world.tasks.claim(10).await.unwrap().len();
    assert!((4..=4 + meanwhile()).contains(&all), "a second later as many again, {all} in all");
}

#[sqlx::test(migrations = false)]
async fn time_while_inactive_is_not_trying(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    let tried = "with tried as (update reconciler.automation_tasks set attempts = 1),
                 woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members
                 set trying_since = now() - interval '90 min', next_attempt_at = now() - interval '89 min'
                 where ready_task_id is not null";
    sqlx::query(tried).execute(&world.pool).await.unwrap();
    work_off(&world, 100).await;
    let succeeded = "select count(*) from reconciler.automation_tasks where state = 'succeeded'";
    assert_eq!(number(&world, succeeded).await, 12, "a minute was tried of the hour they may");
}

#[sqlx::test(migrations = false)]
async fn deadlines_stand_still_while_the_integration_is_inactive(pool: PgPool) {
    let world = World::new(pool).await;
    let task = world.insert(&a_failed("remove", APP, "jo").code("NotEnoughSeats")).await;
    world.drive().await;
    let action = world.action_of(task).await;
    for status in ["status = 'paused', status_reason = 'the app is down'", "status = 'active'"] {
        // When an action was opened is changed by nobody.
        let back = "set session_replication_role = replica;
                    update reconciler.manual_actions
                    set opened_at = now() - interval '4 h', due_at = now() - interval '1 min';
                    reset session_replication_role";
        sqlx::raw_sql(back).execute(&world.pool).await.unwrap();
        let change = format!("update reconciler.integrations set {status}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(change)).execute(&world.pool).await.unwrap();
        world.order().await;
        let inactive = "update reconciler.integration_states set inactive_since = now() - interval '3 h' where inactive_since is not null";
        sqlx::query(inactive).execute(&world.pool).await.unwrap();
        world.upkeep().await;
        let reminded =
            "select count(*) from reconciler.manual_actions where reminded_at is not null";
        assert_eq!(number(&world, reminded).await, 0, "{status}");
    }
    let left = world
        .text(
            "select (due_at - now() between interval '2 h 58 min' and interval '3 h')::text
             from reconciler.manual_actions where id = $1",
            action,
        )
        .await;
    assert_eq!(left, "true");
}

#[sqlx::test(migrations = false)]
async fn a_silent_backend_costs_a_few_requests_and_no_attempt(pool: PgPool) {
    let mut world = with_a_dozen_removals(pool).await;
    world.reconfigure(|config| config.backend.outage_retry_max_s = 60.0);
    world.apps.set_outage(true);
    let before = versions(&world).await;
    work_off(&world, 1).await;
    assert_eq!(world.apps.counters().requests(Call::GetMember), 5);
    let after = versions(&world).await;
    assert_eq!(after.iter().filter(|row| before.contains(row)).count(), 7, "left alone");
    assert_eq!(world.integration_status(APP).await, "active", "the app has done nothing wrong");
    world.apps.set_outage(false);
    crate::support::eventually("the workspace is tried again", async || {
        world.let_time_pass().await;
        work_off(&world, 100).await;
        number(&world, "select count(*) from reconciler.automation_tasks where state = 'succeeded'")
            .await
            == 12
    })
    .await;
}

#[sqlx::test(migrations = false)]
async fn what_was_desired_before_our_memory_begins_goes_to_a_person(pool: PgPool) {
    let world = World::new(pool).await;
    let days_91 = 91 * 24 * 60;
    let old = a_failed("invite", APP, "lee").requested_minutes_ago(days_91);
    let old = world.insert(&old).await;
    let done =
        world.insert(&a_failed("remove", APP, "nobody").requested_minutes_ago(days_91)).await;
    world.drive().await;
    assert_eq!(world.state(old).await, "escalated");
    assert!(world.closed_reason(old).await.contains("newer requests may be missing"));
    assert_eq!(world.state(done).await, "succeeded", "it is so already");
    assert_eq!(world.apps.counters().requests(Call::Invite), 0);
}

#[sqlx::test(migrations = false)]
async fn limits_leave_no_trace_on_tasks_that_do_not_pass(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    sqlx::query("update reconciler.integrations set max_in_flight = 1")
        .execute(&world.pool)
        .await
        .unwrap();
    let before = versions(&world).await;
    let quota = Quota {
        tasks: 100,
        max_in_flight: None,
        starts_per_minute: None,
        unavailable: Vec::new(),
        only: None,
        due_from: DueFrom::default(),
    };
    for _ in 0..3 {
        tasks::claim(&world.pool.clone().into(), &quota, Duration::from_secs(45)).await.unwrap();
    }
    let after = versions(&world).await;
    assert_eq!(after.iter().filter(|row| before.contains(row)).count(), 11);
}

#[sqlx::test(migrations = false)]
async fn a_busy_integration_does_not_keep_a_closed_one_from_trying(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    for id in MEMBERS {
        world.insert(&a_failed("remove", HUB, id)).await;
    }
    world.order().await;
    let busy = "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members set next_attempt_at = now() - interval '1 h' where ready_task_id is not null";
    sqlx::query(busy).execute(&world.pool).await.unwrap();
    let closed = "update reconciler.integrations set max_in_flight = 1 where integration_id = $1";
    sqlx::query(closed).bind(APP).execute(&world.pool).await.unwrap();
    let mut passed = 0;
    for _ in 0..60 {
        let claims = world.tasks.claim(2).await.unwrap();
        passed += claims.iter().filter(|claim| claim.key.integration == APP).count();
        world.tasks.hand_back(claims).await;
    }
    assert!(passed > 0, "never, although there was more to do elsewhere than could be claimed");
}

#[sqlx::test(migrations = false)]
async fn an_integration_inactive_for_long_is_reported_now_and_then_however_often_it_probes(
    pool: PgPool,
) {
    let world = with_a_dozen_removals(pool).await;
    break_app(&world);
    work_off(&world, 1).await;
    let told = "select count(*) from reconciler.integration_states where status_reminded_at > now() - interval '1 min'";
    world.upkeep().await;
    assert_eq!(number(&world, told).await, 0, "inactive for a moment");
    let long = "update reconciler.integration_states set inactive_since = now() - interval '7 h' where status = 'tripped'";
    sqlx::query(long).execute(&world.pool).await.unwrap();
    world.upkeep().await;
    assert_eq!(number(&world, told).await, 1);
    let earlier = "update reconciler.integration_states set status_reminded_at = now() - interval '1 h' where status = 'tripped'";
    sqlx::query(earlier).execute(&world.pool).await.unwrap();
    end_closing(&world).await;
    work_off(&world, 1).await;
    assert_eq!(world.integration_status(APP).await, "tripped");
    world.upkeep().await;
    assert_eq!(number(&world, told).await, 0, "told of an hour ago");
}

#[sqlx::test(migrations = false)]
async fn jobs_that_hang_since_before_the_recovery_do_not_hold_the_ramp_back(pool: PgPool) {
    let world = with_a_dozen_removals(pool).await;
    for id in &MEMBERS[..4] {
        world.apps.set_fate(WORKSPACE, APP, id, Operation::Remove, Fate::NeverEnds);
    }
    for claim in world.tasks.claim(4).await.unwrap() {
        work(&world.tasks, claim).await;
    }
    let pause = "update reconciler.integrations set status = 'paused', status_reason = 'down'";
    sqlx::query(pause).execute(&world.pool).await.unwrap();
    world.order().await;
    sqlx::query("update reconciler.integrations set status = 'active'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.order().await;
    let passed = world.tasks.claim(10).await.unwrap();
    assert_eq!(passed.iter().filter(|claim| claim.running.is_none()).count(), 1);
}

/// Neither a pause nor a broken app is a reason to wait for what automation cannot do.
#[sqlx::test(migrations = false)]
async fn what_only_a_person_can_do_waits_for_no_integration(pool: PgPool) {
    let world = World::new(pool).await;
    let not_active = [
        "update reconciler.integrations set status = 'paused', status_reason = 'maintenance'",
        "update reconciler.integration_states
         set status = 'tripped', status_cause = 'failures', status_reason = 'it fails', status_since = now(),
             status_until = now() + interval '1 hour'",
    ];
    let known = world.insert(&a_failed("invite", APP, "lee").code("LoginTimeout")).await;
    world.order().await;
    world.let_time_pass().await;
    let people = [("jo", "max"), ("kim", "ida")];
    for ((member, stranger), change) in people.into_iter().zip(not_active) {
        sqlx::query(change).execute(&world.pool).await.unwrap();
        let deprovisioned = a_failed("remove", APP, member).deprovisioned().without_job();
        let removal = world.insert(&deprovisioned).await;
        let no_seat = a_failed("invite", APP, stranger).code("NotEnoughSeats");
        let invite = world.insert(&no_seat).await;
        world.step().await;
        assert_eq!(world.state(removal).await, "escalated", "{change}");
        assert_eq!(world.state(invite).await, "escalated", "{change}");
        let resumed =
            "update reconciler.integrations set status = 'active' where status = 'paused'";
        sqlx::query(resumed).execute(&world.pool).await.unwrap();
        world.take_up().await;
    }
    assert_eq!(world.state(known).await, "pending", "automation can do it once the app works");
    let asked = [Call::Invite, Call::Remove].map(|call| world.apps.counters().requests(call));
    assert_eq!(asked, [0, 0]);
}

/// An invite that only a person can make is not asked for while a removal of the member is stored.
#[sqlx::test(migrations = false)]
async fn nobody_is_asked_to_invite_whose_removal_is_stored(pool: PgPool) {
    let world = World::new(pool).await;
    let pause =
        "update reconciler.integrations set status = 'paused', status_reason = 'maintenance'";
    let invite = world.insert(&a_failed("invite", APP, "lee").code("NotEnoughSeats")).await;
    world.order().await;
    sqlx::query(pause).execute(&world.pool).await.unwrap();
    world.take_up().await;
    world.let_time_pass().await;
    world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(0)).await;
    assert!(world.tasks.claim(10).await.unwrap().is_empty());
    world.order().await;
    assert_eq!(world.state(invite).await, "superseded");
}
