//! Returning actions to automation after a fix.

use super::actions::no_action;
use super::{Actor, Desk, DeskError, Integration, Refusal, RefusalKind, Seen, commit};
use crate::manual_action::people;
use crate::manual_action::return_review::{self, ReturnFilter, ReturnLine};
use crate::manual_action::returns::{self, Returnable};
use crate::manual_action::status::ActionStatus;
use crate::membership::Operation;

/// The actions to return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    One(Seen),
    /// The open actions of an integration, by failure code and operation where they are given.
    Of {
        integration: Integration,
        failure_code: Option<String>,
        operation: Option<Operation>,
        /// As the caller saw them; `None` for a caller who wants to return whatever is open now.
        seen: Option<Vec<i64>>,
    },
}

impl Chosen {
    /// The same, and nothing else if others came or some went.
    pub fn as_seen(self, found: &[Returnable]) -> Self {
        match self {
            Self::Of { integration, failure_code, operation, .. } => {
                let seen = Some(found.iter().map(|one| one.id).collect());
                Self::Of { integration, failure_code, operation, seen }
            }
            one => one,
        }
    }
}

impl Desk {
    /// Returns of several actions, the newest first.
    pub async fn returns(
        &self,
        actor: &Actor,
        filter: ReturnFilter<'_>,
    ) -> Result<Vec<ReturnLine>, DeskError> {
        let mut tx = self.begin(actor).await?;
        let filter = ReturnFilter { workspace: actor.workspace_or(filter.workspace), ..filter };
        Ok(return_review::list(&mut tx, filter).await?)
    }

    pub async fn find_return(&self, actor: &Actor, id: i64) -> Result<ReturnLine, DeskError> {
        let filter = ReturnFilter { id: Some(id), limit: 1, ..ReturnFilter::default() };
        let found = self.returns(actor, filter).await?.pop();
        Ok(found.ok_or_else(|| Refusal::not_found(format!("there is no return {id}")))?)
    }

    /// The actions that would be returned, the canary first.
    pub async fn returnable(
        &self,
        actor: &Actor,
        chosen: &Chosen,
    ) -> Result<Vec<Returnable>, DeskError> {
        let mut tx = self.begin_change(actor).await?;
        let found: Vec<_> = match chosen {
            Chosen::One(seen) => returns::returnable(&mut tx, seen.id).await?.into_iter().collect(),
            Chosen::Of { integration, failure_code, operation, .. } => {
                let (workspace, id) = (&integration.workspace, &integration.id);
                returns::returnables(&mut tx, workspace, id, failure_code.as_deref(), *operation)
                    .await?
            }
        };
        if found.is_empty() {
            return Err(Refusal::not_found("there is no open action to return").into());
        }
        Ok(found)
    }

    /// Sends actions back to automation: one alone, or a canary first and the others when it has worked.
    pub async fn return_to_automation(
        &self,
        actor: &Actor,
        chosen: &Chosen,
        reason: &str,
    ) -> Result<(), DeskError> {
        match chosen {
            Chosen::One(seen) => {
                let (mut tx, id) = self.begin_action(actor, *seen).await?;
                let status = ActionStatus::Returned;
                if !people::move_to(&mut tx, id, status, Some(reason)).await? {
                    return Err(no_action(id).into());
                }
                commit(tx).await
            }
            Chosen::Of { integration, failure_code, operation, seen } => {
                let (workspace, id) = (&integration.workspace, &integration.id);
                let seen = seen.as_deref();
                let code = failure_code.as_deref();
                let mut tx = self.begin_change(actor).await?;
                if !returns::give_all_back(&mut tx, workspace, id, code, *operation, seen, reason)
                    .await?
                {
                    let message = "the actions have ended meanwhile: nothing was sent";
                    return Err(Refusal::new(RefusalKind::Stale, message).into());
                }
                commit(tx).await
            }
        }
    }
}
