//! People whom the issuer of OpenID Connect named: the trail has their subjects, and people read their emails.

use std::collections::HashMap;

use super::{Actor, Desk, DeskError};
use crate::sessions::{self, Person};

/// The emails of people, by the actors of the trail.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// What an actor is called; the actor itself where no email is known.
    pub fn of<'a>(&'a self, actor: &'a str) -> &'a str {
        self.0.get(actor).map_or(actor, String::as_str)
    }

    /// Puts the names in place of the actors, in what is only shown.
    pub fn put_in<'a>(&self, actors: impl IntoIterator<Item = &'a mut String>) {
        for actor in actors {
            if let Some(name) = self.0.get(actor) {
                actor.clone_from(name);
            }
        }
    }
}

impl From<Vec<Person>> for Names {
    fn from(people: Vec<Person>) -> Self {
        Self(people.into_iter().map(|person| (person.actor, person.email)).collect())
    }
}

impl Desk {
    /// The people who may act in the workspaces of the actor, the last who signed in first.
    pub async fn people(&self, actor: &Actor) -> Result<Vec<Person>, DeskError> {
        let mut tx = self.begin(actor).await?;
        Ok(sessions::people(&mut *tx).await?)
    }

    /// What the actor calls them.
    pub async fn names(&self, actor: &Actor) -> Result<Names, DeskError> {
        Ok(self.people(actor).await?.into())
    }
}
