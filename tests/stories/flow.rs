//! Whole stories on a real database, against the simulator over real HTTP.

use crate::support::log::Log;
use crate::support::{APP, HUB, Task, WORKSPACE, World, a_failed, eventually, work};
use cerby_reconciler::database;
use cerby_reconciler::membership::MemberKey;
use cerby_reconciler::retry::again::escalate_again;
use cerby_reconciler::worker::Stage;
use sqlx::PgPool;
use testkit::simulator::{
    Call, Fate, HttpFault, Injection, Integration, Invitation, Kind, Member, Operation, Settings,
    World as Apps,
};

fn everyone_who_can_be(operation: &'static str, integration: &'static str) -> Task {
    a_failed(operation, integration, if operation == "invite" { "lee" } else { "jo" })
}

#[sqlx::test(migrations = false)]
async fn all_six_procedures_end_verified_after_a_person_did_them(pool: PgPool) {
    let world = World::new(pool).await;
    for integration in [APP, HUB] {
        for operation in ["invite", "change_role", "remove"] {
            let task = everyone_who_can_be(operation, integration).code("NotEnoughSeats");
            let id = world.insert(&task).await;
            world.drive().await;
            assert_eq!(world.state(id).await, "escalated", "{integration} {operation}");
            assert_eq!(world.attempts(id).await, 0, "nothing heals this by trying");

            let action = world.action_of(id).await;
            world.person_does(&task);
            world.mark_done(action).await;
            world.drive().await;
            assert_eq!(world.status(action).await, "verified", "{integration} {operation}");
            assert_eq!(world.verdict(action).await, "confirmed");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn the_trail_of_an_escalated_removal_reads_like_this(pool: PgPool) {
    let world = World::new(pool).await;
    let task = a_failed("remove", HUB, "jo").code("NotEnoughSeats");
    let id = world.insert(&task).await;
    world.drive().await;
    let action = world.action_of(id).await;
    world.mark_done(action).await;
    world.drive().await;
    world.person_does(&task);
    world.mark_done(action).await;
    world.drive().await;
    insta::assert_snapshot!(world.trail().await.join("\n"), @r"
    integration.introduced
    task.ordered
    action.opened
    task.escalated
    action.done
    sync.requested
    sync.started
    action.contradicted
    sync.finished
    action.done
    sync.requested
    sync.started
    action.verified
    sync.finished
    ");
}

#[sqlx::test(migrations = false)]
async fn automation_that_works_at_last_needs_no_person(pool: PgPool) {
    let world = World::new(pool).await;
    let fate = Fate::Transient { times: 2, code: "PageChanged".to_owned() };
    world.apps.set_fate(WORKSPACE, APP, "jo", Operation::Remove, fate);
    let id = world.insert(&a_failed("remove", APP, "jo")).await;
    world.drive().await;
    assert_eq!(world.state(id).await, "succeeded");
    assert_eq!(world.attempts(id).await, 3);
    assert!(!world.is_in_app(APP, "jo"));
    assert_eq!(world.count("select count(*) from reconciler.manual_actions").await, 0);
}

#[sqlx::test(migrations = false)]
async fn used_up_attempts_escalate_and_are_never_success(pool: PgPool) {
    let log = Log::here();
    let world = World::new(pool).await;
    let fate = Fate::Transient { times: 1000, code: "PageChanged".to_owned() };
    world.apps.set_fate(WORKSPACE, APP, "jo", Operation::Remove, fate);
    let id = world.insert(&a_failed("remove", APP, "jo")).await;
    world.drive().await;
    assert_eq!(world.state(id).await, "escalated");
    assert!(log.has("task.escalated"));
    assert_eq!(world.attempts(id).await, 6);
    assert_eq!(world.closed_reason(id).await, "All automatic retries were used: PageChanged");
    assert_eq!(world.status(world.action_of(id).await).await, "open");
}

#[sqlx::test(migrations = false)]
async fn a_lie_opens_the_same_action_again_with_what_was_seen(pool: PgPool) {
    let log = Log::here();
    let world = World::new(pool).await;
    let id = world.insert(&a_failed("remove", APP, "jo").code("NotEnoughSeats")).await;
    world.drive().await;
    let action = world.action_of(id).await;
    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "open");
    assert_eq!(world.verdict(action).await, "contradicted");
    assert!(log.has("action.contradicted"));
    let seen =
        world.text("select observed from reconciler.manual_actions where id = $1", action).await;
    assert_eq!(seen, "Still a member");
    assert_eq!(
        world.count("select reopened_count::bigint from reconciler.manual_actions").await,
        1
    );
}

#[sqlx::test(migrations = false)]
async fn an_invitation_that_does_not_show_yet_is_looked_for_again(pool: PgPool) {
    let world = World::new(pool).await;
    let task = a_failed("invite", HUB, "lee").code("NotEnoughSeats");
    let id = world.insert(&task).await;
    world.drive().await;
    let action = world.action_of(id).await;
    world.mark_done(action).await;
    for _ in 0..6 {
        world.let_time_pass().await;
        world.step().await;
    }
    assert_eq!(world.verdict(action).await, "not_yet");
    assert_eq!(world.status(action).await, "done");
    world.person_does(&task);
    world.drive().await;
    assert_eq!(world.status(action).await, "verified");
}

#[sqlx::test(migrations = false)]
async fn an_invitation_that_never_shows_is_contradicted_in_the_end(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.insert(&a_failed("invite", HUB, "lee").code("NotEnoughSeats")).await;
    world.drive().await;
    let action = world.action_of(id).await;
    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "open");
    assert_eq!(
        world.count("select count(*) from reconciler.syncs").await,
        6,
        "the first and five re-reads"
    );
}

#[sqlx::test(migrations = false)]
async fn a_deprovisioning_without_automation_behind_it_is_looked_at_once_and_escalates(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let there = world.insert(&a_failed("remove", APP, "jo").deprovisioned().without_job()).await;
    let gone = world.insert(&a_failed("remove", APP, "lee").deprovisioned().without_job()).await;
    world.step().await;
    assert_eq!(world.state(there).await, "escalated");
    assert_eq!(world.state(gone).await, "succeeded");
    assert_eq!(world.apps.counters().requests(Call::Remove), 0);
}

#[sqlx::test(migrations = false)]
async fn a_deprovisioning_with_a_failed_job_is_retried_first(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.insert(&a_failed("remove", APP, "jo").deprovisioned()).await;
    world.drive().await;
    assert_eq!(world.state(id).await, "succeeded");
    assert!(!world.is_in_app(APP, "jo"));
}

#[sqlx::test(migrations = false)]
async fn an_operation_that_the_app_lacks_escalates_without_an_attempt(pool: PgPool) {
    let world = World::new(pool).await;
    let task = a_failed("invite", APP, "lee").of_application("6sense_tenant");
    let id = world.insert(&task).await;
    world.step().await;
    assert_eq!(world.state(id).await, "escalated");
    assert!(
        world
            .closed_reason(id)
            .await
            .starts_with("This app cannot be automated for this operation")
    );
    assert_eq!(world.apps.counters().requests(Call::Invite), 0);
}

#[sqlx::test(migrations = false)]
async fn where_the_app_cannot_be_read_the_word_must_do(pool: PgPool) {
    let world = World::new(pool).await;
    let unreadable = cerby_reconciler::catalogue::all().iter().find(|app| !app.can_sync).unwrap();
    let task = a_failed("remove", APP, "jo")
        .code("NotEnoughSeats")
        .of_application(&unreadable.application);
    let id = world.insert(&task).await;
    world.drive().await;
    let action = world.action_of(id).await;
    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "attested");
    assert_eq!(world.apps.counters().requests(Call::StartCheck), 0);
}

/// Somebody was removed by hand, and nobody can read the app: Cerby goes on believing that they are there.
async fn removed_by_hand_in_an_unreadable_app(world: &World) -> &'static str {
    let mut apps = cerby_reconciler::catalogue::all().iter();
    let unreadable = apps.find(|app| !app.can_sync && app.can_invite).expect("one such app");
    let removal = a_failed("remove", APP, "jo").code("NotEnoughSeats").requested_minutes_ago(9);
    let removal = removal.of_application(&unreadable.application);
    let id = world.insert(&removal).await;
    world.drive().await;
    world.person_does(&removal);
    world.mark_done(world.action_of(id).await).await;
    world.drive().await;
    assert!(world.apps.known(WORKSPACE, APP, "jo").is_some() && !world.is_in_app(APP, "jo"));
    &unreadable.application
}

