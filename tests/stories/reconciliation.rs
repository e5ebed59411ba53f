//! What snapshots find, what an apply may do, and who is looked at again: whole stories over real HTTP.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::time::Duration;

use crate::support::log::Log;
use crate::support::{APP, HUB, Task, WORKSPACE, World, a_failed, apps, eventually};
use serde_json::Value;
use sqlx::PgPool;
use testkit::simulator::{
    Call, HttpFault, Injection, Integration, Invitation, Kind, Member, Settings, World as Apps,
};

fn viewer(id: &str) -> Member {
    Member::new(id, &format!("{id}@example.com")).with(&["VIEWER"])
}

/// The usual app and hub, the app with so many more members that four are less than ten percent.
fn big_app() -> Apps {
    (0..50).fold(apps(), |apps, n| apps.member(WORKSPACE, APP, viewer(&format!("m{n:02}"))))
}

async fn big(pool: PgPool) -> World {
    World::with(pool, big_app(), Settings::default()).await
}

impl World {
    async fn run(&self, statement: &'static str) -> u64 {
        sqlx::query(statement).execute(&self.pool).await.unwrap().rows_affected()
    }

    /// Has an integration read, and the snapshot judged.
    async fn read(&self, integration: &str) {
        self.request(integration).await;
        self.drive_syncs().await;
    }

    async fn request(&self, integration: &str) {
        let kind = if integration == APP { "app" } else { "business_hub" };
        sqlx::query(
            "with known as (
                 insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application)
                 values ($1, $2, $2, $3, 'asana_tenant') on conflict do nothing
             )
             insert into reconciler.integration_states (workspace_id, integration_id) values ($1, $2)
             on conflict do nothing",
        )
        .bind(WORKSPACE)
        .bind(integration)
        .bind(kind)
        .execute(&self.pool)
        .await
        .unwrap();
        sqlx::query("select reconciler.schedule_sync($1, $2, clock_timestamp(), 'person')")
            .bind(WORKSPACE)
            .bind(integration)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Goes on with a snapshot until the backend was asked for this.
    async fn read_until(&self, call: Call) {
        self.request(APP).await;
        for _ in 0..100 {
            if self.apps.counters().requests(call) > 0 {
                return;
            }
            self.let_time_pass().await;
            self.step().await;
        }
        panic!("{call:?} was never asked for: {:?}", self.latest().await);
    }

    /// The latest sync: its state and why, and what it found.
    async fn latest(&self) -> (String, String, Value) {
        sqlx::query_as(
            "select state, coalesce(case when state = 'held' then held_reason end, finished_reason, last_error, ''),
                    coalesce(report, '{}')
             from reconciler.syncs order by id desc limit 1",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    async fn held_reason(&self) -> String {
        let (state, reason, _) = self.latest().await;
        assert_eq!(state, "held", "{reason}");
        reason
    }

    /// A removal by hand up to its proof.
    async fn removed_by_hand(&self, integration: &'static str, member: &'static str) -> (i64, i64) {
        let removal = a_failed("remove", integration, member).code("NotEnoughSeats");
        let task = self.insert(&removal.requested_minutes_ago(9)).await;
        self.drive().await;
        let action = self.action_of(task).await;
        assert!(self.apps.person_removes(WORKSPACE, integration, member));
        self.mark_done(action).await;
        self.drive().await;
        assert_eq!(self.status(action).await, "verified");
        (task, action)
    }

    /// An invitation by hand up to its proof.
    async fn invited_by_hand(&self, integration: &'static str) -> (Task, i64, i64) {
        let invitation = a_failed("invite", integration, "lee").code("NotEnoughSeats");
        let task = self.insert(&invitation).await;
        self.drive().await;
        let action = self.action_of(task).await;
        self.person_does(&invitation);
        self.mark_done(action).await;
        self.drive().await;
        assert_eq!(self.status(action).await, "verified");
        (invitation, task, action)
    }

    /// Lets syncs go on for so many rounds.
    async fn drive_syncs_for(&self, rounds: usize) {
        for _ in 0..rounds {
            self.let_time_pass().await;
            self.step().await;
        }
    }

    /// Makes every look at somebody who is watched due.
    async fn watches_fall_due(&self) {
        self.run(
            "update reconciler.members set watch_due_at = now() - interval '1 s', watch_asked_at = null
             where watch_task_id is not null",
        )
        .await;
        self.upkeep().await;
        self.drive_syncs().await;
    }

    async fn watches(&self) -> i64 {
        self.count("select count(*) from reconciler.members where watch_task_id is not null").await
    }

    async fn syncs(&self) -> i64 {
        self.count("select count(*) from reconciler.syncs").await
    }
}

// ---- the report ----

