//! Actions that return to automation together: decides whether their canary has shown that the rest may follow.

use crate::database::PgPool;
use crate::emit;
use crate::manual_action::returns::{self, ReturnState, Step, next_step};
use crate::store::{StoreError, begin};

/// The number of actions that one transaction returns.
const CHUNK: usize = 500;

/// Decides the returns whose canary has ended, in transactions of a bounded size: the rest follows, or stays with
/// people.
pub(crate) async fn decide(pool: &PgPool) -> Result<(), StoreError> {
    while decide_one(pool).await? {}
    Ok(())
}

/// Takes one step of one return. Returns whether there may be another step now.
async fn decide_one(pool: &PgPool) -> Result<bool, StoreError> {
    let mut tx = begin(pool).await?;
    let Some(undecided) = returns::undecided(&mut tx).await? else { return Ok(false) };
    let step = next_step(&undecided);
    let (decided, has_moved) = match step {
        Step::SendNext => {
            let sent = returns::send(&mut tx, &undecided, 1).await?;
            let canary = sent.tasks.first().copied();
            returns::update(&mut tx, &undecided, ReturnState::Waiting, canary, &sent).await?;
            (None, sent.left.len() < undecided.remaining.len())
        }
        Step::Release => {
            let sent = returns::send(&mut tx, &undecided, CHUNK).await?;
            let state = match sent.left.is_empty() {
                true => ReturnState::Released,
                false => ReturnState::Releasing,
            };
            returns::update(&mut tx, &undecided, state, None, &sent).await?;
            if !undecided.is_releasing && sent.count() > 0 {
                returns::ramp(&mut tx, &undecided).await?;
            }
            let all =
                (state == ReturnState::Released).then_some((state, undecided.sent + sent.count()));
            (all, sent.left.len() < undecided.remaining.len() || all.is_some())
        }
        Step::Stop => {
            (Some((ReturnState::Stopped, returns::stop(&mut tx, &undecided).await?)), true)
        }
    };
    if let Some((decision, actions)) = decided {
        returns::append(&mut tx, &undecided, decision, actions).await?;
    }
    tx.commit().await?;
    match decided {
        Some((_, actions)) if step == Step::Stop => emit!(
            RETURN_STOPPED,
            r#return.id = undecided.id,
            integration.id = undecided.integration,
            actions,
            "The canary failed: the rest stays with people"
        ),
        Some((_, actions)) => emit!(
            RETURN_RELEASED,
            r#return.id = undecided.id,
            integration.id = undecided.integration,
            actions,
            "The canary worked: the rest follows"
        ),
        None => {}
    }
    Ok(has_moved)
}