#[sqlx::test(migrations = false)]
async fn an_attempt_that_never_ended_makes_no_old_presence_true(pool: PgPool) {
    let world = World::new(pool).await;
    let application = removed_by_hand_in_an_unreadable_app(&world).await;
    world.apps.set_fate(WORKSPACE, APP, "jo", Operation::Invite, Fate::NeverEnds);
    let invite = a_failed("invite", APP, "jo").of_application(application).requested_minutes_ago(1);
    let id = world.insert(&invite).await;
    world.order().await;
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.state(id).await, "running");
    let long_ago = "update reconciler.members set running_since = now() - interval '1 day'
                    where running_since is not null";
    sqlx::query(long_ago).execute(&world.pool).await.unwrap();
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.state(id).await, "escalated", "nor is another attempt made beside it");
    assert!(!world.is_in_app(APP, "jo"));
}

#[sqlx::test(migrations = false)]
async fn where_old_presence_and_an_attempt_that_failed_though_done_look_alike_a_person_is_asked(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let application = removed_by_hand_in_an_unreadable_app(&world).await;
    let fate = Fate::FailedThoughDone("CaptchaShown".to_owned());
    world.apps.set_fate(WORKSPACE, APP, "jo", Operation::Invite, fate);
    let invite = a_failed("invite", APP, "jo").of_application(application).requested_minutes_ago(1);
    let id = world.insert(&invite).await;
    world.drive().await;
    assert_eq!(world.state(id).await, "escalated");
    assert_eq!(world.apps.counters().requests(Call::Invite), 1, "asking again could invite twice");
}

#[sqlx::test(migrations = false)]
async fn where_old_presence_and_a_lost_attempt_look_alike_a_person_is_asked(pool: PgPool) {
    let world = World::new(pool).await;
    let application = removed_by_hand_in_an_unreadable_app(&world).await;
    world.apps.inject(Injection { call: Call::Invite, nth: 0, fault: HttpFault::Reset });
    let invite = a_failed("invite", APP, "jo").of_application(application).requested_minutes_ago(1);
    let id = world.insert(&invite).await;
    world.drive().await;
    assert_eq!(world.state(id).await, "escalated");
    let reason = world.closed_reason(id).await;
    assert!(reason.starts_with("An attempt may have worked"), "{reason}");
    assert_eq!(world.apps.counters().requests(Call::Invite), 1, "asking again could invite twice");
}

#[sqlx::test(migrations = false)]
async fn whom_a_former_task_may_have_invited_no_later_one_invites_again(pool: PgPool) {
    let world = World::new(pool).await;
    let application = removed_by_hand_in_an_unreadable_app(&world).await;
    let fate = Fate::FailedThoughDone("CaptchaShown".to_owned());
    world.apps.set_fate(WORKSPACE, APP, "jo", Operation::Invite, fate);
    let invite = a_failed("invite", APP, "jo").of_application(application);
    let former = world.insert(&invite.clone().requested_minutes_ago(2)).await;
    world.drive().await;
    let later = world.insert(&invite.requested_minutes_ago(1)).await;
    world.drive().await;
    assert_eq!(world.status(world.action_of(former).await).await, "superseded");
    let reason = world.closed_reason(later).await;
    assert!(reason.starts_with("An attempt may have worked"), "{reason}");

    let send_back = "update reconciler.manual_actions set status = 'returned', note = 'try again'
                     where status = 'open'";
    sqlx::query(send_back).execute(&world.pool).await.unwrap();
    world.drive().await;
    assert_eq!(world.state(later).await, "escalated", "nor does it when it was sent back");
    assert_eq!(world.apps.counters().requests(Call::Invite), 1, "asking again could invite twice");
}

