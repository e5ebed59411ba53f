//! The SQL of manual actions. The database decides who may change which status.

use std::time::Duration;

use super::instructions::{Instructions, Library};
use super::{Opening, Reconnect};
use crate::database::{PgConnection, PgPool};
use crate::store::{StoreError, begin, interval};

/// Opens an action; `None` if the member has an unfinished action already.
pub async fn open(
    connection: &mut PgConnection,
    library: &Library,
    opening: &Opening,
    attempts: u32,
    due_in: Duration,
) -> Result<Option<i64>, StoreError> {
    let (key, person, failure) = (&opening.key, &opening.person, &opening.failure);
    let Instructions { text, shown } = library.of(opening);
    Ok(sqlx::query_scalar!(
        "-- insert_action
         insert into reconciler.manual_actions
             (task_id, workspace_id, integration_id, member_id, operation, integration_name, integration_kind,
              application, member_email, member_username, member_name, entitlements, trigger, requested_at,
              requested_by, reason, failure_code, failure_message, failure_screenshot_url, attempts, instructions, shown,
              due_at)
         select $1, $2, $3, $4, $5, t.integration_name, t.integration_kind,
                t.application, $6, $7, $8, $9, $10, t.requested_at, t.requested_by, $11, $12, $13, $14, $15, $16, $17,
                clock_timestamp() + $18
         from reconciler.automation_tasks t
         where t.id = $1 and t.workspace_id = $2
         on conflict (workspace_id, integration_id, member_id)
             where closed_at is null do nothing
         returning id",
        opening.task,
        key.workspace,
        key.integration,
        key.member,
        opening.operation.as_str(),
        person.email,
        person.username,
        person.name,
        &opening.entitlements,
        opening.trigger.as_str(),
        opening.reason,
        failure.code,
        failure.message,
        failure.screenshot_url,
        i32::try_from(attempts).unwrap_or(i32::MAX),
        text,
        shown,
        interval(due_in),
    )
    .fetch_optional(connection)
    .await?)
}

/// Opens the action that asks to fix a login; `None` if the integration has such an unfinished action already.
pub async fn open_reconnect(
    connection: &mut PgConnection,
    library: &Library,
    reconnect: &Reconnect,
    due_in: Duration,
) -> Result<Option<i64>, StoreError> {
    let failure = &reconnect.failure;
    let Instructions { text, shown } = library.of_reconnect(reconnect);
    Ok(sqlx::query_scalar!(
        "-- insert_reconnect_action
         insert into reconciler.manual_actions
             (task_id, workspace_id, integration_id, member_id, operation, integration_name, integration_kind,
              application, member_email, trigger, reason, failure_code, failure_message, failure_screenshot_url,
              instructions, shown, due_at)
         select t.id, t.workspace_id, t.integration_id, '', 'reconnect', t.integration_name, t.integration_kind,
                t.application, '', t.trigger, 'The app rejects the stored login', $3, $4, $5, $6,
                $7, clock_timestamp() + $8
         from reconciler.automation_tasks t
         where t.id = $1 and t.workspace_id = $2
         on conflict (workspace_id, integration_id, member_id)
             where closed_at is null do nothing
         returning id",
        reconnect.task,
        reconnect.workspace,
        failure.code,
        failure.message,
        failure.screenshot_url,
        text,
        shown,
        interval(due_in),
    )
    .fetch_optional(connection)
    .await?)
}

/// Ends actions that a later request superseded. Takes pairs of an action and the winning task, and returns the pairs
/// that were ended. An action that a person has locked stays as it is.
pub async fn supersede(
    connection: &mut PgConnection,
    ended: &[(i64, i64)],
) -> Result<Vec<(i64, i64)>, StoreError> {
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let (actions, winners): (Vec<i64>, Vec<i64>) = ended.iter().copied().unzip();
    let rows = sqlx::query!(
        r#"-- supersede_actions
         with lost as materialized (
             select m.place, l.winner
             from unnest($1::bigint[], $2::bigint[]) l (action, winner)
             cross join lateral (
                 select ctid as place from reconciler.manual_actions where id = l.action
                 offset 0
             ) k
             cross join lateral (
                 select ctid as place from reconciler.manual_actions
                 where ctid = k.place and closed_at is null
                 for no key update skip locked
                 offset 0
             ) m
         )
         update reconciler.manual_actions a
         set status = 'superseded', observed = 'Replaced by a newer request (task ' || lost.winner || ')'
         from lost
         where a.ctid = lost.place
         returning a.id, lost.winner as "winner!""#,
        &actions,
        &winners,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.winner)).collect())
}

/// Dismisses the action that asks to fix a login, because a person resumed the integration. Returns false if somebody
/// has it locked.
pub async fn dismiss_reconnect(
    connection: &mut PgConnection,
    action: i64,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- dismiss_reconnect
        with asked as materialized (
            select ctid as place, closed_at from reconciler.manual_actions where id = $1
        ), free as materialized (
            select f.place
            from asked
            cross join lateral (
                select ctid as place from reconciler.manual_actions
                where ctid = asked.place and closed_at is null
                for no key update skip locked
                offset 0
            ) f
        ), dismissed as (
            update reconciler.manual_actions a
            set status = 'dismissed', note = 'the integration was resumed by hand'
            from free where a.ctid = free.place
            returning 1
        )
        select exists (select from dismissed)
               or not exists (select from asked where closed_at is null) as "is_ended!""#,
        action,
    )
    .fetch_one(connection)
    .await?)
}

#[derive(Debug)]
pub struct Overdue {
    pub id: i64,
    pub workspace: String,
    pub integration: String,
    pub operation: String,
}

/// Marks overdue actions as reminded, once each. While an integration is on hold, its actions are left out, except the
/// one that asks to fix the login.
pub async fn remind(pool: &PgPool, limit: i64) -> Result<Vec<Overdue>, StoreError> {
    let mut tx = begin(pool).await?;
    let overdue = sqlx::query_as!(
        Overdue,
        r#"-- remind_of_actions
         with late as materialized (
             select o.ctid as place
             from reconciler.manual_actions o
             where o.closed_at is null and o.due_at <= now() and o.reminded_at is null
               and (o.operation = 'reconnect'
                    or exists (select from reconciler.integration_states d
                               join reconciler.integration_settings s using (workspace_id, integration_id)
                               where d.workspace_id = o.workspace_id and d.integration_id = o.integration_id
                                 and d.status in ('active', 'probing') and s.paused_at is null
                               offset 0))
             order by o.due_at
             limit $1
             for no key update of o skip locked
         )
         update reconciler.manual_actions a
         set reminded_at = clock_timestamp()
         from late
         where a.ctid = late.place
         returning a.id, a.workspace_id as workspace, a.integration_id as integration, a.operation"#,
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(overdue)
}
