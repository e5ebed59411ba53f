//! The sessions of people and of the backend in SQL, and the pages that describe them.

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};

use crate::support::{APP, WORKSPACE, World, a_failed};
use testkit::simulator::{Member, Settings};

/// The words of our own refusals.
const REFUSALS: [&str; 4] = ["P0002", "P0403", "P0409", "P0410"];

/// A session of a login of its own in a role. The name is unique in the cluster, as other tests create logins beside
/// this one.
async fn login(pool: &PgPool, role: &str, name: &str) -> (PgConnection, String) {
    let database: String = sqlx::query_scalar("select right(current_database(), 20)")
        .fetch_one(pool)
        .await
        .expect("the database answers");
    let name = format!("{name}_{}", database.to_lowercase().replace('-', "_"));
    run(pool, &format!("drop role if exists {name}; create role {name} login in role {role}"))
        .await;
    let options = (*pool.connect_options()).clone();
    let mut session = PgConnection::connect_with(&options).await.expect("a connection");
    let switch = format!("set session authorization {name}");
    sqlx::raw_sql(AssertSqlSafe(switch)).execute(&mut session).await.expect("the login exists");
    (session, name)
}

async fn run(pool: &PgPool, statement: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(pool).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// The first row of a query, its columns as text, joined by `|`; a refusal as its message and hint.
async fn says(session: &mut PgConnection, query: &str) -> String {
    lines(session, query).await.join("\n")
}

async fn lines(session: &mut PgConnection, query: &str) -> Vec<String> {
    let query = format!("select concat_ws('|', variadic array(select value from json_each_text(to_json(q)) with
                         ordinality e (key, value, place) order by place)) as line
                         from (select row_number() over () as n, q.* from ({query}) q) q order by n");
    match sqlx::query(AssertSqlSafe(query)).fetch_all(session).await {
        Ok(rows) => rows.iter().map(|row| row.get::<String, _>("line")).collect(),
        Err(error) => vec![refusal(&error)],
    }
}

fn refusal(error: &sqlx::Error) -> String {
    let Some(error) = error.as_database_error() else { panic!("{error}") };
    let error = error.downcast_ref::<sqlx::postgres::PgDatabaseError>();
    [error.message(), error.hint().unwrap_or_default()].join(" / ")
}

/// A world with one open action for each of these members, to remove them from the app.
async fn with_actions(pool: PgPool, members: &[&'static str]) -> World {
    let mut apps = crate::support::apps();
    for id in members {
        apps = apps.member(
            WORKSPACE,
            APP,
            Member::new(id, &format!("{id}@example.com")).with(&["VIEWER"]),
        );
    }
    let world = World::with(pool, apps, Settings::default()).await;
    for member in members {
        world.insert(&a_failed("remove", APP, member).code("NotEnoughSeats")).await;
        world.drive().await;
    }
    world
}

const ROW: &str = r#"{"workspace_id": "acme", "source_id": "run-1/jo", "integration_id": "an-app",
    "integration_kind": "app", "integration_name": "An app", "application": "asana_tenant", "member_id": "jo",
    "member_email": "jo@example.com", "operation": "remove", "trigger": "manual", "requested_at": "now"}"#;

#[sqlx::test(migrations = false)]
async fn the_backend_enqueues_a_row_as_json_and_asks_what_became_of_it(pool: PgPool) {
    let world = World::new(pool).await;
    let (mut backend, _) = login(&world.pool, "reconciler_backend", "backend").await;
    let first = says(&mut backend, &format!("select reconciler.enqueue_task('{ROW}') as id")).await;
    let again = says(&mut backend, &format!("select reconciler.enqueue_task('{ROW}') as id")).await;
    assert_eq!(first, again, "the same row");
    let status = "select state, reason, action_id from reconciler.task_status('acme', 'run-1/jo')";
    let waiting = says(&mut backend, status).await;
    assert!(waiting.contains("pending|It has just arrived."), "{waiting}");
    world.drive().await;
    assert!(says(&mut backend, status).await.contains("succeeded"), "and later how it ended");
    assert_eq!(says(&mut backend, &status.replace("run-1", "run-2")).await, "", "no such row");
}

#[sqlx::test(migrations = false)]
async fn a_row_as_json_is_refused_with_the_key_that_is_wrong(pool: PgPool) {
    let world = World::new(pool).await;
    let (mut backend, _) = login(&world.pool, "reconciler_backend", "backend").await;
    for (from, to, words) in [
        ("\"trigger\"", "\"triger\"", "a task has no triger"),
        (
            "\"manual\"",
            "\"by hand\"",
            "trigger_is_manual_workspace_policy_system_or_user_deprovisioned",
        ),
        ("\"acme\"", "null", "a task needs workspace_id"),
        ("\"now\"", "\"2001-01-01\"", "requested_at_is_at_most_10_years_ago"),
        (
            "\"requested_at\"",
            "\"failure_screenshot_url\": \"javascript:alert(1)\", \"requested_at\"",
            "failure_screenshot_url_begins_with_https_or_http",
        ),
    ] {
        let row = ROW.replace(from, to);
        let refused = says(&mut backend, &format!("select reconciler.enqueue_task('{row}')")).await;
        assert!(refused.contains(words), "{to}: {refused}");
    }
    let refused = says(&mut backend, "select reconciler.enqueue_task('[]')").await;
    assert!(refused.starts_with("a task is a JSON object, not array"), "{refused}");
}

