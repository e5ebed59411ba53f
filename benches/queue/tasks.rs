//! Tasks to measure with: inserted as the backend does, for members all different.

use cerby_reconciler::config::Config;
use cerby_reconciler::database::PgPool;
use cerby_reconciler::intake;

#[derive(Debug, Clone)]
pub(crate) struct Fill {
    pub(crate) tasks: usize,
    pub(crate) integrations: usize,
    pub(crate) operation: &'static str,
    /// Told apart from other fills of the same database by this.
    pub(crate) name: &'static str,
}

impl Default for Fill {
    fn default() -> Self {
        Self { tasks: 200_000, integrations: 50, operation: "change_role", name: "task" }
    }
}

const COLUMNS: &str = "insert into reconciler.automation_tasks
    (workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application, member_id,
     member_email, member_name, operation, entitlements, trigger, requested_at, failure_code, failure_message)";

/// Inserts them in one statement.
pub(crate) async fn insert(pool: &PgPool, fill: &Fill) -> anyhow::Result<()> {
    insert_range(pool, fill, 0, fill.tasks).await
}

/// Inserts some of them in one statement.
pub(crate) async fn insert_range(
    pool: &PgPool,
    fill: &Fill,
    from: usize,
    to: usize,
) -> anyhow::Result<()> {
    let statement = format!(
        "{COLUMNS}
         select 'acme', $4 || '-' || n, 'job-' || n, 'app-' || n % $3, 'app', 'App ' || n % $3, 'asana_tenant',
                $4 || '-member-' || n, 'member-' || n || '@example.com', 'Member ' || n, $5,
                case $5 when 'remove' then '{{}}'::text[] else '{{VIEWER}}' end, 'workspace_policy', now(),
                'LoginTimeout', 'The login page did not answer.'
         from generate_series($1::bigint, $2::bigint - 1) n"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(from as i64)
        .bind(to as i64)
        .bind(fill.integrations as i64)
        .bind(fill.name)
        .bind(fill.operation)
        .execute(pool)
        .await?;
    Ok(())
}

/// Inserts one that is to be looked at at once.
pub(crate) async fn insert_one(pool: &PgPool, index: usize) -> anyhow::Result<()> {
    let statement = format!(
        "{COLUMNS}
         values ('acme', 'one-' || $1, null, 'app-' || $1 % 50, 'app', 'App ' || $1 % 50, 'asana_tenant',
                 'one-member-' || $1, 'member@example.com', 'Member', 'remove', '{{}}', 'user_deprovisioned', now(),
                 null, null)"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement)).bind(index as i64).execute(pool).await?;
    Ok(())
}

/// Inserts some that are to be looked at at once, in one statement.
pub(crate) async fn insert_urgent(pool: &PgPool, from: usize, to: usize) -> anyhow::Result<()> {
    let statement = format!(
        "{COLUMNS}
         select 'acme', 'urgent-' || n, null, 'app-' || n % 50, 'app', 'App ' || n % 50, 'asana_tenant',
                'urgent-member-' || n, 'member@example.com', 'Member', 'remove', '{{}}', 'user_deprovisioned', now(),
                null, null
         from generate_series($1::bigint, $2::bigint - 1) n"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(from as i64)
        .bind(to as i64)
        .execute(pool)
        .await?;
    Ok(())
}

/// Gives all their place and makes them due.
pub(crate) async fn order(pool: &PgPool) -> anyhow::Result<()> {
    let policy = intake::IntakePolicy::new(&Config::from_sources(None, Some(unused()))?);
    while intake::order_arrivals(pool, &policy, 5000).await? > 0 {}
    sqlx::query(
        "with woken as (update reconciler.integration_states set next_due_at = now())
                 update reconciler.members set next_attempt_at = now() where ready_task_id is not null",
    )
    .execute(pool)
    .await?;
    Ok(())
}

fn unused() -> std::collections::HashMap<String, String> {
    let variables = [
        ("RECONCILER__DATABASE__URL", "postgres://unused"),
        ("RECONCILER__BACKEND__BASE_URL", "http://127.0.0.1:9"),
        ("RECONCILER__BACKEND__API_KEY", "unused"),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