#[sqlx::test(migrations = false)]
async fn a_snapshot_is_stored_with_the_class_of_everybody(pool: PgPool) {
    let mut stranger = viewer("stranger");
    stranger.is_matched = false;
    let mut guest = viewer("guest");
    guest.is_guest = true;
    let mut exempt = viewer("exempt");
    exempt.is_exempt = true;
    let twin = Member { email: "JO@example.com".to_owned(), ..viewer("twin") };
    let mut apps = apps();
    for member in [stranger, guest, exempt, twin, viewer("ann"), viewer("pending"), viewer("late")]
    {
        apps = apps.member(WORKSPACE, HUB, member);
    }
    let world = World::with(pool, apps, Settings::default()).await;
    world.apps.set_invitation(WORKSPACE, HUB, "pending", Some(Invitation::Pending));
    world.apps.set_invitation(WORKSPACE, HUB, "late", Some(Invitation::Expired));
    let mut promotion = a_failed("change_role", HUB, "kim").code("NotEnoughSeats");
    promotion.roles = vec!["ADMIN"];
    world.insert(&promotion).await;
    world.insert(&a_failed("invite", HUB, "lee").code("NotEnoughSeats")).await;
    world.drive().await;
    world.read(HUB).await;

    let (state, _, report) = world.latest().await;
    assert_eq!(state, "finished");
    for (class, count) in [
        ("missing", 1),
        ("ambiguous", 2),
        ("unexpected", 1),
        ("exempt", 1),
        ("guest", 1),
        ("expired_invite", 1),
        ("pending_invite", 1),
        ("wrong_role", 1),
        ("matched", 1),
    ] {
        assert_eq!(report["counts"][class], count, "{class}: {report:#}");
    }
    assert_eq!(report["differences"].as_array().unwrap().len(), 9);
    assert_eq!(report["snapshot"]["complete"], true);
    let hash = report["snapshot"]["hash"].clone();
    world.read(HUB).await;
    assert_eq!(world.latest().await.2["snapshot"]["hash"], hash, "nothing has changed");
    world.apps.person_changes_role(WORKSPACE, HUB, "ann", &["EDITOR"]);
    world.read(HUB).await;
    assert_ne!(world.latest().await.2["snapshot"]["hash"], hash);
}

#[sqlx::test(migrations = false)]
async fn what_a_person_dismissed_or_what_waits_is_not_wanted(pool: PgPool) {
    let world = World::new(pool).await;
    let removal = a_failed("remove", HUB, "jo").code("NotEnoughSeats").requested_minutes_ago(9);
    let task = world.insert(&removal).await;
    world.drive().await;
    let rehire = a_failed("invite", HUB, "jo").requested_minutes_ago(1);
    world.insert(&rehire).await;
    world.drive().await;
    world.read(HUB).await;
    let counts = async || world.latest().await.2["counts"].clone();
    assert_eq!(counts().await["unexpected"], 1, "the invite waits for its turn");
    let dismissal = "update reconciler.manual_actions set status = 'dismissed', note = 'stays' where task_id = $1";
    sqlx::query(dismissal).bind(task).execute(&world.pool).await.unwrap();
    world.run("delete from reconciler.automation_tasks where operation = 'invite'").await;
    world.read(HUB).await;
    assert_eq!(
        (counts().await["unexpected"].clone(), counts().await["matched"].clone()),
        (0.into(), 2.into())
    );
}

#[sqlx::test(migrations = false)]
async fn a_member_whom_nobody_can_read_leaves_a_gap_and_hides_nobody(pool: PgPool) {
    let nobody = Member { email: String::new(), is_matched: false, ..viewer("x") };
    let world = World::with(pool, apps().member(WORKSPACE, HUB, nobody), Settings::default()).await;
    world.read(HUB).await;
    let (_, _, report) = world.latest().await;
    assert_eq!(report["snapshot"]["gaps"][0], "unreadable_member");
    assert_eq!(
        (&report["snapshot"]["complete"], &report["counts"]["matched"]),
        (&false.into(), &2.into())
    );
}

#[sqlx::test(migrations = false)]
async fn names_of_any_kind_are_stored_as_what_they_are(pool: PgPool) {
    let odd = [
        ("a", "<script>alert(1)</script>@example.com", "Bobby'); drop table users; --"),
        ("b", "nul\u{0}@example.com", "\u{202e}gnp.exe"),
        ("c", "line\nbreak\u{1b}[31m@example.com", "\u{7}"),
    ];
    for integration in [APP, HUB] {
        let apps = odd.iter().fold(big_app(), |apps, (id, email, username)| {
            let mut member = Member::new(id, email).named(username);
            member.is_matched = *id != "b";
            member.is_exempt = true;
            apps.member(WORKSPACE, integration, member)
        });
        let world = World::with(pool.clone(), apps, Settings::default()).await;
        world.read(integration).await;
        let (state, _, report) = world.latest().await;
        assert_eq!(state, "finished", "{integration}");
        assert_eq!(report["counts"]["exempt"], 3);
        let text = report.to_string();
        assert!(text.contains("<script>") && text.contains("nul@example.com"), "{text}");
        assert!(text.contains("linebreak[31m@example.com"), "{text}");

        // Where they are gone unasked, the report that says so is held and stored as well.
        for (id, _, _) in odd {
            assert!(world.apps.person_removes(WORKSPACE, integration, id));
        }
        world.read(integration).await;
        if integration == APP {
            assert_eq!(
                world.held_reason().await,
                "Applying this would remove 3 exempt members or guests"
            );
            assert_eq!(world.latest().await.2["counts"]["missing"], 3);
        }
    }
}

