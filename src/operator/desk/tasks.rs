//! Automation tasks: what they wait for, and their cancellation.

use super::{Actor, Desk, DeskError, Refusal, commit};
use crate::history::{self, TrailLine};
use crate::retry::cancel;
use crate::retry::review::{self, TaskCard, TaskFilter, TaskLine};

/// A task, with its trail and that of its manual action, oldest first.
#[derive(Debug, serde::Serialize)]
pub struct TaskPage {
    #[serde(flatten)]
    pub card: TaskCard,
    pub trail: Vec<TrailLine>,
}

impl Desk {
    /// Unfinished tasks, the oldest first, and why each waits.
    pub async fn tasks(&self, filter: TaskFilter<'_>) -> Result<Vec<TaskLine>, DeskError> {
        Ok(review::list(&self.pool, filter).await?)
    }

    pub async fn task(&self, id: i64) -> Result<TaskPage, DeskError> {
        let card = review::find(&self.pool, id)
            .await?
            .ok_or_else(|| Refusal::not_found(format!("there is no task {id}")))?;
        let action = card.action_id.map(|action| ("action", action));
        let rows: Vec<_> = std::iter::once(("task", id)).chain(action).collect();
        let trail = history::trail(&self.pool, &card.workspace_id, &rows).await?;
        Ok(TaskPage { card, trail })
    }

    /// Cancels a task: nothing more is requested from the backend for it, and it ends once nothing of it can still take
    /// effect.
    pub async fn cancel(&self, actor: &Actor, task: i64, reason: &str) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        cancel::request(&mut tx, task, reason).await?;
        commit(tx).await
    }
}
