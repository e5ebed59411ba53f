//! Automation tasks: what they wait for, and their cancellation.

use super::{Actor, Desk, DeskError, Refusal, commit};
use crate::history::{self, TrailLine};
use crate::retry::cancel;
use crate::retry::review::{self, TaskFacts, TaskFilter, TaskLine};

/// A task, with its trail and that of its manual action, oldest first.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct TaskCard {
    #[serde(flatten)]
    pub facts: TaskFacts,
    pub trail: Vec<TrailLine>,
}

impl Desk {
    /// Unfinished tasks, the oldest first, and why each waits.
    pub async fn tasks(&self, filter: TaskFilter<'_>) -> Result<Vec<TaskLine>, DeskError> {
        Ok(review::list(&self.pool, filter).await?)
    }

    pub async fn task(&self, id: i64) -> Result<TaskCard, DeskError> {
        let facts = review::find(&self.pool, id)
            .await?
            .ok_or_else(|| Refusal::not_found(format!("there is no task {id}")))?;
        let action = facts.action_id.map(|action| ("action", action));
        let rows: Vec<_> = std::iter::once(("task", id)).chain(action).collect();
        let trail = history::trail(&self.pool, &facts.workspace_id, &rows).await?;
        Ok(TaskCard { facts, trail })
    }

    /// Cancels a task: nothing more is requested from the backend for it, and it ends once nothing of it can still take
    /// effect.
    pub async fn cancel(&self, actor: &Actor, task: i64, reason: &str) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        cancel::request(&mut tx, task, reason).await?;
        commit(tx).await
    }
}
