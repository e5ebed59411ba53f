//! Webhooks of Cerby: a delivery is stored, and the daemon does the rest. What it cannot resolve, people dismiss.

use chrono::{DateTime, Utc};

use super::{Actor, Desk, DeskError, commit};
use crate::intake::webhook::Event;
use crate::intake::webhook::review::{self, WebhookFilter, WebhookLine};
use crate::intake::webhook::store::{self, Received};

impl Desk {
    /// Stores an event of a workspace. When it returns, the event is committed.
    pub async fn receive_webhook(
        &self,
        workspace: &str,
        event: &Event,
        signed_at: DateTime<Utc>,
        most: u32,
    ) -> Result<Received, DeskError> {
        Ok(store::receive(&self.pool, workspace, event, signed_at, most).await?)
    }

    /// Events of webhooks that are not resolved, by workspace and id.
    pub async fn webhooks(
        &self,
        actor: &Actor,
        filter: WebhookFilter<'_>,
    ) -> Result<Vec<WebhookLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        let filter = WebhookFilter { workspace: actor.workspace_or(filter.workspace), ..filter };
        Ok(review::list(&mut tx, filter).await?)
    }

    /// Ends an event that cannot be resolved: its job is not read any more.
    pub async fn dismiss_webhook(
        &self,
        actor: &Actor,
        workspace: &str,
        event: &str,
        reason: &str,
    ) -> Result<(), DeskError> {
        let mut tx = self.begin_change(actor).await?;
        review::dismiss(&mut tx, workspace, event, reason).await?;
        commit(tx).await
    }
}
