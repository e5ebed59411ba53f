//! A workspace that floods the queue, and a few removals of another one that must begin all the same.

use std::time::Duration;

use testkit::simulator::{Integration, Kind};
use tokio::time::Instant;

use super::tally::Tally;
use super::world::World;

/// What is told of the other workspace, and how soon its removals must begin: also where replicas, database and backend
/// come and go meanwhile. Behind the flood they would wait for longer.
pub(super) const BEGUN: &str = "removals beside a flood begun";
pub(super) const BEGUN_WITHIN: Duration = Duration::from_secs(40);

pub(super) const FLOODING: &str = "flooding";
pub(super) const BESIDE: &str = "beside";
pub(super) const REMOVALS: i32 = 5;
const EVERY: Duration = Duration::from_millis(100);

/// Apps of which nobody of the flood is a member: each removal ends with a look.
pub(super) fn hubs() -> [Integration; 2] {
    [FLOODING, BESIDE].map(|workspace| {
        Integration::new(workspace, "hub", "hub", Kind::BusinessHub, "asana_tenant")
    })
}

/// Lets a flood come, and waits until the other workspace's removals have begun.
pub(super) async fn come(world: &World, rows: i32, dealt: &Tally) -> sqlx::Result<()> {
    insert(world, FLOODING, rows).await?;
    let removals = insert(world, BESIDE, REMOVALS).await?;
    let began = Instant::now();
    while began.elapsed() <= BEGUN_WITHIN && !have_begun(world, &removals).await {
        tokio::time::sleep(EVERY).await;
    }
    dealt.took(BEGUN, began.elapsed());
    Ok(())
}

/// Removals of members that were never spoken of; their tasks.
pub(super) async fn insert(world: &World, workspace: &str, count: i32) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, operation, trigger, requested_at, failure_code)
         select $1, gen_random_uuid(), 'hub', 'business_hub', 'hub', 'asana_tenant', m.id, m.id || '@example.com',
                'remove', 'manual', now(), 'LoginTimeout'
         from (select gen_random_uuid()::text as id from generate_series(1, $2)) m
         returning id",
    )
    .bind(workspace)
    .bind(count)
    .fetch_all(&world.backend)
    .await
}

async fn have_begun(world: &World, tasks: &[i64]) -> bool {
    let begun: Result<i64, _> = sqlx::query_scalar(
        "select count(distinct task_id) from soak.claims where task_id = any ($1)",
    )
    .bind(tasks)
    .fetch_one(&world.owner)
    .await;
    usize::try_from(begun.unwrap_or(0)).is_ok_and(|begun| begun == tasks.len())
}
