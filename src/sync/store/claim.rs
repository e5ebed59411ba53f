//! The claim of syncs with a step due, and what becomes of a row that cannot be read.

use std::time::{Duration, Instant};

use crate::database::PgPool;
use crate::emit;
use crate::lease::Lease;
use crate::membership::UnknownWord;
use crate::store::{StoreError, interval};
use crate::sync::ClaimedSync;

/// A sync that cannot be read is tried again after this long. A person has to fix the row.
const BAD_ROW_PAUSE: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Clone, Default)]
pub struct Quota {
    pub syncs: i64,
    /// Workspaces and apps for which the backend gives no usable answer. They are not claimed.
    pub unavailable: Vec<String>,
    /// The only workspace or app to claim for; `None` for all.
    pub only: Option<String>,
}

/// Claims syncs with a step due. A request waits until the integration's running sync has ended.
pub async fn claim(
    pool: &PgPool,
    quota: &Quota,
    lease: Duration,
) -> Result<Vec<ClaimedSync>, StoreError> {
    let ends = Instant::now() + lease;
    let rows = sqlx::query!(
        r#"-- claim_syncs
        with due as materialized (
            select s.id, s.workspace_id
            from reconciler.syncs s
            where s.state in ('requested', 'started', 'report_ready', 'applying')
              and s.next_step_at <= now()
              and (s.lease_until is null or s.lease_until <= now())
              and s.workspace_id <> all ($3) and s.workspace_id || '/' || s.integration_id <> all ($3)
              and ($4::text is null or $4 in (s.workspace_id, s.workspace_id || '/' || s.integration_id))
              and (s.state <> 'requested' or not exists (
                  select from reconciler.syncs a
                  where a.workspace_id = s.workspace_id and a.integration_id = s.integration_id
                    and a.state in ('started', 'report_ready', 'held', 'applying')))
            order by s.next_step_at
            limit $1
            for no key update skip locked
        )
        update reconciler.syncs s
        set lease_until = now() + $2, lease_token = s.lease_token + 1,
            unreleased_claims = s.unreleased_claims + 1
        from due, reconciler.integration_settings i
        where s.id = due.id and s.workspace_id = due.workspace_id
          and i.workspace_id = s.workspace_id and i.integration_id = s.integration_id
        returning s.id, s.workspace_id, s.integration_id, i.application, s.procedure, s.state,
                  s.running_job_id, s.running_since, s.report_id, s.failures, s.decision, s.lease_token,
                  s.unreleased_claims, now() as "claimed_at!", s.started_at, s.held_until, s.earlier_runs,
                  greatest(s.started_at, s.decided_at) as trying_since,
                  s.report -> 'snapshot' ->> 'hash' as held_hash,
                  case when s.state = 'applying' then s.report -> 'update' end as "update?",
                  i.own_account, i.four_eyes, i.loosened_at,
                  case when i.administrator_roles is not null
                       then array(select r from unnest(i.administrator_roles) r where r is not null) end
                      as administrator_roles
        "#,
        quota.syncs,
        interval(lease),
        &quota.unavailable,
        quota.only,
    )
    .fetch_all(pool)
    .await?;
    let (mut claimed, mut bad) = (Vec::new(), Vec::new());
    for row in rows {
        let decision = row.decision.map(|word| word.parse()).transpose();
        let update = row.update.map(serde_json::from_value).transpose();
        let update = update.map_err(|error| UnknownWord::new("report", &error.to_string()));
        match (row.procedure.parse(), row.state.parse(), decision, update) {
            (Ok(procedure), Ok(state), Ok(decision), Ok(update)) => claimed.push(ClaimedSync {
                update,
                held_hash: row.held_hash,
                held_until: row.held_until,
                started_at: row.started_at,
                trying_since: row.trying_since,
                own_account: row.own_account,
                four_eyes: row.four_eyes,
                loosened_at: row.loosened_at,
                administrator_roles: row.administrator_roles,
                id: row.id,
                lease: Lease { token: row.lease_token, ends },
                workspace: row.workspace_id,
                integration: row.integration_id,
                application: row.application,
                procedure,
                state,
                running: row.running_job_id.zip(row.running_since),
                report: row.report_id,
                failures: row.failures,
                decision,
                unreleased_claims: row.unreleased_claims,
                claimed_at: row.claimed_at,
                earlier_runs: row.earlier_runs,
                traceparents: Vec::new(),
            }),
            (Err(error), ..) | (_, Err(error), ..) | (.., Err(error), _) | (.., Err(error)) => {
                bad.push((row.id, error));
            }
        }
    }
    quarantine(pool, &bad).await?;
    Ok(claimed)
}

/// Quarantines syncs that cannot be read, and logs them.
async fn quarantine(pool: &PgPool, bad: &[(i64, UnknownWord)]) -> Result<(), StoreError> {
    if bad.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = bad.iter().map(|(id, _)| *id).collect();
    sqlx::query!(
        "-- quarantine_syncs
         update reconciler.syncs
         set lease_until = null, unreleased_claims = 0, next_step_at = clock_timestamp() + $2
         where id = any ($1)",
        &ids,
        interval(BAD_ROW_PAUSE),
    )
    .execute(pool)
    .await?;
    for (id, error) in bad {
        emit!(
            SYNC_QUARANTINED,
            sync.id = id,
            %error,
            wait_s = BAD_ROW_PAUSE.as_secs(),
            "This row cannot be worked on; all others go on"
        );
    }
    Ok(())
}
