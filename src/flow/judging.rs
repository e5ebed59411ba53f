//! The SQL of actions that a snapshot or a person's word judges, under the lease of the sync.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::database::{PgConnection, PgPool};
use crate::manual_action::status::ActionStatus;
use crate::membership::{Desired, UnknownWord};
use crate::store::{StoreError, interval};
use crate::sync::ClaimedSync;
use crate::sync::verdict::Verdict;

/// The shortest wait before an app that cannot be read is checked again for words that may close their actions.
const MIN_ATTEST_PAUSE: Duration = Duration::from_secs(1);

/// An unfinished action of the integration, with the columns that a verdict needs.
#[derive(Debug)]
pub(super) struct ActionToJudge {
    pub(super) id: i64,
    /// The task that the action stands for.
    pub(super) task: i64,
    /// Open, in progress or done.
    pub(super) status: ActionStatus,
    /// How long it has been done.
    pub(super) done_for: Option<Duration>,
    pub(super) desired: Desired,
    /// Whether the word of one person is not enough, and no second one has confirmed it.
    pub(super) needs_second_person: bool,
    /// How many verdicts it had since it was marked done.
    pub(super) snapshots: i32,
}

#[derive(Debug, Default)]
pub(super) struct ActionsToJudge {
    /// The actions that this transaction has locked.
    pub(super) actions: Vec<ActionToJudge>,
    /// The last action of this part; `None` if there was none.
    pub(super) last: Option<i64>,
    /// Whether another transaction has one of them locked.
    pub(super) is_any_locked: bool,
}

/// Locks the unfinished actions that a snapshot started at `started_at` can judge: those done before it, and those
/// still open that were opened before it. Returns at most `limit` actions after the action `after`. An action that a
/// person has locked is left out, because nothing may wait for a person.
pub(super) async fn lock_actions(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    started_at: DateTime<Utc>,
    after: i64,
    limit: usize,
) -> Result<ActionsToJudge, StoreError> {
    let rows = sqlx::query!(
        r#"-- lock_actions
         select known.id as "known_id!", a.id as "id?", a.task_id as "task_id?", a.status as "status?",
                a.operation as "operation?", a.member_id as "member_id?", a.member_email as "member_email?",
                a.member_username, a.entitlements as "entitlements?", a.snapshots as "snapshots?",
                case when a.status = 'done'
                     then extract(epoch from clock_timestamp() - a.done_at)::float8 end as done_for_s,
                coalesce(a.confirmed_at is null and reconciler.needs_second_person($6, $7, a.opened_at), false)
                    as "needs_second_person!"
         from (select a.id
               from reconciler.manual_actions a
               where a.workspace_id = $1 and a.integration_id = $2 and a.id > $4
                 and a.closed_at is null and a.operation <> 'reconnect'
                 and (a.status = 'done' and a.done_at < $3 or a.status <> 'done' and a.opened_at < $3)
               order by a.id
               limit $5) known
         left join lateral (
             select * from reconciler.manual_actions a
             where a.id = known.id and a.workspace_id = $1
               and (a.status = 'done' and a.done_at < $3
                    or a.status in ('open', 'in_progress') and a.opened_at < $3)
             for no key update skip locked
         ) a on true
         order by known.id"#,
        sync.workspace,
        sync.integration,
        started_at,
        after,
        i64::try_from(limit).unwrap_or(i64::MAX),
        sync.four_eyes,
        sync.loosened_at,
    )
    .fetch_all(connection)
    .await?;
    let mut chunk =
        ActionsToJudge { last: rows.last().map(|row| row.known_id), ..Default::default() };
    for row in rows {
        let bad = |source: UnknownWord| StoreError::BadRow {
            table: "manual_actions",
            id: row.known_id,
            source,
        };
        let (Some(id), Some(task), Some(status), Some(operation)) =
            (row.id, row.task_id, row.status, row.operation)
        else {
            chunk.is_any_locked = true;
            continue;
        };
        chunk.actions.push(ActionToJudge {
            id,
            task,
            status: status.parse().map_err(bad)?,
            done_for: row.done_for_s.map(positive),
            desired: Desired {
                operation: operation.parse().map_err(bad)?,
                member: row.member_id.unwrap_or_default(),
                email: row.member_email.unwrap_or_default(),
                username: row.member_username,
                entitlements: row.entitlements.unwrap_or_default().into_iter().collect(),
            },
            needs_second_person: row.needs_second_person,
            snapshots: row.snapshots.unwrap_or(0),
        });
    }
    Ok(chunk)
}

/// The most actions of an integration whose trace contexts are read.
const MOST_LINKS: i64 = 500;

/// The trace contexts of the tasks behind the unfinished actions of the integration, by the actions' ids.
pub(super) async fn traceparents(
    pool: &PgPool,
    sync: &ClaimedSync,
) -> Result<Vec<(i64, String)>, StoreError> {
    let rows = sqlx::query!(
        r#"-- traceparents
         select a.id, t.traceparent as "traceparent!"
         from (select a.id, a.task_id
               from reconciler.manual_actions a
               where a.workspace_id = $1 and a.integration_id = $2 and a.closed_at is null
               order by a.id
               limit $3) a
         cross join lateral (
             select t.traceparent from reconciler.automation_tasks t
             where t.id = a.task_id and t.workspace_id = $1
             offset 0
         ) t
         where t.traceparent is not null
         order by a.id"#,
        sync.workspace,
        sync.integration,
        MOST_LINKS,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.traceparent)).collect())
}

