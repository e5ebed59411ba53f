//! The SQL of saved views. The database decides who sees and who changes one.

use chrono::{DateTime, Utc};

use crate::database::PgConnection;
use crate::store::StoreError;

/// A list of the console with its filter, under a name.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct SavedView {
    pub id: i64,
    pub name: String,
    /// Who saved it.
    pub owner: String,
    /// actions, tasks, syncs, returns or integrations.
    pub page: String,
    /// The filter, as the address of the page has it.
    pub query: String,
    /// The workspace whose people see it; null for its owner alone.
    pub shared_in: Option<String>,
    pub changed_at: DateTime<Utc>,
}

/// What a view says.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    pub name: &'a str,
    pub page: &'a str,
    pub query: &'a str,
    pub shared_in: Option<&'a str>,
}

/// The views that the user who runs the transaction may see, by name; of one page if it is given.
pub async fn list(
    connection: &mut PgConnection,
    page: Option<&str>,
) -> Result<Vec<SavedView>, StoreError> {
    Ok(sqlx::query_as!(
        SavedView,
        "-- list_saved_views
         select id, name, owner, page, query, shared_in, changed_at from reconciler.saved_views
         where $1::text is null or page = $1
         order by lower(name), name, id limit 200",
        page,
    )
    .fetch_all(connection)
    .await?)
}

/// Saves a view; one of the same owner and name is replaced.
pub async fn save(
    connection: &mut PgConnection,
    view: Content<'_>,
) -> Result<SavedView, StoreError> {
    Ok(sqlx::query_as!(
        SavedView,
        "-- save_view
         insert into reconciler.saved_views (name, page, query, shared_in) values ($1, $2, $3, $4)
         on conflict (owner, name) do update
         set page = excluded.page, query = excluded.query, shared_in = excluded.shared_in
         returning id, name, owner, page, query, shared_in, changed_at",
        view.name,
        view.page,
        view.query,
        view.shared_in,
    )
    .fetch_one(connection)
    .await?)
}

/// Changes a view of the user who runs the transaction; `None` if they have none with this id.
pub async fn change(
    connection: &mut PgConnection,
    id: i64,
    view: Content<'_>,
) -> Result<Option<SavedView>, StoreError> {
    Ok(sqlx::query_as!(
        SavedView,
        "-- change_view
         update reconciler.saved_views set name = $2, page = $3, query = $4, shared_in = $5 where id = $1
         returning id, name, owner, page, query, shared_in, changed_at",
        id,
        view.name,
        view.page,
        view.query,
        view.shared_in,
    )
    .fetch_optional(connection)
    .await?)
}

/// Renames a view of the user who runs the transaction; returns whether they have one with this id.
pub async fn rename(
    connection: &mut PgConnection,
    id: i64,
    name: &str,
) -> Result<bool, StoreError> {
    let renamed = sqlx::query!(
        "-- rename_view
         update reconciler.saved_views set name = $2 where id = $1",
        id,
        name,
    )
    .execute(connection)
    .await?;
    Ok(renamed.rows_affected() == 1)
}

/// Deletes a view; returns whether the user who runs the transaction may delete one with this id.
pub async fn delete(connection: &mut PgConnection, id: i64) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"-- delete_view
         select reconciler.delete_saved_view($1) as "deleted!""#,
        id,
    )
    .fetch_one(connection)
    .await?)
}
