//! Every request of a story goes wrong once in every way, and the story ends as it should.

use crate::support::faults::{CrashableDaemon, Story, survives_every_fault};
use crate::support::{APP, HUB, Task, WORKSPACE, World, a_failed, apps, config};
use cerby_reconciler::backend::Client;
use cerby_reconciler::schema;
use sqlx::PgPool;
use testkit::fault_proxy::{At, Fault, Kind};
use testkit::simulator::{Call, Fate, HttpFault, Injection, Operation, Settings, Simulator};

/// A removal that works, with an invitation and a role waiting behind it.
async fn a_rehire(mortal: &mut CrashableDaemon) {
    mortal.faults_begin();
    let world = &mortal.world;
    let remove = world.insert(&a_failed("remove", APP, "jo").requested_minutes_ago(9)).await;
    let invite = world.insert(&a_failed("invite", APP, "jo").requested_minutes_ago(5)).await;
    let mut role = a_failed("change_role", APP, "jo").requested_minutes_ago(1);
    role.roles = vec!["ADMIN"];
    let role = world.insert(&role).await;
    mortal.drive().await;
    for task in [remove, invite, role] {
        assert_eq!(mortal.world.state(task).await, "succeeded");
    }
    assert_eq!(mortal.effects(), ["Remove jo", "Invite jo", "ChangeRole jo"]);
    let jo = mortal.world.apps.member(WORKSPACE, APP, "jo").expect("jo is back");
    assert_eq!(jo.entitlements, ["ADMIN".to_owned()].into());
}

#[sqlx::test(migrations = false)]
async fn a_rehire_survives_every_fault(pool: PgPool) {
    let story = Story {
        name: "a rehire",
        play: |mortal| Box::pin(a_rehire(mortal)),
        changes: |_| {},
        at_least: (40, 12),
        repeats: 0,
    };
    survives_every_fault(pool, story).await;
}

/// An invitation that only a person can send; the person sends it and says nothing; then a removal.
async fn an_overtaken_action(mortal: &mut CrashableDaemon) {
    let fate = Fate::Permanent("NotEnoughSeats".to_owned());
    mortal.world.apps.set_fate(WORKSPACE, APP, "lee", Operation::Invite, fate);
    let invitation = a_failed("invite", APP, "lee");
    let invite = mortal.world.insert(&invitation).await;
    mortal.world.order().await;
    mortal.faults_begin();
    mortal.drive().await;
    assert_eq!(mortal.world.state(invite).await, "escalated");
    let action = mortal.world.action_of(invite).await;
    assert_eq!(mortal.world.status(action).await, "open");
    mortal.world.person_does(&invitation);

    let remove = a_failed("remove", APP, "lee").requested_minutes_ago(1);
    let remove = mortal.world.insert(&remove).await;
    mortal.drive().await;
    assert_eq!(mortal.world.status(action).await, "superseded");
    assert_eq!(mortal.world.state(remove).await, "succeeded");
    assert_eq!(mortal.effects(), ["Remove lee"]);
    assert!(!mortal.world.is_in_app(APP, "lee"));
}

#[sqlx::test(migrations = false)]
async fn an_overtaken_action_survives_every_fault(pool: PgPool) {
    let story = Story {
        name: "an overtaken action",
        play: |mortal| Box::pin(an_overtaken_action(mortal)),
        changes: |_| {},
        at_least: (31, 8),
        // Cerby has not read the app since a person may have invited: only a job can tell.
        repeats: 1,
    };
    survives_every_fault(pool, story).await;
}

/// A removal by hand from an app: check, report, apply, read, verdict. Somebody nobody asked for is gone too,
/// which the guard lets pass and remembers.
async fn a_proof_by_report(mortal: &mut CrashableDaemon) {
    let removal = a_failed("remove", APP, "jo").code("NotEnoughSeats");
    let remove = mortal.world.insert(&removal).await;
    mortal.drive().await;
    let action = mortal.world.action_of(remove).await;
    mortal.world.person_does(&removal);
    assert!(mortal.world.apps.person_removes(WORKSPACE, APP, "kim"));
    mortal.world.mark_done(action).await;
    mortal.faults_begin();
    mortal.drive().await;
    let world = &mortal.world;
    assert_eq!(world.state(remove).await, "escalated");
    assert_eq!((world.status(action).await, world.verdict(action).await), verified());
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 1);
    assert_eq!(world.apps.known(WORKSPACE, APP, "jo"), None);
    assert_eq!(mortal.effects(), [""; 0]);
    let unexpected = "select coalesce(sum(unexpected_removals), 0) from reconciler.syncs";
    assert!(world.count(unexpected).await >= 1, "the guard remembers what it let pass");
}

fn verified() -> (String, String) {
    ("verified".to_owned(), "confirmed".to_owned())
}

#[sqlx::test(migrations = false)]
async fn a_proof_by_report_survives_every_fault(pool: PgPool) {
    let story = Story {
        name: "a proof by report",
        play: |mortal| Box::pin(a_proof_by_report(mortal)),
        changes: |config| config.guard.max_unexpected_percent = 100,
        at_least: (17, 6),
        repeats: 0,
    };
    survives_every_fault(pool, story).await;
}

