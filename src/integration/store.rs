//! The SQL of integrations as people see and set them. The database decides what a person may set.

use chrono::{DateTime, Utc};

use crate::database::{PgConnection, PgPool};
use crate::membership::IntegrationKind;
use crate::store::{MOST_COUNTED, StoreError};

/// One line of the list for operators.
#[derive(Debug, Default, serde::Serialize, utoipa::ToSchema)]
pub struct IntegrationLine {
    pub workspace_id: String,
    pub integration_id: String,
    pub name: String,
    pub status: String,
    pub status_reason: Option<String>,
    pub status_until: Option<DateTime<Utc>>,
    pub status_since: Option<DateTime<Utc>>,
    pub max_in_flight: Option<i32>,
    pub starts_per_minute: Option<i32>,
    pub own_account: Option<String>,
    pub administrator_roles: Option<Vec<String>>,
    pub snapshot_every_s: Option<i32>,
    pub four_eyes: bool,
    /// Unfinished tasks without a job; 1001 if there are more than 1000.
    pub waiting: i64,
    pub in_flight: i64,
    /// 1001 if there are more than 1000.
    pub unfinished_actions: i64,
}

/// Which integrations to list; a field that is `None` or false leaves all.
#[derive(Debug, Clone, Copy, Default)]
pub struct IntegrationFilter<'a> {
    pub only_inactive: bool,
    pub workspace: Option<&'a str>,
    pub id: Option<&'a str>,
    /// Only integrations that come after this one in the list: its workspace and its id.
    pub after: Option<(&'a str, &'a str)>,
    pub limit: u32,
}

/// The tasks of integrations that need not be counted again: one entry of each list for an integration.
#[derive(Debug, Default)]
pub struct Backlogs {
    pub workspaces: Vec<String>,
    pub integrations: Vec<String>,
    pub waiting: Vec<i64>,
    pub in_flight: Vec<i64>,
}

/// Lists integrations, the inactive ones first. Tasks and actions are counted of those that are listed.
pub async fn list(
    connection: &mut PgConnection,
    filter: IntegrationFilter<'_>,
    known: &Backlogs,
) -> Result<Vec<IntegrationLine>, StoreError> {
    Ok(sqlx::query_as!(
        IntegrationLine,
        r#"-- list_integrations
           select i.workspace_id as "workspace_id!", i.integration_id as "integration_id!", i.name as "name!",
                  i.status as "status!", i.status_reason, i.status_until, i.status_since,
                  i.max_in_flight, i.starts_per_minute, i.own_account, i.administrator_roles, i.snapshot_every_s,
                  i.four_eyes as "four_eyes!",
                  coalesce(k.waiting, p.unfinished - r.in_flight) as "waiting!",
                  coalesce(k.in_flight, r.in_flight) as "in_flight!",
                  a.unfinished as "unfinished_actions!"
           from (select * from reconciler.integrations i
                 where (not $1 or i.status <> 'active') and ($2::text is null or i.workspace_id = $2)
                   and ($6::text is null or i.integration_id = $6)
                   and ($3::text is null
                        or (i.status = 'active', i.workspace_id, i.integration_id)
                           > ((select b.status = 'active' from reconciler.integrations b
                               where b.workspace_id = $3 and b.integration_id = $4), $3, $4))
                 order by i.status = 'active', i.workspace_id, i.integration_id
                 limit $5) i
           left join unnest($8::text[], $9::text[], $10::bigint[], $11::bigint[])
                     k (workspace_id, integration_id, waiting, in_flight)
                  on k.workspace_id = i.workspace_id and k.integration_id = i.integration_id
           cross join lateral (
               select count(*) as in_flight from reconciler.task_places t
               where k.waiting is null
                 and t.workspace_id = i.workspace_id and t.integration_id = i.integration_id and t.is_running) r
           cross join lateral (
               select count(*) as unfinished
               from (select from reconciler.task_places t
                     where k.waiting is null and t.workspace_id = i.workspace_id and t.integration_id = i.integration_id
                     limit $7 + r.in_flight) counted) p
           cross join lateral (
               select count(*) as unfinished
               from (select from reconciler.manual_actions a
                     where a.workspace_id = i.workspace_id and a.integration_id = i.integration_id
                       and a.closed_at is null
                     limit $7) counted) a
           order by i.status = 'active', i.workspace_id, i.integration_id"#,
        filter.only_inactive,
        filter.workspace,
        filter.after.map(|(workspace, _)| workspace),
        filter.after.map(|(_, integration)| integration),
        i64::from(filter.limit),
        filter.id,
        MOST_COUNTED + 1,
        &known.workspaces,
        &known.integrations,
        &known.waiting,
        &known.in_flight,
    )
    .fetch_all(connection)
    .await?)
}

