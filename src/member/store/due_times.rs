//! The due times of integrations: claims scan an integration once a request of its members is due.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::database::{PgConnection, PgPool};
use crate::store::{StoreError, begin_exclusive};

/// An integration that has a request due from this time on.
#[derive(Debug)]
pub struct Due {
    pub workspace_id: String,
    pub integration_id: String,
    pub from: DateTime<Utc>,
}

/// Makes claims scan these integrations from those times on. It takes two statements, because only the second one sees
/// the current version of a row that another transaction has just changed.
pub async fn lower_next_due_times(
    connection: &mut PgConnection,
    due: &[Due],
) -> Result<(), StoreError> {
    if due.is_empty() {
        return Ok(());
    }
    let mut earliest: BTreeMap<(&str, &str), DateTime<Utc>> = BTreeMap::new();
    for Due { workspace_id, integration_id, from } in due {
        let known = earliest.entry((workspace_id, integration_id)).or_insert(*from);
        *known = (*known).min(*from);
    }
    let workspaces: Vec<_> =
        earliest.keys().map(|(workspace, _)| (*workspace).to_owned()).collect();
    let integrations: Vec<_> =
        earliest.keys().map(|(_, integration)| (*integration).to_owned()).collect();
    let times: Vec<_> = earliest.into_values().collect();
    let later = sqlx::query!(
        "-- integrations_due_later
         select s.workspace_id, s.integration_id, k.due_from
         from (select * from unnest($1::text[], $2::text[], $3::timestamptz[])
                             k (workspace_id, integration_id, due_from)
               order by workspace_id, integration_id) k
         cross join lateral (
             select * from reconciler.integration_states s
             where s.workspace_id = k.workspace_id and s.integration_id = k.integration_id
               and (s.next_due_at is null or s.next_due_at > k.due_from)
             for no key update
             offset 0
         ) s",
        &workspaces,
        &integrations,
        &times,
    )
    .fetch_all(&mut *connection)
    .await?;
    if later.is_empty() {
        return Ok(());
    }
    let workspaces: Vec<_> = later.iter().map(|row| row.workspace_id.clone()).collect();
    let integrations: Vec<_> = later.iter().map(|row| row.integration_id.clone()).collect();
    let times: Vec<_> = later.iter().filter_map(|row| row.due_from).collect();
    sqlx::query!(
        "-- lower_next_due_times
         update reconciler.integration_states d
         set next_due_at = s.due_from
         from (select k.due_from, s.ctid as place
               from unnest($1::text[], $2::text[], $3::timestamptz[]) k (workspace_id, integration_id, due_from)
               cross join lateral (
                   select s.ctid from reconciler.integration_states s
                   where s.workspace_id = k.workspace_id and s.integration_id = k.integration_id
                   offset 0
               ) s) s
         where d.ctid = s.place",
        &workspaces,
        &integrations,
        &times,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Raises the due time of each integration to that of its earliest request; it is null where none is ready. It does
/// nothing while another replica gives turns: it would not see those requests yet, and claims would skip them.
pub async fn raise_next_due_times(pool: &PgPool) -> Result<(), StoreError> {
    let works = ["intake", "nudges", "upkeep"];
    let Some(mut tx) = begin_exclusive(pool, &works).await? else { return Ok(()) };
    sqlx::query!(
        "-- raise_next_due_times
         update reconciler.integration_states d
         set next_due_at = idle.due_from
         from (select a.place, n.due_from
               from (select ctid as place, workspace_id, integration_id from reconciler.integration_states
                     where next_due_at <= now()
                     order by next_due_at
                     limit 10000) a
               cross join lateral (
                   select min(lane.due_from) as due_from
                   from (values (true), (false)) l (is_removal)
                   cross join lateral (
                       select m.next_attempt_at as due_from from reconciler.members m
                       where m.workspace_id = a.workspace_id and m.integration_id = a.integration_id
                         and m.ready_task_id is not null and m.next_attempt_at <= 'infinity'
                         and m.ready_is_removal = l.is_removal
                       order by m.next_attempt_at
                       limit 1) lane) n
               where n.due_from is null or n.due_from > now()) idle
         where d.ctid = idle.place"
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}
