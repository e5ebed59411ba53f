//! The statements of the hot path at size: read by index, and only what they are about, however much is queued and
//! however much is finished. A migration that loses an index fails here.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use cerby_reconciler::schema;
use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres};

/// The first tasks: as many as it takes for PostgreSQL to make statistics by itself.
const FIRST: &str = "
    insert into reconciler.automation_tasks
        (id, workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, operation, trigger, requested_at)
    overriding system value
    select 1000000 + n, 'acme', 'first-' || n, 'app-' || n % 5, 'app', 'App', 'asana_tenant', 'first-' || n,
           'jo@example.com', 'remove', 'manual', now()
    from generate_series(1, 51) n";

/// What is kept: finished tasks and finished actions.
const KEPT: &str = "
    set session_replication_role = replica;
    insert into reconciler.integrations (workspace_id, integration_id, name, kind, application)
    select 'acme', 'app-' || n, 'App', 'app', 'asana_tenant' from generate_series(0, 49) n;
    insert into reconciler.automation_tasks
        (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, operation, trigger, requested_at, ordered_at, state, closed_at, closed_reason)
    select 'acme', 's-' || n, 'app-' || n % 5, 'app', 'App', 'asana_tenant', 'member-' || n, 'jo@example.com',
           'remove', 'manual', now(), now(), 'succeeded', now(), 'seen'
    from generate_series(1, 20000) n;
    insert into reconciler.manual_actions
        (status, operation, workspace_id, integration_id, integration_name, integration_kind, application, member_id,
         member_email, trigger, reason, instructions, due_at, closed_at, task_id)
    select 'superseded', 'invite', 'acme', 'app-' || n % 5, 'App', 'app', 'asana_tenant', 'member-' || n,
           'jo@example.com', 'manual', 'r', 'i', now(), now(), n
    from generate_series(1, 20000) n;
    insert into reconciler.member_watches (workspace_id, integration_id, member_id, task_id, operation, due_at)
    select 'acme', 'app-' || n % 5, 'member-' || n, n, 'remove', now() + interval '1 day'
    from generate_series(1, 20000) n";

/// What is queued: tasks due in the future, due ones, waiting ones, and new ones.
const QUEUED: &str = "
    set session_replication_role = replica;
    insert into reconciler.automation_tasks
        (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, operation, trigger, requested_at, ordered_at)
    select 'acme', 's-' || n, 'app-0', 'app', 'App', 'asana_tenant',
           'member-' || case when n between 35000 and 39999 then n - 10000 else n end, 'jo@example.com', 'remove',
           'manual', now(), now()
    from generate_series(20001, 45000) n;
    insert into reconciler.turns
        (task_id, workspace_id, integration_id, member_id, requested_at, turn, next_attempt_at)
    select id, workspace_id, integration_id, member_id, requested_at,
           case when id between 35000 and 39999 then 'waiting' else 'head' end,
           now() + case when id between 20000 and 29999 then interval '1 hour' else interval '-1 hour' end
    from reconciler.automation_tasks where closed_at is null and ordered_at is not null;
    set session_replication_role = origin;
    insert into reconciler.automation_tasks
        (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
         member_email, operation, trigger, requested_at)
    select 'acme', 'new-' || n, 'app-' || n % 5, 'app', 'App', 'asana_tenant', 'member-' || n, 'jo@example.com',
           'remove', 'manual', now()
    from generate_series(1, 2000) n";

