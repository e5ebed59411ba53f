//! The SQL of webhooks.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Event;
use crate::database::PgPool;
use crate::store::{StoreError, begin, interval};
use crate::telemetry::metrics::WebhookEnd;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It is stored, now or since an earlier delivery.
    Stored,
    /// It was signed more than five minutes before or after now.
    WrongTime,
    /// The workspace has as many open events as are allowed.
    Full,
}

/// Stores an event, if it was signed within five minutes and the workspace has fewer open events than `most`. The clock is
/// that of the database, as everywhere.
pub async fn receive(
    pool: &PgPool,
    workspace: &str,
    event: &Event,
    signed_at: DateTime<Utc>,
    most: u32,
) -> Result<Received, StoreError> {
    let row = sqlx::query!(
        r#"-- receive_webhook
         with checked as materialized (
             select $6::timestamptz between now() - interval '5 minutes' and now() + interval '5 minutes' as is_in_time,
                    exists (select from reconciler.webhook_events e
                            where e.workspace_id = $1 and e.ended_at is null
                            offset $7) as is_full
         ), stored as (
             insert into reconciler.webhook_events (workspace_id, event_id, event_type, job_id, occurred_at, error_code)
             select $1, $2, $3, $4, $5, $8 from checked where is_in_time and not is_full
             on conflict (workspace_id, event_id) do nothing
         )
         select is_in_time as "is_in_time!", is_full as "is_full!" from checked"#,
        workspace,
        event.id,
        event.kind,
        event.job,
        event.occurred_at,
        signed_at,
        i64::from(most) - 1,
        event.error_code,
    )
    .fetch_one(pool)
    .await?;
    Ok(match (row.is_in_time, row.is_full) {
        (false, _) => Received::WrongTime,
        (true, true) => Received::Full,
        (true, false) => Received::Stored,
    })
}

/// An event whose job has to be read.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) workspace: String,
    pub(super) event: String,
    pub(super) job: String,
    pub(super) error_code: Option<String>,
    pub(super) occurred_at: DateTime<Utc>,
    pub(super) attempts: i32,
    /// Whether it has been open for an hour.
    pub(super) is_old: bool,
    /// Whether it has been open for as long as finished tasks are kept.
    pub(super) is_outdated: bool,
    pub(super) is_told: bool,
}

/// How many events are claimed, and of which workspaces.
#[derive(Debug)]
pub(super) struct Quota<'a> {
    pub(super) events: i64,
    pub(super) per_workspace: i32,
    /// Each workspace once for each of its events that this process works on.
    pub(super) busy: &'a [String],
    /// Workspaces for which the backend gives no usable answer: nothing of them is claimed, so that an outage writes
    /// nothing, however many events wait.
    pub(super) resting: &'a [String],
    /// Workspaces whose outage may be over: one event of each is claimed.
    pub(super) probed: &'a [String],
}

/// Claims open events for the time of a lease: of each workspace in turn, so that none keeps the others waiting.
///
/// A plan that was made for an empty table must not take another index: the orders name both columns of the one that fits,
/// and what is found by its key is open by `outcome`, which no index has.
pub(super) async fn claim(
    pool: &PgPool,
    quota: &Quota<'_>,
    lease: Duration,
    kept_days: i32,
) -> Result<Vec<Open>, StoreError> {
    Ok(sqlx::query_as!(
        Open,
        r#"-- claim_webhooks
        with recursive workspaces as (
            (select e.workspace_id from reconciler.webhook_events e
             where e.ended_at is null
             order by e.workspace_id, e.next_attempt_at limit 1)
            union all
            select (select e.workspace_id from reconciler.webhook_events e
                    where e.ended_at is null and e.workspace_id > w.workspace_id
                    order by e.workspace_id, e.next_attempt_at limit 1)
            from workspaces w where w.workspace_id is not null
        ), due as (
            select d.workspace_id, d.event_id
            from workspaces w
            cross join lateral (
                select e.*, row_number() over (order by e.next_attempt_at) as place
                from (select e.workspace_id, e.event_id, e.next_attempt_at
                      from reconciler.webhook_events e
                      where e.workspace_id >= w.workspace_id and e.workspace_id <= w.workspace_id
                        and e.ended_at is null and e.next_attempt_at <= now()
                      order by e.workspace_id, e.next_attempt_at
                      limit greatest(0, case when w.workspace_id = any ($6::text[]) then 0
                                             when w.workspace_id = any ($7::text[]) then 1
                                             else $2 end
                                        - coalesce(cardinality(array_positions($3::text[], w.workspace_id)), 0))
                     ) e
            ) d
            order by d.place, d.next_attempt_at
            limit $1
        ), ours as (
            select e.ctid as row
            from due d
            cross join lateral (
                select e.ctid from reconciler.webhook_events e
                where e.workspace_id = d.workspace_id and e.event_id = d.event_id
                  and e.outcome is null and e.next_attempt_at <= now()
                for update skip locked
            ) e
        )
        update reconciler.webhook_events e set next_attempt_at = now() + $4::interval
        from ours o
        where e.ctid = o.row
        returning e.workspace_id as workspace, e.event_id as event, e.job_id as job, e.error_code, e.occurred_at,
                  e.attempts, e.told_at is not null as "is_told!",
                  e.received_at < now() - interval '1 hour' as "is_old!",
                  e.received_at < now() - make_interval(days => $5) as "is_outdated!""#,
        quota.events,
        quota.per_workspace,
        quota.busy,
        interval(lease),
        kept_days,
        quota.resting,
        quota.probed,
    )
    .fetch_all(pool)
    .await?)
}

