//! Instructions: where the app looks different from them.

use super::{Actor, Desk, DeskError, Seen, commit};
use crate::manual_action::changed_screens::{self, ChangedScreen};

impl Desk {
    /// Texts of instructions of which people reported that the app looks different, those first that most did.
    pub async fn changed_screens(
        &self,
        actor: &Actor,
        workspace: Option<&str>,
    ) -> Result<Vec<ChangedScreen>, DeskError> {
        let mut tx = self.begin(actor).await?;
        Ok(changed_screens::list(&mut tx, actor.workspace_or(workspace)).await?)
    }

    /// Reports that the app looks different from the instructions of an action.
    pub async fn screen_changed(
        &self,
        actor: &Actor,
        seen: impl Into<Seen>,
        note: Option<&str>,
    ) -> Result<(), DeskError> {
        let (mut tx, id) = self.begin_action(actor, seen.into()).await?;
        changed_screens::report(&mut tx, id, note).await?;
        commit(tx).await
    }
}
