//! The SQL of breakers: the daemon's row of an integration, which people cannot lock. The claim itself admits tasks
//! (`reconciler.admit`).

use super::{Attempt, Breaker, HealthSignal, Move, Status};
use crate::database::PgConnection;
use crate::membership::{MemberKey, UnknownWord, words};
use crate::store::{StoreError, interval};

words! {
    StatusWord {
        Active = "active",
        /// Only the probe is admitted.
        Probing = "probing",
        /// No task is admitted until a time.
        Tripped = "tripped",
        /// The app rejects the stored login.
        LoginRejected = "login_rejected",
    }
}

/// Locks the breaker of a task's integration if the attempt may move it. The row of a healthy app is not locked.
pub async fn lock(
    connection: &mut PgConnection,
    key: &MemberKey,
    attempt: &Attempt,
) -> Result<Option<Breaker>, StoreError> {
    let row = sqlx::query!(
        "-- lock_breaker
         select status, status_cause, status_since, consecutive_failures, consecutive_trips, ramp_limit, probe_task_id
         from reconciler.integration_states
         where workspace_id = $1 and integration_id = $2
           and (probe_task_id = $3 or $4
                or $5 and (consecutive_failures > 0 or ramp_limit is not null or consecutive_trips > 0))
         for no key update",
        key.workspace,
        key.integration,
        attempt.task,
        matches!(attempt.signal, HealthSignal::Fails | HealthSignal::LimitsRate(_)),
        matches!(attempt.signal, HealthSignal::Works | HealthSignal::Answers),
    )
    .fetch_optional(connection)
    .await?;
    let number = |number: i32| u32::try_from(number).unwrap_or(0);
    let bad = |source: UnknownWord| StoreError::BadRow {
        table: "integration_states",
        id: attempt.task,
        source,
    };
    row.map(|row| {
        Ok(Breaker {
            status: match row.status.parse().map_err(bad)? {
                StatusWord::Active => Status::Active,
                StatusWord::Probing => Status::Probing,
                StatusWord::Tripped => Status::Tripped,
                StatusWord::LoginRejected => Status::LoginRejected,
            },
            cause: row.status_cause.as_deref().map(str::parse).transpose().map_err(bad)?,
            since: row.status_since,
            failures: number(row.consecutive_failures),
            trips: number(row.consecutive_trips),
            ramp: row.ramp_limit.map(number),
            probe: row.probe_task_id,
        })
    })
    .transpose()
}

/// Writes the move of a locked breaker, and records trips and recoveries in the trail.
pub async fn write(
    connection: &mut PgConnection,
    key: &MemberKey,
    moved: Move,
) -> Result<(), StoreError> {
    let (workspace, integration) = (&key.workspace, &key.integration);
    match moved {
        Move::Count => sqlx::query!(
            "-- count_failure
             update reconciler.integration_states set consecutive_failures = consecutive_failures + 1
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
        ),
        Move::Forget { ramp } => sqlx::query!(
            "-- forget_failures
             update reconciler.integration_states
             set consecutive_failures = 0, ramp_limit = $3,
                 consecutive_trips = case when $3::integer is null then 0 else consecutive_trips end
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
            ramp.and_then(|ramp| i32::try_from(ramp).ok()),
        ),
        Move::Raise(ramp) => sqlx::query!(
            "-- raise_ramp
             update reconciler.integration_states set ramp_limit = $3 where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
            ramp.and_then(|ramp| i32::try_from(ramp).ok()),
        ),
        Move::Trip { cause, wait, trips } => sqlx::query!(
            "-- trip
             with tripped as (
                 update reconciler.integration_states
                 set status = 'tripped', status_cause = $3, status_reason = $4, status_until = clock_timestamp() + $5,
                     status_since = clock_timestamp(), consecutive_failures = 0, consecutive_trips = $6,
                     probe_task_id = null, ramp_limit = null,
                     inactive_since = coalesce(inactive_since, clock_timestamp()), inactive_until = null
                 where workspace_id = $1 and integration_id = $2
                 returning status_until
             )
             insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
             select case $3 when 'rate_limit' then 'integration.rate_limited' else 'integration.tripped' end,
                    $1, 'integration', $2, jsonb_build_object('reason', $4::text, 'until', status_until)
             from tripped",
            workspace,
            integration,
            cause.as_str(),
            cause.sentence(),
            interval(wait),
            i32::try_from(trips).unwrap_or(i32::MAX),
        ),
        Move::Recover => return recover(connection, workspace, integration).await.map(drop),
        Move::Await(wait) => sqlx::query!(
            "-- await_probe
             update reconciler.integration_states set status_until = clock_timestamp() + $3
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
            interval(wait),
        ),
        Move::NextProbe => sqlx::query!(
            "-- next_probe
             update reconciler.integration_states set status_until = clock_timestamp(), probe_task_id = null
             where workspace_id = $1 and integration_id = $2",
            workspace,
            integration,
        ),
    }
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes an integration active. Tasks that were on hold must not all start at once, so one task goes first, and each
/// success admits one more. Returns whether the integration was inactive.
pub async fn recover(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
) -> Result<bool, StoreError> {
    let recovered = sqlx::query_scalar!(
        r#"-- recover
        with recovered as (
            update reconciler.integration_states
            set status = 'active', status_cause = null, status_reason = null, status_until = null,
                status_since = clock_timestamp(), status_reminded_at = null, consecutive_failures = 0,
                probe_task_id = null, ramp_limit = 1, inactive_until = clock_timestamp()
            where workspace_id = $1 and integration_id = $2 and status <> 'active'
            returning 1
        ), recorded as (
            insert into reconciler.events (what, workspace_id, subject, subject_id)
            select 'integration.recovered', $1, 'integration', $2 from recovered
        )
        select 1 as "one!" from recovered"#,
        workspace,
        integration,
    )
    .fetch_optional(&mut *connection)
    .await?;
    if recovered.is_some() {
        sqlx::query!(
            "-- notify_tasks
         select pg_notify('reconciler', 'tasks')"
        )
        .execute(connection)
        .await?;
    }
    Ok(recovered.is_some())
}

/// What a person did to an integration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// No task of it is to run.
    Paused,
    Unpaused,
    /// It becomes active, whatever its status was.
    Reset,
}

