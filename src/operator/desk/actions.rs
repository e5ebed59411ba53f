//! Manual actions: taking them up, giving them away, and saying what was done.

use super::{Actor, Desk, DeskError, Refusal, RefusalKind, commit};
use crate::catalogue;
use crate::history::{self, TrailLine};
use crate::manual_action::people::{self, ActionFilter, ActionLine, Card};

/// Everything about one action.
#[derive(Debug)]
pub struct ActionCard {
    pub card: Card,
    /// What happened to it and to its task, oldest first.
    pub trail: Vec<TrailLine>,
}

/// What follows after an action was marked done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The app is read to prove it.
    Read,
    /// A login is proven by the next task.
    NextTask,
    /// The app cannot be read: the word closes the action, where four eyes are asked for once it is confirmed.
    Word { four_eyes: bool },
}

impl Desk {
    /// Actions, the most urgent first.
    pub async fn actions(&self, filter: ActionFilter<'_>) -> Result<Vec<ActionLine>, DeskError> {
        Ok(people::list(&self.pool, filter).await?)
    }

    /// One action.
    pub async fn action(&self, id: i64) -> Result<ActionCard, DeskError> {
        let card = people::find(&self.pool, id).await?.ok_or_else(|| no_action(id))?;
        let rows = [("action", card.id), ("task", card.task_id)];
        let trail = history::trail(&self.pool, &card.workspace_id, &rows).await?;
        Ok(ActionCard { card, trail })
    }

    /// Takes up an action: an open one, or with a note one that a colleague works on.
    pub async fn claim(
        &self,
        actor: &Actor,
        id: i64,
        take_over_note: Option<&str>,
    ) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        people::claim(&mut tx, id, take_over_note).await?;
        commit(tx).await
    }

    /// Gives an action to a colleague: the actor's own, or one that nobody works on.
    pub async fn assign(
        &self,
        actor: &Actor,
        id: i64,
        assignee: &str,
        note: &str,
    ) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        people::hand_over(&mut tx, id, assignee, note).await?;
        commit(tx).await
    }

    /// Gives back an action that the actor works on.
    pub async fn release(&self, actor: &Actor, id: i64) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        if !people::release(&mut tx, id).await? {
            return Err(self.why_not(id, "nobody works on").await);
        }
        commit(tx).await
    }

    /// Notes something on an action.
    pub async fn note(&self, actor: &Actor, id: i64, note: &str) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        if !people::note(&mut tx, id, note).await? {
            return Err(no_action(id).into());
        }
        commit(tx).await
    }

    /// Marks an action done; what will prove it.
    pub async fn done(
        &self,
        actor: &Actor,
        id: i64,
        note: Option<&str>,
    ) -> Result<Done, DeskError> {
        let mut tx = self.begin(actor).await?;
        let is_there = people::mark_done(&mut tx, id, note).await?;
        let proof = people::proof(&mut tx, id).await?.filter(|_| is_there);
        let proof = proof.ok_or_else(|| no_action(id))?;
        commit(tx).await?;
        Ok(match (catalogue::is_readable(&proof.application), proof.operation.as_str()) {
            (true, _) => Done::Read,
            (false, "reconnect") => Done::NextTask,
            (false, _) => Done::Word { four_eyes: proof.four_eyes },
        })
    }

    /// Takes back that an action was done, before it was judged.
    pub async fn withdraw(&self, actor: &Actor, id: i64) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        if !people::withdraw(&mut tx, id).await? {
            return Err(self.why_not(id, "nobody called done").await);
        }
        commit(tx).await
    }

    /// Confirms what another person said, where the app cannot be read and its integration asks for four eyes.
    pub async fn confirm(&self, actor: &Actor, id: i64) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        people::confirm(&mut tx, id).await?;
        commit(tx).await
    }

    /// Ends an action that is not to be done.
    pub async fn dismiss(&self, actor: &Actor, id: i64, note: &str) -> Result<(), DeskError> {
        let mut tx = self.begin(actor).await?;
        if !people::dismiss(&mut tx, id, note).await? {
            return Err(no_action(id).into());
        }
        commit(tx).await
    }

    /// Nothing was changed: the action is not there, or is one with which that cannot be done.
    async fn why_not(&self, id: i64, which: &str) -> DeskError {
        match people::find(&self.pool, id).await {
            Ok(None) => no_action(id).into(),
            Ok(Some(card)) => Refusal::new(
                RefusalKind::NotAllowedNow,
                format!("manual action {id} is {}: {which} it", card.status),
            )
            .into(),
            Err(error) => error.into(),
        }
    }
}

fn no_action(id: i64) -> Refusal {
    Refusal::not_found(format!("there is no manual action {id}"))
}
