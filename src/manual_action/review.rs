//! The SQL of what people read of manual actions.

use chrono::{DateTime, Utc};

use super::status::ActionStatus;
use crate::database::PgConnection;
use crate::membership::{ActionOperation, words};
use crate::store::{MOST_COUNTED, StoreError};

/// One line of the list for operators.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct ActionLine {
    pub id: i64,
    pub status: String,
    pub operation: String,
    pub workspace_id: String,
    pub integration_id: String,
    pub integration_name: String,
    pub member_id: String,
    pub member_email: String,
    pub reason: String,
    pub failure_code: Option<String>,
    /// The deadline, with the time added for which the integration has not been active.
    pub due_at: DateTime<Utc>,
    pub overdue: bool,
    pub assignee: Option<String>,
    pub reopened_count: i32,
    pub member_name: Option<String>,
    pub note: Option<String>,
    /// Who marked it done, and when.
    pub done_by: Option<String>,
    pub done_at: Option<DateTime<Utc>>,
    /// The latest verdict, when it was given, and what it rests on.
    pub verdict: Option<String>,
    pub verdict_at: Option<DateTime<Utc>>,
    pub observed: Option<String>,
    pub integration_status: String,
    /// Changes with every change of the action.
    pub revision: i64,
}

words! {
    ActionOrder {
        /// Unfinished actions by deadline, then ended ones, the latest first.
        Due = "due",
        /// By the time at which they were opened, the latest first.
        Newest = "newest",
    }
}

/// Which actions to list; a field that is empty or `None` leaves all.
#[derive(Debug, Clone, Copy, Default)]
pub struct ActionFilter<'a> {
    pub statuses: &'a [ActionStatus],
    pub workspace: Option<&'a str>,
    pub integration: Option<&'a str>,
    /// By id or email.
    pub member: Option<&'a str>,
    pub operation: Option<ActionOperation>,
    /// By failure code, or by reason where there is none.
    pub cause: Option<&'a str>,
    pub overdue: bool,
    /// Only those that the person who runs the transaction works on.
    pub mine: bool,
    pub ids: &'a [i64],
    /// By deadline, if it is `None`.
    pub order: Option<ActionOrder>,
    /// Only actions that come after this one in the list.
    pub after: Option<i64>,
    pub limit: u32,
}

impl ActionFilter<'_> {
    /// The unfinished or the ended ones among the statuses; `None` if all of them are left out.
    fn words(&self, unfinished: bool) -> Option<Vec<String>> {
        let words = self.statuses.iter().filter(|status| status.is_unfinished() == unfinished);
        let words: Vec<_> = words.map(ToString::to_string).collect();
        (self.statuses.is_empty() || !words.is_empty()).then_some(words)
    }
}

/// Lists actions: the unfinished ones, the most urgent first, and then the ended ones, the latest first; or all of them,
/// the newest first.
///
/// Each statement finds the ids of its page in an index that has all that the filters ask for, and then reads these rows: to
/// read each row that a filter leaves out would take ten times as long.
///
/// `None` if the action after which the list is to go on is not there any more: from its start it would seem to have no end.
pub async fn list(
    connection: &mut PgConnection,
    filter: ActionFilter<'_>,
) -> Result<Option<Vec<ActionLine>>, StoreError> {
    match filter.order.unwrap_or(ActionOrder::Due) {
        ActionOrder::Due => list_by_deadline(connection, filter).await,
        ActionOrder::Newest => Ok(Some(list_newest(connection, &filter).await?)),
    }
}

async fn list_by_deadline(
    connection: &mut PgConnection,
    filter: ActionFilter<'_>,
) -> Result<Option<Vec<ActionLine>>, StoreError> {
    let after = match filter.after {
        Some(id) => place(connection, id).await?,
        None => None,
    };
    if filter.after.is_some() && after.is_none() {
        return Ok(None);
    }
    let mut lines = Vec::new();
    if let Some(words) = filter.words(true)
        && after.is_none_or(|(_, closed_at, _)| closed_at.is_none())
    {
        lines = list_unfinished(connection, &filter, &words, after).await?;
    }
    let room = i64::from(filter.limit) - lines.len() as i64;
    if let Some(words) = filter.words(false)
        && room > 0
    {
        let after = after.and_then(|(id, closed_at, _)| Some((id, closed_at?)));
        lines.extend(list_ended(connection, &filter, &words, after, room).await?);
    }
    Ok(Some(lines))
}

