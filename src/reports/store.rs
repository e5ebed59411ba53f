//! The SQL of reports.

use chrono::{DateTime, Utc};

use super::evidence::{EvidenceLine, EvidenceTotal, Place};
use super::period::Period;
use super::work::{Figures, OBJECTIVE_S, Requests, RequestsOf};
use crate::database::PgConnection;
use crate::store::StoreError;

/// So many lines of figures are read at most: those with the most actions.
const MOST_GROUPS: i64 = 5_000;

/// The time of the database.
pub async fn now(connection: &mut PgConnection) -> Result<DateTime<Utc>, StoreError> {
    let now = sqlx::query_scalar!(
        r#"-- time_of_report
         select now() as "now!""#
    );
    Ok(now.fetch_one(connection).await?)
}

/// When the oldest action was opened whose figures are kept.
pub async fn figures_since(
    connection: &mut PgConnection,
    workspace: Option<&str>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(match workspace {
        Some(workspace) => {
            sqlx::query_scalar!(
                "-- figures_of_workspace_since
                 select opened_at from reconciler.action_figures where workspace_id = $1
                 order by opened_at limit 1",
                workspace,
            )
            .fetch_optional(connection)
            .await?
        }
        // Actions get their ids in the order in which they are opened.
        None => {
            sqlx::query_scalar!(
                "-- figures_since
                 select opened_at from reconciler.action_figures order by action_id limit 1",
            )
            .fetch_optional(connection)
            .await?
        }
    })
}

/// The figures of actions that were opened in the period. The seconds that removals took are gathered in one pass with all
/// else, and only those of one line are sorted.
pub async fn figures(
    connection: &mut PgConnection,
    workspace: Option<&str>,
    period: Period,
) -> Result<Vec<Figures>, StoreError> {
    // The planner takes sums by four words for so large that it sorts all figures first, or writes the sums to the disk. Both
    // double the time of a report. They are small: with room for them and without sorts they stay in memory.
    sqlx::query!(
        "-- plan_of_reports
         select set_config('work_mem', '32MB', true) as memory, set_config('enable_sort', 'off', true) as sorts"
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok(sqlx::query_as!(
        Figures,
        r#"-- figures_of_work
         with counted as (
             select workspace_id, integration_id, operation, cause, count(*) as opened,
                    count(*) filter (where closed_at is null) as open,
                    count(*) filter (where status = 'verified') as proven,
                    count(*) filter (where contradicted > 0) as contradicted,
                    count(*) filter (where changed_hands > 0) as changed_hands,
                    count(*) filter (where stretches > 0) as measured, sum(worked_s)::bigint as worked_s,
                    count(*) filter (where stretches = 0 and (was_done or closed_at is null)) as unmeasured,
                    array_agg(date_part('epoch', closed_at - requested_at))
                        filter (where operation = 'remove' and status = 'verified' and requested_at is not null) as revoked_s,
                    count(*) filter (where operation = 'remove' and status in ('open', 'in_progress', 'done', 'verified')
                                       and coalesce(closed_at, now()) - requested_at > make_interval(secs => $5::bigint::float8))
                        as beyond_objective
             from reconciler.action_figures
             where ($1::text is null or workspace_id = $1) and opened_at >= $2 and opened_at < $3
             group by workspace_id, integration_id, operation, cause
             order by count(*) desc
             limit $4
         )
         select c.workspace_id as "workspace_id!", c.integration_id as "integration_id!",
                coalesce(i.name, c.integration_id) as "integration_name!", coalesce(i.application, '') as "application!",
                c.operation as "operation!", c.cause as "cause!", c.opened as "opened!", c.open as "open!",
                c.proven as "proven!", c.contradicted as "contradicted!", c.changed_hands as "changed_hands!",
                c.measured as "measured!", c.worked_s as "worked_s!", c.unmeasured as "unmeasured!",
                coalesce(cardinality(c.revoked_s), 0)::bigint as "revoked!", t.seconds[1] as revoked_p50_s,
                t.seconds[2] as revoked_p95_s, c.beyond_objective as "beyond_objective!"
         from counted c
         left join reconciler.integrations i using (workspace_id, integration_id)
         cross join lateral (select percentile_cont(array[0.5, 0.95]) within group (order by s) as seconds
                             from unnest(c.revoked_s) s) t"#,
        workspace,
        period.begins(),
        period.ends(),
        MOST_GROUPS,
        OBJECTIVE_S,
    )
    .fetch_all(connection)
    .await?)
}

/// What became of the requests that arrived in the period. It reads every one of them, which takes long where they are many.
pub async fn requests(
    connection: &mut PgConnection,
    workspace: Option<&str>,
    period: Period,
) -> Result<Vec<RequestsOf>, StoreError> {
    let rows = sqlx::query!(
        r#"-- requests_of_period
         select workspace_id, integration_id, operation, count(*) as "arrived!",
                count(*) filter (where state = 'succeeded') as "succeeded!",
                count(*) filter (where state = 'escalated') as "escalated!"
         from reconciler.automation_tasks
         where ($1::text is null or workspace_id = $1) and received_at >= $2 and received_at < $3
         group by workspace_id, integration_id, operation"#,
        workspace,
        period.begins(),
        period.ends(),
    )
    .fetch_all(connection)
    .await?;
    let requests = rows.into_iter().map(|row| {
        let requests =
            Requests { arrived: row.arrived, succeeded: row.succeeded, escalated: row.escalated };
        ((row.workspace_id, row.integration_id, row.operation), requests)
    });
    Ok(requests.collect())
}

/// How many requests of the period are in which status.
pub async fn totals(
    connection: &mut PgConnection,
    workspace: &str,
    period: Period,
) -> Result<Vec<EvidenceTotal>, StoreError> {
    Ok(sqlx::query_as!(
        EvidenceTotal,
        r#"-- totals_of_evidence
         select operation, status, status in ('verified', 'not_needed') as "is_proven!", count(*) as "actions!",
                count(*) filter (where is_deleted) as "deleted!"
         from reconciler.action_figures
         where workspace_id = $1 and requested_at >= $2 and requested_at < $3
         group by operation, status
         order by operation, status"#,
        workspace,
        period.begins(),
        period.ends(),
    )
    .fetch_all(connection)
    .await?)
}

/// Which evidence to list.
#[derive(Debug, Clone, Copy)]
pub struct EvidenceFilter<'a> {
    pub workspace: &'a str,
    pub period: Period,
    pub limit: u32,
}

