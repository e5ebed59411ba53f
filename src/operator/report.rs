//! What a sync found, as its row keeps it.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::sync::review::SyncFacts;
use crate::text::printable;

/// The report as the row keeps it; a sync that failed may have none, or less.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stored {
    pub(super) update: Option<Update>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) counts: Option<Value>,
    pub(super) differences: Vec<Difference>,
}

impl Stored {
    pub(super) fn of(card: &SyncFacts) -> Result<Self, serde_json::Error> {
        match &card.report {
            None | Some(Value::Null) => Ok(Self::default()),
            Some(report) => Self::deserialize(report),
        }
    }

    /// Whom the app's own report removes: those whom nobody asked to remove, and the others.
    pub(super) fn removals(&self, is_held: bool) -> (Vec<&Person>, Vec<&Person>) {
        let Some(update) = &self.update else { return (Vec::new(), Vec::new()) };
        // A removal that a task wants is no difference.
        let missing = self.differences.iter().filter(|one| is_held && one.class == "missing");
        let unasked: HashSet<_> = missing.filter_map(|one| one.person.key()).collect();
        let removed = update.removed_members.iter();
        removed.partition(|one| one.key().is_some_and(|key| unasked.contains(key)))
    }
}

/// What the app's own report says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Update {
    pub(super) created_at: Option<DateTime<Utc>>,
    pub(super) members_read: Option<u64>,
    pub(super) members_total: Option<u64>,
    pub(super) removed_members: Vec<Person>,
    pub(super) new_members: Vec<Person>,
    pub(super) changed_members: Vec<Person>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Snapshot {
    pub(super) members: u64,
    pub(super) pages: u64,
    pub(super) total: Option<u64>,
    pub(super) complete: bool,
    pub(super) gaps: Vec<String>,
    pub(super) hash: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Difference {
    pub(super) class: String,
    #[serde(flatten)]
    pub(super) person: Person,
    pub(super) roles: Option<Vec<String>>,
    pub(super) task_id: Option<i64>,
    pub(super) why: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Person {
    #[serde(alias = "member_id")]
    pub(super) id: Option<String>,
    pub(super) email: Option<String>,
    pub(super) username: Option<String>,
}

impl Person {
    /// What reports know them by.
    fn key(&self) -> Option<&str> {
        self.id.as_deref().or(self.email.as_deref()).or(self.username.as_deref())
    }

    /// By email, name in the app or id: by two of them where there are two, since one may be shared.
    pub(super) fn who(&self) -> String {
        let names = [&self.email, &self.username, &self.id].into_iter().flatten();
        let mut names: Vec<_> =
            names.map(|name| printable(name)).filter(|name| !name.trim().is_empty()).collect();
        names.dedup();
        match names.as_slice() {
            [] => "-".to_owned(),
            [one] => one.clone(),
            [one, other, ..] => format!("{one} ({other})"),
        }
    }
}