/// What people and snapshots are about: many actions in time and a few late ones, syncs that ended, and one thing of each
/// kind for upkeep to do.
const ASKED: &str = "
    set session_replication_role = replica;
    insert into reconciler.manual_actions
        (status, operation, workspace_id, integration_id, integration_name, integration_kind, application, member_id,
         member_email, trigger, reason, instructions, due_at, task_id)
    select 'open', 'invite', 'acme', 'app-' || 5 + n % 40, 'App', 'app', 'asana_tenant', 'asked-' || n,
           'jo@example.com', 'manual', 'r', 'i', now() + case when n % 1000 = 0 then -1 else 1 end * interval '1 day', n
    from generate_series(1, 20000) n;
    insert into reconciler.manual_actions
        (status, operation, workspace_id, integration_id, integration_name, integration_kind, application, member_id,
         member_email, trigger, reason, instructions, due_at, done_by, done_at, task_id)
    select 'done', 'invite', 'acme', 'app-46', 'App', 'app', 'asana_tenant', 'done-' || n, 'jo@example.com',
           'manual', 'r', 'i', now() + interval '1 day', 'jo', now(), n
    from generate_series(1, 50) n;
    insert into reconciler.syncs
        (workspace_id, integration_id, procedure, state, requested_at, started_at, finished_at, finished_reason, report)
    select 'acme', 'app-' || n % 50, 'check_and_apply', 'finished', now(), now() - n * interval '1 minute',
           now() - n * interval '1 minute', 'read', '{\"snapshot\": {\"complete\": true, \"members\": 5}}'
    from generate_series(1, 20000) n;
    insert into reconciler.syncs
        (workspace_id, integration_id, procedure, state, requested_at, started_at, held_reason, held_until)
    values ('acme', 'app-47', 'check_and_apply', 'held', now(), now(), 'many', now() - interval '1 hour');
    insert into reconciler.syncs (workspace_id, integration_id, procedure, next_step_at)
    values ('acme', 'app-48', 'check_and_apply', now());
    update reconciler.member_watches set due_at = now() where member_id in ('member-1', 'member-2');
    update reconciler.integrations set status = 'tripped', status_reason = 'r', status_cause = 'failures', status_until = now(),
        inactive_since = now() - interval '1 day'
    where integration_id = 'app-49';
    update reconciler.integrations set inactive_since = now() - interval '1 day', inactive_until = now()
    where integration_id = 'app-45';
    update reconciler.integrations set next_snapshot_at = now() where integration_id = 'app-44'";

/// Indexes grow by a level, and then statistics are those of a queue that was worked off, whose pages stayed: what they say
/// of a table's size holds whatever becomes of its transaction.
const WORKED_OFF: &str = "
    insert into reconciler.turns (task_id, workspace_id, integration_id, member_id, requested_at, turn, next_attempt_at)
    select n, 'acme', 'app-' || n % 50, 'later-' || n, now(), 'head', now() + n * interval '1 s'
    from generate_series(2000000, 2060000) n;
    begin;
    delete from reconciler.turns;
    analyze reconciler.turns;
    rollback";

/// The tables that grow.
const LARGE: [&str; 6] =
    ["automation_tasks", "turns", "events", "manual_actions", "member_watches", "syncs"];

/// Rows of a large table that one step of a plan may read for a hundred tasks.
const MOST_ROWS: i64 = 1000;

/// Rows likewise that upkeep may read: those that wait.
const MOST_ROWS_OF_UPKEEP: i64 = 5000;

