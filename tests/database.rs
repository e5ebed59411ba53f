//! What the database itself allows and refuses: the contract, the rules of actions, and who may do what.

mod support;

use cerby_reconciler::config::Config;
use cerby_reconciler::schema;
use sqlx::{Connection, PgPool, Postgres, Transaction};
use support::{APP, World, a_failed};

const INSERT: &str = "insert into reconciler.automation_tasks
    (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
     member_email, operation, entitlements, trigger, requested_at)
    values ('acme', 's1', 'i1', 'app', 'An app', 'an_app', 'm1', 'jo@example.com', 'remove', '{}', 'manual', now())";

/// A transaction in another role, as that role's login would have it.
async fn acting_as(pool: &PgPool, role: &str) -> Transaction<'static, Postgres> {
    let mut tx = pool.begin().await.expect("a connection");
    let switch = format!("set local session authorization {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(switch)).execute(&mut *tx).await.expect("the role exists");
    tx
}

async fn refusal(tx: &mut Transaction<'static, Postgres>, statement: &str) -> String {
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    let refused =
        sqlx::raw_sql(statement).execute(&mut **tx).await.expect_err("it must be refused");
    refused.as_database_error().expect("the database's word").message().to_owned()
}

async fn migrated(pool: PgPool) -> PgPool {
    schema::migrate(&pool.clone().into()).await.expect("migrations run");
    pool
}

#[sqlx::test(migrations = false)]
async fn a_row_that_breaks_the_contract_is_refused_with_the_columns_name(pool: PgPool) {
    let pool = migrated(pool).await;
    let table = [
        ("'remove'", "'delete'", "operation"),
        ("'manual'", "'because'", "trigger"),
        ("'app'", "'thing'", "integration_kind"),
        ("'jo@example.com'", "'jo'", "member_email"),
        ("'acme'", "'a b'", "workspace_id"),
        // The workspace becomes a part of the backend's address.
        ("'acme'", "'a.b'", "workspace_id"),
        ("'acme'", "'a/b'", "workspace_id"),
        ("'acme'", "'a@b'", "workspace_id"),
        ("'acme'", "'a:1'", "workspace_id"),
        ("'acme'", "'a?b'", "workspace_id"),
        ("'acme'", "'a%2fb'", "workspace_id"),
        ("'m1'", "''", "member_id"),
        ("'m1'", "'..'", "member_id"),
        ("'s1'", "null", "source_id"),
        ("'remove', '{}'", "'change_role', '{}'", "entitlements"),
        ("'{}'", "array['A', null]", "entitlements"),
        ("'{}'", "'[0:0]={ADMIN}'", "entitlements"),
        ("'{}'", "array[array['ADMIN']]", "entitlements"),
        ("now()", "now() + interval '6 minutes'", "requested_at"),
        ("now()", "now() - interval '11 years'", "requested_at"),
        ("now()", "'infinity'", "requested_at"),
        ("'remove', '{}', 'manual'", "'invite', '{}', 'user_deprovisioned'", "trigger"),
    ];
    for (right, wrong, column) in table {
        let mut tx = acting_as(&pool, "reconciler_backend").await;
        let message = refusal(&mut tx, &INSERT.replacen(right, wrong, 1)).await;
        assert!(message.contains(column), "{wrong}: {message}");
    }
}

#[sqlx::test(migrations = false)]
async fn inserting_a_source_again_changes_nothing(pool: PgPool) {
    let pool = migrated(pool).await;
    let mut tx = acting_as(&pool, "reconciler_backend").await;
    for rows in [1, 0] {
        let statement = format!("{INSERT} on conflict do nothing");
        let written =
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
        assert_eq!(written.rows_affected(), rows);
    }
}

#[sqlx::test(migrations = false)]
async fn an_insert_as_object_relational_mappers_write_it_is_accepted(pool: PgPool) {
    let pool = migrated(pool).await;
    let mut tx = acting_as(&pool, "reconciler_backend").await;
    for rows in [1, 0] {
        let statement = format!(
            "{INSERT} on conflict (workspace_id, source_id) do nothing returning id, workspace_id, source_id"
        );
        let returned = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_all(&mut *tx).await;
        assert_eq!(returned.expect("the insert is allowed").len(), rows);
    }
    let seen = "select id, workspace_id, source_id from reconciler.automation_tasks";
    assert_eq!(sqlx::query(seen).fetch_all(&mut *tx).await.unwrap().len(), 1);
    let message = refusal(&mut tx, "select member_email from reconciler.automation_tasks").await;
    assert!(message.starts_with("permission denied"), "{message}");
}