/// What is written of an attempt that made no tasks of an event.
pub(super) struct Problem<'a> {
    pub(super) text: &'a str,
    pub(super) wait: Duration,
    /// 1, or 0 if the backend was not asked.
    pub(super) attempts: i32,
    /// Whether it is about to be logged.
    pub(super) is_told: bool,
}

/// Who dismisses an event keeps it locked until their transaction ends. An event that is locked stays as it is, here and
/// below: the claim ends by itself, and the event is claimed again unless it was dismissed.
pub(super) async fn put_off(
    pool: &PgPool,
    open: &Open,
    problem: &Problem<'_>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- put_off_webhook
         update reconciler.webhook_events e
         set problem = left($3, 1000), next_attempt_at = now() + $4::interval, attempts = attempts + $5,
             told_at = case when $6 then coalesce(told_at, now()) else told_at end
         from (select ctid as row from reconciler.webhook_events
               where workspace_id = $1 and event_id = $2 and outcome is null
               for no key update skip locked) o
         where e.ctid = o.row",
        open.workspace,
        open.event,
        problem.text,
        interval(problem.wait),
        problem.attempts,
        problem.is_told,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Ends an event; returns whether it was open until now.
pub(super) async fn end(
    pool: &PgPool,
    open: &Open,
    outcome: WebhookEnd,
) -> Result<bool, StoreError> {
    let ended = sqlx::query!(
        "-- end_webhook
         update reconciler.webhook_events e set ended_at = now(), outcome = $3
         from (select ctid as row from reconciler.webhook_events
               where workspace_id = $1 and event_id = $2 and outcome is null
               for no key update skip locked) o
         where e.ctid = o.row",
        open.workspace,
        open.event,
        outcome.as_str(),
    )
    .execute(pool)
    .await?;
    Ok(ended.rows_affected() == 1)
}

/// Hands back claims whose work has not begun.
pub(super) async fn hand_back(
    pool: &PgPool,
    workspaces: &[String],
    events: &[String],
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- hand_back_webhooks
         update reconciler.webhook_events e set next_attempt_at = now()
         from unnest($1::text[], $2::text[]) k (workspace, event)
         cross join lateral (select ctid as row from reconciler.webhook_events
                             where workspace_id = k.workspace and event_id = k.event and outcome is null
                             for no key update skip locked) o
         where e.ctid = o.row",
        workspaces,
        events,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Those of the sources that have no row yet.
pub(super) async fn missing(
    pool: &PgPool,
    workspace: &str,
    sources: &[String],
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- missing_sources
         select k.source as "source!" from unnest($2::text[]) k (source)
         where (select true from reconciler.automation_tasks t
                where t.source_id = k.source and t.workspace_id = $1
                limit 1) is null"#,
        workspace,
        sources,
    )
    .fetch_all(pool)
    .await?)
}

/// The kind of an integration that is known.
pub(super) async fn kind(
    pool: &PgPool,
    workspace: &str,
    integration: &str,
) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        "-- kind_of_integration
         select kind from reconciler.integration_settings where workspace_id = $1 and integration_id = $2",
        workspace,
        integration,
    )
    .fetch_optional(pool)
    .await?)
}

/// Deletes events that ended this many days ago; returns how many.
pub async fn delete_old(pool: &PgPool, kept_days: i32, limit: i64) -> Result<u64, StoreError> {
    let mut tx = begin(pool).await?;
    let deleted = sqlx::query!(
        "-- delete_old_webhooks
         delete from reconciler.webhook_events where (workspace_id, event_id) in (
             select workspace_id, event_id from reconciler.webhook_events
             where ended_at < now() - make_interval(days => $1)
             order by ended_at limit $2)",
        kept_days,
        limit,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(deleted.rows_affected())
}