/// Part of a statement's text, its parameters, and the pages it may touch.
type Statement = (&'static str, &'static [&'static str], i64);

/// What tasks need all the time.
const HOT: &[Statement] = &[
    ("with admitted as materialized", &["100", "'45 s'", "null", "null", "'{}'", "'{}'"], 3_000),
    (
        "set state = 'succeeded', closed_at",
        &[TASKS, WORKSPACES, TOKENS, REASONS, NONE_WORKS, NEVER],
        5_500,
    ),
    (
        "set running_job_id = held.job",
        &[TASKS, WORKSPACES, TOKENS, REASONS, WAITS, NONE_WORKS],
        5_500,
    ),
    ("k (workspace_id, integration_id, member_id)\n           cross join lateral", &KEYS, 500),
    (
        "unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[])",
        &[REASONS, WORKSPACES, TASKS, DETAILS],
        1_800,
    ),
    (
        "insert into reconciler.member_watches",
        &[KEYS[0], KEYS[1], KEYS[2], TASKS, OPERATIONS, WAITS],
        1_800,
    ),
    ("where turn = 'arrived' and task_id > $2", &["100", "0"], 1_400),
    ("select reconciler.lock_members", &KEYS, 1_700),
    (
        "as \"action_id?\", a.status as \"action_status?\"",
        &[KEYS[0], KEYS[1], KEYS[2], TIMES],
        1_300,
    ),
    ("insert into reconciler.integrations as known", &[TASKS], 1_300),
    ("with placed as", &[NEW, TURNS, WAITS, NONE_WORKS], 5_500),
    (
        "set state = $4, closed_at",
        &["30050", "'acme'", "0", "'succeeded'", "'seen'", "false", "null"],
        60,
    ),
    ("attempts = greatest(0, t.attempts", &["30050", "'acme'", "0", "'code'"], 60),
    ("reconciler.work_due(", &["0", "null"], 900),
    (
        "with next as materialized (\n               select id, workspace_id, received_at",
        &["0", "100", "0"],
        1_900,
    ),
];

/// What upkeep asks again and again, and syncs.
const NOW_AND_THEN: &[Statement] = &[
    ("select distinct workspace_id, integration_id, member_id", &[], 18_000),
    ("with orphaned as materialized", &[], 450),
    ("'nobody decided in time'", &[], 90),
    (
        "with due as materialized (\n             select workspace_id, integration_id, next_snapshot_at",
        &["86400", "'{}'", "10"],
        50,
    ),
    ("with opened as materialized", &[], 40),
    ("set status_reminded_at = clock_timestamp()", &["3600"], 40),
    ("set reminded_at = clock_timestamp()", &["100"], 400),
    ("with looks as materialized", &["10"], 120),
    ("where finished_at < now() - make_interval(days => $1)", &["90", "100"], 20),
    ("reconciler.delete_old_events", &["90", "100"], 40),
    (
        "where s.state in ('requested', 'started', 'report_ready', 'applying')",
        &["10", "'45 s'"],
        40,
    ),
    ("set state = $4, finished_at", &["20002", "'acme'", "0", "'finished'", "'read'", "'{}'"], 40),
    ("locked.snapshots, locked.reopened_count", &["'acme'", "'app-7'", "now()"], 4_000),
    ("select a.id, a.status = 'done' as", &["'acme'", "'app-7'", "1"], 20),
    ("set status = $2, verdict = $3", &["20001", "'not_needed'", "'confirmed'", "'seen'"], 40),
    ("set status = 'superseded', observed", &["array[20001]", "array[1]"], 40),
    ("select distinct on (member_id)", &["'acme'", "'app-6'"], 20),
    ("as \"members!\" from reconciler.syncs", &["'acme'", "'app-7'"], 20),
    ("select task_id, member_id, operation, since, looks", &["'acme'", "'app-7'", "now()"], 20),
    ("sum(unexpected_removals)", &["'acme'", "'app-7'"], 20),
    (
        "set state = 'escalated', closed_reason",
        &["'acme'", "'app-1'", "'member-1'", "1", "'why'"],
        50,
    ),
    (
        "with ended as (\n             delete from reconciler.turns t",
        &["array[30001]", "array[1]"],
        50,
    ),
    ("n.acted_until is not null and n.state <> 'succeeded'", &[TASKS], 2_500),
    ("with hastened as", &["array[30001]", "array[1]"], 50),
    ("set turn = 'waiting' where", &["array[30001]"], 30),
    ("set turn = 'head',", &["array[30001]"], 30),
];

const TASKS: &str = "(select array_agg(30000 + n) from generate_series(1, 100) n)";
const NEW: &str = "(select array_agg(id) from (select task_id as id from reconciler.turns where turn = 'arrived' order by task_id limit 100) a)";
const WORKSPACES: &str = "(select array_agg('acme'::text) from generate_series(1, 100))";
const TOKENS: &str = "(select array_agg(0::bigint) from generate_series(1, 100))";
const REASONS: &str = "(select array_agg('seen'::text) from generate_series(1, 100))";
const OPERATIONS: &str = "(select array_agg('remove'::text) from generate_series(1, 100))";
const TURNS: &str = "(select array_agg('waiting'::text) from generate_series(1, 100))";
const NONE_WORKS: &str = "(select array_agg(true) from generate_series(1, 100))";
const DETAILS: &str = "(select array_agg('{}'::jsonb) from generate_series(1, 100))";
const WAITS: &str = "(select array_agg(interval '1 s') from generate_series(1, 100))";
const NEVER: &str = "(select array_agg(null::interval) from generate_series(1, 100))";
const TIMES: &str = "(select array_agg(now()) from generate_series(1, 100))";
const KEYS: [&str; 3] = [
    WORKSPACES,
    "(select array_agg('app-0'::text) from generate_series(1, 100))",
    "(select array_agg('member-' || n order by n) from generate_series(30001, 30100) n)",
];

#[sqlx::test(migrations = false)]
async fn statements_of_the_hot_path_read_by_index_and_only_what_they_are_about(pool: PgPool) {
    schema::migrate(&pool).await.unwrap();
    // In sessions of their own, for they change a setting that has statements planned anew.
    pool.execute(KEPT).await.unwrap();
    let mut connection = session(&pool).await;
    let statements = prepare(&mut connection, HOT).await;
    pool.execute(QUEUED).await.unwrap();
    check(&mut connection, &statements, MOST_ROWS, "made when nothing was queued").await;
    connection.execute("discard plans").await.unwrap();
    for statistics in ["made with the statistics of an empty queue", "made with true statistics"] {
        check(&mut connection, &statements, MOST_ROWS, statistics).await;
        connection.execute("vacuum analyze").await.unwrap();
    }
    connection.execute(WORKED_OFF).await.unwrap();
    connection.execute("discard plans").await.unwrap();
    check(
        &mut connection,
        &statements,
        MOST_ROWS,
        "made with the statistics of a queue worked off",
    )
    .await;
}

#[sqlx::test(migrations = false)]
async fn plans_made_when_few_tasks_had_come_suit_a_full_database(pool: PgPool) {
    schema::migrate(&pool).await.unwrap();
    pool.execute(FIRST).await.unwrap();
    let mut connection = session(&pool).await;
    let statements = prepare(&mut connection, HOT).await;
    pool.execute(KEPT).await.unwrap();
    pool.execute(QUEUED).await.unwrap();
    check(&mut connection, &statements, MOST_ROWS, "made when few tasks had come").await;
}

#[sqlx::test(migrations = false)]
async fn upkeep_and_syncs_read_by_index_and_only_what_they_are_about(pool: PgPool) {
    schema::migrate(&pool).await.unwrap();
    pool.execute(FIRST).await.unwrap();
    let mut connection = session(&pool).await;
    let statements = prepare(&mut connection, NOW_AND_THEN).await;
    for statements_of in [KEPT, QUEUED, ASKED] {
        pool.execute(statements_of).await.unwrap();
    }
    check(&mut connection, &statements, MOST_ROWS_OF_UPKEEP, "made when few tasks had come").await;
    connection.execute("discard plans").await.unwrap();
    for statistics in ["made with the statistics of a few tasks", "made with true statistics"] {
        check(&mut connection, &statements, MOST_ROWS_OF_UPKEEP, statistics).await;
        connection.execute("vacuum analyze").await.unwrap();
    }
}

/// A session with the daemon's settings, and statistics of what is there now.
async fn session(pool: &PgPool) -> PoolConnection<Postgres> {
    let mut connection = pool.acquire().await.unwrap();
    for (setting, value) in schema::PLANNING {
        connection.execute(AssertSqlSafe(format!("set {setting} = {value}"))).await.unwrap();
    }
    connection.execute("set reconciler.orders_arrivals = 'true'").await.unwrap();
    connection.execute("set reconciler.actor = 'daemon'").await.unwrap();
    connection.execute("vacuum analyze").await.unwrap();
    connection
}

/// A prepared statement, its parameters, and the pages it may touch.
struct Prepared {
    part: &'static str,
    name: String,
    parameters: &'static [&'static str],
    most: i64,
}

/// Prepares the statements, and has them planned for the tables as they are: a session keeps such a plan until
/// statistics are made anew.
async fn prepare(connection: &mut PgConnection, wanted: &[Statement]) -> Vec<Prepared> {
    let queries = queries();
    let mut statements = Vec::new();
    for (number, (part, parameters, most)) in wanted.iter().enumerate() {
        let name = format!("hot_{number}");
        let prepare = format!("prepare {name} as {}", only(&queries, part));
        connection.execute(AssertSqlSafe(prepare)).await.unwrap();
        let statement = Prepared { part, name, parameters, most: *most };
        plan(connection, &statement).await;
        statements.push(statement);
    }
    statements
}

async fn check(
    connection: &mut PgConnection,
    statements: &[Prepared],
    most_rows_of_one: i64,
    what: &str,
) {
    for statement in statements {
        let plan = plan(connection, statement).await;
        let plan_of = format!("the plan {what} of {}", statement.part);
        let large = read_whole(&plan["Plan"]);
        assert!(large.is_empty(), "{plan_of} reads all of {large:?}: {plan:#}");
        let rows = most_rows(&plan["Plan"]);
        assert!(rows <= most_rows_of_one, "{plan_of} reads {rows} rows: {plan:#}");
        let touched = touched(&plan);
        let most = statement.most;
        assert!(touched <= most, "{plan_of} touches {touched} pages, not {most}: {plan:#}");
    }
}

/// The texts of all statements, as they are recorded.
fn queries() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let text = |entry: std::io::Result<fs::DirEntry>| {
        let recorded = fs::read_to_string(entry.unwrap().path()).unwrap();
        let recorded: Value = serde_json::from_str(&recorded).unwrap();
        recorded["query"].as_str().unwrap().to_owned()
    };
    fs::read_dir(folder).unwrap().map(text).collect()
}

