//! Saved views: lists of the console with their filters.

use super::{Actor, Desk, DeskError, Refusal, commit};
use crate::operator::filters::ListPage;
use crate::saved_views::{self, Content, SavedView};

/// A view as somebody wants to keep it.
#[derive(Debug, Clone, Copy)]
pub struct NewView<'a> {
    pub name: &'a str,
    pub page: ListPage,
    /// The filter, as the address of the page has it.
    pub query: &'a str,
    /// The workspace whose people shall see it; `None` for the actor alone.
    pub shared_in: Option<&'a str>,
}

impl Desk {
    /// The views of the actor, and those that are shared in their workspaces, by name; of one list if it is given.
    pub async fn views(
        &self,
        actor: &Actor,
        page: Option<ListPage>,
    ) -> Result<Vec<SavedView>, DeskError> {
        let mut tx = self.begin(actor).await?;
        Ok(saved_views::list(&mut tx, page.map(ListPage::as_str)).await?)
    }

    /// Saves a view if its filter is one of its list. A view of the actor with the same name is replaced.
    pub async fn save_view(
        &self,
        actor: &Actor,
        view: NewView<'_>,
    ) -> Result<SavedView, DeskError> {
        let mut tx = self.begin_change(actor).await?;
        let query = view.page.filter(view.query)?;
        let saved = saved_views::save(&mut tx, view.content(&query)).await?;
        commit(tx).await?;
        Ok(saved)
    }

    /// Changes all of a view of the actor.
    pub async fn change_view(
        &self,
        actor: &Actor,
        id: i64,
        view: NewView<'_>,
    ) -> Result<SavedView, DeskError> {
        let mut tx = self.begin_change(actor).await?;
        let query = view.page.filter(view.query)?;
        let changed = saved_views::change(&mut tx, id, view.content(&query)).await;
        let changed = changed.map_err(|error| taken(error.into(), view.name))?;
        let changed = changed.ok_or_else(|| no_view(id))?;
        commit(tx).await?;
        Ok(changed)
    }

    /// Renames a view of the actor.
    pub async fn rename_view(&self, actor: &Actor, id: i64, name: &str) -> Result<(), DeskError> {
        let mut tx = self.begin_change(actor).await?;
        let renamed = saved_views::rename(&mut tx, id, name.trim()).await;
        if !renamed.map_err(|error| taken(error.into(), name))? {
            return Err(no_view(id).into());
        }
        commit(tx).await
    }

    /// Deletes a view of the actor; an administrator may delete every shared one.
    pub async fn delete_view(&self, actor: &Actor, id: i64) -> Result<(), DeskError> {
        let mut tx = self.begin_change(actor).await?;
        if !saved_views::delete(&mut tx, id).await? {
            return Err(no_view(id).into());
        }
        commit(tx).await
    }
}

impl<'a> NewView<'a> {
    fn content(self, query: &'a str) -> Content<'a> {
        Content {
            name: self.name.trim(),
            page: self.page.as_str(),
            query,
            shared_in: self.shared_in,
        }
    }
}

fn no_view(id: i64) -> Refusal {
    Refusal::not_found(format!("you have no view {id}"))
}

/// The error of the database, or a clear refusal where it says that the name is taken.
fn taken(error: DeskError, name: &str) -> DeskError {
    match error {
        DeskError::Refused(refusal)
            if refusal.message.contains("views_of_an_owner_have_different_names") =>
        {
            Refusal {
                kind: super::RefusalKind::NotAllowedNow,
                message: format!("you have another view that is called {name:?}"),
                hint: Some("Give each view a name of its own.".to_owned()),
            }
            .into()
        }
        error => error,
    }
}