/// Locks the integration's action that asks to fix its login, if this sync began after the action was opened or done.
/// Returns its id, and whether it is done. Also `None` if a person has it locked.
pub(super) async fn lock_reconnect(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
) -> Result<Option<(i64, bool)>, StoreError> {
    let row = sqlx::query!(
        r#"-- lock_reconnect
         select a.id, a.status = 'done' as "done!"
         from reconciler.manual_actions a
         join reconciler.syncs s on s.id = $3 and s.workspace_id = a.workspace_id
         where a.workspace_id = $1 and a.integration_id = $2 and a.member_id = ''
           and ((a.status = 'done' and a.done_at < s.started_at)
                or (a.status in ('open', 'in_progress') and a.opened_at < s.started_at))
         for no key update of a skip locked"#,
        sync.workspace,
        sync.integration,
        sync.id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.id, row.done)))
}

/// Whether the action that asks to fix the login is done. If [`lock_reconnect`] left it out, a person has it locked.
pub(super) async fn is_reconnect_locked(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- is_reconnect_locked
        select exists (
            select from reconciler.manual_actions a
            join reconciler.syncs s on s.id = $3 and s.workspace_id = a.workspace_id
            where a.workspace_id = $1 and a.integration_id = $2 and a.member_id = ''
              and a.status = 'done' and a.done_at < s.started_at) as "locked!""#,
        sync.workspace,
        sync.integration,
        sync.id,
    )
    .fetch_one(connection)
    .await?)
}

/// When the next word may close its action, where the app cannot be read. The word must be old enough, and confirmed if
/// a second person is required. Words that still need that confirmation have no such time.
pub(super) async fn next_attestation(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    attest_after: Duration,
) -> Result<Attestations, StoreError> {
    let row = sqlx::query!(
        r#"-- next_attestation
        select extract(epoch from min(done_at) filter (where not needs) + $3 - clock_timestamp())::float8 as seconds,
               count(*) filter (where needs) > 0 as "any_unconfirmed!"
        from (select done_at, confirmed_at is null and reconciler.needs_second_person($4, $5, opened_at) as needs
              from reconciler.manual_actions
              where workspace_id = $1 and integration_id = $2 and status = 'done' and operation <> 'reconnect') done"#,
        sync.workspace,
        sync.integration,
        interval(attest_after),
        sync.four_eyes,
        sync.loosened_at,
    )
    .fetch_one(connection)
    .await?;
    let next = row.seconds.map(|seconds| seconds.max(MIN_ATTEST_PAUSE.as_secs_f64()));
    Ok(Attestations {
        next: next.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        any_unconfirmed: row.any_unconfirmed,
    })
}

/// The words of an app that cannot be read that have not closed their actions yet.
#[derive(Debug)]
pub(super) struct Attestations {
    /// The time until the next of them may close its action.
    pub(super) next: Option<Duration>,
    /// Whether one of them waits for a second person.
    pub(super) any_unconfirmed: bool,
}

/// A verdict to write, and the status that it leads to.
#[derive(Debug)]
pub(super) struct VerdictToWrite {
    pub(super) action: i64,
    pub(super) status: ActionStatus,
    pub(super) verdict: Verdict,
    /// The observation, in words for people.
    pub(super) observed: String,
}

/// What the database says of a verdict that was written.
#[derive(Debug)]
pub(super) struct WrittenVerdict {
    /// How often the action was opened again.
    pub(super) reopened: i32,
    /// The time since its removal was requested, if the verdict confirms one.
    pub(super) removal_took: Option<Duration>,
}

fn positive(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()
}

/// Writes verdicts on locked actions. `snapshot_hash` is the hash of the snapshot that they rest on, if there is one.
pub(super) async fn write_verdicts(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
    verdicts: &[VerdictToWrite],
    snapshot_hash: Option<&str>,
) -> Result<HashMap<i64, WrittenVerdict>, StoreError> {
    if verdicts.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<_> = verdicts.iter().map(|one| one.action).collect();
    let statuses: Vec<_> = verdicts.iter().map(|one| one.status.as_str().to_owned()).collect();
    let words: Vec<_> = verdicts.iter().map(|one| one.verdict.as_str().to_owned()).collect();
    let observed: Vec<_> = verdicts.iter().map(|one| one.observed.clone()).collect();
    let written = sqlx::query!(
        r#"-- write_verdicts
         update reconciler.manual_actions a
         set status = v.status, verdict = v.verdict, verdict_at = clock_timestamp(), observed = v.observed,
             snapshots = a.snapshots + 1, sync_id = $5, snapshot_hash = $6,
             snapshot_started_at = (select s.started_at from reconciler.syncs s where s.id = $5 and s.workspace_id = $7)
         from unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) v (id, status, verdict, observed)
         where a.id = v.id and a.workspace_id = $7
         returning a.id, a.reopened_count,
                   case when v.verdict = 'confirmed' and a.operation = 'remove' then
                       (select extract(epoch from clock_timestamp() - t.requested_at)::float8
                        from reconciler.automation_tasks t
                        where t.id = a.task_id and t.workspace_id = a.workspace_id) end as removal_took_s"#,
        &ids,
        &statuses,
        &words,
        &observed,
        sync.id,
        snapshot_hash,
        sync.workspace,
    )
    .fetch_all(connection)
    .await?;
    let written = written.into_iter().map(|row| {
        let removal_took = row.removal_took_s.map(positive);
        (row.id, WrittenVerdict { reopened: row.reopened_count, removal_took })
    });
    Ok(written.collect())
}
