//! Rows that no intake would leave so, or not so fast: written by plain SQL, straight in their final state.

use sqlx::{AssertSqlSafe, PgPool};

const ROWS_PER_STATEMENT: usize = 100_000;

/// How many integrations there are: `app-0` and so on.
pub(crate) const INTEGRATIONS: usize = 50;

/// Tasks that are finished already, where tasks come in: statistics of an empty database would be those of none in use.
pub(crate) const HISTORY: usize = 1000;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Standing {
    /// May be worked on.
    Ready,
    /// The first in some days.
    Later,
    /// Behind another of the member, which is there already.
    Blocked,
    /// In the last 80 days, with one line in the trail.
    Finished,
    /// Longer ago than it is kept, and so is its line in the trail.
    Expired,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) count: usize,
    /// Told apart from other rows of the same database by this.
    pub(crate) name: &'a str,
    pub(crate) standing: Standing,
    /// One integration instead of all.
    pub(crate) integration: Option<&'a str>,
    /// The members of the rows called so instead of their own.
    pub(crate) members_of: Option<&'a str>,
}

impl<'a> Rows<'a> {
    /// Rows of members all different, in all integrations.
    pub(crate) fn new(count: usize, name: &'a str, standing: Standing) -> Self {
        Self { count, name, standing, integration: None, members_of: None }
    }

    /// Writes them, and the integrations that they belong to.
    pub(crate) async fn write(&self, pool: &PgPool) -> anyhow::Result<()> {
        introduce(pool).await?;
        if let Some(integration) = self.integration {
            introduce_one(pool, integration).await?;
        }
        let statement = self.statement();
        for from in (0..self.count).step_by(ROWS_PER_STATEMENT) {
            let to = self.count.min(from + ROWS_PER_STATEMENT);
            let mut tx = pool.begin().await?;
            // As rows are restored: no trigger takes them for new.
            sqlx::raw_sql("set local session_replication_role = replica").execute(&mut *tx).await?;
            sqlx::query(AssertSqlSafe(statement.as_str()))
                .bind(from as i64)
                .bind(to as i64)
                .bind(self.name)
                .bind(self.integration)
                .bind(self.members_of)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        if !matches!(self.standing, Standing::Finished | Standing::Expired) {
            let awake = "update reconciler.integration_states set next_due_at = now() where next_due_at is null";
            sqlx::query(awake).execute(pool).await?;
        }
        Ok(())
    }

    fn statement(&self) -> String {
        let (state, due) = self.standing.place();
        let closed = self.standing.closed(self.count);
        let trail = self.standing.trail();
        let (ready, blocked) = match self.standing {
            Standing::Blocked => ("null::bigint", "array[id]"),
            _ => ("id", "'{}'::bigint[]"),
        };
        format!(
            "with written as (
                 insert into reconciler.automation_tasks
                     (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application,
                      member_id, member_email, member_name, operation, entitlements, trigger, requested_at,
                      failure_code, failure_message, state, ordered_at, next_attempt_at, closed_at, closed_reason)
                 select 'acme', $3 || '-' || n, 'job-' || n, coalesce($4, 'app-' || n % {INTEGRATIONS}), 'app', 'App',
                        'asana_tenant', coalesce($5, $3) || '-member-' || n, 'member-' || n || '@example.com',
                        'Member ' || n, 'change_role', '{{VIEWER}}', 'workspace_policy', coalesce({closed}, now()),
                        'LoginTimeout', 'The login page did not answer.', '{state}', now(), {due}, {closed},
                        case when {closed} is not null then 'Confirmed in the app after an attempt' end
                 from generate_series($1::bigint, $2::bigint - 1) n
                 returning id, workspace_id, integration_id, member_id, member_email, operation, entitlements,
                           requested_at, next_attempt_at, closed_at
             ), queued as (
                 insert into reconciler.members as m
                     (workspace_id, integration_id, member_id, member_email, desired_task_id, desired_operation,
                      desired_entitlements, desired_requested_at, ready_task_id, next_attempt_at, blocked_task_ids)
                 select workspace_id, integration_id, member_id, member_email, id, operation, entitlements, requested_at,
                        {ready}, next_attempt_at, {blocked}
                 from written where closed_at is null
                 on conflict (workspace_id, integration_id, member_id)
                     do update set blocked_task_ids = excluded.blocked_task_ids
             ), known as (
                 insert into reconciler.members
                     (workspace_id, integration_id, member_id, member_email, desired_task_id, desired_operation,
                      desired_entitlements, desired_requested_at, role_task_id, role_requested_at, worked_at)
                 select workspace_id, integration_id, member_id, member_email, id, operation, entitlements, requested_at,
                        id, requested_at, closed_at
                 from written where closed_at is not null
             )
             insert into reconciler.events (at, actor, what, workspace_id, subject, subject_id, detail)
             select {trail}, 'daemon', 'task.succeeded', workspace_id, 'task', id::text,
                    '{{\"reason\": \"Confirmed in the app after an attempt\"}}'
             from written where closed_at is not null order by id"
        )
    }
}

impl Standing {
    /// State, and when it is due.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Ready | Self::Blocked => ("pending", "now()"),
            Self::Later => ("pending", "now() + (1 + n % 30) * interval '1 day'"),
            Self::Finished | Self::Expired => ("succeeded", "now()"),
        }
    }

    /// When it was closed: one after another, evenly.
    fn closed(self, count: usize) -> String {
        let days_ago = match self {
            Self::Ready | Self::Later | Self::Blocked => return "null::timestamptz".to_owned(),
            Self::Finished => 80,
            Self::Expired => 180,
        };
        format!("now() - interval '{days_ago} days' + interval '80 days' * (n / {count}.0)")
    }

    /// When its line in the trail was written.
    fn trail(self) -> &'static str {
        match self {
            Self::Expired => "closed_at - interval '400 days'",
            _ => "closed_at",
        }
    }
}

/// Makes the integrations known.
pub(crate) async fn introduce(pool: &PgPool) -> anyhow::Result<()> {
    for number in 0..INTEGRATIONS {
        introduce_one(pool, &format!("app-{number}")).await?;
    }
    Ok(())
}

async fn introduce_one(pool: &PgPool, integration: &str) -> anyhow::Result<()> {
    sqlx::query(
        "with known as (
             insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application)
             values ('acme', $1, 'App', 'app', 'asana_tenant')
             on conflict do nothing
         )
         insert into reconciler.integration_states (workspace_id, integration_id)
         values ('acme', $1)
         on conflict do nothing",
    )
    .bind(integration)
    .execute(pool)
    .await?;
    Ok(())
}
