//! Much of one thing: its cost follows what changes, in transactions of a bounded size, and the others go on.

use std::time::{Duration, Instant};

use cerby_reconciler::schema::{self, Planning, settings};
use cerby_reconciler::worker::Stage;
use sqlx::PgPool;

use super::env::{ELSEWHERE, Env, HERE, Row, VICTIM};
use super::support::{APP, World, a_failed, eventually};

/// One at a time: they are to measure themselves and not each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How many rows, as psql would say it.
fn actions(integration: &str, count: usize, status: &str) -> String {
    format!(
        "set session_replication_role = replica;
         insert into reconciler.automation_tasks
             (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
              member_email, operation, trigger, requested_at, state, ordered_at, closed_at, closed_reason)
         select 'acme', 'bulk-' || n, '{integration}', 'app', 'Bulk', 'asana_tenant',
                case when n = 1 then 'victim' else 'bulk-' || n end, n || '@example.com', 'remove', 'manual', now(),
                'escalated', now(), now(), 'x'
         from generate_series(1, {count}) n;
         insert into reconciler.manual_actions
             (status, operation, workspace_id, integration_id, integration_name, integration_kind, application,
              member_id, member_email, trigger, reason, instructions, due_at, opened_at, task_id, done_by, done_at)
         select '{status}', 'remove', workspace_id, integration_id, integration_name, 'app', application, member_id,
                member_email, 'manual', 'x', 'x', now() + interval '1 day', now() - interval '1 day' + id * interval '1 ms',
                id, case '{status}' when 'done' then 'x' end, case '{status}' when 'done' then now() end
         from reconciler.automation_tasks where source_id like 'bulk-%';
         insert into reconciler.members
             (workspace_id, integration_id, member_id, member_email, desired_task_id, desired_operation,
              desired_requested_at, removal_task_id, removal_requested_at, open_action_id)
         select workspace_id, integration_id, member_id, member_email, task_id, 'remove', now(), task_id, now(), id
         from reconciler.manual_actions where integration_id = '{integration}';
         set session_replication_role = origin;
         analyze reconciler.manual_actions, reconciler.members, reconciler.automation_tasks"
    )
}

