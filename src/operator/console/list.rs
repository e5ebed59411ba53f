//! Lists page by page: where one begins, where it goes on, and how to come back.

use std::fmt::Display;
use std::str::FromStr;

use axum::http::StatusCode;

use super::form::Form;
use super::problem::Problem;
use crate::operator::cursor::{cursor, place};
use crate::text::encoded;

pub(super) const PAGE: u32 = 50;

/// So many pages before the present one are remembered.
const MOST_BACK: usize = 30;

/// Where a list goes on.
pub(super) fn after<T: FromStr>(query: &Form) -> Result<Option<T>, Problem> {
    match query.get("cursor").map(place) {
        Some(None) => {
            let problem =
                Problem::new(StatusCode::BAD_REQUEST, "The address of this page is not whole.");
            Err(problem.hint("Begin at the first page of the list."))
        }
        after => Ok(after.flatten()),
    }
}

/// The filter of a list that has none but a workspace, as its addresses have it.
pub(super) fn of_workspace(query: &Form) -> String {
    query.get("workspace").map(|id| format!("workspace={}", encoded(id))).unwrap_or_default()
}

/// The cursor of the page that follows, if there may be one.
pub(super) fn next(count: usize, last: Option<impl Display>) -> Option<String> {
    last.filter(|_| count >= PAGE as usize).map(cursor)
}

/// The addresses of the pages around one page of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    /// On every page but the first.
    pub(super) first: Option<String>,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
}

impl Pages {
    /// Of a list with a filter. A list can be read in one direction alone, so the address remembers the pages before.
    pub(super) fn of(path: &str, filter: &str, query: &Form, next: Option<String>) -> Self {
        let is_cursor = |text: &&str| place::<String>(text).is_some();
        let here = query.get("cursor").filter(is_cursor);
        let mut before: Vec<_> =
            query.get("back").unwrap_or_default().split('.').filter(is_cursor).collect();
        let address = |cursor: Option<&str>, back: &[&str]| {
            let words = [
                filter.to_owned(),
                cursor.map(|cursor| format!("cursor={cursor}")).unwrap_or_default(),
                if back.is_empty() { String::new() } else { format!("back={}", back.join(".")) },
            ];
            let words: Vec<_> = words.into_iter().filter(|words| !words.is_empty()).collect();
            let query = words.join("&");
            if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
        };
        let previous = here.map(|_| match before.split_last() {
            Some((last, others)) => address(Some(last), others),
            None => address(None, &[]),
        });
        let first = here.map(|_| address(None, &[]));
        before.extend(here);
        let kept = &before[before.len().saturating_sub(MOST_BACK)..];
        Self { first, previous, next: next.map(|next| address(Some(&next), kept)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(query: &str, next: Option<&str>) -> Pages {
        let form = Form::parse(query.as_bytes()).unwrap();
        Pages::of("/tasks", "member=jo", &form, next.map(str::to_owned))
    }

    #[test]
    fn from_every_page_there_is_a_way_on_back_and_to_the_start() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            pages("member=jo", Some("31")),
            Pages { next: some("/tasks?member=jo&cursor=31"), ..Pages::default() }
        );
        assert_eq!(
            pages("member=jo&cursor=31", Some("32")),
            Pages {
                first: some("/tasks?member=jo"),
                previous: some("/tasks?member=jo"),
                next: some("/tasks?member=jo&cursor=32&back=31"),
            }
        );
        assert_eq!(
            pages("member=jo&cursor=33&back=31.32", None),
            Pages {
                first: some("/tasks?member=jo"),
                previous: some("/tasks?member=jo&cursor=32&back=31"),
                next: None,
            }
        );
    }

    #[test]
    fn what_is_no_cursor_is_not_repeated_and_an_address_stays_short() {
        let odd = pages("cursor=31&back=%22%3E.32", None);
        assert_eq!(odd.previous.as_deref(), Some("/tasks?member=jo&cursor=32"));
        let back = vec!["31"; 100].join(".");
        let next = pages(&format!("cursor=32&back={back}"), Some("33")).next.unwrap();
        assert!(next.len() < 150, "{next}");
    }
}
