//! The SQL that claims members with a due request, and that gives claims back.
//!
//! The lease is in the member's row, and no token is ever given twice. A worker that can still write with its lease
//! token owns the request. `automation_tasks` is written in the same statement, and only if the token matched.

mod row;

use row::{Bad, Row, is_any_share_used};

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::types::Json;

use super::ClaimedTask;
use super::lanes::DueFrom;
use crate::database::PgPool;
use crate::emit;
use crate::membership::MemberKeys;
use crate::store::{StoreError, interval};

/// A request that cannot be read is tried again after this long. A person has to fix the row.
const BAD_ROW_PAUSE: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Clone)]
pub struct Quota {
    pub tasks: i64,
    /// Tasks of one integration in flight at a time, unless the settings of the integration set a limit.
    pub max_in_flight: Option<i32>,
    /// Tasks of one integration started per minute, unless the settings of the integration set a limit.
    pub starts_per_minute: Option<i32>,
    /// Workspaces and apps for which the backend gives no usable answer. They are not claimed.
    pub unavailable: Vec<String>,
    /// The only workspace or app to claim for; `None` for all.
    pub only: Option<String>,
    /// Where to start the scan in integrations whose earlier requests are known to be done.
    pub due_from: DueFrom,
}

#[derive(Debug, Default)]
pub struct Claimed {
    pub tasks: Vec<Arc<ClaimedTask>>,
    /// Whether an integration may have more due requests than its share of this claim.
    pub may_be_more: bool,
}

/// Claims due requests. The claim is shared out between the workspaces, and between the integrations that admit tasks,
/// with removals first. Whatever the status of their integration, it also claims requests whose job has to be polled,
/// and requests that automation cannot do.
///
/// An invite or a change of role is not claimed while a removal of its member is unordered, because the later request
/// wins from the moment it is stored.
///
/// The claim writes lease columns of the member, none of which is indexed. A request whose lease ended without a
/// release can be claimed again, and its attempt then has an unknown outcome. While a request was due and nobody had
/// claimed it, it was only waiting; `trying_since` moves forward by that time.
pub async fn claim(pool: &PgPool, quota: &Quota, lease: Duration) -> Result<Claimed, StoreError> {
    let ends = Instant::now() + lease;
    let rows = claim_rows(pool, quota, lease).await?;
    let mut claimed = Claimed { may_be_more: is_any_share_used(&rows), ..Claimed::default() };
    let mut bad = Vec::new();
    for row in rows {
        match row.decode(ends) {
            Ok(task) => claimed.tasks.push(Arc::new(task)),
            Err(one) => bad.push(one),
        }
    }
    quarantine(pool, &bad).await?;
    Ok(claimed)
}

