//! Work that nobody waits for: healing, reminders, retention. Any replica may do it; locks keep replicas apart. A step
//! that fails does not stop the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::{Config, Retention};
use crate::database::PgPool;
use crate::emit;
use crate::flow::returns;
use crate::intake::webhook;
use crate::manual_action;
use crate::manual_action::store::Overdue;
use crate::member::store::{give_turn, raise_next_due_times};
use crate::poll_interval::PollInterval;
use crate::replies;
use crate::sessions;
use crate::store::{StoreError, begin, begin_exclusive, with_timeout};
use crate::telemetry::chain;

mod store;

/// Few enough that they do not delay the snapshots that people wait for.
const SNAPSHOTS_PER_ROUND: i64 = 100;

const CHUNK: i64 = 1000;

/// A check that is due is requested again after this long, until a snapshot has shown the member.
const ASKS_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// While there is more to delete, the pause after a round is this many times its duration, at most the usual one. So
/// the database is free for other work in between.
const REST_AFTER_DELETING: u32 = 9;

/// Runs a round at each interval until `stop`.
pub async fn run(
    pool: PgPool,
    config: Config,
    mut poll_interval: PollInterval,
    stop: CancellationToken,
) {
    let mut sweep = Sweep::default();
    while !stop.is_cancelled() {
        let began = Instant::now();
        let pause = match round(&pool, &config, &mut sweep).await {
            Ok(Left::Nothing) => {
                poll_interval.on_success();
                poll_interval.next()
            }
            Ok(Left::Deletions) => {
                poll_interval.on_success();
                poll_interval.next().min(began.elapsed() * REST_AFTER_DELETING)
            }
            Err(error) => {
                poll_interval.on_failure(&error);
                poll_interval.next()
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// What a round leaves for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing that cannot wait for the usual interval.
    Nothing,
    /// More rows past their retention than one round deletes.
    Deletions,
}

/// How far old tasks and members have been scanned. After the last one, the scan starts again.
#[derive(Debug, Default)]
pub struct Sweep {
    after: i64,
    member: store::MemberCursor,
}

/// One round. `Err` if the database does not answer; a step that the database refuses is logged, and the others run.
pub async fn round(pool: &PgPool, config: &Config, sweep: &mut Sweep) -> Result<Left, StoreError> {
    let query_timeout = config.database.query_timeout();
    let retention = &config.retention;
    let batch = config.upkeep.batch;
    let mut left = Left::Nothing;
    step("heal", query_timeout, heal(pool)).await?;
    step("raise_next_due_times", query_timeout, raise_next_due_times(pool)).await?;
    step("sweep_members", query_timeout, sweep_members(pool, retention, batch, &mut sweep.member))
        .await?;
    step("decide_returns", query_timeout, returns::decide(pool)).await?;
    step("extend_deadlines", query_timeout, extend_deadlines(pool)).await?;
    step("remind", query_timeout, remind(pool, config.breaker.remind_s)).await?;
    step("end_undecided_syncs", query_timeout, store::end_undecided_syncs(pool)).await?;
    let periodic =
        store::request_periodic_snapshots(pool, config.sync.every_s, SNAPSHOTS_PER_ROUND);
    step("request_periodic_snapshots", query_timeout, periodic).await?;
    let watches = store::request_watch_snapshots(pool, SNAPSHOTS_PER_ROUND, ASKS_AGAIN_AFTER);
    step("request_watch_snapshots", query_timeout, watches).await?;
    step("delete_old_replies", query_timeout, delete_old_replies(pool, batch)).await?;
    step("delete_old_sessions", query_timeout, delete_old_sessions(pool, retention, batch)).await?;
    let webhooks =
        webhook::store::delete_old(pool, days(retention.finished_tasks_days), batch.into());
    step("delete_old_webhooks", query_timeout, webhooks).await?;
    let deleting = delete(pool, retention, batch, sweep);
    if step("delete", query_timeout, deleting).await? == Some(true) {
        left = Left::Deletions;
    }
    Ok(left)
}

/// Runs one step; `None` if the database refused it.
async fn step<T>(
    name: &'static str,
    query_timeout: Duration,
    step: impl Future<Output = Result<T, StoreError>>,
) -> Result<Option<T>, StoreError> {
    match with_timeout(query_timeout, step).await {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.is_refusal() => {
            emit!(UPKEEP_STEP_FAILED, step = name, error = %chain(&error), "The other steps go on");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Requests syncs that a bug, a crash or a manual change of the tables left out.
async fn heal(pool: &PgPool) -> Result<(), StoreError> {
    let Some(mut tx) = begin_exclusive(pool, &["upkeep"]).await? else { return Ok(()) };
    let syncs = store::request_missing_syncs(&mut tx).await?;
    tx.commit().await?;
    if syncs > 0 {
        emit!(UPKEEP_HEALED, members = 0, syncs, "Set going again");
    }
    Ok(())
}

async fn sweep_members(
    pool: &PgPool,
    retention: &Retention,
    batch: i32,
    cursor: &mut store::MemberCursor,
) -> Result<(), StoreError> {
    let Some(mut tx) = begin_exclusive(pool, &["upkeep"]).await? else { return Ok(()) };
    let days = days(retention.finished_tasks_days);
    let swept = store::sweep_members(&mut tx, days, i64::from(batch), cursor).await?;
    let members = swept.stuck.members.len();
    give_turn(&mut tx, &swept.stuck).await?;
    tx.commit().await?;
    *cursor = swept.up_to.unwrap_or_default();
    if members > 0 {
        emit!(UPKEEP_HEALED, members, syncs = 0, "Set going again");
    }
    Ok(())
}

async fn delete_old_replies(pool: &PgPool, batch: i32) -> Result<(), StoreError> {
    let Some(mut tx) = begin_exclusive(pool, &["upkeep"]).await? else { return Ok(()) };
    replies::delete_old(&mut tx, batch.into()).await?;
    Ok(tx.commit().await?)
}

async fn delete_old_sessions(
    pool: &PgPool,
    retention: &Retention,
    batch: i32,
) -> Result<(), StoreError> {
    let Some(mut tx) = begin_exclusive(pool, &["upkeep"]).await? else { return Ok(()) };
    sessions::delete_old(&mut tx, batch.into()).await?;
    sessions::forget_people(&mut tx, retention.events_days, batch.into()).await?;
    Ok(tx.commit().await?)
}

async fn extend_deadlines(pool: &PgPool) -> Result<(), StoreError> {
    while store::extend_deadlines(pool, CHUNK).await? {}
    Ok(())
}

async fn remind(pool: &PgPool, every_s: u64) -> Result<(), StoreError> {
    for one in store::remind_of_unavailable(pool, every_s).await? {
        emit!(
            INTEGRATION_STILL_UNAVAILABLE,
            workspace.id = one.workspace,
            integration.id = one.integration,
            status = one.status,
            cause = one.cause,
            unavailable_s = one.seconds,
            tasks = one.tasks,
            "No task of it is tried"
        );
    }
    loop {
        let overdue = manual_action::store::remind(pool, CHUNK).await?;
        log_overdue(&overdue);
        if (overdue.len() as i64) < CHUNK {
            return Ok(());
        }
    }
}

/// One WARN for each integration and operation, however many actions are late.
fn log_overdue(overdue: &[Overdue]) {
    for Overdue { id, workspace, integration, operation } in overdue {
        emit!(
            ACTION_OVERDUE,
            action.id = id,
            workspace.id = workspace,
            integration.id = integration,
            operation,
            "Past its deadline"
        );
    }
    for ((workspace, integration, operation), actions) in late(overdue) {
        emit!(
            ACTIONS_OVERDUE,
            workspace.id = workspace,
            integration.id = integration,
            operation,
            actions,
            "Past their deadlines"
        );
    }
}

/// How many actions are late, by workspace, integration and operation.
fn late(overdue: &[Overdue]) -> BTreeMap<(&str, &str, &str), usize> {
    let mut count = BTreeMap::new();
    for Overdue { workspace, integration, operation, .. } in overdue {
        *count
            .entry((workspace.as_str(), integration.as_str(), operation.as_str()))
            .or_default() += 1;
    }
    count
}

fn days(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX)
}

/// Deletes one batch of each kind; returns whether there may be more.
async fn delete(
    pool: &PgPool,
    retention: &Retention,
    batch: i32,
    sweep: &mut Sweep,
) -> Result<bool, StoreError> {
    let kept = days(retention.finished_tasks_days);
    let mut tx = begin(pool).await?;
    let swept = store::delete_finished_tasks(&mut tx, kept, batch, sweep.after).await?;
    tx.commit().await?;
    sweep.after = swept.up_to.unwrap_or_default();
    let mut tx = begin(pool).await?;
    let syncs = store::reduce_finished_syncs(&mut tx, kept, batch).await?;
    store::delete_reduced_syncs(&mut tx, days(retention.events_days), batch).await?;
    store::delete_old_figures(&mut tx, days(retention.events_days), batch).await?;
    tx.commit().await?;
    let kept = days(retention.ended_actions_days);
    let actions = store::delete_ended_actions(pool, kept, batch).await?;
    let events = store::delete_old_events(pool, days(retention.events_days), batch).await?;
    if swept.deleted > 0 || actions > 0 || events > 0 {
        emit!(UPKEEP_DELETED, tasks = swept.deleted, actions, events, "Past their retention");
    }
    Ok(swept.up_to.is_some() || actions.max(events).max(syncs) >= i64::from(batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_late_actions_of_one_integration_are_one_warning_for_each_operation() {
        let overdue = |workspace: &str, integration: &str, operation: &str| Overdue {
            id: 0,
            workspace: workspace.to_owned(),
            integration: integration.to_owned(),
            operation: operation.to_owned(),
        };
        let mut all: Vec<_> = (0..500).map(|_| overdue("acme", "app", "remove")).collect();
        all.extend([overdue("acme", "app", "invite"), overdue("globex", "app", "remove")]);
        let late: Vec<_> = late(&all).into_iter().collect();
        assert_eq!(
            late,
            [
                (("acme", "app", "invite"), 1),
                (("acme", "app", "remove"), 500),
                (("globex", "app", "remove"), 1),
            ]
        );
    }
}
