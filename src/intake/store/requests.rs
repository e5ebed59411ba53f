//! The unfinished requests and actions of members that have new rows.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use crate::database::PgConnection;
use crate::intake::order::Standing;
use crate::manual_action::status::{ActionEnd, ActionStatus};
use crate::membership::Operation;
use crate::store::StoreError;

/// An unfinished request of a known member.
#[derive(Debug, Clone)]
pub(in crate::intake) struct Known {
    pub(in crate::intake) operation: Operation,
    pub(in crate::intake) requested_at: DateTime<Utc>,
    pub(in crate::intake) superseded_by: Option<i64>,
    /// Whether any attempt of it was made.
    pub(in crate::intake) was_tried: bool,
}

pub(in crate::intake) async fn requests(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<HashMap<i64, Known>, StoreError> {
    if tasks.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"-- unfinished_requests
        select t.id, t.operation, t.requested_at, t.superseded_by,
               t.attempts > 0 or t.trying_since is not null as "was_tried!"
        from unnest($1::bigint[]) k (id)
        cross join lateral (select * from reconciler.automation_tasks t where t.id = k.id offset 0) t"#,
        tasks,
    )
    .fetch_all(connection)
    .await?;
    let known = rows.into_iter().map(|row| {
        let bad = |source| StoreError::BadRow { table: "automation_tasks", id: row.id, source };
        let known = Known {
            operation: row.operation.parse().map_err(bad)?,
            requested_at: row.requested_at,
            superseded_by: row.superseded_by,
            was_tried: row.was_tried,
        };
        Ok((row.id, known))
    });
    known.collect()
}

/// An action that goes before the requests of its member.
#[derive(Debug, Clone, Copy)]
pub(in crate::intake) struct OpenAction {
    pub(in crate::intake) task: i64,
    pub(in crate::intake) operation: Operation,
    pub(in crate::intake) requested_at: DateTime<Utc>,
    pub(in crate::intake) standing: Standing,
    /// Whether it has ended, and the member's row does not show that yet.
    pub(in crate::intake) has_ended: bool,
}

/// Reads actions without locking their rows.
pub(in crate::intake) async fn actions(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<BTreeMap<i64, OpenAction>, StoreError> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query!(
        r#"-- open_actions
        select a.id, a.task_id, a.operation, a.status, coalesce(t.requested_at, a.opened_at) as "requested_at!"
        from unnest($1::bigint[]) k (id)
        cross join lateral (select * from reconciler.manual_actions a where a.id = k.id offset 0) a
        left join lateral (select * from reconciler.automation_tasks t
                           where t.id = a.task_id and t.workspace_id = a.workspace_id offset 0) t on true"#,
        ids,
    )
    .fetch_all(connection)
    .await?;
    let actions = rows.into_iter().map(|row| {
        let bad = |source| StoreError::BadRow { table: "manual_actions", id: row.id, source };
        let end = ActionEnd::of(row.status.parse::<ActionStatus>().map_err(bad)?);
        let action = OpenAction {
            task: row.task_id,
            operation: row.operation.parse().map_err(bad)?,
            requested_at: row.requested_at,
            standing: match end {
                None => Standing::Action(row.id),
                Some(end) if end.took_effect => Standing::Effective,
                Some(_) => Standing::Void,
            },
            has_ended: end.is_some(),
        };
        Ok((row.id, action))
    });
    actions.collect()
}
