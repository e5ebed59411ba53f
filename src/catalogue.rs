//! Which app supports which operation by automation.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

/// An app of the catalogue and what its automation can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The display name, without blanks at the ends.
    pub name: String,
    /// Its id in Cerby, such as `youtube_tenant`; unique in the catalogue.
    pub application: String,
    pub can_sync: bool,
    pub can_invite: bool,
    pub can_remove: bool,
    pub can_change_role: bool,
}

#[derive(Deserialize)]
struct Row {
    app: String,
    sync_users: Answer,
    add_user: Answer,
    remove_user: Answer,
    update_role: Answer,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Yes,
    No,
}

impl Answer {
    fn is_yes(self) -> bool {
        self == Self::Yes
    }
}

impl From<Row> for App {
    fn from(row: Row) -> Self {
        Self {
            application: slug(&row.app),
            name: row.app.trim().to_owned(),
            can_sync: row.sync_users.is_yes(),
            can_invite: row.add_user.is_yes(),
            can_remove: row.remove_user.is_yes(),
            can_change_role: row.update_role.is_yes(),
        }
    }
}

static APPS: LazyLock<Vec<App>> =
    LazyLock::new(|| read(include_str!("catalogue.csv")).expect("the embedded catalogue is valid"));

static BY_APPLICATION: LazyLock<HashMap<&'static str, &'static App>> =
    LazyLock::new(|| all().iter().map(|app| (app.application.as_str(), app)).collect());

pub fn find(application: &str) -> Option<&'static App> {
    BY_APPLICATION.get(application).copied()
}

/// Whether an app's members can be read. An app that is not in the catalogue is expected to be readable.
pub fn is_readable(application: &str) -> bool {
    find(application).is_none_or(|app| app.can_sync)
}

pub fn all() -> &'static [App] {
    &APPS
}

fn read(text: &str) -> csv::Result<Vec<App>> {
    let mut seen = HashSet::new();
    let mut apps = Vec::new();
    for row in csv::Reader::from_reader(text.as_bytes()).into_deserialize::<Row>() {
        let app = App::from(row?);
        if seen.insert(app.application.clone()) {
            apps.push(app);
        }
    }
    Ok(apps)
}

fn slug(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let slug = words.collect::<Vec<_>>().join("_");
    // Some rows already have the id of the app as its name.
    match slug.ends_with("_tenant") {
        true => slug,
        false => slug + "_tenant",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_an_id_without_doubled_separators() {
        assert_eq!(slug("Insided/ Gainsight"), "insided_gainsight_tenant");
        assert_eq!(slug("Linear "), "linear_tenant");
        assert_eq!(slug("trax_tenant"), "trax_tenant");
    }

    #[test]
    fn every_row_is_found_by_its_own_id() {
        assert!(all().len() > 400);
        assert!(all().iter().all(|app| find(&app.application) == Some(app)));
    }

    #[test]
    fn an_app_tells_what_its_automation_cannot_do() {
        let app = find("6sense_tenant").expect("in the catalogue");
        assert_eq!((app.can_sync, app.can_invite, app.can_remove), (true, false, true));
        assert!(app.can_change_role);
    }

    #[test]
    fn the_first_of_two_rows_with_one_id_wins() {
        let head = "app,url,sync_users,add_user,remove_user,update_role,manage_assets\n";
        let rows = "Front,https://a.example,yes,yes,yes,yes,no\nfront!,x,no,no,no,no,no\n";
        let apps = read(&format!("{head}{rows}")).expect("two good rows");
        assert_eq!(apps.len(), 1);
        assert!(apps[0].can_sync);
    }

    #[test]
    fn an_unknown_app_is_not_found() {
        assert_eq!(find("nowhere_tenant"), None);
    }
}