#[sqlx::test(migrations = false)]
async fn a_member_with_a_hundred_thousand_closed_requests_is_ordered_like_any_other(pool: PgPool) {
    let _alone = ALONE.lock().await;
    let env = Env::new(pool).await;
    let undisturbed = env.undisturbed().await;
    let usual = env.insert(Row::removal("slow-0", "m0")).await;
    env.succeeds(usual).await;
    env
        .own(
            "set session_replication_role = replica;
             insert into reconciler.automation_tasks
                 (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
                  member_email, operation, trigger, requested_at, state, ordered_at, closed_at, closed_reason,
                  superseded_by)
             select 'acme', 'old-' || n, 'slow-0', 'app', 'Slow', 'asana_tenant', 'victim', 'victim@example.com',
                    case when n % 2 = 0 then 'remove' else 'invite' end, 'manual', now() - interval '1 day',
                    'superseded', now(), now(), 'x', n + 1
             from generate_series(1, 100000) n;
             insert into reconciler.members (workspace_id, integration_id, member_id, member_email, desired_task_id,
                                             desired_operation, desired_requested_at)
             select workspace_id, integration_id, member_id, member_email, id, operation, requested_at
             from reconciler.automation_tasks where source_id = 'old-100000';
             set session_replication_role = origin;
             analyze reconciler.automation_tasks",
        )
        .await;
    let late = env.insert(Row::removal("slow-0", VICTIM)).await;
    env.round().await.assert_like(&undisturbed, "a hundred thousand requests of one member");
    env.succeeds(late).await;
    let (usual, late) = (env.wait_for_order(usual).await, env.wait_for_order(late).await);
    assert!(late <= 3 * usual + Duration::from_secs(1), "{late:?}, another {usual:?}");
    println!("ordered after {late:?}, another after {usual:?}");
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn a_hundred_thousand_actions_marked_done_at_once_keep_nobody_else_waiting(pool: PgPool) {
    let _alone = ALONE.lock().await;
    let env = Env::new(pool).await;
    let undisturbed = env.undisturbed().await;
    env.know_slow_apps().await;
    env.own(actions("slow-0", 100_000, "open")).await;
    // Its snapshot is another case.
    env
        .own(
            "insert into reconciler.syncs (workspace_id, integration_id, procedure, state, next_step_at, started_at)
             values ('acme', 'slow-0', 'check_and_apply', 'started', now() + interval '1 day', now())",
        )
        .await;
    let mut person = env.session("reconciler_operator").await;
    let (began, watch) = (Instant::now(), env.watch_transactions());
    sqlx::query(
        "update reconciler.manual_actions set status = 'done' where integration_id = 'slow-0'",
    )
    .execute(&mut person)
    .await
    .unwrap();
    let update = began.elapsed();
    let disturbed = env.round().await;
    disturbed.assert_like(&undisturbed, "a hundred thousand are marked done");
    let began = Instant::now();
    env.nudges_are_taken_up().await;
    let longest = watch.assert_short();
    println!(
        "update {update:?}, taken up in {:?}, longest transaction {longest:?}",
        began.elapsed()
    );
    // The driver's own words for it: a person waits for it, and it may take a while.
    assert!(update < Duration::from_secs(30), "{update:?}");
    drop(person);
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn twenty_thousand_actions_dismissed_at_once_keep_nobody_else_waiting(pool: PgPool) {
    let _alone = ALONE.lock().await;
    let env = Env::new(pool).await;
    let undisturbed = env.undisturbed().await;
    env.know_slow_apps().await;
    env.own(actions("slow-0", 20_000, "open")).await;
    let mut person = env.session("reconciler_operator").await;
    let watch = env.watch_transactions();
    sqlx::query("update reconciler.manual_actions set status = 'dismissed', note = 'x' where integration_id = 'slow-0'")
        .execute(&mut person)
        .await
        .unwrap();
    // They are asked for again, before the daemon has taken up that they ended.
    env
        .own(
            "insert into reconciler.automation_tasks
                 (workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
                  member_email, operation, trigger, requested_at)
             select 'acme', 'again-' || n, 'slow-0', 'app', 'Bulk', 'asana_tenant', 'bulk-' || n, 'x@example.com',
                    'remove', 'manual', now()
             from generate_series(15000, 16500) n",
        )
        .await;
    env.round().await.assert_like(&undisturbed, "twenty thousand are dismissed");
    let longest = watch.assert_short();
    println!("longest transaction {longest:?}");
    drop(person);
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn twenty_thousand_done_actions_are_settled_by_one_snapshot_in_small_transactions(
    pool: PgPool,
) {
    let _alone = ALONE.lock().await;
    let env = Env::with(pool, &[("RECONCILER__WORKER__SYNC_LEASE_S", "180")]).await;
    let undisturbed = env.undisturbed().await;
    env.know_slow_apps().await;
    env.own(actions("slow-0", 20_000, "done")).await;
    assert!(env.apps.person_removes(HERE, "slow-0", VICTIM));
    let (began, watch) = (Instant::now(), env.watch_transactions());
    env.own("select reconciler.request_snapshot('acme', 'slow-0')").await;
    let begun = "select exists (select from reconciler.manual_actions where status = 'verified' and integration_id = 'slow-0')";
    eventually("the settling begins", async || env.says(begun).await).await;
    env.round().await.assert_like(&undisturbed, "twenty thousand are settled");
    let left = "select count(*) from reconciler.manual_actions where status = 'done' and integration_id = 'slow-0'";
    env.dwindles("actions are settled", left).await;
    let read = "select count(*) = 1 and bool_and(state = 'finished') from reconciler.syncs
                where integration_id = 'slow-0'";
    eventually("one snapshot was enough for all", async || env.says(read).await).await;
    env.nudges_are_taken_up().await;
    let longest = watch.assert_short();
    println!("settled in {:?}, longest transaction {longest:?}", began.elapsed());
    env.leave().await;
}

#[sqlx::test(migrations = false)]
async fn twenty_thousand_actions_go_back_to_automation_in_small_transactions(pool: PgPool) {
    let _alone = ALONE.lock().await;
    let env = Env::new(pool).await;
    let undisturbed = env.undisturbed().await;
    env.know_slow_apps().await;
    env.own(actions("slow-0", 20_000, "open")).await;
    let mut person = env.session("reconciler_operator").await;
    let (began, watch) = (Instant::now(), env.watch_transactions());
    sqlx::query("select reconciler.return_to_automation('acme', 'slow-0', null, null, 'fixed')")
        .execute(&mut person)
        .await
        .unwrap();
    let begun = "select exists (select from reconciler.returns where state <> 'waiting')";
    eventually("the canary works", async || env.says(begun).await).await;
    env.round().await.assert_like(&undisturbed, "twenty thousand go back");
    let released =
        "select exists (select from reconciler.returns where state = 'released' and sent = 19999)";
    eventually("the rest goes back", async || env.says(released).await).await;
    env.nudges_are_taken_up().await;
    let longest = watch.assert_short();
    println!("released in {:?}, longest transaction {longest:?}", began.elapsed());
    drop(person);
    env.leave().await;
}

/// The shortest of several claims.
async fn claim_takes(world: &World) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        assert!(world.tasks.claim(100).await.unwrap().is_empty());
        shortest = shortest.min(began.elapsed());
    }
    shortest
}

#[sqlx::test(migrations = false)]
async fn ten_thousand_idle_apps_cost_a_claim_nothing(pool: PgPool) {
    let _alone = ALONE.lock().await;
    schema::migrate(&pool.clone().into()).await.unwrap();
    let options = (*pool.connect_options()).clone().options(settings(Planning::Fixed));
    let world = World::on_migrated(PgPool::connect_with(options).await.unwrap()).await;
    world.insert(&a_failed("remove", APP, "jo")).await;
    world.drive().await;
    let without = claim_takes(&world).await;
    sqlx::raw_sql(
        "insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application)
         select 'w' || n % 100, 'idle-' || n, 'x', 'app', 'asana_tenant' from generate_series(1, 10000) n;
         insert into reconciler.integration_states (workspace_id, integration_id)
         select workspace_id, integration_id from reconciler.integration_settings where integration_id like 'idle-%'",
    )
    .execute(&pool)
    .await
    .unwrap();
    let with = claim_takes(&world).await;
    println!("a claim takes {without:?}, with ten thousand idle apps {with:?}");
    assert!(with <= 2 * without + Duration::from_millis(3), "{with:?} in place of {without:?}");
    world.pool.close().await;
}

#[sqlx::test(migrations = false)]
async fn a_removal_in_another_workspace_overtakes_a_flood(pool: PgPool) {
    let _alone = ALONE.lock().await;
    let env = Env::new(pool).await;
    let undisturbed = env.undisturbed().await;
    let watch = env.watch_transactions();
    env
        .own(
            "insert into reconciler.automation_tasks
                 (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
                  member_id, member_email, operation, trigger, requested_at, failure_code)
             select 'acme', 'flood-' || n, 'job', 'slow-' || n % 8, 'app', 'Slow', 'asana_tenant', 'f' || n,
                    n || '@example.com', 'remove', 'manual', now(), 'LoginTimeout'
             from generate_series(1, 50000) n",
        )
        .await;
    let row = Row { workspace: ELSEWHERE, ..Row::removal(super::env::DESK, VICTIM) };
    let began = Instant::now();
    let removal = env.insert(row).await;
    env.succeeds(removal).await;
    let took = began.elapsed();
    let unordered =
        env.count("select count(*) from reconciler.arrivals where workspace_id = 'acme'").await;
    let usual = undisturbed.of("a removal in another workspace");
    println!(
        "removed in {took:?}, undisturbed {usual:?}, {unordered} of the flood without a place, longest transaction {:?}",
        watch.assert_short()
    );
    assert!(unordered > 20_000, "{unordered}");
    assert!(took <= 3 * usual + Duration::from_secs(3), "{took:?}, undisturbed {usual:?}");
    env.leave().await;
}
