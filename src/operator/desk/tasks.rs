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
    pub async fn tasks(
        &self,
        actor: &Actor,
        filter: TaskFilter<'_>,
    ) -> Result<Vec<TaskLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        let filter = TaskFilter { workspace: actor.workspace_or(filter.workspace), ..filter };
        Ok(review::list(&mut tx, filter).await?)
    }

    pub async fn task(&self, actor: &Actor, id: i64) -> Result<TaskCard, DeskError> {
        let mut tx = self.begin(actor).await?;
        let facts = review::find(&mut tx, id)
            .await?
            .ok_or_else(|| Refusal::not_found(format!("there is no task {id}")))?;
        let action = facts.action_id.map(|action| ("action", action));
        let rows: Vec<_> = std::iter::once(("task", id)).chain(action).collect();
        let trail = history::trail(&mut tx, &facts.workspace_id, &rows).await?;
        Ok(TaskCard { facts, trail })
    }

    /// Cancels a task: nothing more is requested from the backend for it, and it ends once nothing of it can still take
    /// effect.
    pub async fn cancel(&self, actor: &Actor, task: i64, reason: &str) -> Result<(), DeskError> {
        let mut tx = self.begin_change(actor).await?;
        cancel::request(&mut tx, task, reason).await?;
        commit(tx).await
    }
}
