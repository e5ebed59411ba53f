//! The filter of the list of actions, as the address has it.

use axum::http::StatusCode;

use super::form::Form;
use super::list::after;
use super::problem::Problem;
use crate::manual_action::review::{ActionFilter, ActionOrder};
use crate::manual_action::status::ActionStatus;
use crate::membership::ActionOperation;
use crate::operator::cursor::cursor;
use crate::operator::filters::STATUSES;
use crate::text::encoded;

#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) status: &'static str,
    statuses: &'static [ActionStatus],
    pub(super) workspace: String,
    pub(super) integration: String,
    pub(super) member: String,
    pub(super) cause: String,
    operation: Option<ActionOperation>,
    pub(super) overdue: bool,
    pub(super) mine: bool,
    pub(super) newest: bool,
    after: Option<i64>,
}

impl Chosen {
    pub(super) fn of(query: &Form) -> Result<Self, Problem> {
        let wrong = |name: &str| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                format!("The filter {name} has a value that it cannot have."),
            )
            .hint("Open the list of actions again, and choose there.")
        };
        let text =
            |name: &str| query.get(name).map(|text| text.trim().to_owned()).unwrap_or_default();
        let asked = query.get("status").unwrap_or("unfinished");
        let choice = STATUSES.iter().find(|(word, ..)| *word == asked);
        let (status, _, statuses) = choice.ok_or_else(|| wrong("status"))?;
        let operation = query.get("operation").map(str::parse).transpose();
        Ok(Self {
            status,
            statuses,
            workspace: text("workspace"),
            integration: text("integration"),
            member: text("member"),
            cause: text("cause"),
            operation: operation.map_err(|_| wrong("operation"))?,
            overdue: query.get("overdue").is_some(),
            mine: query.get("mine").is_some(),
            newest: query.get("sort") == Some("newest"),
            after: after(query)?,
        })
    }

    pub(super) fn operation(&self) -> &'static str {
        self.operation.map_or("", ActionOperation::as_str)
    }

    /// Whether it leaves any action out that the list shows without a filter.
    pub(super) fn is_any(&self) -> bool {
        !self.query().is_empty()
    }

    pub(super) fn filter(&self, limit: u32) -> ActionFilter<'_> {
        let some = |text: &'_ str| !text.is_empty();
        ActionFilter {
            statuses: self.statuses,
            workspace: Some(self.workspace.as_str()).filter(|text| some(text)),
            integration: Some(self.integration.as_str()).filter(|text| some(text)),
            member: Some(self.member.as_str()).filter(|text| some(text)),
            operation: self.operation,
            cause: Some(self.cause.as_str()).filter(|text| some(text)),
            overdue: self.overdue,
            mine: self.mine,
            ids: &[],
            order: Some(if self.newest { ActionOrder::Newest } else { ActionOrder::Due }),
            after: self.after,
            limit,
        }
    }

    /// The filter and the place of the page in the list, for an address that is not empty.
    pub(super) fn here(&self) -> String {
        let query = match self.query() {
            query if query.is_empty() => format!("status={}", self.status),
            query => query,
        };
        let place = self.after.map(|id| format!("&cursor={}", cursor(id)));
        query + &place.unwrap_or_default()
    }

    /// The filter without its cursor, for an address.
    pub(super) fn query(&self) -> String {
        let words = [
            ("status", if self.status == "unfinished" { "" } else { self.status }),
            ("workspace", &self.workspace),
            ("integration", &self.integration),
            ("member", &self.member),
            ("operation", self.operation()),
            ("cause", &self.cause),
            ("overdue", if self.overdue { "1" } else { "" }),
            ("mine", if self.mine { "1" } else { "" }),
            ("sort", if self.newest { "newest" } else { "" }),
        ];
        let words = words.iter().filter(|(_, word)| !word.is_empty());
        words.map(|(name, word)| format!("{name}={}", encoded(word))).collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::filters::ListPage;

    #[test]
    fn what_the_list_asks_for_can_be_saved() {
        let all = "status=ended&workspace=a&integration=b&member=c&operation=remove&cause=d&overdue=1&mine=1&sort=newest";
        let chosen = Chosen::of(&Form::parse(all.as_bytes()).unwrap()).unwrap();
        assert_eq!(ListPage::Actions.filter(&chosen.query()).unwrap(), all);
    }

    #[test]
    fn a_filter_is_the_same_when_it_comes_back_from_the_address() {
        let address =
            "status=open&member=a%2Bb%40example.com&operation=remove&overdue=1&sort=newest";
        let chosen = Chosen::of(&Form::parse(address.as_bytes()).unwrap()).unwrap();
        assert_eq!(chosen.query(), address);
        assert_eq!(chosen.filter(5).member, Some("a+b@example.com"));
        let plain = Chosen::of(&Form::default()).unwrap();
        assert!(!plain.is_any() && plain.filter(5).statuses.len() == 3);
        for wrong in ["status=odd", "operation=odd", "cursor=7"] {
            assert!(Chosen::of(&Form::parse(wrong.as_bytes()).unwrap()).is_err(), "{wrong}");
        }
    }
}