#[sqlx::test(migrations = false)]
async fn what_a_person_undid_since_keeps_no_later_task_from_trying(pool: PgPool) {
    let world = World::new(pool).await;
    let application = removed_by_hand_in_an_unreadable_app(&world).await;
    let fate = Fate::FailedThoughDone("CaptchaShown".to_owned());
    world.apps.set_fate(WORKSPACE, APP, "jo", Operation::Invite, fate);
    let invite = a_failed("invite", APP, "jo").of_application(application);
    world.insert(&invite.clone().requested_minutes_ago(3)).await;
    world.drive().await;
    let removal = a_failed("remove", APP, "jo").code("NotEnoughSeats").of_application(application);
    let removal = removal.requested_minutes_ago(2);
    let remove = world.insert(&removal).await;
    world.drive().await;
    world.person_does(&removal);
    world.mark_done(world.action_of(remove).await).await;
    world.drive().await;
    let later = world.insert(&invite.requested_minutes_ago(1)).await;
    world.drive().await;
    assert_eq!(world.state(later).await, "succeeded");
    assert_eq!(world.apps.counters().requests(Call::Invite), 2);
    assert!(world.is_in_app(APP, "jo"));
}

/// The same API answers by id, and lists people without one.
#[sqlx::test(migrations = false)]
async fn whoever_is_not_found_by_id_and_is_in_the_list_is_not_gone(pool: PgPool) {
    let jo = Member { is_matched: false, ..Member::new("jo", " JO@example.com") };
    let apps = Apps::new()
        .integration(Integration::new(WORKSPACE, HUB, "Hub", Kind::BusinessHub, "asana_tenant"))
        .member(WORKSPACE, HUB, jo);
    let world = World::with(pool, apps, Settings::default()).await;
    let deprovisioned = a_failed("remove", HUB, "jo").requested_minutes_ago(5).deprovisioned();
    for removal in [a_failed("remove", HUB, "jo"), deprovisioned.without_job()] {
        let task = world.insert(&removal).await;
        world.drive().await;
        assert_eq!(world.state(task).await, "escalated");
        assert_eq!(world.status(world.action_of(task).await).await, "open");
    }
    assert_eq!(world.apps.counters().requests(Call::Remove), 0, "no call could name them");
    let gone = world.insert(&a_failed("remove", HUB, "lee")).await;
    world.drive().await;
    assert_eq!(world.closed_reason(gone).await, "Already gone", "by id and by list");
}

/// A list that is empty, or ends after a page, shows of somebody without an id what it shows of nobody.
#[sqlx::test(migrations = false)]
async fn whoever_is_not_found_by_id_is_not_gone_by_a_list_that_may_be_cut(pool: PgPool) {
    let apps = Apps::new().integration(Integration::new(
        WORKSPACE,
        HUB,
        "Hub",
        Kind::BusinessHub,
        "asana_tenant",
    ));
    let mut apps = (0..25).fold(apps, |apps, n| {
        let id = format!("a{n:02}");
        apps.member(WORKSPACE, HUB, Member::new(&id, &format!("{id}@example.com")))
    });
    for id in ["jo", "lu"] {
        let member = Member { is_matched: false, ..Member::new(id, &format!("{id}@example.com")) };
        apps = apps.member(WORKSPACE, HUB, member);
    }
    let world = World::with(pool, apps, Settings::default()).await;
    for (member, shown) in [("jo", 0), ("lu", 25)] {
        world.apps.cut_list(WORKSPACE, HUB, Some(shown));
        let removal = a_failed("remove", HUB, member).deprovisioned().without_job();
        let task = world.insert(&removal).await;
        world.drive().await;
        assert_eq!(world.state(task).await, "escalated", "{member}");
    }
    let removal = world.insert(&a_failed("remove", HUB, "kim")).await;
    world.drive().await;
    assert_eq!(world.state(removal).await, "succeeded");
    assert_eq!(world.apps.counters().requests(Call::Remove), 1, "a run in the app has to tell");
}

/// Who was not found by id before a run is not found by id after it either: only the list shows that the run did nothing.
#[sqlx::test(migrations = false)]
async fn whoever_is_in_the_list_after_a_run_that_says_it_worked_is_not_gone(pool: PgPool) {
    let jo = Member { is_matched: false, ..Member::new("jo", "jo@example.com") };
    let apps = Apps::new()
        .integration(Integration::new(WORKSPACE, HUB, "Hub", Kind::BusinessHub, "asana_tenant"))
        .member(WORKSPACE, HUB, jo);
    let world = World::with(pool, apps, Settings::default()).await;
    world.apps.set_fate(WORKSPACE, HUB, "jo", Operation::Remove, Fate::FinishedThoughNotDone);
    world.apps.cut_list(WORKSPACE, HUB, Some(0));
    let task = world.insert(&a_failed("remove", HUB, "jo")).await;
    while world.state(task).await != "running" {
        world.step().await;
    }
    world.apps.cut_list(WORKSPACE, HUB, None);
    world.drive().await;
    assert_eq!(world.state(task).await, "escalated");
    assert!(world.is_in_app(HUB, "jo"));
}

