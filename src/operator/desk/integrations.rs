//! Integrations: their status, their limits, and their protected accounts.

use std::time::Instant;

use super::{Actor, Desk, DeskError, Refusal, RefusalKind, commit};
use crate::integration::store::{self, IntegrationFilter, IntegrationLine, Settings};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    pub workspace: String,
    pub id: String,
}

impl Desk {
    /// Integrations, the inactive ones first. Their tasks may have been counted some seconds ago.
    pub async fn integrations(
        &self,
        actor: &Actor,
        filter: IntegrationFilter<'_>,
    ) -> Result<Vec<IntegrationLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        let filter =
            IntegrationFilter { workspace: actor.workspace_or(filter.workspace), ..filter };
        let now = Instant::now();
        let lines = store::list(&mut tx, filter, &self.counted.known(now)).await?;
        self.counted.remember(&lines, now);
        Ok(lines)
    }

    /// The one integration with this id. If several workspaces have it, the caller has to name one.
    pub async fn integration(
        &self,
        actor: &Actor,
        id: &str,
        workspace: Option<&str>,
    ) -> Result<Integration, DeskError> {
        let mut tx = self.begin(actor).await?;
        let mut known = store::workspaces_of(&mut tx, id).await?;
        known.retain(|one| workspace.is_none_or(|only| one == only));
        match known.as_slice() {
            [one] => Ok(Integration { workspace: one.clone(), id: id.to_owned() }),
            [] => Err(Refusal::not_found(format!("there is no integration {id} here")).into()),
            several => Err(Refusal {
                kind: RefusalKind::Invalid,
                message: format!("several workspaces know integration {id}"),
                hint: Some(format!(
                    "Name its workspace (--workspace), one of {}",
                    several.join(", ")
                )),
            }
            .into()),
        }
    }

    /// Puts the tasks of an integration on hold.
    pub async fn pause(
        &self,
        actor: &Actor,
        integration: &Integration,
        reason: &str,
    ) -> Result<(), DeskError> {
        let mut tx = self.begin_change(actor).await?;
        store::pause(&mut tx, &integration.workspace, &integration.id, reason).await?;
        commit(tx).await
    }

    /// Makes an integration active again, whatever its status.
    pub async fn resume(&self, actor: &Actor, integration: &Integration) -> Result<(), DeskError> {
        let mut tx = self.begin_change(actor).await?;
        store::resume(&mut tx, &integration.workspace, &integration.id).await?;
        commit(tx).await
    }

    /// Sets the limits that are given, for all replicas together; zero restores the configured number.
    pub async fn limit(
        &self,
        actor: &Actor,
        integration: &Integration,
        in_flight: Option<u32>,
        per_minute: Option<u32>,
    ) -> Result<(), DeskError> {
        let (workspace, id) = (&integration.workspace, &integration.id);
        let mut tx = self.begin_change(actor).await?;
        store::set_limits(&mut tx, workspace, id, in_flight, per_minute).await?;
        commit(tx).await
    }

    /// Protects accounts, sets how often the app is read, or corrects the kind or application.
    pub async fn protect(
        &self,
        actor: &Actor,
        integration: &Integration,
        settings: &Settings,
    ) -> Result<(), DeskError> {
        let mut tx = self.begin_change(actor).await?;
        store::set(&mut tx, &integration.workspace, &integration.id, settings).await?;
        commit(tx).await
    }
}