/// The evidence of a period: what is not proven first, each part in the order in which it was asked for.
pub async fn unproven_first(
    connection: &mut PgConnection,
    filter: EvidenceFilter<'_>,
    after: Option<Place>,
) -> Result<Vec<EvidenceLine>, StoreError> {
    let mut lines = Vec::new();
    for is_proven in [false, true] {
        let after = match after {
            Some(place) if place.is_proven && !is_proven => continue,
            Some(place) if place.is_proven == is_proven => Some(place.id),
            _ => None,
        };
        let limit = filter.limit.saturating_sub(u32::try_from(lines.len()).unwrap_or(u32::MAX));
        if limit > 0 {
            let filter = EvidenceFilter { limit, ..filter };
            lines.extend(evidence(connection, filter, Some(is_proven), after).await?);
        }
    }
    Ok(lines)
}

/// The evidence of a period in the order in which it was asked for; if `is_proven` is given, only that part. Whoever reads
/// all of it batch by batch meets each line once, even if it is proven meanwhile.
pub async fn evidence(
    connection: &mut PgConnection,
    filter: EvidenceFilter<'_>,
    is_proven: Option<bool>,
    after: Option<i64>,
) -> Result<Vec<EvidenceLine>, StoreError> {
    let requested_at = match after {
        Some(id) => requested_at(connection, id).await?,
        None => None,
    };
    Ok(sqlx::query_as!(
        EvidenceLine,
        r#"-- list_evidence
         select a.id as action_id, a.status in ('verified', 'not_needed') as "is_proven!", a.status, a.operation,
                a.workspace_id, a.integration_id, a.integration_name, a.application, a.member_id, a.member_email,
                a.member_name, a.trigger, a.requested_by, a.requested_at as "requested_at!", a.opened_at, a.reason,
                a.failure_code, a.done_by, a.done_at, a.confirmed_by, a.confirmed_at, a.verdict, a.verdict_at, a.observed,
                a.sync_id, a.snapshot_started_at, a.snapshot_hash, s.decided_by as "report_approved_by?",
                a.reopened_count, a.closed_at, a.note
         from reconciler.manual_actions a
         left join reconciler.syncs s on s.id = a.sync_id and s.workspace_id = a.workspace_id and s.decision = 'approved'
         where a.workspace_id = $1 and ($2::boolean is null or (a.status in ('verified', 'not_needed')) = $2)
           and a.requested_at >= $3 and a.requested_at < $4
           and ($5::bigint is null or (a.requested_at, a.id) > ($6, $5))
         order by a.requested_at, a.id
         limit $7"#,
        filter.workspace,
        is_proven,
        filter.period.begins(),
        filter.period.ends(),
        requested_at.and(after),
        requested_at,
        i64::from(filter.limit),
    )
    .fetch_all(connection)
    .await?)
}

async fn requested_at(
    connection: &mut PgConnection,
    action: i64,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let requested_at = sqlx::query_scalar!(
        "-- request_of_action
         select requested_at from reconciler.manual_actions where id = $1",
        action,
    );
    Ok(requested_at.fetch_optional(connection).await?.flatten())
}
