//! Outages, shared by all replicas. One replica probes what the backend gives no usable answer for, and writes a row
//! about it. The others respect the row until it is gone. A replica that starts meanwhile reads the row before it sends
//! its first request.

use std::collections::HashSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::backend::{Client, Scope};
use crate::database::PgPool;
use crate::poll_interval::PollInterval;
use crate::store::{StoreError, interval, with_timeout};
use crate::wakeup::Wakeups;

/// After this long, the others take over the outages of a replica that died.
const OUTAGE_LEASE: Duration = Duration::from_secs(10);

/// The outages, as one replica sees them.
#[derive(Debug, Clone)]
pub struct Outages {
    pool: PgPool,
    backend: Client,
    replica: i64,
    query_timeout: Duration,
}

impl Outages {
    pub fn new(pool: PgPool, backend: Client, query_timeout: Duration) -> Self {
        Self { pool, backend, replica: rand::random(), query_timeout }
    }

    /// Shares outages until `stop`: soon after one was found here, and regularly while this or another replica has one.
    pub async fn run(
        self,
        wakeups: Wakeups,
        mut poll_interval: PollInterval,
        stop: CancellationToken,
    ) {
        let mut others = false;
        while !stop.is_cancelled() {
            let was_notified = tokio::select! {
                () = stop.cancelled() => return,
                () = wakeups.outages.notified() => true,
                () = tokio::time::sleep(poll_interval.next()) => false,
            };
            let is_quiet = !others && self.backend.found().is_empty();
            if !was_notified && is_quiet && !poll_interval.is_failing() {
                poll_interval.on_progress();
                continue;
            }
            match self.share().await {
                Ok(of_others) => {
                    others = of_others;
                    poll_interval.on_success();
                }
                Err(error) => poll_interval.on_failure(&error),
            }
        }
    }

    /// Shares the outages that were found here, and applies those of others. Returns whether others have any.
    pub async fn share(&self) -> Result<bool, StoreError> {
        let found = self.backend.found();
        let (ours, others) = with_timeout(self.query_timeout, self.exchange(&found)).await?;
        let is_some = !others.is_empty();
        self.backend.go_by(&ours, others);
        Ok(is_some)
    }

    async fn exchange(&self, found: &[Scope]) -> Result<(Vec<Scope>, HashSet<Scope>), StoreError> {
        let workspaces: Vec<_> = found.iter().map(|scope| scope.workspace.clone()).collect();
        let integrations: Vec<_> =
            found.iter().map(|scope| scope.integration.clone().unwrap_or_default()).collect();
        let rows = sqlx::query!(
            r#"-- share_outages
            with found as materialized (
                select * from unnest($2::text[], $3::text[]) f (workspace_id, integration_id) order by 1, 2
            ), over as (
                delete from reconciler.outages o
                where (o.replica = $1 or o.held_until < now() - interval '1 h')
                  and not exists (select from found f
                                  where f.workspace_id = o.workspace_id and f.integration_id = o.integration_id)
            ), held as (
                insert into reconciler.outages as o (workspace_id, integration_id, replica, held_until)
                select workspace_id, integration_id, $1, now() + $4 from found
                on conflict (workspace_id, integration_id) do update
                set replica = excluded.replica, held_until = excluded.held_until
                where o.held_until < case when o.replica = excluded.replica then now() + $4 / 2 else now() end
                returning o.workspace_id, o.integration_id
            )
            select workspace_id as "workspace!", integration_id as "integration!", true as "is_ours!" from held
            union
            select workspace_id, integration_id, replica = $1 from reconciler.outages where held_until > now()"#,
            self.replica,
            &workspaces,
            &integrations,
            interval(OUTAGE_LEASE),
        )
        .fetch_all(&self.pool)
        .await?;
        let (mut ours, mut others) = (Vec::new(), HashSet::new());
        for row in rows {
            let integration = Some(row.integration).filter(|integration| !integration.is_empty());
            let scope = Scope { workspace: row.workspace, integration };
            match row.is_ours {
                true => ours.push(scope),
                false => drop(others.insert(scope)),
            }
        }
        Ok((ours, others))
    }
}
