//! The trail.

use super::{Desk, DeskError};
use crate::history::{self, EventFilter, EventLine};

impl Desk {
    /// Lines of the trail, the newest first.
    pub async fn events(&self, filter: EventFilter<'_>) -> Result<Vec<EventLine>, DeskError> {
        Ok(history::list(&self.pool, filter).await?)
    }
}
