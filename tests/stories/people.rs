//! What people say and take back, and how two of them keep out of each other's way.

use crate::support::{APP, World, a_failed, eventually, without_logins, work};
use cerby_reconciler::catalogue;
use cerby_reconciler::worker::Stage;
use sqlx::PgPool;

/// A world with one open action, in an app that cannot be read; a word closes its actions after a quarter of an hour.
async fn with_an_unreadable_action(pool: PgPool) -> (World, i64) {
    let mut world = World::new(pool).await;
    world.reconfigure(|config| config.manual_action.attest_after_s = 900);
    let app = catalogue::all().iter().find(|app| !app.can_sync).expect("one such app");
    let task =
        a_failed("remove", APP, "jo").code("NotEnoughSeats").of_application(&app.application);
    let id = world.insert(&task).await;
    world.drive().await;
    let action = world.action_of(id).await;
    (world, action)
}

/// A statement of somebody at the command line; `Err` with the database's words, its hint left out.
async fn says(world: &World, name: &str, statement: &str) -> Result<(), String> {
    let tx = world.pool.begin().await.expect("the database answers");
    says_in(tx, name, statement).await
}

/// The same at a login that is a person's own.
async fn says_at_own_login(world: &World, name: &str, statement: &str) -> Result<(), String> {
    let mut tx = world.pool.begin().await.expect("the database answers");
    let own = "set local session authorization reconciler_operator";
    sqlx::query(own).execute(&mut *tx).await.expect("the role exists");
    says_in(tx, name, statement).await
}

async fn says_in(
    mut tx: sqlx::Transaction<'static, sqlx::Postgres>,
    name: &str,
    statement: &str,
) -> Result<(), String> {
    sqlx::query("select set_config('reconciler.actor', $1, true)")
        .bind(name)
        .execute(&mut *tx)
        .await
        .expect("the database answers");
    let written = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await;
    match written {
        Ok(_) => {
            tx.commit().await.expect("the database answers");
            Ok(())
        }
        Err(error) => Err(error.as_database_error().expect("its words").message().to_owned()),
    }
}

fn set(action: i64, change: &str) -> String {
    format!("update reconciler.manual_actions set {change} where id = {action}")
}

/// Without times and logins: `manual action 7 is in progress by kim since …`.
fn timeless(words: &str) -> String {
    let is_time = |word: &str| {
        word.starts_with("UTC") || word.contains([':', '-']) && word.starts_with(char::is_numeric)
    };
    without_logins(words).split(' ').filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ")
}

/// What happened to actions, as `actor what`.
async fn trail(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "select regexp_replace(actor, ' via login .*', '') || ' ' || what from reconciler.events where subject = 'action' order by id",
    )
    .fetch_all(&world.pool)
    .await
    .expect("the database answers")
}

/// Makes the syncs that are due by themselves, without letting time pass.
async fn sync_what_is_due(world: &World) {
    world.take_up().await;
    for sync in world.syncs.claim(100).await.expect("the database answers") {
        work(&world.syncs, sync).await;
    }
}

/// Seconds until the next sync of the app.
async fn next_sync_s(world: &World) -> i64 {
    world
        .count(
            "select extract(epoch from min(next_step_at) - now())::bigint from reconciler.syncs
             where state = 'requested'",
        )
        .await
}

#[sqlx::test(migrations = false)]
async fn a_word_is_taken_back_by_whoever_gave_it_and_by_nobody_else(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    says(&world, "kim", &set(action, "status = 'done', note = 'gone'")).await.unwrap();
    for status in ["open", "in_progress"] {
        let back = set(action, &format!("status = '{status}'"));
        let refused = says(&world, "lee", &back).await.unwrap_err();
        let words =
            format!("manual action {action} was marked done by kim at only they can withdraw that");
        assert_eq!(timeless(&refused), words, "{refused}");
    }
    says(&world, "kim", &set(action, "status = 'in_progress'")).await.unwrap();
    let said = "select concat_ws(' ', status, assignee, done_by, done_at, verdict, reopened_count)
                from reconciler.manual_actions where id = $1";
    assert_eq!(without_logins(&world.text(said, action).await), "in_progress kim 0");
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    says(&world, "kim", &set(action, "status = 'open'")).await.unwrap();
    assert_eq!(world.text(said, action).await, "open 0");
    let withdrawn = "select string_agg(concat_ws(' ', detail ->> 'from', detail ->> 'to', detail ->> 'done_by'), ', '
                                       order by id)
                     from reconciler.events where what = 'action.withdrawn' and subject_id = $1::text";
    let told = without_logins(&world.text(withdrawn, action).await);
    assert_eq!(told, "done in_progress kim, done open kim");
}

