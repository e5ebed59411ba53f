//! The SQL of what a report compares with: the wishes, and the snapshot before.

use sqlx::{PgConnection, PgExecutor};

use super::Intent;
use crate::membership::Wanted;
use crate::store::StoreError;
use crate::sync::ClaimedSync;

/// The latest thing wanted of each of the integration's members whose turn has come, unless a person dismissed it.
pub async fn intents(
    executor: impl PgExecutor<'_>,
    workspace: &str,
    integration: &str,
) -> Result<Vec<Intent>, StoreError> {
    let rows = sqlx::query!(
        "select t.id, t.member_id, t.member_email, t.member_username, t.operation, t.entitlements,
                case when t.state = 'running' then now() else greatest(t.closed_at, a.done_at, a.closed_at) end
                    as worked_at
         from (select distinct on (member_id) *
               from reconciler.automation_tasks k
               where workspace_id = $1 and integration_id = $2 and state not in ('superseded', 'cancelled')
                 and not exists (select from reconciler.turns h
                                 where h.task_id = k.id and h.workspace_id = k.workspace_id and h.turn <> 'head'
                                 offset 0)
               order by member_id, requested_at desc, id desc) t
         left join lateral (
             select m.status, m.done_at, m.closed_at from reconciler.manual_actions m
             where m.workspace_id = t.workspace_id and m.task_id = t.id
             order by m.id desc limit 1) a on true
         where a.status is distinct from 'dismissed'",
        workspace,
        integration,
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|row| {
            let operation = row.operation.parse().map_err(|source| StoreError::BadRow {
                table: "automation_tasks",
                id: row.id,
                source,
            })?;
            Ok(Intent {
                task: row.id,
                wanted: Wanted {
                    operation,
                    member: row.member_id,
                    email: row.member_email,
                    username: row.member_username,
                    entitlements: row.entitlements.into_iter().collect(),
                },
                worked_at: row.worked_at,
            })
        })
        .collect()
}

/// How many members the integration's last complete snapshot showed.
pub async fn members_before(
    connection: &mut PgConnection,
    sync: &ClaimedSync,
) -> Result<Option<u64>, StoreError> {
    let members = sqlx::query_scalar!(
        r#"select (report -> 'snapshot' ->> 'members')::bigint as "members!" from reconciler.syncs
           where workspace_id = $1 and integration_id = $2 and state = 'finished'
             and report @> '{"snapshot": {"complete": true}}'
           order by started_at desc limit 1"#,
        sync.workspace,
        sync.integration,
    )
    .fetch_optional(connection)
    .await?;
    Ok(members.and_then(|members| u64::try_from(members).ok()))
}
