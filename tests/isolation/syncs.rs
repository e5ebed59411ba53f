//! Syncs that a person locks while they run.

use sqlx::PgPool;
use testkit::simulator::{Call, HttpFault, Injection};

use super::env::Env;
use super::support::eventually;

/// As many as one replica works on at a time.
const RUNNING: u64 = 8;

#[sqlx::test(migrations = false)]
async fn syncs_that_a_person_locks_while_they_run_keep_no_other_from_running(pool: PgPool) {
    // The requests are held for as long as the rest takes.
    let changes = [
        ("RECONCILER__BACKEND__REQUEST_TIMEOUT_S", "20"),
        ("RECONCILER__WORKER__LEASE_S", "45"),
        ("RECONCILER__WORKER__SYNC_LEASE_S", "65"),
    ];
    let env = Env::with(pool, &changes).await;
    let undisturbed = env.undisturbed().await;
    let quiet = "select not exists (select from reconciler.syncs where finished_at is null)";
    eventually("nothing is read", async || env.says(quiet).await).await;
    let next = env.apps.counters().requests(Call::StartCheck);
    for nth in next..next + RUNNING {
        env.apps.inject(Injection { call: Call::StartCheck, nth, fault: HttpFault::Hold });
    }
    env.know_slow_apps().await;
    env
        .own(
            "select reconciler.request_snapshot(workspace_id, integration_id) from reconciler.integration_settings
             where integration_id like 'slow-%'",
        )
        .await;
    let mut held = Vec::new();
    for _ in 0..RUNNING {
        held.push(env.apps.held().await);
    }
    let lock =
        "begin; select * from reconciler.syncs where integration_id like 'slow-%' for update";
    let mut person = env.session("reconciler_operator").await;
    sqlx::raw_sql(lock).execute(&mut person).await.unwrap();
    for request in held {
        assert!(request.release());
    }
    env.round().await.assert_like(&undisturbed, "somebody locks the syncs that run");
    drop(person);
    env.leave().await;
}