/// The sync that the word asked for finds an action like any other that is open: it contradicts nobody.
#[sqlx::test(migrations = false)]
async fn a_sync_that_runs_when_a_word_is_taken_back_judges_nobody_by_it(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    world.step().await;
    let running = "select count(*) from reconciler.syncs where state = 'started'";
    assert_eq!(world.count(running).await, 1);
    says(&world, "kim", &set(action, "status = 'open'")).await.unwrap();
    world.drive().await;
    assert_eq!(world.status(action).await, "open");
    assert_eq!(world.verdict(action).await, "");
    let lies = "select count(*) from reconciler.events where what = 'action.contradicted'";
    assert_eq!(world.count(lies).await, 0);
}

/// Whoever took back their word may have made the change all the same: nobody is invited unseen after that.
#[sqlx::test(migrations = false)]
async fn what_was_said_and_taken_back_may_have_been_done_by_hand(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    says(&world, "kim", &set(action, "status = 'open'")).await.unwrap();
    says(&world, "kim", &set(action, "status = 'dismissed', note = 'she stays'")).await.unwrap();
    world.take_up().await;
    let by_hand = "select count(*) from reconciler.members where removed_by_hand_at is not null";
    assert_eq!(world.count(by_hand).await, 1);
}

#[sqlx::test(migrations = false)]
async fn a_judged_word_cannot_be_taken_back_any_more(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    world.person_does(&a_failed("remove", APP, "jo"));
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    world.drive().await;
    assert_eq!(world.status(action).await, "verified");
    let refused = says(&world, "kim", &set(action, "status = 'open'")).await.unwrap_err();
    let words = format!(
        "manual action {action} was judged at it is verified, and the word of kim cannot be withdrawn any more"
    );
    assert_eq!(timeless(&refused), words, "{refused}");
}

#[sqlx::test(migrations = false)]
async fn where_the_app_cannot_be_read_a_word_closes_only_after_a_while(pool: PgPool) {
    let (world, action) = with_an_unreadable_action(pool).await;
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    world.take_up().await;
    let next = next_sync_s(&world).await;
    assert!((890..=900).contains(&next), "{next}");
    // Somebody asks for a snapshot meanwhile: that closes nothing, and the time stays.
    says(&world, "lee", &format!("select reconciler.request_snapshot('acme', '{APP}')"))
        .await
        .unwrap();
    sync_what_is_due(&world).await;
    assert_eq!(world.status(action).await, "done");
    let next = next_sync_s(&world).await;
    assert!((890..=900).contains(&next), "{next}");
    said_minutes_ago(&world, action, 16).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "attested");
}

/// Nobody's clock is turned: the row is.
async fn said_minutes_ago(world: &World, action: i64, minutes: i32) {
    sqlx::query(
        "update reconciler.manual_actions set done_at = now() - make_interval(mins => $2) where id = $1",
    )
    .bind(action)
    .bind(minutes)
    .execute(&world.pool)
    .await
    .expect("the database answers");
}

#[sqlx::test(migrations = false)]
async fn the_instructions_for_an_app_that_cannot_be_read_promise_no_check(pool: PgPool) {
    let (world, action) = with_an_unreadable_action(pool).await;
    let shown = "select instructions from reconciler.manual_actions where id = $1";
    let shown = world.text(shown, action).await;
    assert!(shown.contains("nothing will be checked"), "{shown}");
    assert!(shown.contains(&format!("actions withdraw {action}")), "{shown}");
    assert!(!shown.contains("checks that they are gone"), "{shown}");
}