#[sqlx::test(migrations = false)]
async fn the_backend_inserts_with_returning_and_on_conflict(pool: PgPool) {
    let world = World::new(pool).await;
    let (mut backend, _) = login(&world.pool, "reconciler_backend", "backend").await;
    let insert = "with inserted as (
            insert into reconciler.automation_tasks
                (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
                 member_email, operation, trigger, requested_at)
            values ('acme', 'run-1/jo', 'an-app', 'app', 'An app', 'asana_tenant', 'jo', 'jo@example.com', 'remove',
                    'manual', now())
            on conflict (workspace_id, source_id) do nothing
            returning id, source_id)
        select * from inserted";
    let mut inserted = Vec::new();
    for _ in 0..2 {
        let rows = sqlx::query(insert).fetch_all(&mut backend).await.expect("it is allowed");
        inserted.push(rows.len());
    }
    assert_eq!(inserted, [1, 0]);
    let refused = says(&mut backend, "select member_email from reconciler.automation_tasks").await;
    assert!(refused.starts_with("permission denied"), "{refused}");
}

#[sqlx::test(migrations = false)]
async fn of_several_actions_each_gets_an_answer_and_a_refused_one_keeps_nobody_back(pool: PgPool) {
    let world = with_actions(pool, &["ann", "bob", "cid"]).await;
    let (mut kim, _) = login(&world.pool, "reconciler_operator", "kim").await;
    let (mut lee, _) = login(&world.pool, "reconciler_operator", "lee").await;
    let claimed = "select id, became from reconciler.claim(2)";
    assert_eq!(says(&mut kim, claimed).await, "1|2|in_progress");
    let answers = lines(&mut lee, "select * from reconciler.claim(array[3, 2, 1, 99])").await;
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert!(answers[0].starts_with("1|1|in_progress"), "{answers:?}");
    assert!(answers[1].contains("manual action 2 is in progress: kim"), "{answers:?}");
    assert!(answers[2].starts_with("3|3|in_progress"), "{answers:?}");
    assert!(answers[3].contains("there is no manual action 99"), "{answers:?}");
    let done =
        lines(&mut lee, "select id, became from reconciler.mark_done(array[1, 3], 'gone')").await;
    assert_eq!(done, ["1|1|done", "2|3|done"]);
    assert_eq!(says(&mut lee, "select became from reconciler.withdraw(3)").await, "1|open");
    assert_eq!(
        says(&mut lee, "select became from reconciler.dismiss(3, 'stays')").await,
        "1|dismissed"
    );
}

