//! Rows that no constraint should have let in: each is set aside, and a WARN names it.

use std::time::{Duration, Instant};

use sqlx::PgPool;

use super::env::{BY_HAND, DESK, Env, HERE, Row};
use super::support::eventually;

/// Somebody loosened the contract.
const LOOSENED: &str = "
    alter table reconciler.automation_tasks
        drop constraint entitlements_are_a_plain_list_of_at_most_1000,
        drop constraint entitlements_are_not_null_or_empty,
        drop constraint operation_is_invite_remove_or_change_role,
        drop constraint trigger_is_manual_workspace_policy_system_or_user_deprovisioned,
        drop constraint requested_at_is_at_most_10_years_ago_and_5_minutes_ahead;
    alter table reconciler.integration_settings drop constraint administrator_roles_are_a_plain_list;";

/// What is odd, as the columns say it: operation, entitlements, trigger, when it was requested; and whether it can be
/// worked on all the same.
const ODD: [(&str, &str, bool); 6] = [
    ("a list that begins at 0", "'invite', '[0:0]={ADMIN}', 'manual', now()", true),
    ("a list of lists", "'invite', '{{ADMIN},{VIEWER}}', 'manual', now()", true),
    ("a list with a null", "'invite', array['ADMIN', null], 'manual', now()", false),
    ("an unknown operation", "'promote', '{}', 'manual', now()", false),
    ("an unknown trigger", "'remove', '{}', 'whim', now()", false),
    ("a time without end", "'remove', '{}', 'manual', 'infinity'", false),
];

async fn insert_odd(env: &Env, integration: &str, n: usize, columns: &str) -> i64 {
    insert_of(env, integration, "asana_tenant", n, columns).await
}

async fn insert_of(
    env: &Env,
    integration: &str,
    application: &str,
    n: usize,
    columns: &str,
) -> i64 {
    let insert = format!(
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, operation, entitlements, trigger, requested_at)
         values ('{HERE}', 'odd-{n}-{integration}', 'job', '{integration}', 'app', 'Odd', '{application}', 'odd{n}',
                 'odd{n}@example.com', {columns})
         returning id"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(insert)).fetch_one(&env.pool).await.unwrap()
}

