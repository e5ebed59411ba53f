//! Every lock that a login can take, held until everybody else has finished.

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::env::{DESK, Env, HERE, Row, VICTIM};
use super::support::eventually;

/// Who leaves what open.
struct Culprit {
    role: &'static str,
    does: &'static str,
    statements: &'static str,
}

const fn culprit(role: &'static str, does: &'static str, statements: &'static str) -> Culprit {
    Culprit { role, does, statements }
}

const OPERATOR: &str = "reconciler_operator";
const VIEWER: &str = "reconciler_viewer";
const BACKEND: &str = "reconciler_backend";

const OF_OPERATORS: [Culprit; 10] = [
    culprit(
        OPERATOR,
        "writes a note on one member's action and goes to lunch",
        "update reconciler.manual_actions set note = 'x' where member_id = 'victim'",
    ),
    culprit(
        OPERATOR,
        "says done of one action and does not commit",
        "update reconciler.manual_actions set status = 'done' where member_id = 'victim'",
    ),
    culprit(
        OPERATOR,
        "locks the actions of an app",
        "select * from reconciler.manual_actions where workspace_id = 'acme' and integration_id = 'desk' for update",
    ),
    culprit(
        OPERATOR,
        "changes all actions of an app",
        "update reconciler.manual_actions set note = 'x', status = 'in_progress'
         where workspace_id = 'acme' and integration_id = 'desk' and status = 'open'",
    ),
    culprit(
        OPERATOR,
        "locks syncs that are requested, held and running",
        "select * from reconciler.syncs where integration_id = 'desk' for update",
    ),
    culprit(
        OPERATOR,
        "decides on a held report and does not commit",
        "update reconciler.syncs set decision = 'rejected', decision_reason = 'x' where state = 'held'",
    ),
    culprit(
        OPERATOR,
        "limits an app and does not commit",
        "update reconciler.integrations set max_in_flight = 7 where workspace_id = 'acme' and integration_id = 'desk'",
    ),
    culprit(
        OPERATOR,
        "pauses an app and does not commit",
        "update reconciler.integrations set status = 'paused', status_reason = 'x'
         where workspace_id = 'acme' and integration_id = 'desk'",
    ),
    culprit(
        OPERATOR,
        "sends the actions of an app back and does not commit",
        "select reconciler.return_to_automation('acme', 'desk', null, null, 'x')",
    ),
    culprit(
        OPERATOR,
        "asks for a snapshot and does not commit",
        "select reconciler.request_snapshot('acme', 'desk')",
    ),
];

const ADVISORY: &str = "
    select pg_advisory_lock(hashtextextended('reconciler.intake', 0)),
           pg_advisory_lock(hashtextextended('reconciler.nudges', 0)),
           pg_advisory_lock(hashtextextended('reconciler.upkeep', 0)),
           pg_advisory_lock(hashtextextended('reconciler.schema_migrations', 0))";

const OF_OTHERS: [Culprit; 4] = [
    culprit(VIEWER, "takes the advisory locks", ADVISORY),
    culprit(
        VIEWER,
        "reads everything in a long transaction, and listens",
        "set transaction isolation level serializable;
         listen reconciler;
         select count(*) from reconciler.automation_tasks, reconciler.manual_actions, reconciler.events",
    ),
    culprit(BACKEND, "takes the advisory locks", ADVISORY),
    culprit(
        BACKEND,
        "inserts and does not commit",
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
              member_email, operation, trigger, requested_at)
         select 'acme', 'open-' || m, 'desk', 'app', 'Desk', 'asana_tenant', m, m || '@example.com', 'remove',
                'manual', now()
         from generate_series(1, 50) n, unnest(array['victim', 'n' || n]) m where m <> 'victim' or n = 1",
    ),
];

/// A sync of the app in each state that a person can lock.
const SYNCS: &str = "
    insert into reconciler.syncs (workspace_id, integration_id, procedure, state, next_step_at, started_at, held_reason,
                                  held_until)
    values ('acme', 'desk', 'check_and_apply', 'requested', now() + interval '1 day', null, null, null),
           ('acme', 'desk', 'check_and_apply', 'held', now(), now(), 'x', now() + interval '1 day');
    insert into reconciler.syncs (workspace_id, integration_id, procedure, state, next_step_at, started_at,
                                  running_job_id, running_since)
    values ('other', 'desk', 'check_and_apply', 'started', now() + interval '1 day', now(), 'x', now())";