#[sqlx::test(migrations = false)]
async fn whoever_is_listed_twice_and_spelled_otherwise_is_gone_with_the_last_entry(pool: PgPool) {
    let pending = Member { is_matched: false, ..Member::new("jo2", " Jo@EXAMPLE.com\u{200b}") };
    let world =
        World::with(pool, apps().member(WORKSPACE, HUB, pending), Settings::default()).await;
    world.apps.set_invitation(WORKSPACE, HUB, "jo2", Some(Invitation::Pending));
    let task = world.insert(&a_failed("remove", HUB, "jo").code("NotEnoughSeats")).await;
    world.drive().await;
    let action = world.action_of(task).await;

    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "open", "nobody has removed them");
    assert!(world.apps.person_removes(WORKSPACE, HUB, "jo"));
    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "open", "the invitation would bring them back");
    assert_eq!(world.verdict(action).await, "contradicted");
    assert!(world.apps.person_removes(WORKSPACE, HUB, "jo2"));
    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "verified");
}

#[sqlx::test(migrations = false)]
async fn the_last_members_are_gone_once_a_second_list_shows_nobody_either(pool: PgPool) {
    let world = World::new(pool).await;
    assert!(world.apps.person_invites(WORKSPACE, HUB, viewer("lee")));
    world.read(HUB).await;
    assert!(world.apps.person_removes(WORKSPACE, HUB, "lee"), "nobody asked for that");
    let removals = ["jo", "kim"].map(|id| a_failed("remove", HUB, id).code("NotEnoughSeats"));
    let tasks = [world.insert(&removals[0]).await, world.insert(&removals[1]).await];
    world.drive().await;
    let actions = [world.action_of(tasks[0]).await, world.action_of(tasks[1]).await];
    for (removal, action) in removals.iter().zip(actions) {
        world.person_does(removal);
        world.mark_done(action).await;
    }
    world.drive_syncs_for(2).await;
    for action in actions {
        assert_eq!(world.verdict(action).await, "unverifiable", "an empty list");
    }
    world.drive_syncs().await;
    for action in actions {
        assert_eq!(world.status(action).await, "verified");
    }
}

/// What the list lost is found when it is asked for by id.
#[sqlx::test(migrations = false)]
async fn a_list_that_was_cut_proves_no_removal(pool: PgPool) {
    let mut apps = Apps::new().integration(Integration::new(
        WORKSPACE,
        HUB,
        "Hub",
        Kind::BusinessHub,
        "asana_tenant",
    ));
    for n in 0..30 {
        let id = format!("m{n:02}");
        apps = apps.member(WORKSPACE, HUB, Member::new(&id, &format!("{id}@example.com")));
    }
    let world = World::with(pool, apps, Settings::default()).await;
    world.read(HUB).await;
    let removal = a_failed("remove", HUB, "m29").code("NotEnoughSeats");
    let task = world.insert(&removal).await;
    world.drive().await;
    let action = world.action_of(task).await;
    world.apps.cut_list(WORKSPACE, HUB, Some(25));
    world.mark_done(action).await;
    world.drive_syncs_for(4).await;
    assert_eq!(world.status(action).await, "done");
    assert_eq!(
        world.verdict(action).await,
        "unverifiable",
        "a lie, and a list that would confirm it"
    );
    world.apps.cut_list(WORKSPACE, HUB, None);
    world.drive_syncs().await;
    assert_eq!(world.status(action).await, "open", "contradicted");
}

/// The verdict on a removal that was not done, by a list that ends before that member; all others are in it.
async fn verdict_by_a_cut_list(pool: PgPool, is_read_before: bool) -> String {
    let hub = Integration::new(WORKSPACE, HUB, "Hub", Kind::BusinessHub, "asana_tenant");
    let apps = (0..26).fold(Apps::new().integration(hub), |apps, n| {
        apps.member(WORKSPACE, HUB, viewer(&format!("m{n:02}")))
    });
    let world = World::with(pool, apps, Settings::default()).await;
    if is_read_before {
        world.read(HUB).await;
    }
    let removal = a_failed("remove", HUB, "m25").code("NotEnoughSeats");
    let task = world.insert(&removal).await;
    world.drive().await;
    let action = world.action_of(task).await;
    world.apps.cut_list(WORKSPACE, HUB, Some(25));
    world.mark_done(action).await;
    world.drive_syncs_for(4).await;
    world.verdict(action).await
}

#[sqlx::test(migrations = false)]
async fn whoever_is_found_by_id_is_not_gone_where_only_they_are_missing(pool: PgPool) {
    assert_eq!(verdict_by_a_cut_list(pool, true).await, "unverifiable");
}

#[sqlx::test(migrations = false)]
async fn whoever_is_found_by_id_is_not_gone_by_the_first_list(pool: PgPool) {
    assert_eq!(verdict_by_a_cut_list(pool, false).await, "unverifiable");
}

