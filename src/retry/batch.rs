//! The SQL that records outcomes of many tasks at once, or of one: those that come all the time. What a statement leaves
//! out is recorded by itself (`retry::store`), a success under the lock of its breaker.
//!
//! Rows are not locked before they are changed, for a lock is written as a change is: the change itself asks for the lease
//! again. A row that moved meanwhile is changed where it is now or left out, as this version of PostgreSQL does it.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgConnection;

use super::ClaimedTask;
use crate::membership::MemberKeys;
use crate::store::{StoreError, interval};

/// What tells a claim of a task from every other, as parallel arrays.
struct Claims {
    tasks: Vec<i64>,
    workspaces: Vec<String>,
    tokens: Vec<i64>,
}

impl<'a> FromIterator<&'a ClaimedTask> for Claims {
    fn from_iter<I: IntoIterator<Item = &'a ClaimedTask>>(claimed: I) -> Self {
        let mut claims = Self { tasks: Vec::new(), workspaces: Vec::new(), tokens: Vec::new() };
        for task in claimed {
            claims.tasks.push(task.id);
            claims.workspaces.push(task.key.workspace.clone());
            claims.tokens.push(task.lease.token);
        }
        claims
    }
}

/// A task whose member is as wanted.
#[derive(Debug, Clone, Copy)]
pub struct Success<'a> {
    /// The task.
    pub task: &'a ClaimedTask,
    /// How we know.
    pub reason: &'static str,
    /// Whether it showed that the app works, which may move its breaker.
    pub app_works: bool,
    /// How long what was tried may change the app from now on.
    pub acted_for: Option<Duration>,
}

/// Closes tasks as succeeded; the ids of those that were. Left out are those whose lease was lost and those that may
/// move their breaker: a healthy app's row is read and not touched.
pub async fn succeed(
    connection: &mut PgConnection,
    successes: &[Success<'_>],
) -> Result<HashSet<i64>, StoreError> {
    let claims: Claims = successes.iter().map(|success| success.task).collect();
    let reasons: Vec<_> = successes.iter().map(|success| success.reason.to_owned()).collect();
    let app_works: Vec<_> = successes.iter().map(|success| success.app_works).collect();
    let acted_for: Vec<_> =
        successes.iter().map(|success| success.acted_for.map(interval)).collect();
    let closed = sqlx::query_scalar!(
        r#"with held as materialized (
               select t.place, s.token, s.reason, s.acted_for
               from (select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::boolean[], $6::interval[])
                              s (id, workspace_id, token, reason, app_works, acted_for)
                     order by id) s -- as everybody who locks several does
               cross join lateral (
                   select t.ctid as place
                   from reconciler.turns t
                   where t.task_id = s.id and t.workspace_id = s.workspace_id and t.lease_token = s.token
                     and not exists (
                         select from reconciler.integrations i
                         where i.workspace_id = t.workspace_id and i.integration_id = t.integration_id
                           and (i.probe_task_id = t.task_id
                                or s.app_works
                                   and (i.consecutive_failures > 0 or i.ramp_limit is not null or i.consecutive_trips > 0)))
                   offset 0
               ) t
           ), ended as (
               delete from reconciler.turns t
               using held
               where t.ctid = held.place and t.lease_token = held.token
               returning t.task_id, t.workspace_id, t.trying_since, held.reason, held.acted_for
           )
           update reconciler.automation_tasks t
           set state = 'succeeded', closed_at = clock_timestamp(), closed_reason = ended.reason,
               tried_since = ended.trying_since,
               acted_until = coalesce(clock_timestamp() + ended.acted_for, t.acted_until)
           from ended
           where t.id = ended.task_id and t.workspace_id = ended.workspace_id
           returning t.id"#,
        &claims.tasks,
        &claims.workspaces,
        &claims.tokens,
        &reasons,
        &app_works,
        &acted_for as _,
    )
    .fetch_all(connection)
    .await?;
    Ok(closed.into_iter().collect())
}

/// A task whose job at the backend is looked at again.
#[derive(Debug, Clone, Copy)]
pub struct Watching<'a> {
    /// The task.
    pub task: &'a ClaimedTask,
    /// The job.
    pub job: &'a str,
    /// When to look.
    pub after: Duration,
    /// Whether it was started just now, which is an attempt.
    pub started: bool,
}

/// Records jobs to look at again. Those that were just started count as attempts; those that somebody else started do
/// not. Returns the ids of the tasks that were held. Left out are those whose lease was lost.
pub async fn watch(
    connection: &mut PgConnection,
    watched: &[Watching<'_>],
) -> Result<HashSet<i64>, StoreError> {
    let claims: Claims = watched.iter().map(|watching| watching.task).collect();
    let jobs: Vec<_> = watched.iter().map(|watching| watching.job.to_owned()).collect();
    let waits: Vec<_> = watched.iter().map(|watching| interval(watching.after)).collect();
    let started: Vec<_> = watched.iter().map(|watching| watching.started).collect();
    let written = sqlx::query_scalar!(
        r#"with held as materialized (
               select t.place, w.token, w.job, w.started, clock_timestamp() + w.after as next
               from (select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::interval[], $6::boolean[])
                              w (id, workspace_id, token, job, after, started)
                     order by id) w
               cross join lateral (
                   select t.ctid as place
                   from reconciler.turns t
                   where t.task_id = w.id and t.workspace_id = w.workspace_id and t.lease_token = w.token
                   offset 0
               ) t
           ), released as (
               update reconciler.turns t
               set running_job_id = held.job,
                   running_since = case when held.started or t.running_job_id is null then clock_timestamp()
                                        else t.running_since end,
                   trying_since = coalesce(t.trying_since, clock_timestamp()),
                   uncertain_since = null,
                   next_attempt_at = held.next, lease_until = null, unreleased_claims = 0
               from held
               where t.ctid = held.place and t.lease_token = held.token
               returning t.task_id, t.workspace_id, t.next_attempt_at, held.started
           )
           update reconciler.automation_tasks t
           set state = 'running', attempts = t.attempts + case when released.started then 1 else 0 end,
               next_attempt_at = released.next_attempt_at
           from released
           where t.id = released.task_id and t.workspace_id = released.workspace_id
           returning t.id"#,
        &claims.tasks,
        &claims.workspaces,
        &claims.tokens,
        &jobs,
        &waits,
        &started,
    )
    .fetch_all(connection)
    .await?;
    Ok(written.into_iter().collect())
}

/// Gives the members' next tasks their turn. A statement of its own after the one that closed their heads: only a
/// new snapshot sees what came to wait behind them meanwhile (solid_queue#456 was this lost wake-up).
pub async fn promote(connection: &mut PgConnection, keys: &MemberKeys) -> Result<(), StoreError> {
    sqlx::query!(
        r#"select reconciler.promote_waiting(k.workspace_id, k.integration_id, k.member_id)
           from unnest($1::text[], $2::text[], $3::text[]) k (workspace_id, integration_id, member_id)
           cross join lateral (
               select t.task_id from reconciler.turns t
               where t.workspace_id = k.workspace_id and t.integration_id = k.integration_id
                 and t.member_id = k.member_id and t.turn = 'waiting'
               order by t.requested_at, t.task_id
               limit 1
           ) next
           order by next.task_id"#,
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}
