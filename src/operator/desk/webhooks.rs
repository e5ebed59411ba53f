//! Webhooks of Cerby: a delivery is stored, and the daemon does the rest.

use chrono::{DateTime, Utc};

use super::{Desk, DeskError};
use crate::intake::webhook::Event;
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
}
