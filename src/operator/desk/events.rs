//! The trail.

use super::{Actor, Desk, DeskError};
use crate::history::{self, EventFilter, EventLine};

impl Desk {
    /// Lines of the trail, the newest first.
    pub async fn events(
        &self,
        actor: &Actor,
        filter: EventFilter<'_>,
    ) -> Result<Vec<EventLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        let filter = EventFilter { workspace: actor.workspace_or(filter.workspace), ..filter };
        Ok(history::list(&mut tx, filter).await?)
    }
}