// ---- the guard ----

/// Peers apply what is left after each small removal; here the past is asked of the database.
#[sqlx::test(migrations = false)]
async fn removals_in_small_steps_still_trip_the_limit_and_restarts_forget_nothing(pool: PgPool) {
    let log = Log::here();
    let mut world = big(pool.clone()).await;
    for gone in ["m00", "m01", "m02"] {
        world.apps.person_removes(WORKSPACE, APP, gone);
        world.read(APP).await;
        assert_eq!(world.latest().await.0, "finished");
        let (apps, config) = (world.apps, world.config);
        let backend = cerby_reconciler::backend::Client::new(&config.backend).unwrap();
        world = World::with_client(pool.clone(), apps, config, backend);
    }
    const AGE: &str = "update reconciler.syncs set finished_at = finished_at - interval '23 hours'
                       where finished_at is not null";
    world.run(AGE).await;
    world.apps.person_removes(WORKSPACE, APP, "m03");
    world.read(APP).await;
    let reason = world.held_reason().await;
    assert!(reason.starts_with("4 unexpected removals in 24 hours"), "{reason}");
    assert!(log.has("sync.held"));
    assert!(world.apps.known(WORKSPACE, APP, "m03").is_some());

    world.run(AGE).await;
    world.run("update reconciler.syncs set decision = 'rejected', decision_reason = 'not yet' where state = 'held'").await;
    world.drive_syncs().await;
    world.read(APP).await;
    assert_eq!(world.latest().await.0, "finished", "a day later one more may go");
}

#[sqlx::test(migrations = false)]
async fn the_last_administrator_and_the_own_account_are_not_removed_without_a_person(pool: PgPool) {
    let apps = big_app().member(WORKSPACE, APP, viewer("ann").with(&["admin"])).member(
        WORKSPACE,
        APP,
        viewer("bot"),
    );
    let world = World::with(pool, apps, Settings::default()).await;
    world.apps.person_removes(WORKSPACE, APP, "ann");
    world.read(APP).await;
    assert_eq!(world.held_reason().await, "Applying this would leave no administrator");
    world.run("update reconciler.syncs set decision = 'approved', decision_reason = 'she has left' where state = 'held'").await;
    world.drive_syncs().await;
    assert_eq!(world.latest().await.0, "finished");
    assert!(world.apps.known(WORKSPACE, APP, "ann").is_none());

    world.run("update reconciler.integrations set own_account = 'BOT@example.com'").await;
    world.apps.person_removes(WORKSPACE, APP, "bot");
    world.read(APP).await;
    assert_eq!(
        world.held_reason().await,
        "Applying this would remove the account that the automation logs in with"
    );
    assert!(world.apps.known(WORKSPACE, APP, "bot").is_some());
}

#[sqlx::test(migrations = false)]
async fn the_last_administrator_and_the_own_account_are_known_in_another_spelling(pool: PgPool) {
    let ann = Member { email: "ann@müller.example".to_owned(), ..viewer("ann") }.with(&["ADMIN"]);
    let again = Member {
        is_matched: false,
        ..Member::new("ann2", "Ann@xn--mller-kva.example").with(&["ADMIN"])
    };
    let bot = Member { email: "jörg@example.com".to_owned(), ..viewer("bot") };
    let apps = [ann, again, bot]
        .into_iter()
        .fold(big_app(), |apps, member| apps.member(WORKSPACE, APP, member));
    let world = World::with(pool, apps, Settings::default()).await;
    world.apps.person_removes(WORKSPACE, APP, "ann");
    world.read(APP).await;
    assert_eq!(world.held_reason().await, "Applying this would leave no administrator");
    world.run("update reconciler.syncs set decision = 'approved', decision_reason = 'she has left' where state = 'held'").await;
    world.drive_syncs().await;
    assert_eq!(world.latest().await.0, "finished");

    world.run("update reconciler.integrations set own_account = 'JÖRG@Example.com'").await;
    world.apps.person_removes(WORKSPACE, APP, "bot");
    world.read(APP).await;
    assert_eq!(
        world.held_reason().await,
        "Applying this would remove the account that the automation logs in with"
    );
    assert!(world.apps.known(WORKSPACE, APP, "bot").is_some());
}

#[sqlx::test(migrations = false)]
async fn exempt_members_and_guests_are_not_removed_without_a_person(pool: PgPool) {
    let mut guest = viewer("guest");
    guest.is_guest = true;
    let world =
        World::with(pool, big_app().member(WORKSPACE, APP, guest), Settings::default()).await;
    world.apps.person_removes(WORKSPACE, APP, "guest");
    world.read(APP).await;
    assert_eq!(world.held_reason().await, "Applying this would remove 1 exempt members or guests");
    let (_, _, report) = world.latest().await;
    assert_eq!(report["counts"]["missing"], 1, "the person sees who it is: {report:#}");
    assert_eq!(report["differences"][0]["member_id"], "guest");
}