/// A role on a business hub that a person first only says they changed.
async fn a_proof_by_sync(mortal: &mut CrashableDaemon) {
    let change = a_failed("change_role", HUB, "jo").code("NotEnoughSeats");
    let task = mortal.world.insert(&change).await;
    mortal.drive().await;
    let action = mortal.world.action_of(task).await;
    mortal.world.mark_done(action).await;
    mortal.faults_begin();
    mortal.drive().await;
    assert_eq!(mortal.world.status(action).await, "open");
    assert_eq!(mortal.world.verdict(action).await, "contradicted");
    mortal.world.person_does(&change);
    mortal.world.mark_done(action).await;
    mortal.drive().await;
    let world = &mortal.world;
    assert_eq!((world.status(action).await, world.verdict(action).await), verified());
    assert_eq!(
        world.count("select reopened_count::bigint from reconciler.manual_actions").await,
        1
    );
    assert_eq!(mortal.effects(), [""; 0]);
}

#[sqlx::test(migrations = false)]
async fn a_proof_by_sync_survives_every_fault(pool: PgPool) {
    let story = Story {
        name: "a proof by sync",
        play: |mortal| Box::pin(a_proof_by_sync(mortal)),
        changes: |_| {},
        at_least: (25, 6),
        repeats: 0,
    };
    survives_every_fault(pool, story).await;
}

#[sqlx::test(migrations = false)]
async fn the_guard_forgets_what_was_surely_not_applied(pool: PgPool) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let apps = Simulator::start(apps(), Settings::default()).await.unwrap();
    let unavailable = HttpFault::Status(503);
    apps.inject(Injection { call: Call::ApplyReport, nth: 0, fault: unavailable });
    let mut config = config("postgres://unused", apps.base_url(), apps.api_key());
    config.guard.max_unexpected_percent = 100;
    let client = Client::new(&config.backend).unwrap();
    let world = World::with_client(pool, apps, config, client);
    let removal = a_failed("remove", APP, "jo").code("NotEnoughSeats");
    let task = world.insert(&removal).await;
    world.drive().await;
    world.person_does(&removal);
    assert!(world.apps.person_removes(WORKSPACE, APP, "kim"));
    world.mark_done(world.action_of(task).await).await;
    world.drive().await;
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 2);
    let unexpected = "select sum(unexpected_removals) from reconciler.syncs";
    assert_eq!(world.count(unexpected).await, 1);
}

/// A report that removes more than was asked for, and the person who says that it may.
async fn a_held_report(mortal: &mut CrashableDaemon) {
    let removal = a_failed("remove", APP, "jo").code("NotEnoughSeats");
    let remove = mortal.world.insert(&removal).await;
    mortal.drive().await;
    let action = mortal.world.action_of(remove).await;
    mortal.world.person_does(&removal);
    assert!(mortal.world.apps.person_removes(WORKSPACE, APP, "kim"));
    mortal.world.mark_done(action).await;
    mortal.drive().await;
    assert_eq!(mortal.world.apps.counters().requests(Call::ApplyReport), 0);
    let decided =
        "update reconciler.syncs set decision = 'approved', decision_reason = 'kim left too'
                   where state = 'held'";
    let decided = sqlx::query(decided).execute(&mortal.world.pool).await;
    assert_eq!(decided.expect("the database takes it").rows_affected(), 1);
    mortal.faults_begin();
    mortal.drive().await;
    let world = &mortal.world;
    assert_eq!((world.status(action).await, world.verdict(action).await), verified());
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 1);
    assert_eq!(world.apps.known(WORKSPACE, APP, "kim"), None);
}

#[sqlx::test(migrations = false)]
async fn a_held_report_survives_every_fault(pool: PgPool) {
    let story = Story {
        name: "a held report",
        play: |mortal| Box::pin(a_held_report(mortal)),
        changes: |_| {},
        at_least: (12, 4),
        repeats: 0,
    };
    survives_every_fault(pool, story).await;
}

/// A world in which every process dies before its first request with this text.
async fn deadly(pool: &PgPool, text: &'static str) -> CrashableDaemon {
    let fault = Fault { at: At::Text(text), kind: Kind::DeathBefore };
    CrashableDaemon::doomed(pool.clone(), fault).await
}

#[sqlx::test(migrations = false)]
async fn a_task_that_kills_whoever_takes_it_goes_to_a_person(pool: PgPool) {
    let table: [(&str, usize, &[&str]); 3] = [
        ("DELETE ", 3, &[]),
        ("GET /acme/api/v1/integrations/an-app/users/jo", 6, &[]),
        ("GET /acme/api/v1/jobs/", 6, &["Remove jo"]),
    ];
    for (request, deaths, effects) in table {
        let mut mortal = deadly(&pool, request).await;
        let task = Task { job: None, ..a_failed("remove", APP, "jo") };
        let task = mortal.world.insert(&task).await;
        mortal.drive().await;
        assert_eq!(mortal.world.state(task).await, "escalated", "{request}");
        let reason = mortal.world.closed_reason(task).await;
        assert_eq!(reason, "The worker crashed repeatedly on this task: LoginTimeout", "{request}");
        assert_eq!(mortal.deaths, deaths, "{request}");
        assert_eq!(mortal.effects(), effects, "{request}");
        mortal.end().await;
    }
}

#[sqlx::test(migrations = false)]
async fn a_sync_that_kills_whoever_takes_it_fails_and_its_action_stays_done(pool: PgPool) {
    let mut mortal = deadly(&pool, "POST /acme/api/v1/integrations/a-hub/sync").await;
    let task = mortal.world.insert(&a_failed("remove", HUB, "jo").code("NotEnoughSeats")).await;
    mortal.drive().await;
    let action = mortal.world.action_of(task).await;
    mortal.world.mark_done(action).await;
    mortal.drive_until("select count(*) from reconciler.syncs where state = 'failed'").await;
    assert_eq!(mortal.deaths, 3);
    assert_eq!(mortal.world.status(action).await, "done");
    assert_eq!(mortal.world.verdict(action).await, "unverifiable");
    mortal.end().await;
}