async fn with_a_victim(pool: PgPool) -> Env {
    let env = Env::new(pool).await;
    env.with_action(Row::removal(DESK, VICTIM).needs_no_automation()).await;
    env.own(SYNCS).await;
    env
}

async fn hold(env: &Env, role: &str, statements: &str) -> PgConnection {
    let mut session = env.session(role).await;
    let open = format!("begin; {statements}");
    sqlx::raw_sql(AssertSqlSafe(open)).execute(&mut session).await.unwrap();
    session
}

async fn nobody_else_notices(pool: PgPool, culprits: &[Culprit]) {
    let env = with_a_victim(pool).await;
    let undisturbed = env.undisturbed().await;
    for Culprit { role, does, statements } in culprits {
        let session = hold(&env, role, statements).await;
        let disturbed = env.round().await;
        disturbed.assert_like(&undisturbed, &format!("{role} {does}"));
        session.close().await.unwrap();
        println!("{:?} for {:?}: {role} {does}", disturbed.longest(), undisturbed.longest());
    }
    for event in ["database.unreachable", "outcome.not_recorded", "upkeep.step_failed"] {
        assert_eq!(env.said(event), 0, "{event}: {}", env.replica.log());
    }
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn what_operators_leave_open_keeps_nobody_else_waiting(pool: PgPool) {
    nobody_else_notices(pool, &OF_OPERATORS).await;
}

#[sqlx::test(migrations = false)]
async fn what_viewers_and_the_backend_leave_open_keeps_nobody_else_waiting(pool: PgPool) {
    nobody_else_notices(pool, &OF_OTHERS).await;
}

/// From the strongest on.
const MODES: [&str; 8] = [
    "access exclusive",
    "exclusive",
    "share row exclusive",
    "share",
    "share update exclusive",
    "row exclusive",
    "row share",
    "access share",
];

/// Locks each table and view of the schema as strongly as the role may; what it got.
async fn lock_tables(env: &Env, role: &str) -> (PgConnection, Vec<(String, &'static str)>) {
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname from pg_class where relnamespace = 'reconciler'::regnamespace and relkind in ('r', 'v')",
    )
    .fetch_all(&env.pool)
    .await
    .unwrap();
    assert!(tables.len() > 10);
    let mut session = hold(env, role, "").await;
    let mut got = Vec::new();
    for table in tables {
        for mode in MODES {
            let lock =
                format!("savepoint one; lock table reconciler.{table} in {mode} mode nowait");
            match sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut session).await {
                Ok(_) => {
                    got.push((table, mode));
                    break;
                }
                Err(_) => {
                    sqlx::raw_sql("rollback to one").execute(&mut session).await.unwrap();
                }
            }
        }
    }
    (session, got)
}