#[sqlx::test(migrations = false)]
async fn who_was_invited_again_by_hand_is_not_gone_because_a_job_says_so(pool: PgPool) {
    let apps = cerby_reconciler::catalogue::all();
    let unreadable = apps.iter().find(|app| !app.can_sync && app.can_remove).expect("one such app");
    let application = unreadable.application.as_str();
    let app = Integration::new(WORKSPACE, "blind", "A blind app", Kind::App, application);
    let jo = Member::new("jo", "jo@example.com").with(&["VIEWER"]);
    let apps = Apps::new().integration(app).member(WORKSPACE, "blind", jo.clone());
    let world = World::with(pool, apps, Settings::default()).await;
    // Cerby knows jo by the id of before, and not that they left and are back under none.
    assert!(world.apps.person_removes(WORKSPACE, "blind", "jo"));
    assert!(world.apps.person_invites(WORKSPACE, "blind", Member { is_matched: false, ..jo }));
    world.apps.set_fate(WORKSPACE, "blind", "jo", Operation::Remove, Fate::FinishedThoughNotDone);
    let task = world.insert(&a_failed("remove", "blind", "jo").of_application(application)).await;
    world.drive().await;
    assert!(world.is_in_app("blind", "jo"));
    assert_eq!(world.state(task).await, "escalated");
}

/// Where the list stays cut, the next run tells: it finds them, or it does not.
#[sqlx::test(migrations = false)]
async fn a_run_that_says_it_worked_beside_a_list_that_cannot_tell_is_no_proof(pool: PgPool) {
    let jo = Member { is_matched: false, ..Member::new("jo", "jo@example.com") };
    let apps = Apps::new()
        .integration(Integration::new(WORKSPACE, HUB, "Hub", Kind::BusinessHub, "asana_tenant"))
        .member(WORKSPACE, HUB, jo);
    let world = World::with(pool, apps, Settings::default()).await;
    world.apps.set_fate(WORKSPACE, HUB, "jo", Operation::Remove, Fate::FinishedThoughNotDone);
    world.apps.cut_list(WORKSPACE, HUB, Some(0));
    let task = world.insert(&a_failed("remove", HUB, "jo")).await;
    world.drive().await;
    assert_eq!(world.state(task).await, "succeeded");
    assert!(!world.is_in_app(HUB, "jo"));
    assert_eq!(
        world.apps.counters().requests(Call::Remove),
        3,
        "one lied, one worked, one found nobody"
    );
}

#[sqlx::test(migrations = false)]
async fn an_attempt_that_may_still_take_effect_holds_back_what_comes_after_its_task(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.reconfigure(|config| config.retry.settle_s = 3600);
    world.apps.inject(Injection { call: Call::Invite, nth: 0, fault: HttpFault::LostReply });
    let invite = world.insert(&a_failed("invite", APP, "lee")).await;
    let waiting = world.insert(&a_failed("change_role", APP, "lee").requested_minutes_ago(5)).await;
    while world.state(invite).await != "succeeded" {
        world.let_time_pass().await;
        world.step().await;
    }
    let not_due = "select count(*) from reconciler.members
                   where ready_task_id is not null and next_attempt_at > now() + interval '59 minutes'";
    assert_eq!(world.count(not_due).await, 1, "the one that waited");
    let remove = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(1)).await;
    world.order().await;
    assert_eq!(world.state(waiting).await, "superseded");
    assert_eq!(world.count(not_due).await, 1, "the one that came later");
    assert_eq!(world.step().await, 0);
    world.drive().await;
    assert_eq!(world.state(remove).await, "succeeded");
    assert!(!world.is_in_app(APP, "lee"), "nobody who was removed comes back");
}

#[sqlx::test(migrations = false)]
async fn an_attempt_that_may_still_take_effect_holds_back_what_an_ended_action_gives_its_turn(
    pool: PgPool,
) {
    let mut world = World::new(pool).await;
    world.reconfigure(|config| config.retry.settle_s = 3600);
    world.apps.inject(Injection { call: Call::Invite, nth: 0, fault: HttpFault::LostReply });
    let invite = world.insert(&a_failed("invite", APP, "lee")).await;
    while world.attempts(invite).await == 0 {
        world.let_time_pass().await;
        world.step().await;
    }
    sqlx::query("update reconciler.members set unreleased_claims = 1000")
        .execute(&world.pool)
        .await
        .unwrap();
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.state(invite).await, "escalated", "its workers died");
    let role = world.insert(&a_failed("change_role", APP, "lee").requested_minutes_ago(5)).await;
    world.order().await;
    world.insert(&a_failed("invite", APP, "lee").requested_minutes_ago(4)).await;
    world.order().await;
    assert_eq!(world.status(world.action_of(invite).await).await, "superseded");
    let head = "select count(*) from reconciler.members where ready_task_id is not null and ready_task_id = $1 and
                next_attempt_at > now() + interval '59 minutes'";
    let held: i64 = sqlx::query_scalar(head).bind(role).fetch_one(&world.pool).await.unwrap();
    assert_eq!(held, 1);
}

#[sqlx::test(migrations = false)]
async fn a_removal_supersedes_an_invite_that_waits_for_its_next_attempt(pool: PgPool) {
    let world = World::new(pool).await;
    let fate = Fate::Transient { times: 1000, code: "PageChanged".to_owned() };
    world.apps.set_fate(WORKSPACE, APP, "lee", Operation::Invite, fate);
    let invite = world.insert(&a_failed("invite", APP, "lee")).await;
    world.order().await;
    let remove = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(1)).await;
    world.drive().await;
    assert_eq!(world.state(invite).await, "superseded");
    assert_eq!(
        world.count("select superseded_by from reconciler.automation_tasks where superseded_by is not null").await,
        remove
    );
    assert_eq!(world.state(remove).await, "succeeded");
    assert_eq!(world.apps.counters().requests(Call::Invite), 0);
}

