//! The SQL of the guard's memory: members who were removed although nobody had requested it.

use crate::database::PgPool;
use crate::lease::{LeaseLost, fenced};
use crate::store::StoreError;
use crate::sync::ClaimedSync;

pub async fn unexpected_in_24_h(
    pool: &PgPool,
    workspace: &str,
    integration: &str,
) -> Result<u32, StoreError> {
    let count = sqlx::query_scalar!(
        r#"-- unexpected_removals
           select coalesce(sum(unexpected_removals), 0) as "count!" from reconciler.syncs
           where workspace_id = $1 and integration_id = $2 and unexpected_removals > 0
             and (finished_at is null or finished_at > now() - interval '24 hours')"#,
        workspace,
        integration,
    )
    .fetch_one(pool)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Counts unexpected removals before the apply is requested, so that the guard remembers them even if the answer is
/// lost. A negative `change` takes back what was certainly not applied.
pub async fn count_unexpected(
    pool: &PgPool,
    sync: &ClaimedSync,
    change: i64,
) -> Result<Result<(), LeaseLost>, StoreError> {
    let written = sqlx::query!(
        "-- count_unexpected_removals
         update reconciler.syncs
         set unexpected_removals = coalesce(unexpected_removals, 0) + $4::bigint
         where id = $1 and workspace_id = $2 and lease_token = $3",
        sync.id,
        sync.workspace,
        sync.lease.token,
        change,
    )
    .execute(pool)
    .await?;
    Ok(fenced(written.rows_affected()))
}
