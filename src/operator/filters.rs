//! The filters of lists, as addresses have them: which words each list knows, and what each may be. What a saved view keeps
//! is checked by the same table as what a page is asked for.

use super::desk::{Refusal, RefusalKind};
use crate::manual_action::status::ActionStatus;
use crate::membership::{ActionOperation, words};

words! {
    /// A list whose filter can be saved.
    ListPage {
        Actions = "actions",
        Tasks = "tasks",
        Syncs = "syncs",
        Returns = "returns",
        Integrations = "integrations",
    }
}

/// What a person may choose of statuses: one word, what it is called, and which statuses it means.
pub(in crate::operator) const STATUSES: [(&str, &str, &[ActionStatus]); 6] = [
    (
        "unfinished",
        "Unfinished",
        &[ActionStatus::Open, ActionStatus::InProgress, ActionStatus::Done],
    ),
    ("open", "Open", &[ActionStatus::Open]),
    ("in_progress", "In progress", &[ActionStatus::InProgress]),
    ("done", "Waiting for a verdict", &[ActionStatus::Done]),
    (
        "ended",
        "Ended",
        &[
            ActionStatus::Verified,
            ActionStatus::Attested,
            ActionStatus::NotNeeded,
            ActionStatus::Dismissed,
            ActionStatus::Superseded,
            ActionStatus::Returned,
        ],
    ),
    ("all", "All", &[]),
];

/// What the value of a word may be.
enum Value {
    Text,
    /// The word is there or not.
    Tick,
    Status,
    Operation,
    /// Only this one.
    Only(&'static str),
}

/// The longest value of a word: an email address.
const LONGEST_TEXT: usize = 320;

impl ListPage {
    fn words(self) -> &'static [(&'static str, Value)] {
        match self {
            Self::Actions => &[
                ("status", Value::Status),
                ("workspace", Value::Text),
                ("integration", Value::Text),
                ("member", Value::Text),
                ("operation", Value::Operation),
                ("cause", Value::Text),
                ("overdue", Value::Tick),
                ("mine", Value::Tick),
                ("sort", Value::Only("newest")),
            ],
            Self::Tasks => {
                &[("workspace", Value::Text), ("integration", Value::Text), ("member", Value::Text)]
            }
            Self::Syncs => {
                &[("workspace", Value::Text), ("integration", Value::Text), ("held", Value::Tick)]
            }
            Self::Returns => &[("workspace", Value::Text), ("integration", Value::Text)],
            Self::Integrations => &[("workspace", Value::Text), ("inactive", Value::Tick)],
        }
    }

    /// The filter in this query, each word once and in the order of the list, without what is empty. A word that the list does
    /// not know, comes twice or has a value that it cannot have is refused.
    pub(in crate::operator) fn filter(self, query: &str) -> Result<String, Refusal> {
        let given: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let words = self.words();
        if let Some((name, _)) =
            given.iter().find(|(name, _)| !words.iter().any(|(word, _)| word == name))
        {
            return Err(self.refusal(&format!("has no filter {:?}", short(name))));
        }
        let mut filter = form_urlencoded::Serializer::new(String::new());
        for (word, kind) in words {
            let mut values = given.iter().filter(|(name, _)| name == word).map(|(_, value)| value);
            let Some(value) = values.next() else { continue };
            if values.next().is_some() {
                return Err(self.refusal(&format!("has the filter {word} twice")));
            }
            if !kind.may_be(value) {
                let wrong = format!("cannot have the filter {word} as {:?}", short(value));
                return Err(self.refusal(&wrong));
            }
            filter.append_pair(word, value);
        }
        Ok(filter.finish())
    }

    fn refusal(self, what: &str) -> Refusal {
        let words: Vec<_> = self.words().iter().map(|(word, _)| *word).collect();
        Refusal {
            kind: RefusalKind::Invalid,
            message: format!("the list of {self} {what}"),
            hint: Some(format!("Its filters are {}.", words.join(", "))),
        }
    }
}

impl Value {
    fn may_be(&self, value: &str) -> bool {
        match self {
            Self::Text => value.chars().count() <= LONGEST_TEXT && !value.contains('\0'),
            Self::Tick => value == "1",
            Self::Status => STATUSES.iter().any(|(word, ..)| *word == value),
            Self::Operation => ActionOperation::WORDS.contains(&value),
            Self::Only(word) => value == *word,
        }
    }
}

/// What was given, as a refusal may repeat it.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_kept_in_one_form_whatever_its_order() {
        let page = ListPage::Actions;
        let kept =
            page.filter("sort=newest&member=a%2Bb%40example.com&status=open&cause=").unwrap();
        assert_eq!(kept, "status=open&member=a%2Bb%40example.com&sort=newest");
        assert_eq!(page.filter(&kept).unwrap(), kept);
        assert_eq!(page.filter("").unwrap(), "");
    }

    #[test]
    fn every_list_keeps_each_of_its_filters_and_no_other() {
        for (page, query) in [
            (
                "actions",
                "status=ended&workspace=a&integration=b&member=c&operation=remove&cause=d&overdue=1&mine=1&sort=newest",
            ),
            ("tasks", "workspace=a&integration=b&member=c"),
            ("syncs", "workspace=a&integration=b&held=1"),
            ("returns", "workspace=a&integration=b"),
            ("integrations", "workspace=a&inactive=1"),
        ] {
            let page: ListPage = page.parse().unwrap();
            assert_eq!(page.filter(query).unwrap(), query, "{page}");
            let refused = page.filter("cursor=61").unwrap_err().to_string();
            assert!(
                refused.contains(&format!("the list of {page} has no filter \"cursor\"")),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_a_filter_cannot_be_is_refused_with_its_name() {
        for (query, words) in [
            ("status=odd", "cannot have the filter status as \"odd\""),
            ("operation=explode", "cannot have the filter operation as \"explode\""),
            ("overdue=yes", "cannot have the filter overdue as \"yes\""),
            ("sort=oldest", "cannot have the filter sort as \"oldest\""),
            ("status=open&status=done", "has the filter status twice"),
            ("member=%00", "cannot have the filter member"),
            ("javascript:alert(1)=1", "has no filter \"javascript:alert(1)\""),
        ] {
            let refused = ListPage::Actions.filter(query).unwrap_err().to_string();
            assert!(refused.contains(words), "{query}: {refused}");
        }
    }
}