#[sqlx::test(migrations = false)]
async fn a_removal_waits_for_an_invite_in_flight_and_then_undoes_it(pool: PgPool) {
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "lee")).await;
    world.order().await;
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.state(invite).await, "running");
    let remove = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(1)).await;
    world.drive().await;
    assert_eq!(world.state(invite).await, "superseded");
    assert_eq!(world.state(remove).await, "succeeded");
    assert!(!world.is_in_app(APP, "lee"), "nobody who was removed comes back");
}

#[sqlx::test(migrations = false)]
async fn nobody_is_asked_to_invite_whose_removal_arrived_while_the_invite_was_worked_on(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "lee").code("NotEnoughSeats")).await;
    world.order().await;
    let claimed = world.tasks.claim(10).await.unwrap().remove(0);
    let remove = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(1)).await;
    world.order().await;
    work(&world.tasks, claimed).await;
    assert_eq!(world.count("select count(*) from reconciler.manual_actions").await, 0);
    world.drive().await;
    assert_eq!(world.state(invite).await, "superseded");
    assert_eq!(world.state(remove).await, "succeeded");
}

#[sqlx::test(migrations = false)]
async fn an_attempt_that_failed_after_it_was_superseded_makes_way_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    let fate = Fate::Transient { times: 1000, code: "PageChanged".to_owned() };
    world.apps.set_fate(WORKSPACE, APP, "lee", Operation::Invite, fate);
    world.insert(&a_failed("invite", APP, "lee")).await;
    world.order().await;
    world.let_time_pass().await;
    world.step().await; // the job runs
    world.let_time_pass().await;
    let claimed = world.tasks.claim(10).await.unwrap().remove(0);
    world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(1)).await;
    world.order().await;
    work(&world.tasks, claimed).await;
    let due = "select count(*) from reconciler.members where ready_task_id is not null and next_attempt_at <= now()";
    assert_eq!(world.count(due).await, 1);
}

#[sqlx::test(migrations = false)]
async fn an_invite_that_arrives_late_never_brings_back_who_was_removed(pool: PgPool) {
    let world = World::new(pool).await;
    let remove = world.insert(&a_failed("remove", APP, "jo").requested_minutes_ago(5)).await;
    world.drive().await;
    assert_eq!(world.state(remove).await, "succeeded");
    let invite = world.insert(&a_failed("invite", APP, "jo").requested_minutes_ago(9)).await;
    world.drive().await;
    assert_eq!(world.state(invite).await, "superseded");
    assert!(!world.is_in_app(APP, "jo"));
}

#[sqlx::test(migrations = false)]
async fn a_later_invite_that_automation_did_elsewhere_stands_when_an_older_one_ends_after_it(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let invite = a_failed("invite", APP, "lee");
    let older = world.insert(&invite.clone().requested_minutes_ago(9)).await;
    while world.attempts(older).await == 0 {
        world.let_time_pass().await;
        world.step().await;
    }
    eventually("the job ends", async || world.is_in_app(APP, "lee")).await;
    world.let_time_pass().await;
    let claimed = world.tasks.claim(100).await.unwrap();
    let later = world.insert(&invite.requested_minutes_ago(1)).await;
    sqlx::query("update reconciler.automation_tasks set outcome = 'succeeded' where id = $1")
        .bind(later)
        .execute(&world.pool)
        .await
        .unwrap();
    world.order().await;
    assert_eq!(world.state(later).await, "succeeded");
    for task in claimed {
        work(&world.tasks, task).await;
    }
    assert_eq!(world.state(older).await, "succeeded", "it was worked on before the later one came");
    let removal = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(5)).await;
    world.drive().await;
    assert_eq!(world.state(removal).await, "superseded");
    assert!(world.is_in_app(APP, "lee"));
}

/// Has an integration read, and the snapshot judged.
async fn read(world: &World, integration: &str) {
    sqlx::query("select reconciler.request_snapshot($1, $2)")
        .bind(WORKSPACE)
        .bind(integration)
        .execute(&world.pool)
        .await
        .expect("the database answers");
    world.drive_syncs().await;
}

#[sqlx::test(migrations = false)]
async fn an_invitation_that_did_not_last_and_may_still_take_effect_was_tried_before(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.reconfigure(|config| config.retry.settle_s = 3600);
    world.apps.inject(Injection { call: Call::Invite, nth: 0, fault: HttpFault::LostReply });
    let invitation = a_failed("invite", HUB, "lee");
    let task = world.insert(&invitation).await;
    while world.state(task).await != "succeeded" {
        world.let_time_pass().await;
        world.step().await;
    }
    world.apps.set_invitation(WORKSPACE, HUB, "lee", Some(Invitation::Expired));
    read(&world, HUB).await;
    assert_eq!(world.state(task).await, "escalated");
    let removal = a_failed("remove", HUB, "lee").code("NotEnoughSeats").requested_minutes_ago(5);
    let removal = world.insert(&removal).await;
    while world.state(removal).await != "escalated" {
        world.let_time_pass().await;
        world.step().await;
    }
    let later = world.insert(&invitation.requested_minutes_ago(1)).await;
    world.order().await;
    sqlx::query(
        "update reconciler.manual_actions set status = 'dismissed', note = 'no' where id = $1",
    )
    .bind(world.action_of(removal).await)
    .execute(&world.pool)
    .await
    .unwrap();
    world.order().await;
    world.let_time_pass().await;
    let claimed = world.tasks.claim(100).await.unwrap();
    assert_eq!(claimed[0].id, later);
    assert!(claimed[0].touched_by_hand && claimed[0].tried_before);
}

/// The snapshot may have been read before a later request of the member was carried out.
#[sqlx::test(migrations = false)]
async fn whoever_is_watched_for_something_later_is_not_asked_for_again(pool: PgPool) {
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", HUB, "lee")).await;
    world.drive().await;
    world.insert(&a_failed("remove", HUB, "lee").requested_minutes_ago(1)).await;
    world.drive().await;
    assert!(!world.is_in_app(HUB, "lee"));
    let key = MemberKey {
        workspace: WORKSPACE.to_owned(),
        integration: HUB.to_owned(),
        member: "lee".to_owned(),
    };
    let mut connection = database::PgPool::from(world.pool.clone()).acquire().await.unwrap();
    let again = escalate_again(&mut connection, &key, invite, "it expired").await.unwrap();
    assert!(again.is_none());
    assert_eq!(world.state(invite).await, "succeeded");
}

