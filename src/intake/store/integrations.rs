//! The integrations that new rows name, and rows that do not fit them.

use std::time::Duration;

use crate::database::PgConnection;
use crate::store::StoreError;

/// Adds the integrations of these rows as the first row of each describes them, and updates the names of known ones
/// unless somebody has the row locked. Kind and application stay as they were first seen. A row that has another kind
/// or application does not change the name either.
pub(in crate::intake) async fn introduce_integrations(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<Vec<Introduced>, StoreError> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as!(
        Introduced,
        r#"-- introduce_integrations
         with named as materialized (
             select t.id, t.workspace_id, t.integration_id, t.integration_name as name, t.integration_kind as kind, t.application
             from unnest($1::bigint[]) k (id)
             cross join lateral (select * from reconciler.automation_tasks t where t.id = k.id offset 0) t
         ), first as materialized (
             select distinct on (workspace_id, integration_id) * from named order by workspace_id, integration_id, id
         ), stated as (
             insert into reconciler.integration_states (workspace_id, integration_id)
             select workspace_id, integration_id from first
             where not exists (select from reconciler.integration_states d
                               where d.workspace_id = first.workspace_id and d.integration_id = first.integration_id
                               offset 0)
             on conflict (workspace_id, integration_id) do nothing
         ), introduced as (
             insert into reconciler.integration_settings as s (workspace_id, integration_id, name, kind, application)
             select workspace_id, integration_id, name, kind, application from first
             -- A conflict with a row that a person is changing would wait for that person.
             where not exists (select from reconciler.integration_settings s
                               where s.workspace_id = first.workspace_id and s.integration_id = first.integration_id
                               offset 0)
             on conflict (workspace_id, integration_id) do nothing
             returning s.workspace_id, s.integration_id, s.name, s.kind, s.application
         ), latest as materialized (
             select distinct on (n.workspace_id, n.integration_id) n.workspace_id, n.integration_id, n.name, s.name as old, s.place
             from named n
             cross join lateral (
                 select s.ctid as place, s.name from reconciler.integration_settings s
                 where s.workspace_id = n.workspace_id and s.integration_id = n.integration_id
                   and s.kind = n.kind and s.application = n.application
                 for no key update skip locked
                 offset 0
             ) s
             order by n.workspace_id, n.integration_id, n.id desc
         ), renamed as (
             update reconciler.integration_settings i set name = latest.name
             from latest where i.ctid = latest.place and latest.old <> latest.name
             returning i.workspace_id, i.integration_id, latest.old, latest.name
         ), recorded as (
             insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
             select 'integration.introduced', workspace_id, 'integration', integration_id,
                    jsonb_build_object('name', name, 'kind', kind, 'application', application) from introduced
             union all
             select 'integration.renamed', workspace_id, 'integration', integration_id,
                    jsonb_build_object('from', old, 'to', name) from renamed
         )
         select workspace_id as workspace, integration_id as integration, application from introduced"#,
        tasks,
    )
    .fetch_all(connection)
    .await?)
}

/// An integration that was seen for the first time.
#[derive(Debug)]
pub(in crate::intake) struct Introduced {
    pub(in crate::intake) workspace: String,
    pub(in crate::intake) integration: String,
    pub(in crate::intake) application: String,
}

/// A row whose kind or application differs from its integration.
#[derive(Debug)]
pub(in crate::intake) struct Misfit {
    pub(in crate::intake) id: i64,
    pub(in crate::intake) workspace: String,
    pub(in crate::intake) integration: String,
    /// What the row says and what the integration has.
    pub(in crate::intake) differs: String,
}

/// The rows among these whose kind or application differs from their integrations.
pub(in crate::intake) async fn misfits(
    connection: &mut PgConnection,
    tasks: &[i64],
) -> Result<Vec<Misfit>, StoreError> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as!(
        Misfit,
        r#"-- misfits
        select t.id, t.workspace_id as workspace, t.integration_id as integration,
               concat_ws(', ',
                   case when t.integration_kind <> i.kind
                        then 'kind is ' || t.integration_kind || ', but ' || i.kind || ' of the integration' end,
                   case when t.application <> i.application
                        then 'application is ' || t.application || ', but ' || i.application || ' of the integration'
                   end) as "differs!"
        from unnest($1::bigint[]) k (id)
        cross join lateral (select * from reconciler.automation_tasks t where t.id = k.id offset 0) t
        cross join lateral (
            select * from reconciler.integration_settings i
            where i.workspace_id = t.workspace_id and i.integration_id = t.integration_id
            offset 0
        ) i
        where (t.integration_kind, t.application) <> (i.kind, i.application)
        order by t.id"#,
        tasks,
    )
    .fetch_all(connection)
    .await?)
}

/// Holds rows until a person decides. They are checked again later. The trail records each reason once.
pub(in crate::intake) async fn hold(
    connection: &mut PgConnection,
    misfits: &[Misfit],
    wait: Duration,
) -> Result<(), StoreError> {
    let ids: Vec<_> = misfits.iter().map(|misfit| misfit.id).collect();
    super::quarantine(connection, &ids, wait).await?;
    if ids.is_empty() {
        return Ok(());
    }
    let reasons: Vec<_> = misfits.iter().map(|misfit| misfit.differs.clone()).collect();
    sqlx::query!(
        "-- hold_arrivals
         with held as (
             update reconciler.arrivals a set held_reason = p.reason
             from unnest($1::bigint[], $2::text[]) p (task, reason)
             where a.ctid = (select b.ctid from reconciler.arrivals b where b.task_id = p.task)
               and a.held_reason is distinct from p.reason
             returning a.workspace_id, a.task_id, a.integration_id, p.reason
         )
         insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
         select 'task.held', workspace_id, 'task', task_id::text,
                jsonb_build_object('integration_id', integration_id, 'reason', reason)
         from held",
        &ids,
        &reasons,
    )
    .execute(connection)
    .await?;
    Ok(())
}