#[sqlx::test(migrations = false)]
async fn a_stale_report_is_not_applied_and_the_app_is_read_anew(pool: PgPool) {
    let world = big(pool).await;
    world.apps.person_removes(WORKSPACE, APP, "m00");
    world.read_until(Call::StartCheck).await;
    // The check ends, and for hours nobody asks for its report.
    eventually("the check has ended", async || {
        world.apps.backdate_report(WORKSPACE, APP, Duration::from_secs(7200))
    })
    .await;
    world.drive_syncs().await;
    assert_eq!(world.latest().await.0, "finished");
    assert_eq!(world.apps.counters().requests(Call::StartCheck), 2, "read anew");
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 1);
    // Headers tell whole seconds, so that it may look a second younger.
    let why = "select count(*) from reconciler.syncs
               where last_error ~ '^the report is 7(199|2[0-9][0-9]) s old$'";
    assert_eq!(world.count(why).await, 1);
}

#[sqlx::test(migrations = false)]
async fn a_report_from_before_the_sync_is_not_applied_though_it_is_not_old(pool: PgPool) {
    let world = big(pool).await;
    world.apps.person_removes(WORKSPACE, APP, "m00");
    world.read_until(Call::StartCheck).await;
    eventually("the check has ended", async || {
        world.apps.backdate_report(WORKSPACE, APP, Duration::from_secs(3000))
    })
    .await;
    world.drive_syncs().await;
    assert_eq!(world.latest().await.0, "finished");
    assert_eq!(world.apps.counters().requests(Call::StartCheck), 2, "read anew");
    let why = "select count(*) from reconciler.syncs
               where last_error = 'the report was made before this sync asked for it'";
    assert_eq!(world.count(why).await, 1);
}

#[sqlx::test(migrations = false)]
async fn somebody_let_in_between_snapshot_and_apply_is_not_removed(pool: PgPool) {
    let world = big(pool).await;
    world.apps.person_removes(WORKSPACE, APP, "m00");
    world.apps.inject(Injection { call: Call::ApplyReport, nth: 0, fault: HttpFault::Status(503) });
    world.read_until(Call::ApplyReport).await;
    assert!(world.apps.person_invites(WORKSPACE, APP, viewer("m00")));
    world.drive_syncs().await;
    assert_eq!(world.latest().await.0, "finished");
    assert!(world.apps.known(WORKSPACE, APP, "m00").is_some());
    assert!(world.is_in_app(APP, "m00"));
}

#[sqlx::test(migrations = false)]
async fn a_report_is_not_applied_where_what_cerby_knows_is_read_twice_the_same(pool: PgPool) {
    let log = Log::here();
    let world = big(pool).await;
    world.apps.person_removes(WORKSPACE, APP, "m00");
    let lists = world.apps.counters().requests(Call::ListMembers);
    for nth in lists..lists + 50 {
        let fault = HttpFault::RepeatedPage;
        world.apps.inject(Injection { call: Call::ListMembers, nth, fault });
    }
    world.read(APP).await;
    let (state, reason, _) = world.latest().await;
    assert_eq!(
        (state.as_str(), reason.as_str()),
        ("failed", "what Cerby knows changed after the report")
    );
    assert!(log.has("sync.failed"));
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 0);
    assert!(world.apps.known(WORKSPACE, APP, "m00").is_some());
}

async fn held(pool: PgPool) -> World {
    let world = big(pool).await;
    for gone in ["m00", "m01", "m02", "m03"] {
        world.apps.person_removes(WORKSPACE, APP, gone);
    }
    world.read(APP).await;
    assert!(world.held_reason().await.contains("4 unexpected removals"));
    world
}

const APPROVE: &str = "update reconciler.syncs set decision = 'approved', decision_reason = 'they left' where state = 'held'";

#[sqlx::test(migrations = false)]
async fn an_approval_is_for_what_was_seen_and_for_nothing_else(pool: PgPool) {
    let world = held(pool).await;
    // Automation lets somebody in, whom Cerby then knows: not what the person approved.
    let invite = world.insert(&a_failed("invite", APP, "lee")).await;
    eventually("automation let lee in", async || {
        world.let_time_pass().await;
        world.step().await;
        world.order().await;
        world.state(invite).await == "succeeded"
    })
    .await;
    world.run(APPROVE).await;
    world.drive_syncs().await;
    let (state, reason, _) = world.latest().await;
    assert_eq!(
        (state.as_str(), reason.as_str()),
        ("failed", "what Cerby knows changed after the report was held")
    );
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 0);
}

#[sqlx::test(migrations = false)]
async fn an_approval_expires(pool: PgPool) {
    let world = held(pool).await;
    world.run(APPROVE).await;
    world.run("update reconciler.syncs set held_until = now() - interval '1 s' where held_until is not null").await;
    world.drive_syncs().await;
    let (state, reason, _) = world.latest().await;
    assert_eq!((state.as_str(), reason.as_str()), ("failed", "the approval has expired"));
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 0);
}

