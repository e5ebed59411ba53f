use super::{Actor, Desk, DeskError, commit};
use crate::retry::cancel;

impl Desk {
    /// Cancels a task: nothing more is requested from the backend for it, and it ends once nothing of it can still take
    /// effect.
    pub async fn cancel(&self, actor: &Actor, task: i64, reason: &str) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        cancel::request(&mut tx, task, reason).await?;
        commit(tx).await
    }
}
