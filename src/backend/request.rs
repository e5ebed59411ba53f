//! A request to the backend, and how it is counted.

use reqwest::RequestBuilder;
use serde_json::Value;

use super::answer::Unread;
use super::outage::Subject;
use crate::telemetry::metrics::{BackendCall, RequestOutcome};

/// A request that is not sent yet.
pub(super) struct Request<'a> {
    pub(super) call: BackendCall,
    pub(super) of: Subject<'a>,
    pub(super) http: RequestBuilder,
}

impl Request<'_> {
    pub(super) fn with_body(mut self, body: Option<Value>) -> Self {
        if let Some(body) = body {
            self.http = self.http.json(&body);
        }
        self
    }

    pub(super) fn of_page(mut self, number: u32, size: u32) -> Self {
        self.http = self.http.query(&[("page[number]", number), ("page[size]", size)]);
        self
    }
}

/// How it ended, for the metrics.
pub(super) fn outcome<T>(answer: &Result<T, Unread>) -> RequestOutcome {
    match answer {
        Ok(_) => RequestOutcome::Ok,
        Err(Unread::TooLarge(_)) => RequestOutcome::TooLarge,
        Err(Unread::Error(error)) => error.outcome(),
    }
}