#[sqlx::test(migrations = false)]
async fn a_report_that_nobody_decides_on_ends_and_the_app_is_read_anew(pool: PgPool) {
    let world = held(pool).await;
    world
        .run("update reconciler.syncs set held_until = now() - interval '1 s' where state = 'held'")
        .await;
    let late = sqlx::query(APPROVE).execute(&world.pool).await.unwrap_err().to_string();
    assert!(late.contains("could be decided on until"), "{late}");
    world.upkeep().await;
    assert_eq!(world.count("select count(*) from reconciler.syncs where finished_reason = 'nobody decided in time'").await, 1);
    world.drive_syncs().await;
    assert!(world.held_reason().await.contains("4 unexpected removals"), "a new report, held anew");
}

#[sqlx::test(migrations = false)]
async fn what_our_own_apply_removed_breeds_no_action(pool: PgPool) {
    let world = big(pool).await;
    world.apps.person_removes(WORKSPACE, APP, "m00");
    world.read(APP).await;
    assert_eq!(world.apps.counters().requests(Call::ApplyReport), 1);
    let syncs = world.syncs().await;
    // The apply has the backend remove them from the app, where they are no more: its job fails.
    let removal = Task { trigger: "system", ..a_failed("remove", APP, "m00") };
    let task = world.insert(&removal).await;
    world.drive().await;
    assert_eq!(world.state(task).await, "succeeded");
    assert_eq!(world.closed_reason(task).await, "Already gone");
    assert_eq!(world.count("select count(*) from reconciler.manual_actions").await, 0);
    assert_eq!(world.syncs().await, syncs);
}

// ---- many causes, one sync ----

#[sqlx::test(migrations = false)]
async fn five_hundred_done_actions_of_one_integration_cause_at_most_two_syncs(pool: PgPool) {
    let people: Vec<&'static str> =
        (0..500).map(|n| &*Box::leak(format!("p{n:03}").into_boxed_str())).collect();
    let apps = people.iter().fold(apps(), |apps, id| apps.member(WORKSPACE, HUB, viewer(id)));
    let world = World::with(pool, apps, Settings::default()).await;
    for id in &people {
        world.insert(&a_failed("remove", HUB, id).code("NotEnoughSeats")).await;
    }
    world.drive().await;
    for (number, id) in people.iter().enumerate() {
        assert!(world.apps.person_removes(WORKSPACE, HUB, id));
        if number == 250 {
            world.step().await;
        }
        let done = "update reconciler.manual_actions set status = 'done' where member_id = $1";
        sqlx::query(done).bind(id).execute(&world.pool).await.unwrap();
    }
    world.drive().await;
    let verified = "select count(*) from reconciler.manual_actions where status = 'verified'";
    assert_eq!(world.count(verified).await, 500);
    assert_eq!(world.syncs().await, 2);
    assert_eq!(world.apps.counters().requests(Call::StartSync), 2);
}

async fn disappears_while_it_is_read(pool: PgPool, integration: &'static str) {
    let settings = Settings { sync_ms: 60_000..=60_000, ..Settings::default() };
    let world = World::with(pool, apps(), settings).await;
    let task = world.insert(&a_failed("remove", integration, "jo").code("NotEnoughSeats")).await;
    world.drive().await;
    let action = world.action_of(task).await;
    world.mark_done(action).await;
    world.let_time_pass().await;
    world.step().await;
    assert!(world.apps.forget_integration(WORKSPACE, integration));
    world.drive_syncs_for(30).await;
    assert_eq!(world.status(action).await, "done");
    assert_eq!(world.verdict(action).await, "unverifiable");
    let failed = "select count(*) from reconciler.syncs
                  where finished_reason = 'the backend does not know the integration'";
    assert!(world.count(failed).await > 0);
}

#[sqlx::test(migrations = false)]
async fn an_app_that_disappears_while_it_is_read_proves_nothing(pool: PgPool) {
    disappears_while_it_is_read(pool, APP).await;
}

#[sqlx::test(migrations = false)]
async fn a_business_hub_that_disappears_while_it_is_read_proves_nothing(pool: PgPool) {
    disappears_while_it_is_read(pool, HUB).await;
}

// ---- verdicts with a life after them ----

