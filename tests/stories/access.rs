//! Who may see and change what: roles, workspaces of logins and of tokens, in the database and at the desk.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::time::Duration;

use cerby_reconciler::access::{Access, Role};
use cerby_reconciler::history::EventFilter;
use cerby_reconciler::manual_action::review::ActionFilter;
use cerby_reconciler::operator::desk::{Actor, Desk, DeskError, Lasts, RefusalKind};
use cerby_reconciler::schema;
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

/// The same rows in every table, for one's own workspace and a foreign one. What is foreign is marked as secret.
const ROWS: &str = include_str!("rows_of_two_workspaces.sql");

async fn run(session: &mut PgConnection, statement: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(session).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// What a statement returns, all of it as text; or the words with which it is refused.
async fn said(session: &mut PgConnection, query: &str) -> String {
    let query = format!("select coalesce(json_agg(q)::text, '[]') from ({query}) q");
    match sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(session).await {
        Ok(text) => text,
        Err(error) => error.as_database_error().unwrap_or_else(|| panic!("{error}")).to_string(),
    }
}

pub(crate) async fn with_rows(pool: PgPool) -> PgPool {
    schema::migrate(&pool.clone().into()).await.unwrap();
    run(&mut pool.acquire().await.unwrap(), ROWS).await;
    pool
}

/// A session of a login of its own in a role; bound to workspaces if there are any.
async fn login(pool: &PgPool, role: &str, name: &str, workspaces: Option<&str>) -> PgConnection {
    let database: String = sqlx::query_scalar("select lower(right(current_database(), 20))")
        .fetch_one(pool)
        .await
        .unwrap();
    let name = format!("{name}_{}", database.replace('-', "_"));
    let mut owner = pool.acquire().await.unwrap();
    run(
        &mut owner,
        &format!("drop role if exists {name}; create role {name} login in role {role}"),
    )
    .await;
    if let Some(workspaces) = workspaces {
        let bind = "insert into reconciler.login_workspaces (login, workspaces) values";
        let again = "on conflict (login) do update set workspaces = excluded.workspaces";
        run(&mut owner, &format!("{bind} ('{name}', '{{{workspaces}}}') {again}")).await;
    }
    let mut session = PgConnection::connect_with(&pool.connect_options()).await.unwrap();
    run(&mut session, &format!("set session authorization {name}")).await;
    session
}

/// The tables and views that a role may read and that have a workspace.
async fn relations(pool: &PgPool, role: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select c.relname::text from pg_class c
         join pg_attribute a on a.attrelid = c.oid and a.attname = 'workspace_id'
         where c.relnamespace = 'reconciler'::regnamespace and c.relkind in ('r', 'v', 'p', 'm')
           and has_any_column_privilege($1, c.oid, 'select') order by 1",
    )
    .bind(role)
    .fetch_all(pool)
    .await
    .unwrap()
}