/// Otherwise a task whose workers die again and again would never be too long under way.
#[sqlx::test(migrations = false)]
async fn the_time_before_a_claim_that_came_to_nothing_is_not_waited_for_twice(pool: PgPool) {
    let world = World::new(pool).await;
    world.insert(&a_failed("invite", APP, "lee")).await;
    world.order().await;
    sqlx::query(
        "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members
         set trying_since = now() - interval '60 min', next_attempt_at = now() - interval '10 min',
             lease_until = now() - interval '1 min'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    assert_eq!(world.tasks.claim(1).await.unwrap().len(), 1);
    let moved =
        "select round(extract(epoch from trying_since - (now() - interval '60 min')) / 60)::bigint
                 from reconciler.members";
    assert_eq!(world.count(moved).await, 1, "the minute in which nobody had it");
}

#[sqlx::test(migrations = false)]
async fn a_removal_stops_the_person_who_was_asked_to_invite(pool: PgPool) {
    let log = Log::here();
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "lee").code("NotEnoughSeats")).await;
    world.drive().await;
    let action = world.action_of(invite).await;
    let remove = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(1)).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "superseded");
    assert!(log.has("action.superseded"));
    assert_eq!(world.state(remove).await, "succeeded");
}

#[sqlx::test(migrations = false)]
async fn somebody_invited_by_hand_before_the_stop_came_is_removed_all_the_same(pool: PgPool) {
    let world = World::new(pool).await;
    let invitation = a_failed("invite", APP, "lee").code("NotEnoughSeats");
    let invite = world.insert(&invitation).await;
    world.drive().await;
    // The person has sent the invitation and not said so; Cerby has not read the app since.
    world.person_does(&invitation);
    let remove = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(1)).await;
    world.drive().await;
    assert_eq!(world.status(world.action_of(invite).await).await, "superseded");
    assert_eq!(world.state(remove).await, "succeeded");
    assert!(!world.is_in_app(APP, "lee"), "nobody who was removed stays behind");
}

#[sqlx::test(migrations = false)]
async fn a_rehire_waits_until_the_removal_is_proven(pool: PgPool) {
    let world = World::new(pool).await;
    let removal = a_failed("remove", APP, "jo").code("NotEnoughSeats").requested_minutes_ago(9);
    let remove = world.insert(&removal).await;
    let invite = world.insert(&a_failed("invite", APP, "jo").requested_minutes_ago(1)).await;
    world.drive().await;
    let action = world.action_of(remove).await;
    assert_eq!(world.state(invite).await, "pending");
    assert_eq!(world.apps.counters().requests(Call::Invite), 0);

    world.person_does(&removal);
    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "verified");
    assert_eq!(world.state(invite).await, "succeeded");
    assert!(world.is_in_app(APP, "jo"));
}

