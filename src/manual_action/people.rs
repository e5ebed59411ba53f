//! The SQL of what people do with manual actions. The database decides who may do what.

use chrono::{DateTime, Utc};

use super::status::ActionStatus;
use crate::database::PgConnection;
use crate::store::StoreError;

/// What decides how an action is proven.
#[derive(Debug)]
pub struct Proof {
    /// The name of the app in the catalogue.
    pub application: String,
    /// The operation. A login is proven by the next task.
    pub operation: String,
    /// Whether a second person is required, where the app cannot be read.
    pub four_eyes: bool,
    /// Who marked it done, and when.
    pub done_by: Option<String>,
    pub done_at: Option<DateTime<Utc>>,
}

/// What will prove an action; `None` if there is no such action.
pub async fn proof(connection: &mut PgConnection, id: i64) -> Result<Option<Proof>, StoreError> {
    Ok(sqlx::query_as!(
        Proof,
        r#"-- proof_of_action
         select a.application, a.operation, a.done_by, a.done_at,
                coalesce(reconciler.needs_second_person(s.four_eyes, s.loosened_at, a.opened_at), false) as "four_eyes!"
         from reconciler.manual_actions a
         left join reconciler.integrations s using (workspace_id, integration_id)
         where a.id = $1"#,
        id,
    )
    .fetch_optional(connection)
    .await?)
}

/// Locks an action, and fails if it has another revision.
pub async fn expect(
    connection: &mut PgConnection,
    id: i64,
    revision: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- expect_action
         select reconciler.expect_action($1, $2)",
        id,
        revision
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Withdraws a person's word for an action, in the name of the user who runs the transaction.
pub async fn withdraw(connection: &mut PgConnection, id: i64) -> Result<(), StoreError> {
    sqlx::query!(
        "-- withdraw_action
         select reconciler.withdraw_action($1)",
        id
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Gives back an action that the user who runs the transaction works on.
pub async fn release(connection: &mut PgConnection, id: i64) -> Result<(), StoreError> {
    sqlx::query!(
        "-- release_action
         select reconciler.release_action($1)",
        id
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Claims an action in the name of the user who runs the transaction. With a note, also takes it over from a colleague.
pub async fn claim(
    connection: &mut PgConnection,
    id: i64,
    take_over_note: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- claim_action
         select reconciler.claim_action($1, $2)",
        id,
        take_over_note
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Hands an action over to a colleague.
pub async fn hand_over(
    connection: &mut PgConnection,
    id: i64,
    assignee: &str,
    note: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "-- hand_over_action
         select reconciler.hand_over_action($1, $2, $3)",
        id,
        assignee,
        note
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Confirms another person's word for an action, in the name of the user who runs the transaction.
pub async fn confirm(connection: &mut PgConnection, id: i64) -> Result<(), StoreError> {
    sqlx::query!(
        "-- confirm_action
         select reconciler.confirm_action($1)",
        id
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Moves an action to a status in the name of the user who runs the transaction. A note that is given replaces the old
/// note. Returns whether there is such an action.
pub async fn move_to(
    connection: &mut PgConnection,
    id: i64,
    status: ActionStatus,
    note: Option<&str>,
) -> Result<bool, StoreError> {
    // The note is left out where none is given: an update of it counts as a new reason.
    let written = match note {
        Some(note) => sqlx::query!(
            "-- move_action_with_note
             update reconciler.manual_actions set status = $2, note = $3 where id = $1",
            id,
            status.as_str(),
            note,
        ),
        None => sqlx::query!(
            "-- move_action
             update reconciler.manual_actions set status = $2 where id = $1",
            id,
            status.as_str(),
        ),
    };
    Ok(written.execute(connection).await?.rows_affected() == 1)
}

/// Writes the note of an action, whatever its status is. Returns whether there is such an action.
pub async fn note(connection: &mut PgConnection, id: i64, note: &str) -> Result<bool, StoreError> {
    let written = sqlx::query!(
        "-- note_on_action
         update reconciler.manual_actions set note = $2 where id = $1",
        id,
        note,
    )
    .execute(connection)
    .await?;
    Ok(written.rows_affected() == 1)
}