async fn claim_rows(pool: &PgPool, quota: &Quota, lease: Duration) -> Result<Vec<Row>, StoreError> {
    Ok(sqlx::query_as!(
        Row,
        r#"-- claim_tasks
        with candidates as materialized (
            select d.workspace_id, d.integration_id, d.probe_task_id, d.status_since, d.snapshot_at,
                   d.status = 'active' and (s.of).paused_at is null as passes,
                   reconciler.is_limited(s.of, d.of, $3, $4) as limited,
                   coalesce(($6::jsonb -> d.workspace_id -> d.integration_id ->> 'removals')::timestamptz, '-infinity')
                       as removals_from,
                   coalesce(($6::jsonb -> d.workspace_id -> d.integration_id ->> 'others')::timestamptz, '-infinity')
                       as others_from
            from (select d.*, d as of from reconciler.integration_states d
                  where d.next_due_at <= now()
                  order by d.next_due_at -- the order has it read by the index
                  offset 0) d
            cross join lateral (
                select s as of from reconciler.integration_settings s
                where s.workspace_id = d.workspace_id and s.integration_id = d.integration_id
                offset 0
            ) s
            where d.workspace_id <> all ($5) and d.workspace_id || '/' || d.integration_id <> all ($5)
              and ($7::text is null or $7 in (d.workspace_id, d.workspace_id || '/' || d.integration_id))
        ),
        busy as materialized (
            select a.*, r.any as has_removals
            from candidates a
            cross join lateral (
                select exists (select from (
                                   select from reconciler.members m
                                   where m.workspace_id = a.workspace_id and m.integration_id = a.integration_id
                                     and m.ready_task_id is not null and m.ready_is_removal
                                     and m.next_attempt_at between a.removals_from and now()
                                     and (m.lease_until is null or m.lease_until <= now())
                                   order by m.next_attempt_at -- the order has it read by the index
                                   limit 1) due) as any
                offset 0) r
            where a.passes and not a.limited
              and (r.any or exists (select from (
                                        select from reconciler.members m
                                        where m.workspace_id = a.workspace_id and m.integration_id = a.integration_id
                                          and m.ready_task_id is not null and not m.ready_is_removal
                                          and m.next_attempt_at between a.others_from and now()
                                          and (m.lease_until is null or m.lease_until <= now())
                                        order by m.next_attempt_at
                                        limit 1) due))
        ),
        admitted as materialized (
            select * from (
                select workspace_id, integration_id, ceil($1::integer::numeric / count(*) over ())::integer as takes,
                       false as limited, false as is_probe, '{}'::bigint[] as in_flight, probe_task_id, status_since,
                       snapshot_at, removals_from, others_from,
                       row_number() over (partition by workspace_id order by not has_removals, random()) as place
                from busy
                union all
                select workspace_id, integration_id, i.takes, true, i.is_probe, i.in_flight, a.probe_task_id,
                       a.status_since, a.snapshot_at, '-infinity', '-infinity', 1
                from (select from candidates where limited or not passes limit 1) one -- or there is nobody to admit
                cross join lateral (select * from reconciler.admit($1, $3, $4, $5) offset 0) i
                join candidates a using (workspace_id, integration_id)
            ) every
            order by place, random() -- or a busy workspace would keep the others waiting
        ),
        passing as materialized (
            select m.ctid as place, a.limited, a.is_probe, a.in_flight, a.probe_task_id, a.status_since, a.snapshot_at,
                   a.takes
            from admitted a
            cross join lateral (
                select removals.ctid from (
                    select m.ctid from reconciler.members m
                    where m.workspace_id = a.workspace_id and m.integration_id = a.integration_id
                      and m.ready_task_id is not null and m.ready_is_removal
                      and m.next_attempt_at between a.removals_from and now()
                      and (m.lease_until is null or m.lease_until <= now())
                      and (not a.limited or m.running_job_id is null and not m.ready_needs_no_automation)
                    order by m.next_attempt_at
                    limit a.takes
                    for no key update skip locked
                ) removals
                union all
                select others.ctid from (
                    select m.ctid from reconciler.members m
                    where m.workspace_id = a.workspace_id and m.integration_id = a.integration_id
                      and m.ready_task_id is not null and not m.ready_is_removal
                      and m.next_attempt_at between a.others_from and now()
                      and (m.lease_until is null or m.lease_until <= now())
                      and (not a.limited or m.running_job_id is null and not m.ready_needs_no_automation)
                      and (m.running_job_id is not null
                           or not exists (select from reconciler.arrivals r
                                          where r.workspace_id = m.workspace_id and r.integration_id = m.integration_id
                                            and r.member_id = m.member_id and r.is_removal
                                          offset 0))
                    order by m.next_attempt_at
                    limit a.takes
                    for no key update skip locked
                ) others
                limit a.takes
            ) m
            limit $1
        ),
        unhindered as materialized (
            select m.place, a.probe_task_id, a.status_since, a.snapshot_at
            from candidates a
            cross join lateral (
                select m.ctid as place
                from reconciler.members m
                where m.workspace_id = a.workspace_id and m.integration_id = a.integration_id
                  and m.ready_task_id is not null and (m.running_job_id is not null or m.ready_needs_no_automation)
                  and m.next_attempt_at <= now() and (m.lease_until is null or m.lease_until <= now())
                  and (m.running_job_id is not null or m.ready_is_removal
                       or not exists (select from reconciler.arrivals r
                                      where r.workspace_id = m.workspace_id and r.integration_id = m.integration_id
                                        and r.member_id = m.member_id and r.is_removal
                                      offset 0))
                order by m.next_attempt_at
                limit $1
                for no key update skip locked
            ) m
            where not a.passes or a.limited
            limit $1
        ),
        due as materialized (
            select place, false as limited, false as is_probe, '{}'::bigint[] as in_flight, probe_task_id, status_since,
                   snapshot_at, null::integer as takes
            from unhindered
            union all
            select * from passing
            limit $1
        ),
        claimed as (
            update reconciler.members m
            set lease_until = now() + $2,
                lease_token = nextval('reconciler.lease_tokens'),
                unreleased_claims = m.unreleased_claims + 1,
                trying_since = m.trying_since
                               + greatest(now() - greatest(m.next_attempt_at, m.lease_until), interval '0'),
                uncertain_since = case when m.lease_until is not null and m.running_job_id is null
                                       then coalesce(m.uncertain_since, now())
                                       else m.uncertain_since end
            from due
            where m.ctid = due.place
            returning m.*, due.limited, due.in_flight, due.takes, due.status_since, due.snapshot_at, due.probe_task_id,
                      due.is_probe as probes
        ),
        passed as (
            update reconciler.integration_states d
            set status = case when c.probes then 'probing' else d.status end,
                probe_task_id = case when c.probes then c.ids[1] end,
                status_until = case when c.probes then now() + $2 end,
                admitted_task_ids = c.in_flight || c.ids,
                next_start_at = case when c.per_minute is null then d.next_start_at
                                     else greatest(d.next_start_at, now())
                                          + cardinality(c.ids) * (interval '1 minute' / c.per_minute) end
            from (select c.workspace_id, c.integration_id, c.probes, c.in_flight,
                         array_agg(c.ready_task_id order by c.ready_task_id) as ids,
                         (select coalesce(s.starts_per_minute, $4) from reconciler.integration_settings s
                          where s.workspace_id = c.workspace_id and s.integration_id = c.integration_id) as per_minute
                  from claimed c where c.limited group by 1, 2, 3, 4) c
            where d.workspace_id = c.workspace_id and d.integration_id = c.integration_id
              and c.probes = (d.status <> 'active')
        )
        select c.ready_task_id as "id!", c.workspace_id, c.integration_id, c.member_id, t.application as "application?",
               t.member_email as "member_email?", t.member_username, t.operation as "operation?",
               array(select unnest(t.entitlements)) as "entitlements!: Vec<Option<String>>",
               coalesce(t.hub_role, 'account_collaborator') as "hub_role!", t.trigger as "trigger?", t.job_id,
               case when isfinite(t.requested_at) then t.requested_at end as "requested_at?", t.failure_code,
               t.can_retry, t.user_required, t.attempts as "attempts?", c.trying_since, c.running_job_id,
               c.running_since, c.found_by_id, c.uncertain_since, t.superseded_by, t.cancel_reason,
               t.traceparent,
               -- The time it was due and nobody had it is no time without an answer.
               case when t.returned_at is null or t.unanswered_since > t.returned_at
                    then t.unanswered_since + greatest(now() - c.next_attempt_at, interval '0') end as unanswered_since,
               c.unreleased_claims, c.lease_token,
               now() as "claimed_at!",
               (c.probes or coalesce(c.probe_task_id = c.ready_task_id, false)) as "is_probe!",
               t.returned_at is not null as "returned!",
               coalesce(c.status_since > t.received_at, false) as "reopened!",
               case when not c.limited and c.takes is not null then c.next_attempt_at end as taken_in_order,
               case when not c.limited then greatest(c.next_attempt_at, c.status_since) end as awaited_since,
               c.takes, c.removed_by_hand_at, c.admitted_by_hand_at, c.removal_tried_until,
               c.invite_task_id, c.invite_requested_at, c.role_task_id, c.role_requested_at,
               c.admission_tried_until, nullif(c.snapshot_at, '-infinity') as snapshot_at
        from claimed c
        left join lateral (
            select * from reconciler.automation_tasks t where t.id = c.ready_task_id and t.workspace_id = c.workspace_id
            offset 0
        ) t on true
        "#,
        i32::try_from(quota.tasks).unwrap_or(i32::MAX),
        interval(lease),
        quota.max_in_flight,
        quota.starts_per_minute,
        &quota.unavailable,
        Json(&quota.due_from) as _,
        quota.only,
    )
    .fetch_all(pool)
    .await?)
}

