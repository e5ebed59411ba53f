//! Lists, page by page, and cards with the tag of their revision.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};

use super::problem::Problem;
use crate::operator::cursor::{cursor, place};

pub(super) const MOST: u32 = 200;

/// How many rows a page has, 1 to 200.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Limit(u32);

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(limit: u32) -> Result<Self, String> {
        match limit {
            1..=MOST => Ok(Self(limit)),
            _ => Err(format!("limit is 1 to {MOST}")),
        }
    }
}

impl Limit {
    pub(super) fn get(self) -> u32 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

/// Where the next page begins: opaque to clients.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Cursor(String);

impl Cursor {
    pub(super) fn place<T: std::str::FromStr>(&self) -> Result<T, Problem> {
        place(&self.0).ok_or_else(|| Problem::invalid("cursor is not one that this list gave"))
    }
}

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// The cursor of the next page; null on the last one.
    next: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn new<P: std::fmt::Display>(
        items: Vec<T>,
        limit: Limit,
        place_of: impl Fn(&T) -> P,
    ) -> Json<Self> {
        let is_full = items.len() >= limit.get() as usize;
        let next = items.last().filter(|_| is_full).map(|last| cursor(place_of(last)));
        Json(Self { items, next })
    }

    /// A list that is short enough to be one page.
    pub(super) fn whole(items: Vec<T>) -> Json<Self> {
        Json(Self { items, next: None })
    }
}

/// A row with the tag of its revision.
pub(super) fn tagged(revision: i64, row: impl Serialize) -> Response {
    ([(header::ETAG, format!("\"{revision}\""))], Json(row)).into_response()
}

/// A parameter that is a list of words with commas between them.
pub(super) fn words<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    let words = text.split(',').filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(serde::de::Error::custom)).collect()
}
