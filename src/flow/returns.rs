//! Actions that go back to automation together: whether their canary has shown that the rest may follow.

use sqlx::PgPool;

use crate::emit;
use crate::manual_action::returns::{self, DecidedReturn};
use crate::store::{StoreError, begin};

/// Decides the returns whose canary has ended, each in a transaction of its own: the rest follows, or stays with people.
pub(crate) async fn decide(pool: &PgPool) -> Result<(), StoreError> {
    while let Some(decided) = decide_one(pool).await? {
        if decided.decision == "released" {
            emit!(
                RETURN_RELEASED,
                r#return.id = decided.id,
                integration.id = decided.integration,
                actions = decided.actions,
                "The canary worked; the rest follows"
            );
        } else {
            emit!(
                RETURN_STOPPED,
                r#return.id = decided.id,
                integration.id = decided.integration,
                actions = decided.actions,
                "The canary failed; the rest stays with people"
            );
        }
    }
    Ok(())
}

async fn decide_one(pool: &PgPool) -> Result<Option<DecidedReturn>, StoreError> {
    let mut tx = begin(pool).await?;
    let decided = returns::decide_return(&mut tx).await?;
    tx.commit().await?;
    Ok(decided)
}