#[sqlx::test(migrations = false)]
async fn no_table_and_no_view_shows_a_foreign_workspace(pool: PgPool) {
    let pool = with_rows(pool).await;
    for role in ["reconciler_viewer", "reconciler_operator", "reconciler_administrator"] {
        let mut all = login(&pool, role, "ann", None).await;
        let mut bound = login(&pool, role, "bob", Some("acme")).await;
        let mut nothing = login(&pool, role, "cid", Some("")).await;
        let relations = relations(&pool, role).await;
        assert!(relations.len() >= 14, "{relations:?}");
        for relation in relations {
            let seen =
                format!("select distinct workspace_id from reconciler.{relation} order by 1");
            let everything = said(&mut all, &seen).await;
            let is_all = ["acme", "globex"].iter().all(|id| everything.contains(id));
            assert!(is_all, "{role} {relation}: {everything}");
            assert_eq!(said(&mut bound, &seen).await, r#"[{"workspace_id":"acme"}]"#, "{relation}");
            assert_eq!(said(&mut nothing, &seen).await, "[]", "{relation}");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn every_table_with_a_workspace_is_protected_and_all_others_are_known(pool: PgPool) {
    let pool = with_rows(pool).await;
    let open: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relnamespace = 'reconciler'::regnamespace and c.relkind in ('r', 'p') and not c.relrowsecurity
         order by 1",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(open, ["exclusive_work", "replies", "schema_migrations", "used_sign_ins"]);
    // What acts as its owner would show everything if the owner had the tables.
    let unsafe_objects: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relnamespace = 'reconciler'::regnamespace and c.relkind in ('v', 'm')
           and pg_get_userbyid(c.relowner) <> 'reconciler_definer'
         union all
         select p.oid::regprocedure::text from pg_proc p
         where p.pronamespace = 'reconciler'::regnamespace and p.prosecdef
           and pg_get_userbyid(p.proowner) <> 'reconciler_definer'
           and (has_function_privilege('reconciler_administrator', p.oid, 'execute')
                or has_function_privilege('reconciler_viewer', p.oid, 'execute'))
           and p.proname <> 'own_workspaces'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(unsafe_objects.is_empty(), "{unsafe_objects:?}");
}

/// Functions that look at nothing but their parameters and the session.
const PURE: [&str; 15] = [
    "current_actor",
    "due_time",
    "integration_status",
    "is_blank",
    "is_daemon",
    "is_same_person",
    "moment",
    "needs_second_person",
    "next_action_statuses",
    "own_workspaces",
    "person",
    "refuse_foreign_claim",
    "refuse_foreign_withdrawal",
    "refuse_without_reason",
    // It runs a statement with the privileges of the caller.
    "answer_each",
];

/// A call of every other function that people may execute, about the foreign row.
const CALLS: [(&str, &str); 35] = [
    ("approve(bigint,text)", "approve(2, 'why')"),
    ("approve(bigint[],text)", "approve(array[2], 'why')"),
    ("cancel_task(bigint,text)", "cancel_task(2, 'why')"),
    ("cancel_task(bigint[],text)", "cancel_task(array[2], 'why')"),
    ("claim(bigint,text)", "claim(2)"),
    ("claim(bigint[],text)", "claim(array[2], 'why')"),
    ("claim_action(bigint,text)", "claim_action(2)"),
    ("confirm(bigint)", "confirm(2)"),
    ("confirm(bigint[])", "confirm(array[2])"),
    ("confirm_action(bigint)", "confirm_action(2)"),
    ("dismiss(bigint,text)", "dismiss(2, 'why')"),
    ("dismiss(bigint[],text)", "dismiss(array[2], 'why')"),
    ("expect_action(bigint,bigint)", "expect_action(2, 1)"),
    ("expect_sync(bigint,bigint)", "expect_sync(2, 1)"),
    (
        "find_actions(text[],text,text,text,text,text,boolean,boolean,bigint[])",
        "find_actions(null, 'globex', null, null, null, null, false, false, array[2])",
    ),
    ("hand_over(bigint,text,text)", "hand_over(2, 'kim', 'why')"),
    ("hand_over(bigint[],text,text)", "hand_over(array[2], 'kim', 'why')"),
    ("hand_over_action(bigint,text,text)", "hand_over_action(2, 'kim', 'why')"),
    ("mark_done(bigint,text)", "mark_done(2)"),
    ("mark_done(bigint[],text)", "mark_done(array[2], 'why')"),
    ("pause(text,text,text)", "pause('globex', 'an-app', 'why')"),
    ("pause(text,text[],text)", "pause('globex', array['an-app'], 'why')"),
    ("reject(bigint,text)", "reject(2, 'why')"),
    ("reject(bigint[],text)", "reject(array[2], 'why')"),
    ("release(bigint)", "release(2)"),
    ("release(bigint[])", "release(array[2])"),
    ("release_action(bigint)", "release_action(2)"),
    ("request_cancellation(bigint,text)", "request_cancellation(2, 'why')"),
    ("request_snapshot(text,text)", "request_snapshot('globex', 'an-app')"),
    ("request_sync(text,text)", "request_sync('globex', 'an-app')"),
    ("request_sync(text,text[])", "request_sync('globex', array['an-app'])"),
    ("resume(text,text)", "resume('globex', 'an-app')"),
    ("resume(text,text[])", "resume('globex', array['an-app'])"),
    (
        "returnable_actions(text,text,text,text)",
        "returnable_actions('globex', 'an-app', null, null)",
    ),
    ("return_to_automation(bigint,text)", "return_to_automation(2, 'why')"),
];

/// The rest of the calls, which have other shapes.
const MORE_CALLS: [(&str, &str); 14] = [
    ("dismiss_webhook(text,text,text)", "dismiss_webhook('globex', 'event-2', 'why')"),
    ("dismiss_webhook(text,text[],text)", "dismiss_webhook('globex', array['event-2'], 'why')"),
    ("dismiss_webhook_event(text,text,text)", "dismiss_webhook_event('globex', 'event-2', 'why')"),
    ("delete_saved_view(bigint)", "delete_saved_view(2)"),
    ("report_screen(bigint,text)", "report_screen(2, 'why')"),
    ("screen_changed(bigint,text)", "screen_changed(2, 'why')"),
    ("screen_changed(bigint[],text)", "screen_changed(array[2], 'why')"),
    ("return_to_automation(bigint[],text)", "return_to_automation(array[2], 'why')"),
    (
        "return_to_automation(text,text,text,text,text,bigint[])",
        "return_to_automation('globex', 'an-app', null, null, 'why', array[2])",
    ),
    ("task_status(text,text)", "task_status('globex', 's-2')"),
    (
        "why_waiting(reconciler.automation_tasks)",
        "why_waiting(jsonb_populate_record(null::reconciler.automation_tasks, '{\"id\": 2, \"workspace_id\": \"globex\",
             \"integration_id\": \"an-app\", \"member_id\": \"secret\", \"needs_no_automation\": false}'))",
    ),
    ("withdraw(bigint)", "withdraw(2)"),
    ("withdraw(bigint[])", "withdraw(array[2])"),
    ("withdraw_action(bigint)", "withdraw_action(2)"),
];

/// A query for what is stored of the foreign workspace.
async fn foreign_rows(pool: &PgPool) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relnamespace = 'reconciler'::regnamespace and c.relrowsecurity
           and c.relname not in ('sessions', 'tokens', 'saved_views', 'people', 'login_workspaces') order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let rows = tables.iter().map(|table| {
        format!("select '{table}', r::text from reconciler.{table} r where workspace_id = 'globex'")
    });
    format!("select * from ({}) rows order by 1, 2", rows.collect::<Vec<_>>().join(" union all "))
}

#[sqlx::test(migrations = false)]
async fn no_function_shows_or_changes_a_foreign_workspace(pool: PgPool) {
    let pool = with_rows(pool).await;
    let executable: Vec<(String, String)> = sqlx::query_as(
        "select replace(p.oid::regprocedure::text, 'reconciler.' || p.proname, p.proname), p.proname::text from pg_proc p
         where p.pronamespace = 'reconciler'::regnamespace and p.prorettype <> 'trigger'::regtype
           and (has_function_privilege('reconciler_administrator', p.oid, 'execute')
                or has_function_privilege('reconciler_viewer', p.oid, 'execute'))",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let calls: Vec<_> = CALLS.iter().chain(&MORE_CALLS).collect();
    for (signature, name) in &executable {
        let is_known = PURE.contains(&name.as_str()) || calls.iter().any(|(is, _)| is == signature);
        assert!(is_known, "a call of {signature} about a foreign row belongs into this test");
    }
    let mut rows = pool.acquire().await.unwrap();
    let foreign = foreign_rows(&pool).await;
    let before = said(&mut rows, &foreign).await;
    let mut bound = login(&pool, "reconciler_operator", "bob", Some("acme")).await;
    for (signature, call) in calls {
        let is_there = executable.iter().any(|(is, _)| is == signature);
        assert!(is_there, "there is no function {signature} for people");
        let answer = said(&mut bound, &format!("select * from reconciler.{call}")).await;
        assert!(!answer.contains("secret"), "{call}: {answer}");
        assert_eq!(said(&mut rows, &foreign).await, before, "{call} changed something");
    }
    let mut all = login(&pool, "reconciler_operator", "ann", None).await;
    let answer = said(&mut all, "select became from reconciler.claim(2)").await;
    assert_eq!(answer, r#"[{"became":"in_progress"}]"#);
    let answer = said(&mut all, "select reason from reconciler.task_status('globex', 's-2')").await;
    assert!(answer.contains("secret"), "{answer}");
}

#[sqlx::test(migrations = false)]
async fn a_condition_that_tells_what_it_is_given_is_not_given_foreign_rows(pool: PgPool) {
    let pool = with_rows(pool).await;
    let mut bound = login(&pool, "reconciler_viewer", "bob", Some("acme")).await;
    run(
        &mut bound,
        "create function pg_temp.tells(text) returns boolean language plpgsql cost 0.0000001 as
         $$ begin if $1 ~ 'secret' then raise exception 'told: %', $1; end if; return true; end $$",
    )
    .await;
    for relation in relations(&pool, "reconciler_viewer").await {
        let query = format!("select * from reconciler.{relation} r where pg_temp.tells(r::text)");
        let answer = said(&mut bound, &query).await;
        assert!(answer.starts_with("[{") && !answer.contains("secret"), "{relation}: {answer}");
    }
}

#[sqlx::test(migrations = false)]
async fn only_an_administrator_says_who_may_see_what(pool: PgPool) {
    let pool = with_rows(pool).await;
    let bind =
        "insert into reconciler.login_workspaces (login, workspaces) values ('kim', '{acme}')";
    let make = "insert into reconciler.tokens (name, role, hash, expires_at)
                values ('mine', 'administrator', sha256('x'), now() + interval '1 day')";
    for role in ["reconciler_viewer", "reconciler_operator", "reconciler_backend"] {
        let mut session = login(&pool, role, "bob", Some("acme")).await;
        for statement in
            [bind, make, "update reconciler.login_workspaces set workspaces = '{globex}'"]
        {
            let refused = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut session).await;
            let words = refused.unwrap_err().to_string();
            assert!(words.contains("permission denied"), "{role}: {words}");
        }
    }
    let mut administrator = login(&pool, "reconciler_administrator", "ada", None).await;
    run(&mut administrator, bind).await;
    run(&mut administrator, "update reconciler.login_workspaces set workspaces = '{}'").await;
    run(&mut administrator, "delete from reconciler.login_workspaces where login = 'kim'").await;
    let trail = "select what, detail from reconciler.events where subject_id = 'kim' order by id";
    assert_eq!(
        said(&mut administrator, trail).await,
        "[{\"what\":\"login.bound\",\"detail\":{\"to\": [\"acme\"]}}, \n \
         {\"what\":\"login.bound\",\"detail\":{\"to\": [], \"from\": [\"acme\"]}}, \n \
         {\"what\":\"login.unbound\",\"detail\":{\"from\": []}}]"
    );
}

#[sqlx::test(migrations = false)]
async fn an_administrator_of_some_workspaces_binds_logins_to_these_alone_and_unbinds_none(
    pool: PgPool,
) {
    let pool = with_rows(pool).await;
    let bind = |login: &str, workspaces: &str| {
        format!(
            "insert into reconciler.login_workspaces (login, workspaces) values ('{login}', '{workspaces}')"
        )
    };
    let owner = &mut pool.acquire().await.unwrap();
    run(owner, &bind("foreign", "{acme,globex}")).await;
    let mut bound = login(&pool, "reconciler_administrator", "bob", Some("acme,initech")).await;
    run(&mut bound, &bind("kim", "{acme}")).await;
    run(
        &mut bound,
        "update reconciler.login_workspaces set workspaces = '{acme,initech}' where login = 'kim'",
    )
    .await;
    let own =
        "update reconciler.login_workspaces set workspaces = '{globex}' where login = session_user";
    for wider in [
        own.to_owned(),
        own.replace("session_user", "'kim'"),
        bind("lee", "{globex}"),
        bind("lee", "{acme,globex}"),
    ] {
        let refused = sqlx::raw_sql(AssertSqlSafe(wider.clone())).execute(&mut bound).await;
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("row-level security"), "{wider}: {words}");
    }
    let all = "select login, workspaces from reconciler.login_workspaces order by login";
    let before = said(owner, all).await;
    run(
        &mut bound,
        "update reconciler.login_workspaces set workspaces = '{}' where login = 'foreign'",
    )
    .await;
    run(&mut bound, "delete from reconciler.login_workspaces").await;
    assert_eq!(said(owner, all).await, before, "a login without a row would see everything");
    assert!(!said(&mut bound, all).await.contains("foreign"));
}

#[sqlx::test(migrations = false)]
async fn a_door_that_forgets_the_workspaces_shows_nothing_and_a_viewer_cannot_write(pool: PgPool) {
    let pool = with_rows(pool).await;
    let mut daemon = login(&pool, "reconciler_daemon", "dan", None).await;
    let ids = "select id from reconciler.action_list order by id";
    assert_eq!(said(&mut daemon, ids).await, "[{\"id\":1}, \n {\"id\":2}]");
    run(&mut daemon, "begin; set local role reconciler_viewer").await;
    assert_eq!(said(&mut daemon, ids).await, "[]");
    run(&mut daemon, "set local reconciler.workspaces = 'acme'").await;
    assert_eq!(said(&mut daemon, ids).await, "[{\"id\":1}]");
    let written = "update reconciler.manual_actions set status = 'done' where id = 1 returning id";
    let refused = sqlx::raw_sql(written).execute(&mut daemon).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    run(&mut daemon, "rollback").await;
    // The constant policy of the daemon leaves no trace in a plan.
    let plan = said(&mut daemon, "select * from reconciler.automation_tasks").await;
    assert!(plan.contains("acme") && plan.contains("globex"));
    let explained: Vec<String> =
        sqlx::query_scalar("explain select * from reconciler.automation_tasks where id = 1")
            .fetch_all(&mut daemon)
            .await
            .unwrap();
    let filtered =
        explained.iter().any(|line| line.contains("Filter") || line.contains("own_work"));
    assert!(!filtered, "{explained:#?}");
}

fn kind<T: std::fmt::Debug>(ended: Result<T, DeskError>) -> RefusalKind {
    match ended {
        Err(DeskError::Refused(refusal)) => refusal.kind,
        other => panic!("{other:?}"),
    }
}

fn access(role: Role, workspaces: &[&str]) -> Access {
    let workspaces = workspaces.iter().map(|id| (*id).to_owned()).collect();
    Access { role, workspaces: Some(workspaces) }
}

#[sqlx::test(migrations = false)]
async fn a_token_acts_in_its_role_and_workspaces_until_it_is_revoked(pool: PgPool) {
    let pool = with_rows(pool).await;
    let desk = Desk::new(pool.clone().into());
    let kim = Actor::named("kim").unwrap();
    let mut actors = Vec::new();
    for (name, access) in [
        ("reads", access(Role::Viewer, &["acme"])),
        ("works", access(Role::Operator, &["acme"])),
        ("rules", Access { role: Role::Administrator, workspaces: None }),
    ] {
        let token = desk.create_token(&kim, name, &access, 1).await.unwrap();
        let stored: String =
            sqlx::query_scalar("select string_agg(t::text, ',') from reconciler.tokens t")
                .fetch_one(&pool)
                .await
                .unwrap();
        assert!(!stored.contains(token.expose_secret()), "only the hash is stored");
        actors.push(desk.actor_of(token.expose_secret()).await.unwrap().expect("it is valid"));
    }
    let [reads, works, rules] = &actors[..] else { panic!() };
    let all = ActionFilter { limit: 10, ..ActionFilter::default() };
    for (actor, ids) in [(reads, vec![1]), (works, vec![1]), (rules, vec![1, 2])] {
        let lines = desk.actions(actor, all).await.unwrap();
        assert_eq!(lines.iter().map(|line| line.id).collect::<Vec<_>>(), ids, "{actor:?}");
    }
    let foreign = ActionFilter { workspace: Some("globex"), ..all };
    assert!(desk.actions(works, foreign).await.unwrap().is_empty());
    assert_eq!(kind(desk.action(works, 2).await), RefusalKind::NotFound);
    assert_eq!(kind(desk.claim(works, 2, None).await), RefusalKind::NotFound);
    assert_eq!(kind(desk.cancel(works, 2, "why").await), RefusalKind::NotFound);
    assert_eq!(kind(desk.approve(works, 2, "why").await), RefusalKind::NotFound);
    assert_eq!(
        kind(desk.integration(works, "an-app", Some("globex")).await),
        RefusalKind::NotFound
    );
    assert_eq!(kind(desk.claim(reads, 1, None).await), RefusalKind::Forbidden);
    assert_eq!(
        kind(desk.create_token(works, "more", &access(Role::Viewer, &["acme"]), 1).await),
        RefusalKind::Forbidden
    );
    desk.claim(works, 1, None).await.unwrap();
    assert_eq!(desk.action(works, 1).await.unwrap().facts.assignee.as_deref(), Some("token:works"));
    let mine = ActionFilter { mine: true, ..all };
    assert_eq!(desk.actions(works, mine).await.unwrap().len(), 1);
    let trail =
        desk.events(works, EventFilter { limit: 10, ..EventFilter::default() }).await.unwrap();
    assert_eq!(
        (trail[0].what.as_str(), trail[0].actor.as_str()),
        ("action.claimed", "token:works")
    );
    desk.revoke_token(&kim, "works").await.unwrap();
    assert_eq!(kind(desk.revoke_token(&kim, "works").await), RefusalKind::NotAllowedNow);
    assert_eq!(kind(desk.revoke_token(&kim, "nobody").await), RefusalKind::NotFound);
    let again = desk.create_token(&kim, "works", &access(Role::Viewer, &["acme"]), 1).await;
    assert_eq!(kind(again), RefusalKind::NotAllowedNow, "the trail names tokens");
    let words: Vec<(String, String)> = sqlx::query_as(
        "select what, subject_id from reconciler.events where subject = 'token' order by id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let words: Vec<_> = words.iter().map(|(what, id)| format!("{what} {id}")).collect();
    assert_eq!(
        words,
        [
            "token.created reads",
            "token.created works",
            "token.created rules",
            "token.revoked works"
        ]
    );
}

#[sqlx::test(migrations = false)]
async fn a_token_that_is_unknown_revoked_or_expired_is_nobody(pool: PgPool) {
    let pool = with_rows(pool).await;
    let desk = Desk::new(pool.clone().into());
    let kim = Actor::named("kim").unwrap();
    let token = desk.create_token(&kim, "one", &access(Role::Viewer, &["acme"]), 1).await.unwrap();
    let is_valid = async || desk.actor_of(token.expose_secret()).await.unwrap().is_some();
    assert!(is_valid().await);
    assert!(desk.actor_of("cerbyrec_0").await.unwrap().is_none());
    let owner = &mut pool.acquire().await.unwrap();
    run(owner, "set session_replication_role = replica;
        alter table reconciler.tokens drop constraint expires_at_is_later_than_now_and_at_most_400_days_ahead;
        update reconciler.tokens set expires_at = now()").await;
    assert!(!is_valid().await, "it has expired");
    run(owner, "update reconciler.tokens set expires_at = now() + interval '1 hour'").await;
    assert!(is_valid().await);
    desk.revoke_token(&kim, "one").await.unwrap();
    assert!(!is_valid().await, "it is revoked");
    for name in ["token:one", "oidc:one", "daemon"] {
        assert_eq!(Actor::named(name).unwrap_err().kind, RefusalKind::Invalid, "{name}");
    }
    assert_eq!(
        kind(desk.create_token(&kim, "none", &access(Role::Viewer, &[]), 1).await),
        RefusalKind::Invalid
    );
    assert_eq!(
        kind(desk.create_token(&kim, "Two", &access(Role::Viewer, &["acme"]), 1).await),
        RefusalKind::Invalid
    );
}

const LASTS: Lasts = Lasts { idle: Duration::from_secs(600), longest: Duration::from_secs(3600) };

/// Somebody who signed in with a new token of this name, and the secret of the session.
async fn signed_in(desk: &Desk, name: &str, role: Role) -> (Actor, String) {
    let kim = Actor::named("kim").unwrap();
    let token = desk.create_token(&kim, name, &access(role, &["acme"]), 1).await.unwrap();
    let actor = desk.actor_of(token.expose_secret()).await.unwrap().unwrap();
    let secret = desk.start_session(&actor, LASTS).await.unwrap();
    (actor, secret.expose_secret().to_owned())
}

#[sqlx::test(migrations = false)]
async fn a_session_ends_unused_in_any_case_with_its_token_and_by_its_owner(pool: PgPool) {
    let pool = with_rows(pool).await;
    let desk = Desk::new(pool.clone().into());
    let owner = &mut pool.acquire().await.unwrap();
    let (works, secret) = signed_in(&desk, "works", Role::Operator).await;
    let valid = async || desk.session(&secret, LASTS).await.unwrap();
    assert_eq!(valid().await.unwrap().actor, works, "it acts in the same role");
    assert!(!said(owner, "select * from reconciler.sessions").await.contains(&secret));
    assert!(desk.session("0000", LASTS).await.unwrap().is_none());
    let login = desk.start_session(&Actor::named("kim").unwrap(), LASTS).await;
    assert_eq!(kind(login), RefusalKind::Forbidden, "a login of the database has no role to copy");
    for column in ["idle_until", "expires_at"] {
        run(owner, &format!("update reconciler.sessions set {column} = now()")).await;
        assert!(valid().await.is_none(), "{column} has passed");
        run(owner, &format!("update reconciler.sessions set {column} = now() + interval '5 min'"))
            .await;
        assert!(valid().await.is_some(), "{column} is ahead");
    }
    run(owner, "update reconciler.sessions set last_seen_at = now() - interval '2 min', expires_at = now() + '1 h'").await;
    assert!(valid().await.is_some());
    let prolonged =
        "select idle_until > now() + interval '9 min' as is_later from reconciler.sessions";
    assert_eq!(said(owner, prolonged).await, r#"[{"is_later":true}]"#);

    let (reads, _) = signed_in(&desk, "reads", Role::Viewer).await;
    let (rules, _) = signed_in(&desk, "rules", Role::Administrator).await;
    let ids = async |actor| {
        let lines = desk.sessions(actor).await.unwrap();
        lines.iter().map(|line| line.id).collect::<Vec<_>>()
    };
    let [all, of_reads, of_works] = [ids(&rules).await, ids(&reads).await, ids(&works).await];
    assert_eq!((all.len(), of_reads.len(), of_works.len()), (3, 1, 1), "{all:?}");
    assert_eq!(kind(desk.end_session(&reads, of_works[0]).await), RefusalKind::NotFound);
    assert_eq!(kind(desk.end_session(&works, of_reads[0]).await), RefusalKind::NotFound);
    desk.end_session(&reads, of_reads[0]).await.unwrap();
    assert_eq!(kind(desk.end_session(&reads, of_reads[0]).await), RefusalKind::NotAllowedNow);
    desk.end_session(&rules, of_works[0]).await.unwrap();
    assert!(valid().await.is_none(), "an administrator ended it");
    let trail = "select what, actor from reconciler.events where subject = 'session' order by id";
    let trail = said(owner, trail).await;
    assert!(trail.contains(r#"{"what":"session.ended","actor":"token:rules"}"#), "{trail}");

    let secret = desk.start_session(&works, LASTS).await.unwrap();
    assert!(desk.session(secret.expose_secret(), LASTS).await.unwrap().is_some());
    desk.revoke_token(&Actor::named("kim").unwrap(), "works").await.unwrap();
    assert!(desk.session(secret.expose_secret(), LASTS).await.unwrap().is_none());
}