/// The one statement with this part.
fn only<'a>(queries: &'a [String], part: &str) -> &'a str {
    let found: Vec<_> = queries.iter().filter(|query| query.contains(part)).collect();
    assert_eq!(found.len(), 1, "statements with {part:?}");
    found[0]
}

/// The most rows of a large table that one node of the plan reads; what it leaves out counts too.
fn most_rows(node: &Value) -> i64 {
    let is_large = LARGE.contains(&node["Relation Name"].as_str().unwrap_or_default());
    let rows = |kind: &str| node[kind].as_i64().unwrap_or(0);
    let read = rows("Actual Rows") + rows("Rows Removed by Filter");
    let own = if is_large { read * rows("Actual Loops") } else { 0 };
    let children = node["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    children.iter().map(most_rows).fold(own, i64::max)
}

/// The plan with which a statement ran; what it wrote is rolled back.
async fn plan(connection: &mut PgConnection, statement: &Prepared) -> Value {
    let mut tx = connection.begin().await.unwrap();
    let mut values = Vec::new();
    for parameter in statement.parameters {
        let quoted = format!("select quote_nullable(({parameter})::text)");
        let value: String =
            sqlx::query_scalar(AssertSqlSafe(quoted)).fetch_one(&mut *tx).await.unwrap();
        values.push(value);
    }
    let arguments = match values.as_slice() {
        [] => String::new(),
        some => format!("({})", some.join(", ")),
    };
    let execute = format!("execute {}{arguments}", statement.name);
    let explain = format!("explain (analyze, buffers, format json) {execute}");
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    plan[0].clone()
}

/// Large tables that the plan reads from one end to the other.
fn read_whole(node: &Value) -> Vec<String> {
    let table = node["Relation Name"].as_str().unwrap_or_default();
    let is_scan = node["Node Type"] == "Seq Scan" && LARGE.contains(&table);
    let own = is_scan.then(|| table.to_owned());
    let children = node["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    own.into_iter().chain(children.iter().flat_map(read_whole)).collect()
}

fn touched(plan: &Value) -> i64 {
    let pages = |kind: &str| plan["Plan"][kind].as_i64().unwrap_or(0);
    pages("Shared Hit Blocks") + pages("Shared Read Blocks")
}

/// Of all that was due, and of all that came, fifty are left.
const DONE: &str = "
    update reconciler.turns set next_attempt_at = now() where task_id between 43001 and 43050;
    delete from reconciler.turns where turn = 'head' and next_attempt_at < now();
    delete from reconciler.turns where turn = 'arrived' and task_id not in
        (select task_id from reconciler.turns where turn = 'arrived' order by task_id desc limit 50)";

/// Pages that the done among them fill at least.
const PAGES_OF_DONE: i64 = 30;

/// A statement, its parameters from the first row on, and those of who knows what is done.
const LOOKS: [(&str, &[&str], &[&str]); 3] = [
    (
        "with admitted as materialized",
        &["50", "'45 s'", "null", "null", "'{}'", "'{}'"],
        &[
            "50",
            "'45 s'",
            "null",
            "null",
            "'{}'",
            "jsonb_build_object('acme', jsonb_build_object('app-0', now() - interval '1 s'))",
        ],
    ),
    (
        "where turn = 'arrived' and task_id > $2",
        &["50", "0"],
        &["50", "(select min(task_id) - 1 from reconciler.turns where turn = 'arrived')"],
    ),
    (
        "reconciler.work_due(",
        &["0", "null"],
        &["(select min(task_id) - 1 from reconciler.turns where turn = 'arrived')", "'1 s'"],
    ),
];

#[sqlx::test(migrations = false)]
async fn nobody_walks_over_what_was_done_while_somebody_reads(pool: PgPool) {
    schema::migrate(&pool).await.unwrap();
    pool.execute(KEPT).await.unwrap();
    pool.execute(QUEUED).await.unwrap();
    let mut connection = session(&pool).await;
    let queries = queries();
    let mut reader = pool.begin_with("begin isolation level repeatable read").await.unwrap();
    reader.execute("select from reconciler.turns limit 1").await.unwrap();
    connection.execute(DONE).await.unwrap();
    for (part, from_the_first, from_the_floor) in LOOKS {
        let prepare = format!("prepare look as {}", only(&queries, part));
        connection.execute(AssertSqlSafe(prepare)).await.unwrap();
        let look = |parameters| Prepared { part, name: "look".to_owned(), parameters, most: 0 };
        let whole = touched(&plan(&mut connection, &look(from_the_first)).await);
        let rest = touched(&plan(&mut connection, &look(from_the_floor)).await);
        assert!(rest + PAGES_OF_DONE <= whole, "{part} touches {rest} pages, or {whole}");
        connection.execute("deallocate look").await.unwrap();
    }
    reader.rollback().await.unwrap();
}

/// Columns that are written all the time, and an index that would be written with them.
const WRITTEN_AND_INDEXED: &str = r"
    select c.relname || '.' || a.attname || ': ' || pg_get_indexdef(i.indexrelid)
    from pg_index i
    join pg_class c on c.oid = i.indrelid and c.relnamespace = 'reconciler'::regnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where (c.relname = 'automation_tasks' and has_column_privilege('reconciler_daemon', c.oid, a.attnum, 'UPDATE')
           or c.relname = 'turns' and a.attname in ('lease_token', 'lease_until', 'unreleased_claims', 'trying_since',
                                                    'uncertain_since'))
      and pg_get_indexdef(i.indexrelid) ~ ('\m' || a.attname || '\M')";

#[sqlx::test(migrations = false)]
async fn no_index_is_written_when_a_task_is_claimed_goes_on_or_ends(pool: PgPool) {
    schema::migrate(&pool).await.unwrap();
    let indexed: Vec<String> =
        sqlx::query_scalar(WRITTEN_AND_INDEXED).fetch_all(&pool).await.unwrap();
    assert!(indexed.is_empty(), "{indexed:#?}");
    let broken = "create index closed on reconciler.automation_tasks (id) where closed_at is null";
    sqlx::query(broken).execute(&pool).await.unwrap();
    let indexed: Vec<String> =
        sqlx::query_scalar(WRITTEN_AND_INDEXED).fetch_all(&pool).await.unwrap();
    assert_eq!(indexed.len(), 1, "an index that would be written is seen");
}