/// Applies what a person did. Returns the unfinished action that asks to fix the login, if it is no longer needed.
pub async fn take_up(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    asked: Asked,
) -> Result<Option<i64>, StoreError> {
    match asked {
        Asked::Paused => {
            // What the breaker found before the pause is outdated when the pause ends.
            sqlx::query!(
                "-- take_up_pause
                 update reconciler.integration_states
                 set status = case when status = 'login_rejected' then status else 'active' end,
                     status_reason = case when status = 'login_rejected' then status_reason end,
                     status_cause = null, status_until = null, probe_task_id = null, consecutive_failures = 0,
                     status_since = clock_timestamp(), inactive_since = coalesce(inactive_since, clock_timestamp()),
                     inactive_until = null
                 where workspace_id = $1 and integration_id = $2",
                workspace,
                integration,
            )
            .execute(connection)
            .await?;
            Ok(None)
        }
        Asked::Unpaused => {
            sqlx::query!(
                "-- take_up_end_of_pause
                 update reconciler.integration_states
                 set ramp_limit = 1, status_since = clock_timestamp(), status_reminded_at = null,
                     inactive_until = case when status = 'active' then clock_timestamp() end
                 where workspace_id = $1 and integration_id = $2",
                workspace,
                integration,
            )
            .execute(&mut *connection)
            .await?;
            sqlx::query!(
                "-- notify_tasks
         select pg_notify('reconciler', 'tasks')"
            )
            .execute(connection)
            .await?;
            Ok(None)
        }
        Asked::Reset => {
            recover(&mut *connection, workspace, integration).await?;
            reconnect_action(connection, workspace, integration).await
        }
    }
}

/// The unfinished action that asks to fix the login of an integration. Locks the integration's row.
pub async fn reconnect_action(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
) -> Result<Option<i64>, StoreError> {
    let action = sqlx::query_scalar!(
        "-- reconnect_action
         select reconnect_action_id from reconciler.integration_states
         where workspace_id = $1 and integration_id = $2
         for no key update",
        workspace,
        integration,
    )
    .fetch_optional(connection)
    .await?;
    Ok(action.flatten())
}

/// Stops an integration until a person has fixed the app's login, and records that in the trail. `action` asks for the
/// fix.
pub async fn reject_login(
    connection: &mut PgConnection,
    key: &MemberKey,
    reason: &str,
    action: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- reject_login
         with rejected as (
             update reconciler.integration_states
             set status = 'login_rejected', status_reason = $3, status_since = clock_timestamp(), status_cause = null,
                 status_until = null, probe_task_id = null, consecutive_failures = 0, ramp_limit = null,
                 reconnect_action_id = $4,
                 inactive_since = coalesce(inactive_since, clock_timestamp()), inactive_until = null
             where workspace_id = $1 and integration_id = $2
               and (status <> 'login_rejected' or reconnect_action_id is distinct from $4)
             returning 1
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'integration.login_rejected', $1, 'integration', $2,
                jsonb_build_object('reason', $3::text, 'action_id', $4::bigint)
         from rejected",
        key.workspace,
        key.integration,
        reason,
        action,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes the integration active again after the action that asked to fix its login has ended. Does nothing if the
/// integration has another such action by now. Returns whether the integration became active.
pub async fn login_settled(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    action: i64,
) -> Result<bool, StoreError> {
    let was_ours = sqlx::query!(
        "-- login_settled
         update reconciler.integration_states set reconnect_action_id = null
         where workspace_id = $1 and integration_id = $2 and reconnect_action_id = $3",
        workspace,
        integration,
        action,
    )
    .execute(&mut *connection)
    .await?;
    if was_ours.rows_affected() == 0 {
        return Ok(false);
    }
    recover(connection, workspace, integration).await
}
