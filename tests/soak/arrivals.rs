//! The backend's part: rows inserted by plain statements, in transactions of any length, some of them twice; and what
//! automation does elsewhere.

use std::time::Duration;

use cerby_reconciler::intake::inbound::InboundTask;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::plan::{self, Batch, Key};
use super::world::World;
use std::sync::Arc;

const AGAIN_AFTER_AN_ERROR: Duration = Duration::from_millis(200);

/// A row as it is inserted.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    task: InboundTask,
    outcome: &'static str,
}

/// Lets everything arrive that is planned; returns when all of it is committed.
pub(super) async fn arrive(world: Arc<World>) {
    let start = Instant::now();
    let mut under_way = JoinSet::new();
    for number in 0..world.plan.batches.len() {
        let batch = &world.plan.batches[number];
        tokio::time::sleep_until(start + batch.at).await;
        for (key, operation, fate) in &batch.fates {
            let Key { workspace, integration, member } = key;
            world.apps.set_fate(workspace, integration, member, *operation, fate.clone());
        }
        let rows = rows(&world, batch);
        let world = Arc::clone(&world);
        under_way.spawn(async move { commit(&world, &world.plan.batches[number], &rows).await });
    }
    while let Some(committed) = under_way.join_next().await {
        committed.unwrap();
    }
}

/// The rows of a batch. Whatever automation does elsewhere is desired and done now; what it cannot do fails.
fn rows(world: &World, batch: &Batch) -> Vec<Row> {
    let row = |task: &InboundTask| {
        let mut task = task.clone();
        if batch.done_elsewhere.is_none() {
            return Row { task, outcome: "failed" };
        }
        task.requested_at = now().into();
        let is_done = world.apps.changes_elsewhere(
            &task.workspace_id,
            &task.integration_id,
            &task.member_id,
            plan::operation(&task.operation),
            &task.entitlements.iter().cloned().collect(),
        );
        Row { task, outcome: if is_done { "succeeded" } else { "failed" } }
    };
    batch.rows.iter().map(row).collect()
}

/// The backend has a clock of its own.
#[expect(clippy::disallowed_methods, reason = "the backend's own time, as it would be")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Inserts until it is known to be committed, as the backend would: a lost answer makes it insert again.
async fn commit(world: &World, batch: &Batch, rows: &[Row]) {
    tokio::time::sleep(batch.done_elsewhere.unwrap_or_default()).await;
    while insert(world, batch, rows).await.is_err() {
        tokio::time::sleep(AGAIN_AFTER_AN_ERROR).await;
    }
    if let Some(after) = batch.again_after {
        tokio::time::sleep(after).await;
        while insert(world, batch, rows).await.is_err() {
            tokio::time::sleep(AGAIN_AFTER_AN_ERROR).await;
        }
    }
}

async fn insert(world: &World, batch: &Batch, rows: &[Row]) -> sqlx::Result<()> {
    let mut tx = world.backend.begin().await?;
    let (first, rest) = rows.split_at(rows.len().div_ceil(2));
    insert_rows(&mut tx, first).await?;
    tokio::time::sleep(batch.open_for).await;
    insert_rows(&mut tx, rest).await?;
    tx.commit().await
}

async fn insert_rows(connection: &mut PgConnection, rows: &[Row]) -> sqlx::Result<()> {
    sqlx::query(
        "insert into reconciler.automation_tasks
             (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
              member_id, member_email, operation, entitlements, trigger, requested_at, failure_code, outcome)
         select workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
                member_id, member_email, operation, entitlements, trigger, requested_at, failure_code, outcome
         from jsonb_to_recordset($1)
              as row (workspace_id text, source_id text, job_id text, integration_id text, integration_kind text,
                      integration_name text, application text, member_id text, member_email text,
                      operation text, entitlements text[], trigger text, requested_at timestamptz,
                      failure_code text, outcome text)
         on conflict do nothing",
    )
    .bind(Json(rows))
    .execute(connection)
    .await
    .map(drop)
}
