//! The SQL of what a report is compared with: the known members, and the earlier snapshots.

use super::{KnownMember, LatestIntent};
use crate::database::PgPool;
use crate::identity::Identity;
use crate::member::watch::Watch;
use crate::membership::{Desired, Observed, Operation, UnknownWord};
use crate::store::StoreError;
use crate::sync::ClaimedSync;
use crate::sync::plausible::Past;

/// The members of the sync's integration. They are a range of the primary key.
pub async fn members(pool: &PgPool, sync: &ClaimedSync) -> Result<Vec<KnownMember>, StoreError> {
    let rows = sqlx::query!(
        r#"-- members_of_an_integration
        select m.member_id, m.member_email, m.member_username, m.desired_task_id, m.desired_operation,
               array(select e from unnest(m.desired_entitlements) e where e is not null) as "desired_entitlements!",
               case when m.running_job_id is not null then now() else greatest(m.worked_at, a.done_at) end as worked_at,
               coalesce(m.desired_task_id in (m.invite_task_id, m.role_task_id, m.removal_task_id)
                        and m.desired_task_id is distinct from m.ready_task_id and m.open_action_id is null, false)
                   as "took_effect!",
               coalesce(m.watch_operation = 'invite' and m.watch_task_id = m.invite_task_id
                        and m.removal_requested_at > m.invite_requested_at, false) as "was_to_go!",
               m.watch_task_id, m.watch_operation, m.watch_since, m.watch_checks, m.watch_due_at,
               m.observed_membership, m.observed_entitlements
        from reconciler.members m
        left join lateral (select a.* from reconciler.manual_actions a
                           where a.id = m.open_action_id and a.workspace_id = m.workspace_id
                           limit 1) a on true
        where m.workspace_id = $1 and m.integration_id = $2"#,
        sync.workspace,
        sync.integration,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let bad = |source: UnknownWord| StoreError::BadRow { table: "members", id: 0, source };
            let identity = Identity {
                member: row.member_id,
                email: row.member_email,
                username: row.member_username,
            };
            let operation = |word: Option<String>| -> Result<Option<Operation>, StoreError> {
                word.map(|word| word.parse()).transpose().map_err(bad)
            };
            let desired = row.desired_task_id.zip(operation(row.desired_operation)?);
            let watch = row
                .watch_task_id
                .zip(operation(row.watch_operation)?)
                .zip(row.watch_since.zip(row.watch_due_at));
            Ok(KnownMember {
                intent: desired.map(|(task, operation)| LatestIntent {
                    task,
                    desired: Desired {
                        operation,
                        member: identity.member.clone(),
                        email: identity.email.clone(),
                        username: identity.username.clone(),
                        entitlements: row.desired_entitlements.into_iter().collect(),
                    },
                    worked_at: row.worked_at,
                }),
                took_effect: row.took_effect,
                was_to_go: row.was_to_go,
                watch: watch.map(|((task, operation), (since, due_at))| Watch {
                    task,
                    operation,
                    since,
                    checks: row.watch_checks,
                    due_at,
                }),
                observed: row.observed_membership.map(|membership| Observed {
                    membership,
                    entitlements: row.observed_entitlements.unwrap_or_default(),
                }),
                identity,
            })
        })
        .collect()
}

/// The desired states of the integration's members.
pub async fn intents(pool: &PgPool, sync: &ClaimedSync) -> Result<Vec<LatestIntent>, StoreError> {
    Ok(members(pool, sync).await?.into_iter().filter_map(|one| one.intent).collect())
}

/// What earlier snapshots of the integration showed.
pub async fn past(pool: &PgPool, sync: &ClaimedSync) -> Result<Past, StoreError> {
    let row = sqlx::query!(
        r#"-- past_snapshots
        with complete as (
            select started_at, (report -> 'snapshot' ->> 'people')::bigint as people
            from reconciler.syncs
            where workspace_id = $1 and integration_id = $2 and state = 'finished'
              and report @> '{"snapshot": {"complete": true}}'
            order by started_at desc limit 1
        ), latest as (
            select report -> 'snapshot' -> 'gaps' as gaps
            from reconciler.syncs
            where workspace_id = $1 and integration_id = $2 and state = 'finished' and report ? 'snapshot'
            order by started_at desc limit 1
        ), doubtful as (
            select s.started_at
            from reconciler.syncs s
            where s.workspace_id = $1 and s.integration_id = $2 and s.state = 'finished' and s.report ? 'snapshot'
              and s.started_at > coalesce((select started_at from complete), '-infinity')
            order by s.started_at limit 1
        )
        select (select people from complete) as people, (select gaps from latest) as gaps,
               (select started_at from doubtful) as doubted_since"#,
        sync.workspace,
        sync.integration,
    )
    .fetch_one(pool)
    .await?;
    let gaps = row.gaps.map(serde_json::from_value).and_then(Result::ok);
    Ok(Past {
        people: row.people.and_then(|people| u64::try_from(people).ok()),
        latest_gaps: gaps.unwrap_or_default(),
        doubted_since: row.doubted_since,
    })
}