/// The workspaces that have this integration.
pub async fn workspaces_of(
    connection: &mut PgConnection,
    integration: &str,
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- workspaces_of
           select workspace_id as "workspace_id!" from reconciler.integrations where integration_id = $1 order by 1"#,
        integration,
    )
    .fetch_all(connection)
    .await?)
}

/// Any known workspace, or `None` if there is none.
pub async fn some_workspace(pool: &PgPool) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- some_workspace
           select workspace_id as "workspace_id!" from reconciler.integrations limit 1"#,
    )
    .fetch_optional(pool)
    .await?)
}

/// Puts the tasks of an integration on hold, in the name of the user who runs the transaction.
pub async fn pause(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- pause_integration
         update reconciler.integrations set status = 'paused', status_reason = $3
         where workspace_id = $1 and integration_id = $2",
        workspace,
        integration,
        reason,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes an integration active again, in the name of the user who runs the transaction.
pub async fn resume(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- resume_integration
         update reconciler.integrations set status = 'active', status_reason = null
         where workspace_id = $1 and integration_id = $2",
        workspace,
        integration,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets the limits that are given; zero removes a limit.
pub async fn set_limits(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    in_flight: Option<u32>,
    per_minute: Option<u32>,
) -> Result<(), StoreError> {
    let number =
        |number: Option<u32>| number.map(|number| i32::try_from(number).unwrap_or(i32::MAX));
    sqlx::query!(
        "-- limit_integration
         update reconciler.integrations
         set max_in_flight = case when $3::integer is null then max_in_flight else nullif($3, 0) end,
             starts_per_minute = case when $4::integer is null then starts_per_minute else nullif($4, 0) end
         where workspace_id = $1 and integration_id = $2",
        workspace,
        integration,
        number(in_flight),
        number(per_minute),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The settings of an integration that people may change: `None` leaves a setting, `Some(None)` clears it.
#[derive(Debug, Default)]
pub struct Settings {
    /// The account with which the automation logs in.
    pub own_account: Option<Option<String>>,
    /// The ids of the roles that make an administrator.
    pub administrator_roles: Option<Option<Vec<String>>>,
    /// Seconds between snapshots that nothing else requested.
    pub snapshot_every_s: Option<Option<u32>>,
    /// Whether, where the app cannot be read, a person's word closes an action only after a second person confirmed it.
    pub four_eyes: Option<bool>,
    /// The kind of integration, to correct what the first row said.
    pub kind: Option<IntegrationKind>,
    /// The app, to correct what the first row said.
    pub application: Option<String>,
}

/// Writes the settings that are given.
pub async fn set(
    connection: &mut PgConnection,
    workspace: &str,
    integration: &str,
    settings: &Settings,
) -> Result<(), StoreError> {
    let every = settings.snapshot_every_s.flatten();
    sqlx::query!(
        "-- set_integration
         update reconciler.integrations
         set own_account = case when $3 then $4 else own_account end,
             administrator_roles = case when $5 then $6 else administrator_roles end,
             snapshot_every_s = case when $7 then $8 else snapshot_every_s end,
             four_eyes = coalesce($9, four_eyes), kind = coalesce($10, kind),
             application = coalesce($11, application)
         where workspace_id = $1 and integration_id = $2",
        workspace,
        integration,
        settings.own_account.is_some(),
        settings.own_account.as_ref().and_then(Option::as_deref),
        settings.administrator_roles.is_some(),
        settings.administrator_roles.as_ref().and_then(Option::as_deref),
        settings.snapshot_every_s.is_some(),
        every.map(|every| i32::try_from(every).unwrap_or(i32::MAX)),
        settings.four_eyes,
        settings.kind.map(IntegrationKind::as_str),
        settings.application,
    )
    .execute(connection)
    .await?;
    Ok(())
}