#[sqlx::test(migrations = false)]
async fn a_pending_invitation_or_left_over_grants_mean_that_somebody_is_still_there(pool: PgPool) {
    let world = World::new(pool).await;
    for integration in [APP, HUB] {
        for (member, expected) in [
            ("jo", "A pending invitation is still there"),
            ("kim", "Grants on assets of the app are still there"),
        ] {
            let removal = a_failed("remove", integration, member).code("NotEnoughSeats");
            let task = world.insert(&removal).await;
            world.drive().await;
            let action = world.action_of(task).await;
            match member {
                "jo" => assert!(world.apps.set_invitation(
                    WORKSPACE,
                    integration,
                    member,
                    Some(Invitation::Pending)
                )),
                _ => assert!(world.apps.person_removes_but_leaves_assets(
                    WORKSPACE,
                    integration,
                    member
                )),
            }
            world.mark_done(action).await;
            world.drive().await;
            assert_eq!(world.status(action).await, "open", "{integration} {member}");
            let seen =
                world.text("select observed from reconciler.manual_actions where id = $1", action);
            assert_eq!(seen.await, expected, "{integration}");
            assert!(world.apps.person_removes(WORKSPACE, integration, member));
            world.mark_done(action).await;
            world.drive().await;
            assert_eq!(world.status(action).await, "verified", "{integration} {member}");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn an_accepted_invitation_is_recorded_and_watched_no_longer(pool: PgPool) {
    let world = World::new(pool).await;
    for integration in [APP, HUB] {
        world.invited_by_hand(integration).await;
        assert_eq!(world.watches().await, 1);
        assert!(world.apps.set_invitation(WORKSPACE, integration, "lee", None));
        world.read(integration).await;
        assert_eq!(world.watches().await, 0, "{integration}");
    }
    let accepted =
        world.trail().await.iter().filter(|what| *what == "task.invitation_accepted").count();
    assert_eq!(accepted, 2);
}

#[sqlx::test(migrations = false)]
async fn an_expired_invitation_asks_for_a_new_one_once(pool: PgPool) {
    let log = Log::here();
    let world = World::new(pool).await;
    let (invitation, task, action) = world.invited_by_hand(HUB).await;
    world.apps.set_invitation(WORKSPACE, HUB, "lee", Some(Invitation::Expired));
    world.read(HUB).await;
    world.read(HUB).await;
    let again = world.action_of(task).await;
    assert_ne!(again, action);
    assert_eq!(world.count("select count(*) from reconciler.manual_actions").await, 2);
    assert_eq!(world.status(again).await, "open");
    assert!(log.has("invitation.expired"));
    assert_eq!(world.state(task).await, "escalated");
    assert_eq!(world.closed_reason(task).await, "the invitation expired before it was accepted");
    world.person_does(&invitation);
    world.mark_done(again).await;
    world.drive().await;
    assert_eq!(world.status(again).await, "verified");
}

#[sqlx::test(migrations = false)]
async fn an_invitation_that_vanished_is_told_when_it_is_looked_for(pool: PgPool) {
    let log = Log::here();
    let world = World::new(pool).await;
    world.invited_by_hand(HUB).await;
    assert!(world.apps.person_removes(WORKSPACE, HUB, "lee"));
    world.read(HUB).await;
    assert_eq!(world.watches().await, 1, "what was just proven may not show yet");
    world.watches_fall_due().await;
    assert_eq!(world.watches().await, 0);
    assert!(world.trail().await.contains(&"task.invitation_vanished".to_owned()));
    assert!(log.has("invitation.vanished"));
}

#[sqlx::test(migrations = false)]
async fn a_removal_is_looked_at_again_after_an_hour_a_day_and_a_week(pool: PgPool) {
    let world = World::new(pool).await;
    world.removed_by_hand(HUB, "jo").await;
    for (hours, looks) in [(1, 0), (24, 1), (7 * 24, 2)] {
        let next: (f64, i32) = sqlx::query_as(
            "select extract(epoch from watch_due_at - watch_since)::float8, watch_checks from reconciler.members
             where watch_task_id is not null",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        assert!((next.0 - f64::from(hours * 3600)).abs() < 1.0, "{next:?}");
        assert_eq!(next.1, looks);
        let syncs = world.syncs().await;
        world.upkeep().await;
        assert_eq!(world.syncs().await, syncs, "not due yet");
        world.watches_fall_due().await;
        assert_eq!(world.syncs().await, syncs + 1);
    }
    assert_eq!(world.watches().await, 0);
}

#[sqlx::test(migrations = false)]
async fn somebody_who_comes_back_after_a_proven_removal_opens_an_action_once(pool: PgPool) {
    let log = Log::here();
    let world = World::new(pool).await;
    for integration in [APP, HUB] {
        let (task, action) = world.removed_by_hand(integration, "jo").await;
        world.apps.person_invites(WORKSPACE, integration, viewer("jo"));
        world.read(integration).await;
        world.read(integration).await;
        let again = world.action_of(task).await;
        assert_ne!(again, action, "{integration}");
        assert_eq!(world.status(again).await, "open");
        assert!(
            world
                .closed_reason(task)
                .await
                .starts_with("they were removed, and are in the app again")
        );
        assert!(world.trail().await.contains(&"task.member_returned".to_owned()));
        assert!(log.has("member.returned"));

        assert!(world.apps.person_removes(WORKSPACE, integration, "jo"));
        world.mark_done(again).await;
        world.drive().await;
        assert_eq!(world.status(again).await, "verified");
        assert_eq!(world.watches().await, 1, "and watched anew");
        world
            .run(
                "update reconciler.members
                 set watch_task_id = null, watch_operation = null, watch_since = null, watch_due_at = null",
            )
            .await;
    }
    assert_eq!(world.count("select count(*) from reconciler.manual_actions").await, 4);
}

#[sqlx::test(migrations = false)]
async fn whoever_automation_removed_is_watched_too(pool: PgPool) {
    let world = World::new(pool).await;
    let task = world.insert(&a_failed("remove", HUB, "jo")).await;
    world.drive().await;
    assert_eq!(world.state(task).await, "succeeded");
    world.apps.person_invites(WORKSPACE, HUB, viewer("jo"));
    world.watches_fall_due().await;
    assert_eq!(world.state(task).await, "escalated");
    assert_eq!(world.status(world.action_of(task).await).await, "open");
}

#[sqlx::test(migrations = false)]
async fn a_return_that_was_desired_is_no_surprise(pool: PgPool) {
    let world = World::new(pool).await;
    world.removed_by_hand(HUB, "jo").await;
    let rehire = world.insert(&a_failed("invite", HUB, "jo").requested_minutes_ago(1)).await;
    world.drive().await;
    assert_eq!(world.state(rehire).await, "succeeded");
    world.watches_fall_due().await;
    assert_eq!(
        world.count("select count(*) from reconciler.manual_actions where status = 'open'").await,
        0
    );
    let removals = "select count(*) from reconciler.members where watch_operation = 'remove'";
    assert_eq!(world.count(removals).await, 0);
}

// ---- snapshots that nobody asked for ----

#[sqlx::test(migrations = false)]
async fn every_integration_is_read_now_and_then_unless_something_else_did(pool: PgPool) {
    let world = World::new(pool).await;
    let task = world.insert(&a_failed("invite", HUB, "jo")).await;
    world.drive().await;
    assert_eq!(world.state(task).await, "succeeded");
    world.upkeep().await;
    let planned = "select count(*) from reconciler.integration_states where next_snapshot_at between now() and now() + interval '1 day'";
    assert_eq!((world.count(planned).await, world.syncs().await), (1, 0), "spread over the day");

    const DUE: &str =
        "update reconciler.integration_states set next_snapshot_at = now() - interval '1 s'";
    for statement in [
        "update reconciler.integrations set snapshot_every_s = 0",
        "update reconciler.integrations set snapshot_every_s = null, status = 'paused', status_reason = 'maintenance'",
    ] {
        world.run(DUE).await;
        world.run(statement).await;
        world.upkeep().await;
        assert_eq!(world.syncs().await, 0, "{statement}");
    }
    world.run("update reconciler.integrations set status = 'active'").await;
    world.upkeep().await;
    assert_eq!(
        world.count("select count(*) from reconciler.syncs where causes = '{period}'").await,
        1
    );
    let later = "select count(*) from reconciler.integration_states
                 where next_snapshot_at between now() + interval '21 hours' and now() + interval '27 hours'";
    assert_eq!(world.count(later).await, 1);
    world.drive_syncs().await;
    world.run(DUE).await;
    world.upkeep().await;
    assert_eq!(world.syncs().await, 1, "it was read a moment ago");
    world.run("update reconciler.syncs set started_at = started_at - interval '13 hours'").await;
    world.run(DUE).await;
    world.upkeep().await;
    assert_eq!(world.syncs().await, 2);
}

#[sqlx::test(migrations = false)]
async fn incomplete_and_failed_snapshots_in_a_row_are_counted_until_a_complete_one(pool: PgPool) {
    let apps = apps().integration(Integration::new(WORKSPACE, "x", "X", Kind::BusinessHub, "x"));
    let world = World::with(pool, apps, Settings::default()).await;
    world.insert(&a_failed("invite", HUB, "jo")).await;
    world.drive().await;
    let doubtful = "select unverifiable_snapshots::bigint from reconciler.integrations";
    for expected in 1..=3 {
        let nth = world.apps.counters().requests(Call::ListMembers);
        let fault = HttpFault::RepeatedPage;
        world.apps.inject(Injection { call: Call::ListMembers, nth, fault });
        world.apps.inject(Injection { call: Call::ListMembers, nth: nth + 1, fault });
        world.read(HUB).await;
        assert_eq!(world.latest().await.2["snapshot"]["complete"], false);
        assert_eq!(world.count(doubtful).await, expected);
    }
    world.read(HUB).await;
    assert_eq!(world.count(doubtful).await, 0);
}

#[sqlx::test(migrations = false)]
async fn nobody_is_asked_to_invite_again_whose_removal_was_asked_for_since(pool: PgPool) {
    let world = World::new(pool).await;
    let invite = a_failed("invite", HUB, "lee").requested_minutes_ago(9);
    let invite = world.insert(&invite).await;
    world.drive().await;
    assert_eq!(world.state(invite).await, "succeeded");
    let removal = a_failed("remove", HUB, "lee").code("NotEnoughSeats").requested_minutes_ago(5);
    let removal = world.insert(&removal).await;
    world.drive().await;
    let dismiss = "update reconciler.manual_actions set status = 'dismissed', note = 'she stays' where id = $1";
    sqlx::query(dismiss).bind(world.action_of(removal).await).execute(&world.pool).await.unwrap();
    world.take_up().await;
    assert!(world.apps.person_removes(WORKSPACE, HUB, "lee"));
    world.watches_fall_due().await;
    assert_eq!(world.watches().await, 0);
    let open = "select count(*) from reconciler.manual_actions where status = 'open'";
    assert_eq!(world.count(open).await, 0);
}