#[sqlx::test(migrations = false)]
async fn a_lost_answer_is_looked_into_before_anything_is_repeated(pool: PgPool) {
    for (call, operation, member) in [
        (Call::Invite, "invite", "lee"),
        (Call::Remove, "remove", "jo"),
        (Call::ChangeRole, "change_role", "kim"),
    ] {
        let world = World::new(pool.clone()).await;
        world.apps.inject(Injection { call, nth: 0, fault: HttpFault::LostReply });
        let id = world
            .insert(&Task { source: format!("{call:?}"), ..a_failed(operation, APP, member) })
            .await;
        world.drive().await;
        assert_eq!(world.state(id).await, "succeeded", "{call:?}");
        assert_eq!(world.apps.counters().requests(call), 1, "{call:?} was not repeated");
        assert!(world.trail().await.contains(&"task.lost_sight_of".to_owned()), "{call:?}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_failure_that_was_a_success_and_a_success_that_was_none_are_both_seen_through(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    world.apps.set_fate(
        WORKSPACE,
        APP,
        "jo",
        Operation::Remove,
        Fate::FailedThoughDone("PageChanged".to_owned()),
    );
    world.apps.set_fate(WORKSPACE, APP, "kim", Operation::Remove, Fate::FinishedThoughNotDone);
    let jo = world.insert(&a_failed("remove", APP, "jo")).await;
    let kim = world.insert(&a_failed("remove", APP, "kim")).await;
    world.drive().await;
    assert_eq!((world.state(jo).await, world.attempts(jo).await), ("succeeded".to_owned(), 1));
    assert_eq!((world.state(kim).await, world.attempts(kim).await), ("succeeded".to_owned(), 2));
    assert!(!world.is_in_app(APP, "kim"));
}

#[sqlx::test(migrations = false)]
async fn an_outage_of_the_backend_uses_no_attempt(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.insert(&a_failed("remove", APP, "jo")).await;
    world.apps.set_outage(true);
    for _ in 0..20 {
        world.let_time_pass().await;
        world.step().await;
    }
    assert_eq!((world.state(id).await, world.attempts(id).await), ("pending".to_owned(), 0));
    world.apps.set_outage(false);
    world.drive().await;
    assert_eq!((world.state(id).await, world.attempts(id).await), ("succeeded".to_owned(), 1));
}

#[sqlx::test(migrations = false)]
async fn fifty_done_actions_of_one_app_make_one_sync(pool: PgPool) {
    let world = World::new(pool).await;
    let names: Vec<&'static str> = (0..50).map(|n| &*format!("gone{n}").leak()).collect();
    let mut actions = Vec::new();
    for member in &names {
        let person = testkit::simulator::Member::new(member, &format!("{member}@example.com"));
        assert!(world.apps.person_invites(WORKSPACE, HUB, person));
        // The word of an app that Cerby has not read yet.
        let task = a_failed("change_role", HUB, member).code("NotEnoughSeats");
        actions.push(world.insert(&task).await);
    }
    world.drive().await;
    for task in &actions {
        let action = world.action_of(*task).await;
        assert!(world.apps.person_changes_role(
            WORKSPACE,
            HUB,
            member_of(&names, &actions, *task),
            &["EDITOR"]
        ));
        world.mark_done(action).await;
    }
    world.drive().await;
    assert_eq!(
        world
            .count("select count(*) from reconciler.manual_actions where status = 'verified'")
            .await,
        50
    );
    assert_eq!(world.count("select count(*) from reconciler.syncs").await, 1);
}

fn member_of(names: &[&'static str], tasks: &[i64], task: i64) -> &'static str {
    names[tasks.iter().position(|id| *id == task).expect("one of them")]
}

/// A list without anybody is not believed at once.
fn somebody_stays(world: &World, integration: &str) {
    assert!(world.apps.person_invites(
        WORKSPACE,
        integration,
        Member::new("lee", "lee@example.com")
    ));
}

#[sqlx::test(migrations = false)]
async fn a_done_during_a_running_sync_is_judged_by_the_next_one(pool: PgPool) {
    let world = World::new(pool).await;
    somebody_stays(&world, HUB);
    let first = a_failed("remove", HUB, "jo").code("NotEnoughSeats");
    let second = a_failed("remove", HUB, "kim").code("NotEnoughSeats");
    let (jo, kim) = (world.insert(&first).await, world.insert(&second).await);
    world.drive().await;
    let (jo, kim) = (world.action_of(jo).await, world.action_of(kim).await);
    world.person_does(&first);
    world.mark_done(jo).await;
    world.step().await; // starts the sync: what it reads is fixed now
    world.person_does(&second);
    world.mark_done(kim).await;
    world.drive().await;
    assert_eq!(world.status(jo).await, "verified");
    assert_eq!(world.status(kim).await, "verified");
    assert_eq!(
        world.count("select count(*) from reconciler.syncs where state = 'finished'").await,
        2
    );
    let proof = "select count(*) from reconciler.manual_actions
                 where not coalesce(snapshot_started_at > done_at, false)";
    assert_eq!(
        world.count(proof).await,
        0,
        "every verdict rests on a snapshot that started after the change was called done"
    );
}

#[sqlx::test(migrations = false)]
async fn an_open_action_whose_desired_state_is_already_true_is_not_needed(pool: PgPool) {
    let world = World::new(pool).await;
    let first = a_failed("remove", HUB, "jo").code("NotEnoughSeats");
    let second = a_failed("remove", HUB, "kim").code("NotEnoughSeats");
    let (jo, kim) = (world.insert(&first).await, world.insert(&second).await);
    world.drive().await;
    world.person_does(&first);
    world.person_does(&second);
    world.mark_done(world.action_of(jo).await).await;
    world.drive().await;
    assert_eq!(world.status(world.action_of(kim).await).await, "not_needed");
}

#[sqlx::test(migrations = false)]
async fn a_report_that_removes_more_than_was_asked_for_waits_needs_no_automation(pool: PgPool) {
    let world = World::new(pool).await;
    let task = a_failed("remove", APP, "jo").code("NotEnoughSeats");
    let id = world.insert(&task).await;
    world.drive().await;
    let action = world.action_of(id).await;
    world.person_does(&task);
    assert!(
        world.apps.person_removes(WORKSPACE, APP, "kim"),
        "somebody nobody asked for is gone too"
    );
    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.count("select count(*) from reconciler.syncs where state = 'held'").await, 1);
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 0);
    assert_eq!(world.status(action).await, "done", "nothing is believed meanwhile");

    let decided = sqlx::query(
        "update reconciler.syncs set decision = 'approved', decision_reason = 'kim left too' where state = 'held'",
    );
    decided.execute(&world.pool).await.unwrap();
    world.drive().await;
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 1);
    assert_eq!(world.status(action).await, "verified");
}

#[sqlx::test(migrations = false)]
async fn a_truncated_snapshot_is_never_applied(pool: PgPool) {
    let world = World::new(pool).await;
    let task = a_failed("remove", APP, "jo").code("NotEnoughSeats");
    let id = world.insert(&task).await;
    world.drive().await;
    world.person_does(&task);
    world.apps.limit_snapshot(WORKSPACE, APP, Some(0));
    world.mark_done(world.action_of(id).await).await;
    for _ in 0..50 {
        world.let_time_pass().await;
        world.step().await;
    }
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 0);
    assert_eq!(world.status(world.action_of(id).await).await, "done");
    assert_eq!(world.verdict(world.action_of(id).await).await, "unverifiable");
}

/// Lets a check read the app before a second member is removed by hand: its report cannot be applied any more.
async fn an_overtaken_report(pool: PgPool) -> (World, [i64; 2]) {
    let world = World::new(pool).await;
    somebody_stays(&world, APP);
    let tasks = ["jo", "kim"].map(|id| a_failed("remove", APP, id).code("NotEnoughSeats"));
    let ids = [world.insert(&tasks[0]).await, world.insert(&tasks[1]).await];
    world.drive().await;
    let actions = [world.action_of(ids[0]).await, world.action_of(ids[1]).await];
    world.person_does(&tasks[0]);
    world.mark_done(actions[0]).await;
    assert_eq!(world.step().await, 1, "the check has read the app");
    world.person_does(&tasks[1]);
    world.mark_done(actions[1]).await;
    (world, actions)
}