/// Where an action is in the lists: its id, its end, its deadline.
type Place = (i64, Option<DateTime<Utc>>, DateTime<Utc>);

async fn place(connection: &mut PgConnection, id: i64) -> Result<Option<Place>, StoreError> {
    let row = sqlx::query!(
        "-- place_of_action
         select id, closed_at, due_at from reconciler.manual_actions where id = $1",
        id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.id, row.closed_at, row.due_at)))
}

async fn list_unfinished(
    connection: &mut PgConnection,
    filter: &ActionFilter<'_>,
    words: &[String],
    after: Option<Place>,
) -> Result<Vec<ActionLine>, StoreError> {
    Ok(sqlx::query_as!(
        ActionLine,
        r#"-- list_unfinished_actions
         select id as "id!", status as "status!", operation as "operation!", workspace_id as "workspace_id!",
                integration_id as "integration_id!", app as "integration_name!", member_id as "member_id!",
                member_email as "member_email!", reason as "reason!", failure_code, due_at as "due_at!",
                overdue as "overdue!", assignee, reopened_count as "reopened_count!",
                member_name, note, done_by, done_at, verdict, verdict_at, observed,
                integration_status as "integration_status!", revision as "revision!"
         from reconciler.action_list
         where id = any (array(select id from reconciler.find_actions($1, $2, $3, $4, $5, $6, $7, $8, $9)
                               where closed_at is null and stored_due_at <= 'infinity'
                                 and ($10::bigint is null or (stored_due_at, id) > ($11, $10))
                               order by stored_due_at, id
                               limit $12))
         order by stored_due_at, id"#,
        words,
        filter.workspace,
        filter.integration,
        filter.member,
        filter.operation.map(ActionOperation::as_str),
        filter.cause,
        filter.overdue,
        filter.mine,
        filter.ids,
        after.map(|(id, _, _)| id),
        after.map(|(_, _, due_at)| due_at),
        i64::from(filter.limit),
    )
    .fetch_all(connection)
    .await?)
}

async fn list_ended(
    connection: &mut PgConnection,
    filter: &ActionFilter<'_>,
    words: &[String],
    after: Option<(i64, DateTime<Utc>)>,
    limit: i64,
) -> Result<Vec<ActionLine>, StoreError> {
    Ok(sqlx::query_as!(
        ActionLine,
        r#"-- list_ended_actions
         select id as "id!", status as "status!", operation as "operation!", workspace_id as "workspace_id!",
                integration_id as "integration_id!", app as "integration_name!", member_id as "member_id!",
                member_email as "member_email!", reason as "reason!", failure_code, due_at as "due_at!",
                overdue as "overdue!", assignee, reopened_count as "reopened_count!",
                member_name, note, done_by, done_at, verdict, verdict_at, observed,
                integration_status as "integration_status!", revision as "revision!"
         from reconciler.action_list
         where id = any (array(select id from reconciler.find_actions($1, $2, $3, $4, $5, $6, $7, $8, $9)
                               where closed_at is not null and ($10::bigint is null or (closed_at, id) < ($11, $10))
                               order by closed_at desc, id desc
                               limit $12))
         order by closed_at desc, id desc"#,
        words,
        filter.workspace,
        filter.integration,
        filter.member,
        filter.operation.map(ActionOperation::as_str),
        filter.cause,
        filter.overdue,
        filter.mine,
        filter.ids,
        after.map(|(id, _)| id),
        after.map(|(_, closed_at)| closed_at),
        limit,
    )
    .fetch_all(connection)
    .await?)
}