#[sqlx::test(migrations = false)]
async fn a_second_person_confirms_where_the_integration_asks_for_one(pool: PgPool) {
    let (world, action) = with_an_unreadable_action(pool).await;
    let confirm = format!("select reconciler.confirm_action({action})");
    let four_eyes = |on: bool| format!("update reconciler.integrations set four_eyes = {on}");
    let refused = says(&world, "kim", &confirm).await.unwrap_err();
    let words =
        format!("manual action {action} is open: only one that is marked done can be confirmed");
    assert_eq!(refused, words);
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    let refused = says(&world, "lee", &confirm).await.unwrap_err();
    assert_eq!(refused, format!("integration {APP} asks for no second person"));
    says(&world, "ann", &four_eyes(true)).await.unwrap();
    let refused = says(&world, "kim", &confirm).await.unwrap_err();
    let words =
        format!("manual action {action} was marked done by kim: somebody else has to confirm it");
    assert_eq!(without_logins(&refused), words);
    said_minutes_ago(&world, action, 16).await;
    world.let_time_pass().await;
    sync_what_is_due(&world).await;
    assert_eq!(world.status(action).await, "done", "one word is not enough");
    assert!(next_sync_s(&world).await > 80_000, "and nobody looks every minute");

    says(&world, "lee", &confirm).await.unwrap();
    let refused = says(&world, "ann", &confirm).await.unwrap_err();
    assert_eq!(timeless(&refused), format!("manual action {action} was confirmed by lee at"));
    sync_what_is_due(&world).await;
    assert_eq!(world.status(action).await, "attested");
    let trail = trail(&world).await;
    let last = ["kim action.done", "lee action.confirmed", "daemon action.attested"];
    assert_eq!(trail[trail.len() - 3..], last);
}

