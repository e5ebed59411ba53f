//! The SQL of nudges: what people did that the daemon has not applied yet.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::status::ActionStatus;
use crate::database::PgConnection;
use crate::membership::{MemberKey, Operation, UnknownWord, words};
use crate::store::{StoreError, interval};

words! {
    /// What happened. Only the end of an action may come from the daemon itself.
    What {
        Done = "done",
        Ended = "ended",
        Paused = "paused",
        Unpaused = "unpaused",
        /// An integration is to be active, whatever its status is.
        Reset = "reset",
        /// A snapshot was requested.
        Snapshot = "snapshot",
        Cancelled = "cancelled",
        /// Somebody reported that an app looks different from the instructions of an action.
        ScreenChanged = "screen_changed",
    }
}

/// What a person did, and to what.
#[derive(Debug)]
pub struct Nudge {
    pub id: i64,
    pub what: What,
    pub workspace: String,
    pub integration: String,
    /// The action, as it is now.
    pub action: Option<ActionRow>,
    /// The cancelled task, and the reason.
    pub cancelled: Option<(i64, String)>,
}

/// The row of an action that a nudge is about.
#[derive(Debug)]
pub struct ActionRow {
    pub id: i64,
    pub status: ActionStatus,
    pub key: MemberKey,
    /// The operation; `None` for an action that asks to fix a login.
    pub operation: Option<Operation>,
    /// The task that the action stands for.
    pub task: i64,
    /// When the task was requested.
    pub requested_at: DateTime<Utc>,
    /// When the action ended; now if it has not ended.
    pub closed_at: DateTime<Utc>,
    /// When a person marked the action done.
    pub done_at: Option<DateTime<Utc>>,
    /// The name of the app in the catalogue.
    pub application: String,
    pub note: Option<String>,
    pub instructions: ActionText,
}

/// The text that the instructions of an action were made of.
#[derive(Debug, Default)]
pub struct ActionText {
    pub name: String,
    pub source: String,
    pub hash: String,
}

/// The oldest nudges, with an equal share for each integration.
pub async fn shared_out(connection: &mut PgConnection, limit: i64) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- nudges_shared_out
        with recursive every as (
            (select workspace_id, integration_id from reconciler.nudges
             where integration_id >= '' order by workspace_id, integration_id limit 1)
            union all
            select n.* from every
            cross join lateral (
                select n.workspace_id, n.integration_id from reconciler.nudges n
                where n.integration_id >= ''
                  and (n.workspace_id, n.integration_id) > (every.workspace_id, every.integration_id)
                order by n.workspace_id, n.integration_id
                limit 1) n
        ), integrations as materialized (
            select workspace_id, integration_id, ceil($1::bigint::numeric / count(*) over ())::bigint as share
            from every
        )
        select n.id
        from integrations i
        cross join lateral (
            select id from reconciler.nudges n
            where n.workspace_id = i.workspace_id and n.integration_id = i.integration_id and n.not_before <= now()
            order by n.workspace_id, n.integration_id, n.id
            limit i.share
        ) n
        limit 2 * $1"#,
        limit,
    )
    .fetch_all(connection)
    .await?)
}

/// Reads nudges and the actions that they are about, without locking any row.
pub async fn read(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<Nudge>, StoreError> {
    let rows = sqlx::query!(
        r#"-- read_nudges
        select n.id, n.workspace_id, n.integration_id, n.what, n.task_id as cancelled, n.reason, a.id as "action_id?", a.status as "status?",
               a.operation as "operation?", a.member_id as "member_id?", a.task_id as "task_id?", a.closed_at,
               a.done_at, a.note, a.application as "application?", a.shown ->> 'template' as instructions,
               a.shown ->> 'source' as source, a.instructions_hash,
               coalesce(t.requested_at, a.opened_at, now()) as "requested_at!", now() as "now!"
        from unnest($1::bigint[]) k (id)
        cross join lateral (select * from reconciler.nudges n where n.id = k.id offset 0) n
        left join lateral (select * from reconciler.manual_actions a
                           where a.id = n.action_id and a.workspace_id = n.workspace_id offset 0) a on true
        left join lateral (select * from reconciler.automation_tasks t
                           where t.id = a.task_id and t.workspace_id = a.workspace_id offset 0) t on true
        order by k.id"#,
        ids,
    )
    .fetch_all(connection)
    .await?;
    let nudges = rows.into_iter().map(|row| {
        let bad = |source: UnknownWord| StoreError::BadRow { table: "nudges", id: row.id, source };
        let action = match (row.action_id, row.status, row.operation, row.member_id, row.task_id) {
            (Some(id), Some(status), Some(operation), Some(member), Some(task)) => {
                Some(ActionRow {
                    id,
                    status: status.parse().map_err(bad)?,
                    key: MemberKey {
                        workspace: row.workspace_id.clone(),
                        integration: row.integration_id.clone(),
                        member,
                    },
                    operation: match operation.as_str() {
                        "reconnect" => None,
                        word => Some(word.parse().map_err(bad)?),
                    },
                    task,
                    requested_at: row.requested_at,
                    closed_at: row.closed_at.unwrap_or(row.now),
                    done_at: row.done_at,
                    application: row.application.unwrap_or_default(),
                    note: row.note,
                    instructions: ActionText {
                        name: row.instructions.unwrap_or_default(),
                        source: row.source.unwrap_or_default(),
                        hash: row.instructions_hash.unwrap_or_default(),
                    },
                })
            }
            _ => None,
        };
        Ok(Nudge {
            id: row.id,
            what: row.what.parse().map_err(bad)?,
            workspace: row.workspace_id,
            integration: row.integration_id,
            action,
            cancelled: row.cancelled.zip(row.reason),
        })
    });
    nudges.collect()
}

/// Deletes nudges that were applied.
pub async fn delete(connection: &mut PgConnection, ids: &[i64]) -> Result<(), StoreError> {
    sqlx::query!(
        "-- delete_nudges
         delete from reconciler.nudges n
         using unnest($1::bigint[]) k (id)
         where n.ctid = (select b.ctid from reconciler.nudges b where b.id = k.id)",
        ids,
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub async fn postpone(
    connection: &mut PgConnection,
    ids: &[i64],
    wait: Duration,
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- postpone_nudges
         update reconciler.nudges n set not_before = clock_timestamp() + $2
         from unnest($1::bigint[]) k (id)
         where n.ctid = (select b.ctid from reconciler.nudges b where b.id = k.id)",
        ids,
        interval(wait),
    )
    .execute(connection)
    .await?;
    Ok(())
}