async fn list_newest(
    connection: &mut PgConnection,
    filter: &ActionFilter<'_>,
) -> Result<Vec<ActionLine>, StoreError> {
    let words: Vec<_> = filter.statuses.iter().map(ToString::to_string).collect();
    Ok(sqlx::query_as!(
        ActionLine,
        r#"-- list_newest_actions
         select id as "id!", status as "status!", operation as "operation!", workspace_id as "workspace_id!",
                integration_id as "integration_id!", app as "integration_name!", member_id as "member_id!",
                member_email as "member_email!", reason as "reason!", failure_code, due_at as "due_at!",
                overdue as "overdue!", assignee, reopened_count as "reopened_count!",
                member_name, note, done_by, done_at, verdict, verdict_at, observed,
                integration_status as "integration_status!", revision as "revision!"
         from reconciler.action_list
         where id = any (array(select id from reconciler.find_actions($1, $2, $3, $4, $5, $6, $7, $8, $9)
                               where $10::bigint is null or id < $10
                               order by id desc
                               limit $11))
         order by id desc"#,
        &words,
        filter.workspace,
        filter.integration,
        filter.member,
        filter.operation.map(ActionOperation::as_str),
        filter.cause,
        filter.overdue,
        filter.mine,
        filter.ids,
        filter.after,
        i64::from(filter.limit),
    )
    .fetch_all(connection)
    .await?)
}

/// How many unfinished actions a filter lets through, whatever its cursor; [`MOST_COUNTED`] and one if there are more.
pub async fn count(
    connection: &mut PgConnection,
    filter: ActionFilter<'_>,
) -> Result<i64, StoreError> {
    let Some(words) = filter.words(true) else { return Ok(0) };
    Ok(sqlx::query_scalar!(
        r#"-- count_unfinished_actions
         select count(*) as "count!" from (
             select from reconciler.find_actions($1, $2, $3, $4, $5, $6, $7, $8, $9)
             where closed_at is null and stored_due_at <= 'infinity' limit $10) counted"#,
        &words,
        filter.workspace,
        filter.integration,
        filter.member,
        filter.operation.map(ActionOperation::as_str),
        filter.cause,
        filter.overdue,
        filter.mine,
        filter.ids,
        MOST_COUNTED + 1,
    )
    .fetch_one(connection)
    .await?)
}

/// Unfinished actions of one app, operation and cause that are not marked done.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct WorkLine {
    pub integration_name: String,
    pub operation: String,
    /// The failure code of the actions, or their reason if they have no code.
    pub cause: String,
    pub actions: i64,
    /// How many of them nobody works on.
    pub unclaimed: i64,
    pub overdue: i64,
    /// The earliest deadline of them.
    pub next_due_at: DateTime<Utc>,
    pub integration_status: String,
    pub workspace_id: String,
    pub integration_id: String,
}

/// What there is to do, the most urgent first; `None` for all workspaces.
pub async fn work_by_app(
    connection: &mut PgConnection,
    workspace: Option<&str>,
) -> Result<Vec<WorkLine>, StoreError> {
    Ok(sqlx::query_as!(
        WorkLine,
        r#"-- work_by_app
         select app as "integration_name!", operation as "operation!", cause as "cause!", actions as "actions!",
                unclaimed as "unclaimed!", overdue as "overdue!", next_due_at as "next_due_at!",
                integration_status as "integration_status!", workspace_id as "workspace_id!",
                integration_id as "integration_id!"
         from reconciler.work_by_app
         where $1::text is null or workspace_id = $1
         order by next_due_at"#,
        workspace,
    )
    .fetch_all(connection)
    .await?)
}

/// Who works on actions of one app, operation and cause.
#[derive(Debug)]
pub struct AtWork {
    pub workspace_id: String,
    pub integration_id: String,
    pub operation: String,
    pub cause: String,
    pub people: Vec<String>,
}

/// Who works on what now.
pub async fn at_work(connection: &mut PgConnection) -> Result<Vec<AtWork>, StoreError> {
    Ok(sqlx::query_as!(
        AtWork,
        r#"-- people_at_work
         select workspace_id as "workspace_id!", integration_id as "integration_id!", operation as "operation!",
                cause as "cause!", array_agg(distinct assignee) as "people!"
         from reconciler.manual_actions
         where closed_at is null and opened_at <= 'infinity' -- as the index says it
           and status = 'in_progress' and assignee is not null
         group by 1, 2, 3, 4"#,
    )
    .fetch_all(connection)
    .await?)
}
