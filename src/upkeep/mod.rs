//! What nobody waits for: healing, reminders, retention. Any replica may do it; locks keep them apart.

use std::time::Instant;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Retention};
use crate::emit;
use crate::flow::returns;
use crate::manual_action;
use crate::pulse::Pulse;
use crate::store::{StoreError, answered, begin};
use crate::sync;

mod store;

const REMINDERS_PER_ROUND: i64 = 500;

/// Few enough that what people wait for is not held up by what nobody waits for.
const SNAPSHOTS_PER_ROUND: i64 = 100;

/// While there is more to delete, rounds follow each other after so many times their length: the rest of the time
/// the database is for those who wait for it.
const REST_AFTER_DELETING: u32 = 9;

/// Does a round every while until `stop`.
pub async fn run(pool: PgPool, config: Config, mut pulse: Pulse, stop: CancellationToken) {
    let mut sweep = Sweep::default();
    while !stop.is_cancelled() {
        let began = Instant::now();
        let round = round(&pool, &config, &mut sweep);
        let pause = match answered(config.database.patience(), round).await {
            Ok(Rest::Nothing) => {
                pulse.well();
                pulse.next()
            }
            Ok(Rest::Deletions) => {
                pulse.well();
                pulse.next().min(began.elapsed() * REST_AFTER_DELETING)
            }
            Err(error) => {
                pulse.failed(&error);
                pulse.next()
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// What a round leaves for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing that is not to wait.
    Nothing,
    /// More rows past their retention than one round deletes.
    Deletions,
}

/// How far old tasks have been looked at, for those to delete. From the start again, once all were.
#[derive(Debug, Default)]
pub struct Sweep {
    /// The last task that was looked at.
    after: i64,
}

/// One round, if no other replica is at it.
pub async fn round(pool: &PgPool, config: &Config, sweep: &mut Sweep) -> Result<Rest, StoreError> {
    heal(pool).await?;
    returns::decide(pool).await?;
    store::put_off_deadlines(pool).await?;
    for inactive in store::remind_of_inactive_integrations(pool, config.breaker.remind_s).await? {
        emit!(
            INTEGRATION_STILL_UNAVAILABLE,
            workspace.id = inactive.workspace,
            integration.id = inactive.integration,
            status = inactive.status,
            unavailable_s = inactive.seconds,
            tasks = inactive.tasks,
            "The integration is still unavailable; its tasks are on hold"
        );
    }
    for overdue in manual_action::store::remind(pool, REMINDERS_PER_ROUND).await? {
        emit!(
            ACTION_OVERDUE,
            action.id = overdue.id,
            workspace.id = overdue.workspace,
            integration.id = overdue.integration,
            operation = overdue.operation,
            "The action is past its deadline"
        );
    }
    store::end_undecided_syncs(pool).await?;
    store::request_periodic_snapshots(pool, config.sync.every_s, SNAPSHOTS_PER_ROUND).await?;
    sync::watch::store::request_snapshots(pool, SNAPSHOTS_PER_ROUND).await?;
    forget(pool, &config.retention, config.upkeep.batch, sweep).await
}

/// Sets going again what a bug, a crash or a hand at the tables left without a next step.
async fn heal(pool: &PgPool) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    if !store::is_ours(&mut tx).await? {
        return Ok(());
    }
    let members = store::promote_stuck_members(&mut tx).await?;
    let actions = store::request_missing_syncs(&mut tx).await?;
    tx.commit().await?;
    if members > 0 || actions > 0 {
        emit!(UPKEEP_HEALED, members, actions, "Stalled rows were repaired");
    }
    Ok(())
}

async fn forget(
    pool: &PgPool,
    retention: &Retention,
    batch: i32,
    sweep: &mut Sweep,
) -> Result<Rest, StoreError> {
    let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
    let kept = days(retention.finished_tasks_days);
    let swept = store::delete_finished_tasks(pool, kept, batch, sweep.after).await?;
    sweep.after = swept.up_to.unwrap_or_default();
    store::delete_finished_syncs(pool, kept, batch).await?;
    let events = store::delete_old_events(pool, days(retention.events_days), batch).await?;
    if swept.deleted > 0 || events > 0 {
        emit!(
            UPKEEP_DELETED,
            tasks = swept.deleted,
            events,
            "Rows past their retention were deleted"
        );
    }
    let is_more = swept.up_to.is_some() || events >= i64::from(batch);
    Ok(if is_more { Rest::Deletions } else { Rest::Nothing })
}