#[sqlx::test(migrations = false)]
async fn an_odd_row_is_set_aside_alone_and_a_warning_names_it(pool: PgPool) {
    let env = Env::new(pool).await;
    let undisturbed = env.undisturbed().await;
    env.own(LOOSENED).await;
    for (n, (what, columns, works)) in ODD.into_iter().enumerate() {
        // In the app whose members are read too.
        let odd = insert_odd(&env, BY_HAND, n, columns).await;
        env.round().await.assert_like(&undisturbed, what);
        match works {
            true => env.succeeds(odd).await,
            false => {
                eventually(what, async || env.replica.has_said("task.quarantined", "task.id", odd))
                    .await
            }
        }
    }
    let removal = "'remove', '{}', 'manual', now()";
    let misfit = insert_of(&env, BY_HAND, "another_tenant", ODD.len(), removal).await;
    env.round().await.assert_like(&undisturbed, "another application");
    eventually("it is held", async || env.replica.has_said("task.held", "task.id", misfit)).await;
    assert_eq!(env.said("worker.panicked"), 0, "{}", env.replica.log());
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn a_request_whose_row_was_deleted_is_set_aside_alone(pool: PgPool) {
    let env = Env::new(pool).await;
    let undisturbed = env.undisturbed().await;
    env.own("update reconciler.integrations set status = 'paused', status_reason = 'x' where integration_id = 'desk'").await;
    let mut deleted = Vec::new();
    for member in ["m20", "m21"] {
        let task = env.insert(Row::removal(DESK, member)).await;
        let ready = "select exists (select from reconciler.members where ready_task_id = $1)";
        eventually("it is its turn", async || env.is(ready, task).await).await;
        deleted.push(task);
    }
    env.own("delete from reconciler.automation_tasks where member_id in ('m20', 'm21') and integration_id = 'desk'").await;
    env.own("update reconciler.integrations set status = 'active' where integration_id = 'desk'")
        .await;
    env.round().await.assert_like(&undisturbed, "a request whose row was deleted");
    for task in deleted {
        eventually("a warning names it", async || {
            env.replica.has_said("task.quarantined", "task.id", task)
        })
        .await;
    }
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn rows_that_were_deleted_before_they_were_ordered_keep_nobody_waiting(pool: PgPool) {
    let env = Env::new(pool).await;
    let undisturbed = env.undisturbed().await;
    let mut intake = env.pool.begin().await.unwrap();
    let work = "select from reconciler.exclusive_work where name = 'intake' for update";
    sqlx::query(work).execute(&mut *intake).await.unwrap();
    // More than a batch.
    env
        .own(
            "insert into reconciler.automation_tasks
                 (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
                  member_email, operation, trigger, requested_at)
             select 'acme', 'gone-' || n, 'desk', 'app', 'Desk', 'asana_tenant', 'gone' || n, 'x@example.com', 'remove',
                    'manual', now()
             from generate_series(1, 1200) n;
             delete from reconciler.automation_tasks where source_id like 'gone-%'",
        )
        .await;
    intake.rollback().await.unwrap();
    env.round().await.assert_like(&undisturbed, "rows that were deleted before they were ordered");
    env.leave().await;
}

const ASK_FOR_SNAPSHOTS: &str = "
    insert into reconciler.syncs (workspace_id, integration_id, procedure)
    select workspace_id, integration_id, 'check_and_apply' from reconciler.integration_settings
    where integration_id like 'slow-%'";

const THE_OTHERS_ARE_READ: &str = "
    select count(*) = 7 from reconciler.syncs
    where integration_id like 'slow-%' and integration_id <> 'slow-0' and state = 'finished'";

#[sqlx::test(migrations = false)]
async fn odd_settings_of_an_app_keep_no_other_app_from_being_read(pool: PgPool) {
    let env = Env::new(pool).await;
    let undisturbed = env.undisturbed().await;
    env.know_slow_apps().await;
    // Asked for in one statement, so that one claim takes them all.
    let began = Instant::now();
    env.own(ASK_FOR_SNAPSHOTS).await;
    eventually("the others are read", async || env.says(THE_OTHERS_ARE_READ).await).await;
    let usual = began.elapsed();
    env.own(LOOSENED).await;
    env.own(
        "delete from reconciler.syncs where integration_id like 'slow-%';
             update reconciler.integration_settings set administrator_roles = array['A', null]
             where integration_id = 'slow-0'",
    )
    .await;
    let began = Instant::now();
    env.own(ASK_FOR_SNAPSHOTS).await;
    env.round().await.assert_like(&undisturbed, "an odd list of administrators");
    eventually("the others are read", async || env.says(THE_OTHERS_ARE_READ).await).await;
    let took = began.elapsed();
    assert!(took <= 3 * usual + Duration::from_secs(3), "{took:?}, usually {usual:?}");
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn a_number_that_a_claim_would_divide_by_is_refused(pool: PgPool) {
    let env = Env::new(pool).await;
    env.with_action(Row::removal(DESK, "quiet").needs_no_automation()).await;
    let mut person = env.session("reconciler_operator").await;
    for number in ["2147483647", "100001", "0", "-1"] {
        for column in ["starts_per_minute", "max_in_flight"] {
            let set = format!("update reconciler.integrations set {column} = {number}");
            let refused = sqlx::query(sqlx::AssertSqlSafe(set)).execute(&mut person).await;
            let message = refused.expect_err("out of range").to_string();
            assert!(message.contains(column), "{message}");
        }
    }
    drop(person);
    env.leave().await;
}