#[sqlx::test(migrations = false)]
async fn the_strongest_lock_on_a_table_that_a_role_gets_keeps_nobody_waiting(pool: PgPool) {
    let env = with_a_victim(pool).await;
    let undisturbed = env.undisturbed().await;
    let mut sessions = Vec::new();
    for role in [OPERATOR, VIEWER, BACKEND] {
        let (session, got) = lock_tables(&env, role).await;
        for (table, mode) in got {
            assert_eq!(mode, "access share", "{role} locks {table}");
        }
        sessions.push(session);
    }
    env.round().await.assert_like(&undisturbed, "the strongest locks on tables");
    drop(sessions);
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn nobody_can_lock_the_daemons_row_through_the_view_of_integrations(pool: PgPool) {
    let env = Env::new(pool).await;
    for strength in ["update", "no key update", "share", "key share"] {
        for role in [OPERATOR, VIEWER, BACKEND] {
            let mut session = env.session(role).await;
            let lock = format!("begin; select * from reconciler.integrations for {strength}");
            let refused = sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut session).await;
            assert!(refused.is_err(), "{role} locks for {strength}");
        }
    }
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn an_invite_is_never_sent_while_a_later_removal_of_its_member_is_stored(pool: PgPool) {
    let env = Env::new(pool).await;
    // An open action, and an invite that waits behind it.
    let action = env.with_action(Row::removal(DESK, VICTIM).needs_no_automation()).await;
    let invite = env.insert(Row { operation: "invite", ..Row::removal(DESK, VICTIM) }).await;
    let blocked = "select exists (select from reconciler.task_places where task_id = $1 and place = 'blocked')";
    eventually("the invite waits", async || env.is(blocked, invite).await).await;
    // A person ends the action, and the removal is stored before that is committed.
    let mut person = hold(
        &env,
        OPERATOR,
        "update reconciler.manual_actions set status = 'dismissed', note = 'x' where member_id = 'victim'",
    )
    .await;
    let removal = env.insert(Row::removal(DESK, VICTIM)).await;
    let unordered = "select exists (select from reconciler.task_places where task_id = $1 and place = 'unordered')
                        and exists (select from reconciler.arrivals where task_id = $1 and quarantined > 0)";
    eventually("the removal waits for the person", async || env.is(unordered, removal).await).await;
    let undisturbed = env.undisturbed().await;
    env.round().await.assert_like(&undisturbed, "a removal that waits for a person");
    sqlx::raw_sql("commit").execute(&mut person).await.unwrap();
    person.close().await.unwrap();
    env.succeeds(removal).await;
    let invites = env.apps.counters().effects(HERE, DESK, VICTIM).invites;
    assert_eq!(invites, 0, "of {action}");
    let state = "select state from reconciler.automation_tasks where id = $1";
    assert_eq!(env.text(state, invite).await, "superseded");
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn an_invite_whose_turn_it_is_waits_for_a_removal_that_has_no_place_yet(pool: PgPool) {
    let env = Env::new(pool).await;
    let pause = "update reconciler.integrations set status = 'paused', status_reason = 'x'
                 where workspace_id = 'acme' and integration_id = 'desk'";
    env.with_action(Row::removal(DESK, "quiet").needs_no_automation()).await;
    env.own(pause).await;
    let invite = env.insert(Row { operation: "invite", ..Row::removal(DESK, VICTIM) }).await;
    let ready = "select exists (select from reconciler.members where ready_task_id = $1)";
    let other = env.insert(Row::removal(DESK, "m0")).await;
    for task in [invite, other] {
        eventually("it is its turn", async || env.is(ready, task).await).await;
    }
    // Intake of all stands still, as in a replica that has it and does not answer.
    let mut intake = env.pool.begin().await.unwrap();
    let work = "select from reconciler.exclusive_work where name = 'intake' for update";
    sqlx::query(work).execute(&mut *intake).await.unwrap();
    let removal = env.insert(Row::removal(DESK, VICTIM)).await;
    env.own("update reconciler.integrations set status = 'active' where integration_id = 'desk'")
        .await;
    env.succeeds(other).await;
    assert_eq!(env.apps.counters().effects(HERE, DESK, VICTIM).invites, 0);
    intake.rollback().await.unwrap();
    env.succeeds(removal).await;
    assert_eq!(env.apps.counters().effects(HERE, DESK, VICTIM).invites, 0);
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn two_people_who_say_done_in_one_app_do_not_wait_for_each_other(pool: PgPool) {
    let env = Env::new(pool).await;
    let first = env.with_action(Row::removal(DESK, "m0").needs_no_automation()).await;
    let second = env.with_action(Row::removal(DESK, "m1").needs_no_automation()).await;
    for member in ["m0", "m1"] {
        assert!(env.apps.person_removes(HERE, DESK, member));
    }
    let mut one = hold(
        &env,
        OPERATOR,
        "update reconciler.manual_actions set status = 'done' where member_id = 'm0'",
    )
    .await;
    // Would wait for the first one's end, which comes later.
    env.mark_done(second).await;
    eventually("the second is judged", async || env.is_verified(second).await).await;
    assert!(!env.is_verified(first).await);
    sqlx::raw_sql("commit").execute(&mut one).await.unwrap();
    one.close().await.unwrap();
    eventually("the first is judged", async || env.is_verified(first).await).await;
    env.leave().await;
}
