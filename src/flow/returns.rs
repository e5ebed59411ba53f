//! Actions that go back to automation together: whether their canary has shown that the rest may follow.

use sqlx::PgPool;

use crate::emit;
use crate::retry;
use crate::store::{DAEMON, StoreError, begin_as};

/// Decides the returns whose canary has ended: the rest follows, or stays with people.
pub(crate) async fn decide(pool: &PgPool) -> Result<(), StoreError> {
    let mut tx = begin_as(pool, DAEMON).await?;
    let decided = retry::store::decide_returns(&mut tx).await?;
    tx.commit().await?;
    for one in decided {
        if one.decision == "released" {
            emit!(
                RETURN_RELEASED,
                r#return.id = one.id,
                integration.id = one.integration,
                actions = one.actions,
                "the canary worked: the rest follows"
            );
        } else {
            emit!(
                RETURN_STOPPED,
                r#return.id = one.id,
                integration.id = one.integration,
                actions = one.actions,
                "the canary failed: the rest stays with people"
            );
        }
    }
    Ok(())
}