/// Quarantines members whose request cannot be read, and logs them.
async fn quarantine(pool: &PgPool, bad: &[Box<Bad>]) -> Result<(), StoreError> {
    if bad.is_empty() {
        return Ok(());
    }
    let keys: MemberKeys = bad.iter().map(|one| &one.key).collect();
    let tokens: Vec<_> = bad.iter().map(|one| one.lease.token).collect();
    sqlx::query!(
        "-- quarantine_members
         update reconciler.members m
         set lease_until = null, unreleased_claims = 0, next_attempt_at = clock_timestamp() + $5
         from unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
              h (workspace_id, integration_id, member_id, token)
         where m.workspace_id = h.workspace_id and m.integration_id = h.integration_id and m.member_id = h.member_id
           and m.lease_token = h.token",
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &tokens,
        interval(BAD_ROW_PAUSE),
    )
    .execute(pool)
    .await?;
    for one in bad {
        emit!(
            TASK_QUARANTINED,
            task.id = one.task,
            error = one.why,
            wait_s = BAD_ROW_PAUSE.as_secs(),
            "This row cannot be worked on; all others go on"
        );
    }
    Ok(())
}

/// Gives back claims for which no step was started.
pub async fn hand_back(pool: &PgPool, tasks: &[Arc<ClaimedTask>]) -> Result<(), StoreError> {
    let keys: MemberKeys = tasks.iter().map(|task| &task.key).collect();
    let tokens: Vec<_> = tasks.iter().map(|task| task.lease.token).collect();
    sqlx::query!(
        "-- hand_back_tasks
         update reconciler.members m
         set lease_until = null, unreleased_claims = 0
         from unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
              h (workspace_id, integration_id, member_id, token)
         where m.workspace_id = h.workspace_id and m.integration_id = h.integration_id and m.member_id = h.member_id
           and m.lease_token = h.token",
        &keys.workspaces,
        &keys.integrations,
        &keys.members,
        &tokens,
    )
    .execute(pool)
    .await?;
    Ok(())
}
