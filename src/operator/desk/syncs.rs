//! Syncs, and decisions on held reports.

use super::{Actor, Desk, DeskError, Integration, Refusal, Seen, commit};
use crate::history::{self, TrailLine};
use crate::sync::HeldDecision;
use crate::sync::review::{self, Filter, SyncFacts, SyncLine};

#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct SyncCard {
    #[serde(flatten)]
    pub facts: SyncFacts,
    /// What happened to it, oldest first.
    pub trail: Vec<TrailLine>,
}

impl Desk {
    /// Syncs, the newest first.
    pub async fn syncs(
        &self,
        actor: &Actor,
        filter: Filter<'_>,
    ) -> Result<Vec<SyncLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        let filter = Filter { workspace: actor.workspace_or(filter.workspace), ..filter };
        Ok(review::list(&mut tx, filter).await?)
    }

    pub async fn sync(&self, actor: &Actor, id: i64) -> Result<SyncCard, DeskError> {
        let mut tx = self.begin(actor).await?;
        let facts = review::find(&mut tx, id).await?.ok_or_else(|| no_sync(id))?;
        let trail = history::trail(&mut tx, &facts.workspace_id, &[("sync", facts.id)]).await?;
        Ok(SyncCard { facts, trail })
    }

    /// Lets a held report be applied, if it has not changed.
    pub async fn approve(
        &self,
        actor: &Actor,
        sync: impl Into<Seen>,
        reason: &str,
    ) -> Result<(), DeskError> {
        self.decide(actor, sync.into(), HeldDecision::Approved, reason).await
    }

    /// Ends a sync whose report is held; nothing of it is applied.
    pub async fn reject(
        &self,
        actor: &Actor,
        sync: impl Into<Seen>,
        reason: &str,
    ) -> Result<(), DeskError> {
        self.decide(actor, sync.into(), HeldDecision::Rejected, reason).await
    }

    async fn decide(
        &self,
        actor: &Actor,
        Seen { id: sync, revision }: Seen,
        decision: HeldDecision,
        reason: &str,
    ) -> Result<(), DeskError> {
        let mut tx = self.begin_change(actor).await?;
        if let Some(revision) = revision {
            review::expect(&mut tx, sync, revision).await?;
        }
        if !review::decide(&mut tx, sync, decision, reason).await? {
            return Err(no_sync(sync).into());
        }
        commit(tx).await
    }

    /// Requests a snapshot now; returns the sync that has to end before, and its state, if there is one.
    pub async fn request(
        &self,
        actor: &Actor,
        integration: &Integration,
    ) -> Result<Option<(i64, String)>, DeskError> {
        let (workspace, integration) = (&integration.workspace, &integration.id);
        let mut tx = self.begin_change(actor).await?;
        review::request(&mut tx, workspace, integration).await?;
        let active = review::active(&mut tx, workspace, integration).await?;
        commit(tx).await?;
        Ok(active)
    }
}

fn no_sync(id: i64) -> Refusal {
    Refusal::not_found(format!("there is no sync {id}"))
}