#[sqlx::test(migrations = false)]
async fn every_text_that_comes_in_has_a_longest_length(pool: PgPool) {
    let pool = migrated(pool).await;
    for (column, most) in [
        ("integration_name", 200),
        ("application", 200),
        ("member_username", 320),
        ("member_name", 400),
        ("failure_code", 200),
        ("failure_message", 10_000),
        ("failure_screenshot_url", 2_000),
        ("traceparent", 200),
        ("requested_by", 320),
    ] {
        for (length, is_refused) in [(most, false), (most + 1, true)] {
            let mut tx = pool.begin().await.unwrap();
            let text = format!("repeat('x', {length})");
            let statement = match column {
                "integration_name" => INSERT.replacen("'An app'", &text, 1),
                "application" => INSERT.replacen("'an_app'", &text, 1),
                "failure_screenshot_url" => INSERT
                    .replacen("requested_at)", &format!("requested_at, {column})"), 1)
                    .replacen("now())", &format!("now(), rpad('https://', {length}, 'x'))"), 1),
                _ => INSERT
                    .replacen("requested_at)", &format!("requested_at, {column})"), 1)
                    .replacen("now())", &format!("now(), {text})"), 1),
            };
            let written = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await;
            let refusal = written.err().map(|error| error.to_string());
            assert_eq!(refusal.is_some(), is_refused, "{column} of {length}: {refusal:?}");
            assert!(refusal.is_none_or(|words| words.contains(column)), "{column} of {length}");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn nobody_may_more_than_their_role_needs(pool: PgPool) {
    let pool = migrated(pool).await;
    let table = [
        ("reconciler_backend", "select * from reconciler.automation_tasks"),
        ("reconciler_backend", "update reconciler.automation_tasks set state = 'succeeded'"),
        (
            "reconciler_backend",
            "insert into reconciler.automation_tasks (state) values ('succeeded')",
        ),
        ("reconciler_backend", "select * from reconciler.manual_actions"),
        ("reconciler_operator", "update reconciler.manual_actions set verdict = 'confirmed'"),
        ("reconciler_operator", "insert into reconciler.manual_actions (status) values ('open')"),
        ("reconciler_operator", "delete from reconciler.manual_actions"),
        ("reconciler_operator", "update reconciler.automation_tasks set state = 'cancelled'"),
        ("reconciler_operator", "insert into reconciler.events (what) values ('x')"),
        ("reconciler_viewer", "update reconciler.manual_actions set note = 'x'"),
        ("reconciler_viewer", "select reconciler.schedule_sync('a', 'b', now(), 'c')"),
        ("reconciler_daemon", "update reconciler.events set actor = 'somebody'"),
        ("reconciler_daemon", "update reconciler.automation_tasks set member_id = 'kim'"),
        ("reconciler_daemon", "delete from reconciler.events"),
        ("reconciler_daemon", "delete from reconciler.manual_actions"),
        ("reconciler_daemon", "delete from reconciler.integration_settings"),
        ("reconciler_daemon", "update reconciler.integration_settings set four_eyes = false"),
        ("reconciler_viewer", "select reconciler.confirm_action(1)"),
        ("reconciler_viewer", "select * from reconciler.members"),
        ("reconciler_viewer", "select * from reconciler.arrivals"),
        ("reconciler_viewer", "select * from reconciler.nudges"),
        ("reconciler_operator", "select * from reconciler.members"),
        ("reconciler_daemon", "create table reconciler.mine (id int)"),
    ];
    for (role, statement) in table {
        let mut tx = acting_as(&pool, role).await;
        let message = refusal(&mut tx, statement).await;
        assert!(message.starts_with("permission denied"), "{role}: {statement}: {message}");
    }
}

#[sqlx::test(migrations = false)]
async fn no_object_of_the_schema_is_for_everybody(pool: PgPool) {
    let pool = migrated(pool).await;
    let open: Vec<String> = sqlx::query_scalar(
        "select oid::regprocedure::text from pg_proc
         where pronamespace = 'reconciler'::regnamespace and has_function_privilege('public', oid, 'execute')
         union all
         select oid::regclass::text from pg_class
         where relnamespace = 'reconciler'::regnamespace and relkind in ('r', 'v', 'm', 'p')
           and has_any_column_privilege('public', oid, 'select, insert, update, references')
         union all
         select nspname from pg_namespace
         where nspname = 'reconciler' and has_schema_privilege('public', oid, 'usage, create')",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(open.is_empty(), "{open:?}");
}

#[sqlx::test(migrations = false)]
async fn a_name_that_a_person_gives_has_a_longest_length_and_only_characters_that_are_seen(
    pool: PgPool,
) {
    let (world, _) = World::with_an_action(pool).await;
    let set = "update reconciler.integrations set max_in_flight = coalesce(max_in_flight, 1) + 1";
    let long = "x".repeat(201);
    for (name, is_refused) in [
        ("Jörg Núñez", false),
        ("李", false),
        (long.as_str(), true),
        ("kim\u{1b}[2J", true),
        ("kim\n", true),
        ("kim\u{9b}", true),
        ("kim\u{200b}", true),
        ("\u{202e}mik", true),
        ("kim\u{2028}lee", true),
        ("kim\u{feff}", true),
    ] {
        let mut tx = acting_as(&world.pool, "reconciler_operator").await;
        let given = sqlx::query("select set_config('reconciler.actor', $1, true)").bind(name);
        given.execute(&mut *tx).await.unwrap();
        let written = sqlx::raw_sql(set).execute(&mut *tx).await.map_err(|error| error.to_string());
        assert_eq!(written.is_err(), is_refused, "{name:?}: {written:?}");
        let words = "actor_is_1_to_200_characters_and_all_of_them_are_seen";
        assert!(written.err().is_none_or(|error| error.contains(words)), "{name:?}");
    }
}

#[sqlx::test(migrations = false)]
async fn the_trail_cannot_be_rewritten_even_by_its_owner(pool: PgPool) {
    let pool = migrated(pool).await;
    for statement in ["update reconciler.events set actor = 'x'", "truncate reconciler.events"] {
        let mut tx = pool.begin().await.unwrap();
        assert!(refusal(&mut tx, statement).await.starts_with("events are append-only"));
    }
    let mut tx = pool.begin().await.unwrap();
    let message = refusal(&mut tx, "select reconciler.delete_old_events('1 day', 10)").await;
    assert!(message.contains("at least 30 days"), "{message}");
}

/// The database keeps the minima, as its functions can be called by SQL. The configuration refuses the same values at the
/// start, with the name of the key.
#[sqlx::test(migrations = false)]
async fn retention_keeps_at_least_what_the_configuration_says(pool: PgPool) {
    let pool = migrated(pool).await;
    for (key, function, least) in [
        ("EVENTS_DAYS", "delete_old_events", 30),
        ("ENDED_ACTIONS_DAYS", "delete_ended_actions", 1),
    ] {
        for (days, is_enough) in [(least, true), (least - 1, false)] {
            let variables = [("FINISHED_TASKS_DAYS", days.max(1)), (key, days)]
                .map(|(key, days)| (format!("RECONCILER__RETENTION__{key}"), days.to_string()));
            let configured = Config::from_sources(None, Some(variables.into()));
            assert_eq!(configured.is_ok(), is_enough, "{key} = {days}");
            let delete = format!("select reconciler.{function}(make_interval(days => {days}), 10)");
            let deleted = sqlx::raw_sql(sqlx::AssertSqlSafe(delete)).execute(&pool).await;
            assert_eq!(deleted.is_ok(), is_enough, "{function} of {days} days");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn an_operator_claims_and_does_an_action_and_the_database_says_who_and_when(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let mut tx = acting_as(&world.pool, "reconciler_operator").await;
    for status in ["in_progress", "done"] {
        sqlx::query(
            "update reconciler.manual_actions set status = $1, note = 'by hand' where id = $2",
        )
        .bind(status)
        .bind(action)
        .execute(&mut *tx)
        .await
        .unwrap();
    }
    let who: (String, String, bool) = sqlx::query_as(
        "select assignee, done_by, done_at between now() and clock_timestamp() from reconciler.manual_actions",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(who, ("reconciler_operator".to_owned(), "reconciler_operator".to_owned(), true));
    tx.commit().await.unwrap();
    let actors: Vec<(String, String)> = sqlx::query_as(
        "select actor, what from reconciler.events where subject = 'action' order by id",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let actors: Vec<_> = actors.iter().map(|(actor, what)| format!("{actor} {what}")).collect();
    assert_eq!(
        actors,
        [
            "daemon action.opened",
            "reconciler_operator action.claimed",
            "reconciler_operator action.done"
        ]
    );
}

#[sqlx::test(migrations = false)]
async fn an_operator_cannot_pretend_to_be_the_daemon_or_somebody_else(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let mut tx = acting_as(&world.pool, "reconciler_operator").await;
    sqlx::query("select set_config('reconciler.actor', 'daemon', true)")
        .execute(&mut *tx)
        .await
        .unwrap();
    let message = refusal(
        &mut tx,
        &format!("update reconciler.manual_actions set status = 'verified' where id = {action}"),
    )
    .await;
    assert_eq!(message, format!("manual action {action} is open and cannot become verified"));
}

#[sqlx::test(migrations = false)]
async fn transitions_that_make_no_sense_are_refused_in_clear_words(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let table = [
        ("status = 'verified'", "is open and cannot become verified"),
        ("status = 'superseded'", "is open and cannot become superseded"),
        ("status = null", "null value in column \"status\""),
        ("status = 'nonsense'", "is open and cannot become nonsense"),
        ("status = 'dismissed'", "only with a note that says why"),
    ];
    for (change, words) in table {
        let mut tx = acting_as(&world.pool, "reconciler_operator").await;
        let statement =
            format!("update reconciler.manual_actions set {change} where id = {action}");
        let message = refusal(&mut tx, &statement).await;
        assert!(message.contains(words), "{change}: {message}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_dismissed_action_has_ended_and_gives_the_next_task_its_turn(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let invite = world.insert(&a_failed("invite", APP, "jo").requested_minutes_ago(1)).await;
    world.drive().await;
    assert_eq!(world.state(invite).await, "pending");
    sqlx::query("update reconciler.manual_actions set status = 'dismissed', note = 'a test account' where id = $1")
        .bind(action)
        .execute(&world.pool)
        .await
        .unwrap();
    let mut tx = world.pool.begin().await.unwrap();
    let again = format!("update reconciler.manual_actions set status = 'open' where id = {action}");
    assert!(refusal(&mut tx, &again).await.contains("has ended: it is dismissed since"));
    drop(tx);
    world.drive().await;
    assert_eq!(world.state(invite).await, "succeeded");
}

#[sqlx::test(migrations = false)]
async fn only_a_held_report_can_be_decided_on_once_and_with_a_reason(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    world.mark_done(action).await;
    world.take_up().await;
    let mut tx = acting_as(&world.pool, "reconciler_operator").await;
    let message = refusal(
        &mut tx,
        "update reconciler.syncs set decision = 'approved', decision_reason = 'x'",
    )
    .await;
    assert!(message.contains("is not waiting for a decision: it is requested"), "{message}");
}

#[sqlx::test(migrations = false)]
async fn an_operator_pauses_with_a_reason_and_cannot_set_what_the_daemon_finds(pool: PgPool) {
    let (world, _) = World::with_an_action(pool).await;
    let table = [
        ("status = 'paused'", "needs a status_reason"),
        ("status = 'login_rejected', status_reason = 'x'", "can be set to active or paused"),
    ];
    for (change, words) in table {
        let mut tx = acting_as(&world.pool, "reconciler_operator").await;
        let message =
            refusal(&mut tx, &format!("update reconciler.integrations set {change}")).await;
        assert!(message.contains(words), "{change}: {message}");
    }
}

#[sqlx::test(migrations = false)]
async fn the_daemons_role_is_enough_for_the_whole_flow(pool: PgPool) {
    schema::migrate(&pool.clone().into()).await.unwrap();
    let login = format!("daemon_{}", std::process::id());
    let create = format!("create role {login} login password 'secret' in role reconciler_daemon");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&pool).await.unwrap();
    let options = (*pool.connect_options()).clone().username(&login).password("secret");
    let daemon = PgPool::connect_with(options).await.unwrap();

    let world = World::on_migrated(daemon.clone()).await;
    let task = a_failed("remove", APP, "jo").code("NotEnoughSeats");
    let id = world.insert(&task).await;
    world.drive().await;
    let action = world.action_of(id).await;
    world.person_does(&task);
    world.mark_done(action).await;
    world.drive().await;
    assert_eq!(world.status(action).await, "verified");
    world.upkeep().await;

    daemon.close().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop role {login}"))).execute(&pool).await.unwrap();
}

/// As managed servers give them out: no superuser.
#[sqlx::test(migrations = false)]
async fn a_login_that_owns_the_database_and_may_create_roles_migrates_it(pool: PgPool) {
    let login = format!("owner_{}", std::process::id());
    let give = format!(
        "create role {login} login createrole password 'secret';
         do $$ begin execute format('alter database %I owner to {login}', current_database()); end $$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(give)).execute(&pool).await.unwrap();
    let options = (*pool.connect_options()).clone().username(&login).password("secret");
    let owner = PgPool::connect_with(options).await.unwrap();

    // Since PostgreSQL 16 such a login may not grant a role that another login created: another test, here. The error has
    // the statement that somebody else has to run.
    if let Err(refused) = schema::migrate(&owner.clone().into()).await {
        let refused = refused.to_string();
        let (_, hint) = refused.split_once("Let a role with CREATEROLE run: ").expect(&refused);
        let statement = hint.trim_end_matches(')').to_owned();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
        schema::migrate(&owner.clone().into()).await.unwrap();
    }
    let mut tx = owner.begin().await.unwrap();
    for delete in ["delete_old_events('90 days', 10)", "delete_ended_actions('90 days', 10)"] {
        let select = format!("select reconciler.{delete}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(select)).execute(&mut *tx).await.unwrap();
    }
    // What retention may do ends with its functions.
    assert!(refusal(&mut tx, "delete from reconciler.events").await.contains("retention only"));
    drop(tx);

    owner.close().await;
    let take = format!("reassign owned by {login} to current_user; drop role {login}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(take)).execute(&pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn upkeep_sets_stuck_members_and_forgotten_done_actions_going_again(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    let stuck = world.insert(&a_failed("remove", APP, "kim")).await;
    world.order().await;
    world.mark_done(action).await;
    for damage in [
        "update reconciler.members
         set blocked_task_ids = array[ready_task_id], ready_task_id = null where ready_task_id is not null",
        "delete from reconciler.syncs",
        "delete from reconciler.nudges",
    ] {
        sqlx::query(damage).execute(&world.pool).await.unwrap();
    }
    world.upkeep().await;
    world.drive().await;
    assert_eq!(world.state(stuck).await, "succeeded");
    assert_eq!(world.verdict(action).await, "contradicted");
}

#[sqlx::test(migrations = false)]
async fn retention_deletes_what_is_old_and_finished_and_nothing_else(pool: PgPool) {
    let (world, _) = World::with_an_action(pool).await;
    let old = world.insert(&a_failed("remove", APP, "kim")).await;
    world.drive().await;
    let young = world.insert(&a_failed("invite", APP, "lee")).await;
    world.drive().await;
    let age = "update reconciler.automation_tasks set closed_at = now() - interval '91 days' where id <> $1";
    sqlx::query(age).bind(young).execute(&world.pool).await.unwrap();
    let left = async || {
        world.upkeep().await;
        sqlx::query_scalar::<_, i64>("select id from reconciler.automation_tasks order by id")
            .fetch_all(&world.pool)
            .await
            .unwrap()
    };
    assert!(left().await.contains(&old), "whoever is watched is not forgotten");
    sqlx::query("update reconciler.members set watch_task_id = null, watch_operation = null, watch_since = null, watch_due_at = null").execute(&world.pool).await.unwrap();
    let left = left().await;
    assert!(!left.contains(&old) && left.contains(&young), "{left:?}");
    assert_eq!(left.len(), 2, "the task of the unfinished action stays");
}

/// Personal data does not stay for ever, and what happened is told for longer, without it.
#[sqlx::test(migrations = false)]
async fn retention_deletes_ended_actions_and_leaves_the_evidence(pool: PgPool) {
    let (world, dismissed) = World::with_an_action(pool).await;
    sqlx::query("update reconciler.manual_actions set status = 'dismissed', note = 'desired'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.take_up().await;
    world.upkeep().await;
    let left = "select count(*) from reconciler.manual_actions";
    assert_eq!(world.count(left).await, 1, "it has just ended");
    let age = "set session_replication_role = replica;
               update reconciler.manual_actions set closed_at = now() - interval '91 days'";
    sqlx::raw_sql(age).execute(&world.pool).await.unwrap();
    world.upkeep().await;
    assert_eq!(world.count(left).await, 0);
    let trail = "select string_agg(what, ' ' order by id) from reconciler.events
                 where subject = 'action' and subject_id = $1::text";
    let trail = world.text(trail, dismissed).await;
    assert_eq!(trail, "action.opened action.dismissed action.deleted");
    let named =
        "select count(*) from reconciler.events where detail::text like '%@%' or actor like '%@%'";
    assert_eq!(world.count(named).await, 0, "no address outlives the action");
    let mut tx = world.pool.begin().await.unwrap();
    sqlx::query("set local role reconciler_daemon").execute(&mut *tx).await.unwrap();
    let message = refusal(&mut tx, "delete from reconciler.manual_actions").await;
    assert!(message.contains("permission denied"), "{message}");
}

#[sqlx::test(migrations = false)]
async fn an_overdue_action_is_told_once(pool: PgPool) {
    let (world, _) = World::with_an_action(pool).await;
    sqlx::query("update reconciler.manual_actions set due_at = now() - interval '1 s'")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(
        cerby_reconciler::manual_action::store::remind(&world.pool.clone().into(), 10)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        cerby_reconciler::manual_action::store::remind(&world.pool.clone().into(), 10)
            .await
            .unwrap()
            .len(),
        0
    );
}

#[sqlx::test(migrations = false)]
async fn a_hand_with_the_daemons_login_is_a_persons_hand(pool: PgPool) {
    let (world, action) = World::with_an_action(pool).await;
    // A session in which no transaction has named its actor yet, as in psql.
    let mut psql = sqlx::PgConnection::connect_with(&world.pool.connect_options()).await.unwrap();
    let statements = [
        (
            "update reconciler.integrations set status = 'paused'".to_owned(),
            "needs a status_reason",
        ),
        (
            "update reconciler.integrations set status = 'tripped'".to_owned(),
            "can be set to active or paused",
        ),
        (
            format!("update reconciler.manual_actions set status = 'verified' where id = {action}"),
            "cannot become verified",
        ),
    ];
    for (statement, words) in statements {
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut psql).await;
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

/// Keys that a table distributed by workspace could not have. Tokens, logins, sessions, people, saved views and replies belong to
/// whoever asks, not to a workspace.
const KEYS_WITHOUT_WORKSPACE: &str = "
    select i.indexrelid::regclass::text from pg_index i
    join pg_class c on c.oid = i.indrelid
    where c.relnamespace = 'reconciler'::regnamespace and i.indisunique
      and c.relname not in ('schema_migrations', 'exclusive_work', 'tokens', 'login_workspaces', 'replies', 'sessions', 'people',
                            'used_sign_ins', 'saved_views')
      and not exists (select from pg_attribute a
                      where a.attrelid = i.indrelid and a.attnum = any (i.indkey) and a.attname = 'workspace_id')";

#[sqlx::test(migrations = false)]
async fn every_key_has_the_workspace(pool: PgPool) {
    let world = World::new(pool).await;
    let without = async || {
        sqlx::query_scalar::<_, String>(KEYS_WITHOUT_WORKSPACE)
            .fetch_all(&world.pool)
            .await
            .unwrap()
    };
    assert!(without().await.is_empty(), "{:?}", without().await);
    let broken = "create unique index bad on reconciler.members (ready_task_id)";
    sqlx::query(broken).execute(&world.pool).await.unwrap();
    assert_eq!(without().await.len(), 1, "a key without it is seen");
}

#[sqlx::test(migrations = false)]
async fn every_number_that_identifies_a_row_is_a_bigint(pool: PgPool) {
    let pool = migrated(pool).await;
    let small: Vec<String> = sqlx::query_scalar(
        "select table_name || '.' || column_name from information_schema.columns
         where table_schema = 'reconciler' and column_name ~ '(^|_)ids?$'
           and udt_name in ('int2', 'int4', '_int2', '_int4')",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(small.is_empty(), "{small:?}");
}
