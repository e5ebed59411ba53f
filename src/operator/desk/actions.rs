//! Manual actions: claim them, give them away, and state what was done.

use chrono::{DateTime, Utc};

use super::{Actor, Desk, DeskError, Refusal, RefusalKind, Seen, commit};
use crate::catalogue;
use crate::database::Transaction;
use crate::history::{self, TrailLine};
use crate::manual_action::card::{self, ActionFacts};
use crate::manual_action::people;
use crate::manual_action::review::{self, ActionFilter, ActionLine, AtWork, WorkLine};
use crate::manual_action::status::ActionStatus;

#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct ActionCard {
    #[serde(flatten)]
    pub facts: ActionFacts,
    /// The trail of the action and of its task, oldest first.
    pub trail: Vec<TrailLine>,
}

/// An action that is marked done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    pub follows: Done,
    /// Who marked it done before, and when, if somebody had.
    pub before: Option<(String, DateTime<Utc>)>,
}

/// What follows after an action was marked done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The app is read to prove it.
    Read,
    /// The next task proves a login.
    NextTask,
    /// The app cannot be read: the statement closes the action, with four eyes only after a second person confirmed it.
    Word { four_eyes: bool },
}

impl Desk {
    /// Actions: the unfinished ones, the most urgent first, and then the ended ones, the latest first.
    pub async fn actions(
        &self,
        actor: &Actor,
        filter: ActionFilter<'_>,
    ) -> Result<Vec<ActionLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        let filter = ActionFilter { workspace: actor.workspace_or(filter.workspace), ..filter };
        let lines = review::list(&mut tx, filter).await?;
        Ok(lines.ok_or_else(|| Refusal {
            kind: RefusalKind::Invalid,
            message: "the action after which the list is to go on is not there any more".to_owned(),
            hint: Some("Begin at the first page of the list.".to_owned()),
        })?)
    }

    /// How many unfinished actions a filter lets through, up to [`store::MOST_COUNTED`](crate::store::MOST_COUNTED) and one.
    pub async fn count_actions(
        &self,
        actor: &Actor,
        filter: ActionFilter<'_>,
    ) -> Result<i64, DeskError> {
        let mut tx = self.begin(actor).await?;
        let filter = ActionFilter { workspace: actor.workspace_or(filter.workspace), ..filter };
        Ok(review::count(&mut tx, filter).await?)
    }

    /// What there is to do: a line for each app, operation and cause, the most urgent first.
    pub async fn work(
        &self,
        actor: &Actor,
        workspace: Option<&str>,
    ) -> Result<Vec<WorkLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        Ok(review::work_by_app(&mut tx, actor.workspace_or(workspace)).await?)
    }

    /// Who works on what now.
    pub async fn at_work(&self, actor: &Actor) -> Result<Vec<AtWork>, DeskError> {
        let mut tx = self.begin(actor).await?;
        Ok(review::at_work(&mut tx).await?)
    }

    pub async fn action(&self, actor: &Actor, id: i64) -> Result<ActionCard, DeskError> {
        let mut tx = self.begin(actor).await?;
        let facts = card::find(&mut tx, id).await?.ok_or_else(|| no_action(id))?;
        let rows = [("action", facts.id), ("task", facts.task_id)];
        let trail = history::trail(&mut tx, &facts.workspace_id, &rows).await?;
        Ok(ActionCard { facts, trail })
    }

    /// Claims an action: an open one, or, with a note, one that a colleague works on.
    pub async fn claim(
        &self,
        actor: &Actor,
        seen: impl Into<Seen>,
        take_over_note: Option<&str>,
    ) -> Result<(), DeskError> {
        let (mut tx, id) = self.begin_action(actor, seen.into()).await?;
        people::claim(&mut tx, id, take_over_note).await?;
        commit(tx).await
    }

    /// Gives an action to a colleague: the actor's own, or one that nobody works on.
    pub async fn assign(
        &self,
        actor: &Actor,
        seen: impl Into<Seen>,
        assignee: &str,
        note: &str,
    ) -> Result<(), DeskError> {
        let (mut tx, id) = self.begin_action(actor, seen.into()).await?;
        people::hand_over(&mut tx, id, assignee, note).await?;
        commit(tx).await
    }

    /// Releases an action that the actor works on.
    pub async fn release(&self, actor: &Actor, seen: impl Into<Seen>) -> Result<(), DeskError> {
        let (mut tx, id) = self.begin_action(actor, seen.into()).await?;
        people::release(&mut tx, id).await?;
        commit(tx).await
    }

    /// Adds a note to an action.
    pub async fn note(
        &self,
        actor: &Actor,
        seen: impl Into<Seen>,
        note: &str,
    ) -> Result<(), DeskError> {
        let (mut tx, id) = self.begin_action(actor, seen.into()).await?;
        if !people::note(&mut tx, id, note).await? {
            return Err(no_action(id).into());
        }
        commit(tx).await
    }

    /// Marks an action done; returns how it will be proven. The actor may say it again.
    pub async fn done(
        &self,
        actor: &Actor,
        seen: impl Into<Seen>,
        note: Option<&str>,
    ) -> Result<Marked, DeskError> {
        let (mut tx, id) = self.begin_action(actor, seen.into()).await?;
        let proof = people::proof(&mut tx, id).await?.ok_or_else(|| no_action(id))?;
        people::move_to(&mut tx, id, ActionStatus::Done, note).await?;
        commit(tx).await?;
        let follows = match (catalogue::is_readable(&proof.application), proof.operation.as_str()) {
            (true, _) => Done::Read,
            (false, "reconnect") => Done::NextTask,
            (false, _) => Done::Word { four_eyes: proof.four_eyes },
        };
        Ok(Marked { follows, before: proof.done_by.zip(proof.done_at) })
    }

    /// Withdraws the statement that an action was done, before it was judged.
    pub async fn withdraw(&self, actor: &Actor, seen: impl Into<Seen>) -> Result<(), DeskError> {
        let (mut tx, id) = self.begin_action(actor, seen.into()).await?;
        people::withdraw(&mut tx, id).await?;
        commit(tx).await
    }

    /// Confirms another person's statement, where the app cannot be read and its integration has four eyes set.
    pub async fn confirm(&self, actor: &Actor, seen: impl Into<Seen>) -> Result<(), DeskError> {
        let (mut tx, id) = self.begin_action(actor, seen.into()).await?;
        people::confirm(&mut tx, id).await?;
        commit(tx).await
    }

    /// Ends an action whose change is not to be made.
    pub async fn dismiss(
        &self,
        actor: &Actor,
        seen: impl Into<Seen>,
        note: &str,
    ) -> Result<(), DeskError> {
        let (mut tx, id) = self.begin_action(actor, seen.into()).await?;
        if !people::move_to(&mut tx, id, ActionStatus::Dismissed, Some(note)).await? {
            return Err(no_action(id).into());
        }
        commit(tx).await
    }

    /// Begins a change of an action as it was seen, which stays locked.
    pub(super) async fn begin_action(
        &self,
        actor: &Actor,
        Seen { id, revision }: Seen,
    ) -> Result<(Transaction, i64), DeskError> {
        let mut tx = self.begin_change(actor).await?;
        if let Some(revision) = revision {
            people::expect(&mut tx, id, revision).await?;
        }
        Ok((tx, id))
    }
}

pub(super) fn no_action(id: i64) -> Refusal {
    Refusal::not_found(format!("there is no manual action {id}"))
}