#[sqlx::test(migrations = false)]
async fn a_name_beside_a_login_is_recorded_and_makes_no_second_person_of_it(pool: PgPool) {
    let (world, action) = with_an_unreadable_action(pool).await;
    says(&world, "ann", "update reconciler.integrations set four_eyes = true").await.unwrap();
    says_at_own_login(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    let done_by = "select done_by from reconciler.manual_actions where id = $1";
    assert_eq!(world.text(done_by, action).await, "kim via login reconciler_operator");
    let confirm = format!("select reconciler.confirm_action({action})");
    for name in ["lee", "lee via login postgres", ""] {
        let refused = says_at_own_login(&world, name, &confirm).await.unwrap_err();
        assert!(refused.ends_with("somebody else has to confirm it"), "{name}: {refused}");
    }
    says(&world, "kim", &set(action, "status = 'open'")).await.expect_err("another kim");
    says_at_own_login(&world, "lee", &set(action, "status = 'open'")).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_token_is_no_second_person_for_who_made_it_nor_they_for_it(pool: PgPool) {
    let (world, action) = with_an_unreadable_action(pool).await;
    says(&world, "ann", "update reconciler.integrations set four_eyes = true").await.unwrap();
    for (maker, token) in
        [("oidc:kim", "one"), ("token:one", "two"), ("ann", "three"), ("ann", "four")]
    {
        let make = format!(
            "insert into reconciler.tokens (name, role, hash, expires_at)
             values ('{token}', 'administrator', sha256('{token}'), now() + interval '1 day')"
        );
        says(&world, maker, &make).await.unwrap();
    }
    let confirm = format!("select reconciler.confirm_action({action})");
    for (first, is_second, others) in [
        ("oidc:kim", false, &["oidc:kim", "token:one", "token:two"][..]),
        ("token:one", false, &["oidc:kim", "token:one", "token:two"]),
        ("token:two", false, &["oidc:kim", "token:one", "token:two"]),
        ("token:three", false, &["ann"]),
        ("ann", false, &["token:three", "token:four"]),
        ("oidc:kim", true, &["oidc:one", "token:three", "ann"]),
        ("token:two", true, &["oidc:lee", "token:three", "oidc:token:one"]),
        // An administrator makes tokens for others.
        ("token:three", true, &["token:four", "oidc:kim"]),
    ] {
        for other in others {
            says(&world, first, &set(action, "status = 'done'")).await.unwrap();
            let confirmed = says(&world, other, &confirm).await;
            assert_eq!(confirmed.is_ok(), is_second, "{first} and {other}: {confirmed:?}");
            says(&world, first, &set(action, "status = 'open'")).await.unwrap();
        }
    }
}

#[sqlx::test(migrations = false)]
async fn a_word_that_is_taken_back_is_confirmed_no_more(pool: PgPool) {
    let (world, action) = with_an_unreadable_action(pool).await;
    says(&world, "ann", "update reconciler.integrations set four_eyes = true").await.unwrap();
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    says(&world, "lee", &format!("select reconciler.confirm_action({action})")).await.unwrap();
    says(&world, "kim", &set(action, "status = 'open'")).await.unwrap();
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    let confirmed = "select count(*) from reconciler.manual_actions where confirmed_at is not null";
    assert_eq!(world.count(confirmed).await, 0);
}

#[sqlx::test(migrations = false)]
async fn an_action_keeps_its_second_person_when_the_setting_is_switched_off(pool: PgPool) {
    let (world, action) = with_an_unreadable_action(pool).await;
    says(&world, "ann", "update reconciler.integrations set four_eyes = true").await.unwrap();
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    says(&world, "kim", "update reconciler.integrations set four_eyes = false").await.unwrap();
    one_word_is_not_enough_but_two_are(&world, action).await;
}

#[sqlx::test(migrations = false)]
async fn nobody_alone_closes_an_action_by_calling_its_app_one_that_cannot_be_read(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.reconfigure(|config| config.manual_action.attest_after_s = 900);
    let task = world.insert(&a_failed("remove", APP, "jo").code("NotEnoughSeats")).await;
    world.drive().await;
    let action = world.action_of(task).await;
    let app = catalogue::all().iter().find(|app| !app.can_sync).expect("one such app");
    let change = format!("update reconciler.integrations set application = '{}'", app.application);
    says(&world, "kim", &change).await.unwrap();
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    one_word_is_not_enough_but_two_are(&world, action).await;
}

async fn one_word_is_not_enough_but_two_are(world: &World, action: i64) {
    said_minutes_ago(world, action, 16).await;
    world.let_time_pass().await;
    sync_what_is_due(world).await;
    assert_eq!(world.status(action).await, "done", "one word is not enough");
    let confirm = format!("select reconciler.confirm_action({action})");
    says(world, "lee", &confirm).await.expect("lee may confirm");
    sync_what_is_due(world).await;
    assert_eq!(world.status(action).await, "attested");
}

#[sqlx::test(migrations = false)]
async fn an_action_that_is_opened_later_follows_the_settings_of_its_time(pool: PgPool) {
    let (world, action) = with_an_unreadable_action(pool).await;
    for on in [true, false] {
        let change = format!("update reconciler.integrations set four_eyes = {on}");
        says(&world, "ann", &change).await.unwrap();
    }
    let opened = "update reconciler.manual_actions set opened_at = clock_timestamp() where id = ";
    says(&world, "ann", &format!("set local session_replication_role = replica; {opened}{action}"))
        .await
        .unwrap();
    says(&world, "kim", &set(action, "status = 'done'")).await.unwrap();
    said_minutes_ago(&world, action, 16).await;
    world.let_time_pass().await;
    sync_what_is_due(&world).await;
    assert_eq!(world.status(action).await, "attested");
}

async fn assignee(world: &World, action: i64) -> String {
    let assignee = "select assignee from reconciler.manual_actions where id = $1";
    without_logins(&world.text(assignee, action).await)
}

#[sqlx::test(migrations = false)]
async fn what_a_colleague_works_on_is_claimed_only_by_taking_it_over_with_a_note(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let claim = set(action, "status = 'in_progress'");
    says(&world, "kim", &claim).await.unwrap();
    says(&world, "kim", &claim).await.unwrap();
    let words = format!("manual action {action} is in progress: kim has worked on it since");
    for statement in [
        claim,
        set(action, "status = 'open'"),
        format!("select reconciler.claim_action({action})"),
        format!("select reconciler.claim_action({action}, ' ')"),
        format!("select reconciler.hand_over_action({action}, 'lee', 'mine')"),
    ] {
        let refused = says(&world, "lee", &statement).await.unwrap_err();
        assert_eq!(timeless(&refused), words, "{statement}: {refused}");
    }
    let take_over = format!("select reconciler.claim_action({action}, 'kim is on leave')");
    says(&world, "lee", &take_over).await.unwrap();
    assert_eq!(assignee(&world, action).await, "lee");
    assert_eq!(trail(&world).await[1..], ["kim action.claimed", "lee action.claimed"]);
    let told = "select detail ->> 'assignee_before' || ' ' || (detail ->> 'assignee') || ' ' || (detail ->> 'note')
                from reconciler.events where subject_id = $1::text order by id desc limit 1";
    assert_eq!(without_logins(&world.text(told, action).await), "kim lee kim is on leave");
}

#[sqlx::test(migrations = false)]
async fn nobody_becomes_the_assignee_but_by_claiming_and_handing_over(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let words =
        format!("the assignee of manual action {action} is set by claiming it or handing it over");
    let others = ["assignee = 'kim'", "status = 'in_progress', assignee = 'kim'"];
    for change in others {
        let refused = says(&world, "lee", &set(action, change)).await.unwrap_err();
        assert_eq!(refused, words, "{change}");
    }
    says(&world, "lee", &set(action, "status = 'in_progress', assignee = 'lee'")).await.unwrap();
    let refused = says(&world, "lee", &set(action, "assignee = 'kim'")).await.unwrap_err();
    assert_eq!(refused, words);
    let hand_over = format!("select reconciler.hand_over_action({action}, 'kim', 'knows the app')");
    let without = format!("select reconciler.hand_over_action({action}, 'kim', '')");
    let refused = says(&world, "lee", &without).await.unwrap_err();
    assert_eq!(
        refused,
        format!("to hand over manual action {action}, say to whom, and why in a note")
    );
    says(&world, "lee", &hand_over).await.unwrap();
    assert_eq!(assignee(&world, action).await, "kim");
    says(&world, "kim", &set(action, "status = 'open'")).await.unwrap();
    assert_eq!(assignee(&world, action).await, "");
    let last = ["lee action.claimed", "lee action.handed_over", "kim action.released"];
    assert_eq!(trail(&world).await[1..], last);
    says(&world, "lee", &hand_over).await.unwrap();
    assert_eq!(
        assignee(&world, action).await,
        "kim",
        "what nobody works on can be given to somebody"
    );
}

#[sqlx::test(migrations = false)]
async fn of_two_who_claim_at_once_the_second_is_told_of_the_first(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let mut first = world.pool.begin().await.unwrap();
    let name = "select set_config('reconciler.actor', 'kim', true)";
    sqlx::query(name).execute(&mut *first).await.unwrap();
    let claim = set(action, "status = 'in_progress'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(claim.clone())).execute(&mut *first).await.unwrap();
    let second = says(&world, "lee", &claim);
    let commit = async {
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
        eventually("the second waits", async || world.count(waiting).await > 0).await;
        first.commit().await.unwrap();
    };
    let (refused, ()) = tokio::join!(second, commit);
    let refused = refused.unwrap_err();
    assert!(without_logins(&refused).contains("kim has worked on it since"), "{refused}");
}

#[sqlx::test(migrations = false)]
async fn a_second_word_is_told_who_said_it_first_and_when(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let done = set(action, "status = 'done'");
    says(&world, "kim", &done).await.unwrap();
    let refused = says(&world, "lee", &done).await.unwrap_err();
    let words = format!("manual action {action} was marked done before: by kim at");
    assert_eq!(timeless(&refused), words, "{refused}");
    says(&world, "kim", &done).await.unwrap();
}

/// What somebody wrote about the work is no reason for whoever decides against it later.
#[sqlx::test(migrations = false)]
async fn a_note_from_before_is_no_reason(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    says(&world, "kim", &set(action, "note = 'she stays'")).await.unwrap();
    for status in ["dismissed", "returned"] {
        let change = format!("status = '{status}'");
        let refused = says(&world, "lee", &set(action, &change)).await.unwrap_err();
        let words = format!(
            "manual action {action} becomes {status} only with a note that says why, and its note is older than this \
             change: it was written at"
        );
        assert_eq!(timeless(&refused), words);
    }
    // The same words in the same statement are somebody's words of now.
    says(&world, "lee", &set(action, "status = 'dismissed', note = 'she stays'")).await.unwrap();
    assert_eq!(world.status(action).await, "dismissed");
}
