//! The frame of every page, and how a page is sent.

use std::sync::Arc;

use askama::Template;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::access::SignedIn;
use super::assets;
use super::form::Form;
use super::problem::Problem;
use super::text::{self, When};
use crate::access::Role;
use crate::operator::desk::Names;
use crate::store::MOST_COUNTED;
use crate::text::{counted, encoded, hex};

/// How often a page asks whether it has changed, in seconds.
const CALM: u32 = 5;

/// While somebody waits for a verdict.
const SOON: u32 = 2;

/// What the frame of a page shows, and what every page needs to show its own.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) title: String,
    /// Which part of the console it is in.
    pub(super) here: &'static str,
    pub(super) who: String,
    pub(super) role: &'static str,
    pub(super) may_change: bool,
    pub(super) is_administrator: bool,
    pub(super) refresh: u32,
    /// What was just done.
    pub(super) said: Option<String>,
    /// What was refused.
    pub(super) problem: Option<Problem>,
    now: DateTime<Utc>,
    actor: String,
    names: Arc<Names>,
}

impl Frame {
    pub(super) fn new(
        SignedIn(session): &SignedIn,
        here: &'static str,
        title: impl Into<String>,
    ) -> Self {
        let role = session.actor.access().map_or(Role::Viewer, |access| access.role);
        Self {
            title: title.into(),
            here,
            who: text::person(session.actor.name(), &session.names).to_owned(),
            role: role.as_str(),
            may_change: role.may_change(),
            is_administrator: role == Role::Administrator,
            refresh: CALM,
            said: None,
            problem: None,
            now: session.now,
            actor: session.actor.name().to_owned(),
            names: Arc::clone(&session.names),
        }
    }

    /// Tells what the request before has done, which the address says in a word that is known.
    pub(super) fn telling(mut self, query: &Form) -> Self {
        let many = query.get("n").and_then(|n| n.parse::<u32>().ok());
        self.said = query.get("said").and_then(|word| said(word, many));
        self
    }

    pub(super) fn waiting_for_verdict(mut self, waits: bool) -> Self {
        if waits {
            self.refresh = SOON;
        }
        self
    }

    pub(super) fn refused(mut self, problem: Option<Problem>) -> Self {
        self.problem = problem;
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.problem.as_ref().map_or(StatusCode::OK, Problem::status)
    }

    pub(super) fn when(&self, at: &DateTime<Utc>) -> When {
        When::new(*at, self.now)
    }

    /// Somebody by name, and whoever reads as "you".
    pub(super) fn person<'a>(&'a self, actor: &'a str) -> &'a str {
        if self.is_me(actor) { "you" } else { text::person(actor, &self.names) }
    }

    pub(super) fn is_me(&self, actor: &str) -> bool {
        actor == self.actor
    }

    pub(super) fn words(&self, word: &str) -> String {
        text::words(word)
    }

    /// A number that was not counted up to a limit.
    pub(super) fn number(&self, number: &i64) -> String {
        counted(*number, i64::MAX)
    }

    /// A number that was counted up to the limit.
    pub(super) fn counted(&self, number: &i64) -> String {
        counted(*number, MOST_COUNTED)
    }

    /// What a line of a list shows of a text that may be long; the page of the row has all of it.
    pub(super) fn short(&self, text: &str) -> String {
        text::short(text)
    }

    pub(super) fn encoded(&self, part: &str) -> String {
        encoded(part)
    }

    pub(super) fn asset(&self, name: &str) -> String {
        assets::asset(name)
    }

    pub(super) fn icon(&self, name: &str) -> String {
        assets::icon(name)
    }
}

fn said(word: &str, many: Option<u32>) -> Option<String> {
    let one = match word {
        "claim" => "claimed: yours",
        "take-over" => "taken over: yours",
        "done" => "marked done. The app is read next, to prove it",
        "release" => "released: anybody may claim it",
        "hand-over" => "handed over",
        "dismiss" => "dismissed",
        "return" => "with automation again",
        "withdraw" => "open again: your statement is withdrawn",
        "confirm" => "confirmed",
        "note" => "noted",
        "screen-changed" => "Reported. Whoever keeps the instructions sees it",
        "dismiss-webhook" => "Dismissed. The job of the event is not read any more",
        "approve" => "Approved. The report is checked once more and applied if it has not changed",
        "reject" => "Rejected. Nothing of the report is applied",
        "cancel" => "Cancelled. The task ends once nothing of it can take effect",
        "pause" => "On hold: no task of it is tried until somebody resumes it",
        "resume" => "Active again",
        "sync" => "Requested: the app is read within seconds",
        "view" => "The view is saved",
        "delete-view" => "The view is deleted",
        "end-session" => "The session has ended",
        "revoke-token" => "The token is revoked, and its sessions have ended",
        "returned" => "On its way: the canary goes first, the others follow when it has worked",
        _ => return None,
    };
    Some(match many {
        Some(many) if many != 1 => format!("{many} actions {one}."),
        _ if one.starts_with(char::is_uppercase) => format!("{one}."),
        _ => format!("The action is {one}."),
    })
}

/// A page.
pub(super) fn html(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            (status, [(header::CONTENT_TYPE, kind)], html).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// To the page that shows what a form has done.
pub(super) fn see_other(address: &str) -> Response {
    Redirect::to(address).into_response()
}

/// Whether If-None-Match names a tag. A proxy that compresses a page makes its tag a weak one, and weak ones are compared
/// like others here (RFC 9110, 13.1.2).
fn names(known: &HeaderValue, tag: Option<&HeaderValue>) -> bool {
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    let tag = tag.map(text).unwrap_or_default();
    let same = |one: &str| one == "*" || one.trim_start_matches("W/") == tag;
    text(known).split(',').any(|one| same(one.trim()))
}

/// Pages may frame nothing, ask nobody else, and run what comes from here alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Gives a page the headers of safety, and a tag by which a browser asks whether it has changed.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let is_get = request.method() == Method::GET;
    let mut response = next.run(request).await;
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("text/html")));
    if is_get && is_page && response.status() == StatusCode::OK {
        let (mut parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let digits = hex(&Sha256::digest(&body)[..16]);
        let tag = HeaderValue::from_str(&format!("\"{digits}\"")).ok();
        let body = match known.is_some_and(|known| names(&known, tag.as_ref())) {
            true => {
                parts.status = StatusCode::NOT_MODIFIED;
                Body::empty()
            }
            false => Body::from(body),
        };
        parts.headers.remove(header::CONTENT_LENGTH);
        tag.map(|tag| parts.headers.insert(header::ETAG, tag));
        response = Response::from_parts(parts, body);
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What a colleague may see is not kept for whoever uses the browser next.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    headers.entry(header::VARY).or_insert(HeaderValue::from_static("Cookie"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_alone_in_a_list_and_as_a_weak_one() {
        let tag = HeaderValue::from_static("\"ab\"");
        let is_known = |text| names(&HeaderValue::from_static(text), Some(&tag));
        for known in ["\"ab\"", "W/\"ab\"", "\"x\", \"ab\"", "\"x\",W/\"ab\"", "*"] {
            assert!(is_known(known), "{known}");
        }
        for other in ["", "\"a\"", "W/\"a\", \"b\"", "ab"] {
            assert!(!is_known(other), "{other}");
        }
    }
}