#[sqlx::test(migrations = false)]
async fn a_refusal_names_the_colleague_the_time_and_what_to_do(pool: PgPool) {
    let world = with_actions(pool, &["ann", "bob"]).await;
    let (mut kim, kim_login) = login(&world.pool, "reconciler_operator", "kim").await;
    let (mut lee, lee_login) = login(&world.pool, "reconciler_operator", "lee").await;
    says(&mut kim, "select * from reconciler.claim(1)").await;
    let refused = says(&mut lee, "select * from reconciler.claim(1)").await;
    let words = format!("manual action 1 is in progress: {kim_login} has worked on it since 20");
    assert!(refused.starts_with(&words), "{refused}");
    assert!(refused.ends_with("select * from reconciler.claim(1, 'why')"), "{refused}");
    let nobody = says(&mut kim, "select * from reconciler.hand_over(1, 'lea', 'knows it')").await;
    assert!(
        nobody.starts_with(
            "nobody who may work on manual actions of workspace acme is called lea / Logins: "
        ),
        "{nobody}"
    );
    assert!(nobody.contains(&lee_login), "{nobody}");
    let bind = async |workspaces: &str| {
        let bound = format!(
            "insert into reconciler.login_workspaces values ('{lee_login}', '{workspaces}')
                             on conflict (login) do update set workspaces = excluded.workspaces"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(bound)).execute(&world.pool).await.unwrap();
    };
    let given = format!("select became from reconciler.hand_over(1, '{lee_login}', 'knows it')");
    bind("{globex}").await;
    let elsewhere = says(&mut kim, &given).await;
    assert!(
        elsewhere.starts_with("nobody who may work on manual actions of workspace"),
        "{elsewhere}"
    );
    bind("{acme,globex}").await;
    assert_eq!(says(&mut kim, &given).await, "1|in_progress");
    says(&mut lee, "select * from reconciler.mark_done(1)").await;
    let second = says(&mut kim, "select * from reconciler.mark_done(1)").await;
    assert!(
        second
            .starts_with(&format!("manual action 1 was marked done before: by {lee_login} at 20")),
        "{second}"
    );
    sqlx::query("update reconciler.manual_actions set note = 'seen' where id = 2")
        .execute(&mut kim)
        .await
        .unwrap();
    let old = sqlx::query("update reconciler.manual_actions set status = 'dismissed' where id = 2")
        .execute(&mut kim)
        .await;
    let old = refusal(&old.unwrap_err());
    assert!(old.contains("its note is older than this change: it was written at 20"), "{old}");
    says(&mut kim, "select * from reconciler.dismiss(2, 'stays')").await;
    let late = says(&mut kim, "select * from reconciler.mark_done(2, 'gone')").await;
    assert!(late.starts_with("manual action 2 has ended: it is dismissed since 20"), "{late}");
}

#[sqlx::test(migrations = false)]
async fn the_daily_questions_are_views(pool: PgPool) {
    let world = with_actions(pool, &["ann", "bob", "cid"]).await;
    let (mut kim, _) = login(&world.pool, "reconciler_operator", "kim").await;
    let (mut lee, _) = login(&world.pool, "reconciler_operator", "lee").await;
    says(&mut kim, "select * from reconciler.claim(1)").await;
    let ids = "select id from reconciler.my_work";
    assert_eq!(lines(&mut kim, ids).await, ["1|1", "2|2", "3|3"]);
    assert_eq!(lines(&mut lee, ids).await, ["1|2", "2|3"]);
    let by_app = "select operation, cause, actions, unclaimed, overdue from reconciler.work_by_app";
    assert_eq!(says(&mut lee, by_app).await, "1|remove|NotEnoughSeats|3|2|0");
    says(&mut kim, "select * from reconciler.mark_done(1)").await; // a lie
    world.drive().await;
    let contradicted =
        says(&mut lee, "select id, times, called_done_by from reconciler.contradicted").await;
    assert!(contradicted.starts_with("1|1|1|kim"), "{contradicted}");
}

#[sqlx::test(migrations = false)]
async fn a_deadline_stands_still_while_its_integration_is_not_active(pool: PgPool) {
    let world = with_actions(pool, &["ann"]).await;
    let (mut kim, _) = login(&world.pool, "reconciler_operator", "kim").await;
    // No role may write these columns, and triggers guard them.
    let past = "set local session_replication_role = replica;
        update reconciler.manual_actions set opened_at = now() - interval '5 hours', due_at = now() - interval '1 hour'";
    run(&world.pool, &format!("begin; {past}; commit")).await;
    let overdue = "select id, late_by > interval '59 minutes' as late from reconciler.overdue";
    assert_eq!(says(&mut kim, overdue).await, "1|1|true");
    run(
        &world.pool,
        "update reconciler.integration_states set inactive_since = now() - interval '3 hours'",
    )
    .await;
    assert_eq!(says(&mut kim, overdue).await, "");
    let listed =
        "select overdue, due_at > now() + interval '1 hour' as later from reconciler.action_list";
    assert_eq!(says(&mut kim, listed).await, "1|false|true");
}

#[sqlx::test(migrations = false)]
async fn a_task_says_what_it_waits_for_and_who_can_change_that(pool: PgPool) {
    let world = with_actions(pool, &["ann"]).await;
    let (mut kim, _) = login(&world.pool, "reconciler_operator", "kim").await;
    let why = "select why from reconciler.why_waiting";
    let other = world.insert(&a_failed("change_role", APP, "ann")).await;
    assert!(says(&mut kim, why).await.contains("It has just arrived."));
    world.order().await;
    says(&mut kim, "select * from reconciler.claim(1)").await;
    let behind = says(&mut kim, why).await;
    let words = "Behind manual action 1 of the same member, which is in_progress.";
    assert!(behind.contains(words), "{behind}");
    let asked = format!("select became from reconciler.cancel_task({other}, 'not needed')");
    assert_eq!(says(&mut kim, &asked).await, "1|cancellation requested");
    world.insert(&a_failed("remove", APP, "bob")).await;
    world.order().await;
    let paused = format!(
        "select became from reconciler.pause('{WORKSPACE}', '{APP}', 'the vendor works on it')"
    );
    assert_eq!(says(&mut kim, &paused).await, "1|paused");
    let held = says(&mut kim, &format!("{why} where member_id = 'bob'")).await;
    assert!(held.contains("Integration an-app is paused since 20"), "{held}");
    assert!(held.ends_with("the vendor works on it. A person resumes it."), "{held}");
    let resumed = format!("select became from reconciler.resume('{WORKSPACE}', array['{APP}'])");
    assert_eq!(says(&mut kim, &resumed).await, "1|active");
}

#[sqlx::test(migrations = false)]
async fn actions_that_are_named_go_back_to_automation_behind_a_canary(pool: PgPool) {
    let world = with_actions(pool, &["ann", "bob", "cid"]).await;
    let (mut kim, _) = login(&world.pool, "reconciler_operator", "kim").await;
    let sent = lines(
        &mut kim,
        "select * from reconciler.return_to_automation(array[3, 1, 77], 'fixed') order by id",
    )
    .await;
    assert!(sent[0].starts_with("1|1|returned"), "{sent:?}");
    assert!(sent[1].contains("3|waits for the canary of return 1"), "{sent:?}");
    assert!(sent[2].contains("there is no manual action 77"), "{sent:?}");
    assert_eq!(
        says(&mut kim, "select became from reconciler.return_to_automation(2, 'fixed')").await,
        "1|returned"
    );
}

/// Runs the SQL of a page, block by block, in one session. A block is refused only as the page says, or because the row
/// that it names is in another state here.
async fn play(session: &mut PgConnection, page: &str) -> usize {
    let path = format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the page");
    let mut blocks = 0;
    for part in text.split("\n```sql").skip(1) {
        let (info, rest) = part.split_once('\n').expect("a block");
        let (block, _) = rest.split_once("\n```").expect("the end of a block");
        blocks += 1;
        let is_refused = info.trim() == "refused";
        match sqlx::raw_sql(AssertSqlSafe(block.to_owned())).execute(&mut *session).await {
            Ok(_) => assert!(!is_refused, "{page} says that this is refused: {block}"),
            Err(error) => {
                let code = error
                    .as_database_error()
                    .and_then(|error| error.code().map(|code| code.into_owned()));
                let is_ours = code.as_deref().is_some_and(|code| REFUSALS.contains(&code));
                assert!(is_refused || is_ours, "{page}: {error}\n{block}");
            }
        }
    }
    blocks
}

#[sqlx::test(migrations = false)]
async fn the_page_for_operators_works_as_written(pool: PgPool) {
    let members = ["ann", "bob", "cid", "dan", "eve", "fay", "gus"];
    let world = with_actions(pool, &members).await;
    let (mut kim, _) = login(&world.pool, "reconciler_operator", "anna").await;
    assert!(play(&mut kim, "operators.md").await > 10);
    let (mut viewer, _) = login(&world.pool, "reconciler_viewer", "vic").await;
    for view in [
        "work_by_app",
        "my_work",
        "overdue",
        "contradicted",
        "held_reports",
        "why_waiting",
        "unresolved_webhook_events",
    ] {
        let read = sqlx::query(AssertSqlSafe(format!("select * from reconciler.{view}")))
            .fetch_all(&mut viewer)
            .await;
        read.unwrap_or_else(|error| panic!("{view}: {error}"));
    }
}

#[sqlx::test(migrations = false)]
async fn the_page_for_the_backend_works_as_written(pool: PgPool) {
    let world = World::new(pool).await;
    // Logins are those of the whole server, and the page creates them.
    run(&world.pool, "drop role if exists cerby_backend; drop role if exists cerby_daemon").await;
    let mut session = world.pool.acquire().await.unwrap();
    assert!(play(&mut session, "integrate.md").await > 5);
}

#[sqlx::test(migrations = false)]
async fn what_people_meet_explains_itself(pool: PgPool) {
    let world = World::new(pool).await;
    let silent: Vec<String> = sqlx::query_scalar(
        "select c.relname || '.' || a.attname
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relnamespace = 'reconciler'::regnamespace and c.relkind in ('r', 'v')
           and has_table_privilege('reconciler_viewer', c.oid, 'select') and c.relname <> 'schema_migrations'
           and col_description(c.oid, a.attnum) is null
         union all
         select c.relname from pg_class c
         where c.relnamespace = 'reconciler'::regnamespace and c.relkind in ('r', 'v')
           and has_table_privilege('reconciler_viewer', c.oid, 'select') and c.relname <> 'schema_migrations'
           and obj_description(c.oid, 'pg_class') is null
         union all
         select p.oid::regprocedure::text from pg_proc p
         where p.pronamespace = 'reconciler'::regnamespace and p.prorettype <> 'trigger'::regtype
           and (has_function_privilege('reconciler_operator', p.oid, 'execute')
                or has_function_privilege('reconciler_backend', p.oid, 'execute'))
           and obj_description(p.oid, 'pg_proc') is null
         order by 1",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert!(silent.is_empty(), "without a comment: {silent:#?}");
}