#[sqlx::test(migrations = false)]
async fn an_app_that_changed_while_it_was_read_is_read_anew_at_once(pool: PgPool) {
    let (world, _) = an_overtaken_report(pool).await;
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 1, "the one that is refused");
    assert_eq!(world.apps.counters().requests(Call::StartCheck), 1);
    world.step().await;
    assert_eq!(world.apps.counters().requests(Call::StartCheck), 2, "no time has passed");
}

#[sqlx::test(migrations = false)]
async fn a_snapshot_that_began_anew_judges_what_was_done_before_it_did(pool: PgPool) {
    let (world, actions) = an_overtaken_report(pool).await;
    world.drive().await;
    for action in actions {
        assert_eq!(world.status(action).await, "verified");
    }
    let mut trail = world.trail().await;
    trail.retain(|what| ["sync.finished", "action.verified"].contains(&what.as_str()));
    let of_the_first = ["action.verified", "action.verified", "sync.finished"];
    assert_eq!(trail[..3], of_the_first, "{trail:?}");
}

#[sqlx::test(migrations = false)]
async fn an_app_that_always_changes_while_it_is_read_ends_the_sync(pool: PgPool) {
    let (world, [jo, _]) = an_overtaken_report(pool).await;
    let failed = "select count(*) from reconciler.syncs where state = 'failed'";
    let mut rounds = 0;
    while world.count(failed).await == 0 {
        let roles: &[&str] = if rounds % 2 == 0 { &["EDITOR"] } else { &["VIEWER"] };
        let somebody = Member::new("lee", "lee@example.com").with(roles);
        let apps = &world.apps;
        assert!(
            apps.person_changes_role(WORKSPACE, APP, "lee", roles)
                || apps.person_invites(WORKSPACE, APP, somebody)
        );
        world.let_time_pass().await;
        world.step().await;
        rounds += 1;
        assert!(rounds < 100, "it goes on and on");
    }
    assert_eq!(
        world.apps.counters().requests(Call::ApplyReport),
        u64::try_from(world.config.sync.max_failures).unwrap()
    );
    assert_eq!(world.status(jo).await, "done");
    assert_eq!(world.verdict(jo).await, "unverifiable");
}

/// Cancels a task as an operator does in psql.
async fn cancel(world: &World, task: i64) -> Result<(), String> {
    let cancelled =
        sqlx::query("select reconciler.cancel_task($1, 'the person has left')").bind(task);
    cancelled.execute(&world.pool).await.map(drop).map_err(|error| error.to_string())
}

#[sqlx::test(migrations = false)]
async fn a_cancelled_task_is_not_tried_any_more_and_the_next_has_its_turn(pool: PgPool) {
    let world = World::new(pool).await;
    let role = world.insert(&a_failed("change_role", APP, "jo").requested_minutes_ago(9)).await;
    let removal = world.insert(&a_failed("invite", APP, "jo").requested_minutes_ago(8)).await;
    cancel(&world, role).await.unwrap();
    world.take_up().await;
    assert_eq!(world.state(role).await, "pending", "it has no place yet");
    world.order().await;
    let pause =
        "update reconciler.integrations set status = 'paused', status_reason = 'maintenance'";
    sqlx::query(pause).execute(&world.pool).await.unwrap();
    let now = "update reconciler.nudges set not_before = now()";
    sqlx::query(now).execute(&world.pool).await.unwrap();
    world.take_up().await;
    assert_eq!(world.state(role).await, "cancelled", "although the integration is paused");
    let why = "select closed_reason from reconciler.automation_tasks where id = $1";
    assert_eq!(world.text(why, role).await, "Cancelled by a person: the person has left");
    let trail =
        "select string_agg(what || ' by ' || actor, ', ' order by id) from reconciler.events
                 where subject = 'task' and what like '%cancel%' and subject_id = $1::text";
    let person = world.text("select current_user::text where $1 > 0", role).await;
    let told = format!("task.cancel_requested by {person}, task.cancelled by daemon");
    assert_eq!(world.text(trail, role).await, told);
    let place = "select place from reconciler.task_places where task_id = $1";
    assert_eq!(world.text(place, removal).await, "ready");
    assert_eq!(world.apps.counters().requests(Call::ChangeRole), 0);
    let ended = cancel(&world, role).await.unwrap_err();
    assert!(ended.contains("has ended as cancelled and cannot be cancelled"), "{ended}");
    let unknown = cancel(&world, 999_999).await.unwrap_err();
    assert!(unknown.contains("there is no task 999999"), "{unknown}");
    let blank = sqlx::query("select reconciler.cancel_task($1, ' ')").bind(removal);
    let blank = blank.execute(&world.pool).await.unwrap_err().to_string();
    assert!(blank.contains("give a reason"), "{blank}");
}

/// What is on its way is waited for: the job that runs may still let somebody in.
#[sqlx::test(migrations = false)]
async fn a_task_cancelled_in_flight_ends_once_its_job_has(pool: PgPool) {
    let world = World::new(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "lee")).await;
    world.order().await;
    world.let_time_pass().await;
    world.step().await;
    assert_eq!(world.state(invite).await, "running");
    cancel(&world, invite).await.unwrap();
    let removal = world.insert(&a_failed("remove", APP, "lee").requested_minutes_ago(0)).await;
    world.order().await;
    assert_eq!(world.state(invite).await, "running", "its job runs");
    world.drive().await;
    assert_eq!(world.state(invite).await, "superseded", "the later request says so too");
    assert_eq!(world.state(removal).await, "succeeded");
    assert!(!world.is_in_app(APP, "lee"));

    let role = world.insert(&a_failed("change_role", APP, "kim").code("LoginTimeout")).await;
    world.order().await;
    world.let_time_pass().await;
    let claimed = world.tasks.claim(1).await.unwrap().remove(0);
    cancel(&world, role).await.unwrap();
    world.take_up().await;
    work(&world.tasks, claimed).await;
    world.drive().await;
    assert_eq!(world.state(role).await, "cancelled", "cancelled while a worker had it");
}
