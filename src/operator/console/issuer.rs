//! Signing in by OpenID Connect: to the issuer, and back.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;

use super::Console;
use super::access::{ask_again, cookie, cookies, local, session};
use super::form::{Form, Query};
use super::page::see_other;
use super::problem::Problem;
use crate::emit;
use crate::operator::desk::{DeskError, Lasts};
use crate::operator::issuer::{Issuer, Refused, SignIn};
use crate::operator::listener::client;
use crate::text::encoded;

/// A cookie for each sign-in on its way, because a browser may begin several in its tabs.
const COOKIE: &str = "__Host-reconciler-sign-in-";

/// How long a person has at the issuer, in seconds.
const ON_THE_WAY_S: u32 = 600;

/// The longest address that is come back to. A cookie must not be longer than 4 kB.
const LONGEST_ADDRESS: usize = 2000;

/// What an issuer answers that may show nothing, and would have to.
const NOT_QUIETLY: [&str; 4] =
    ["login_required", "interaction_required", "consent_required", "account_selection_required"];

/// To the issuer.
pub(super) async fn begin(
    State(console): State<Console>,
    Query(query): Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(issuer) = &console.issuer else { return Ok(super::nothing_there()) };
    let to = local(query.get("to"));
    if session(&console, &headers).await?.is_some() {
        return Ok(see_other(&to));
    }
    let sign_in = SignIn::new(console.desk.begin_sign_in());
    match issuer.address(&sign_in, query.get("quiet").is_some()).await {
        Ok(address) => {
            let back = Some(encoded(&to)).filter(|to| to.len() <= LONGEST_ADDRESS);
            let value = format!("{}.{}", sign_in.secret(), back.as_deref().unwrap_or("%2F"));
            let state = sign_in.state();
            Ok(with_cookie(see_other(&address), &state, &value, ON_THE_WAY_S))
        }
        Err(_) => {
            let words = format!("{} does not answer. Try again in a moment.", issuer.name());
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Ok(ask_again(&console, status, to, None, Some(words)).await)
        }
    }
}

/// Back from the issuer.
pub(super) async fn finish(
    State(console): State<Console>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(issuer) = &console.issuer else { return Ok(super::nothing_there()) };
    let address = client(console.public_url.is_some(), peer, &headers);
    if let Some(wait) = console.failed_sign_ins.wait(address, Instant::now()) {
        let words = "Too many sign-ins from your address failed.";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, words);
        return Err(problem.hint("Try again in a minute.").retry_after(wait.as_secs() + 1));
    }
    let state = query.get("state").unwrap_or_default();
    let on_the_way = on_the_way(&headers, state);
    // Any page can let a browser ask for this address. What belongs to no sign-in of the browser asks nobody anything, and
    // must not keep its owner from signing in.
    let counts = on_the_way.is_some();
    let ended = match on_the_way {
        Some((sign_in, to)) => signed_in(&console, issuer, &query, &sign_in, &to).await,
        None => Err(invalid("the answer belongs to no sign-in of this browser")),
    };
    let response = match ended {
        Ok(response) => response,
        Err(Ended::Failed(problem)) => problem.into_response(),
        Err(Ended::Refused(refused)) => {
            if counts && matches!(refused, Refused::Invalid(_)) {
                console.failed_sign_ins.note(address, Instant::now());
            }
            emit!(SIGN_IN_REFUSED, cause = %refused, "Nobody was signed in");
            refusal(&refused, issuer).into_response()
        }
    };
    Ok(with_cookie(response, state, "", 0))
}

/// Why nobody is signed in.
enum Ended {
    Refused(Refused),
    Failed(Problem),
}

fn invalid(cause: impl Into<String>) -> Ended {
    Ended::Refused(Refused::Invalid(cause.into()))
}

impl From<DeskError> for Ended {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Refused(refusal) => invalid(refusal.message),
            error => Self::Failed(error.into()),
        }
    }
}

/// The sign-in of this browser with this state, and where it leads.
fn on_the_way(headers: &HeaderMap, state: &str) -> Option<(SignIn, String)> {
    let name = format!("{COOKIE}{}", SignIn::id(state)?);
    let (_, value) = cookies(headers).find(|(one, _)| *one == name)?;
    let (secret, to) = value.split_once('.')?;
    let sign_in = SignIn::new(secret.to_owned().into());
    let to = Form::parse(format!("to={to}").as_bytes()).ok()?;
    (sign_in.state() == state).then(|| (sign_in, local(to.get("to"))))
}

async fn signed_in(
    console: &Console,
    issuer: &Issuer,
    answer: &Form,
    sign_in: &SignIn,
    to: &str,
) -> Result<Response, Ended> {
    if !console.desk.use_sign_in(sign_in.secret()).await? {
        return Err(invalid("the answer came before"));
    }
    if !issuer.is(answer.get("iss")) {
        return Err(invalid("the answer is from another issuer"));
    }
    match answer.get("error") {
        Some(error) if NOT_QUIETLY.contains(&error) => {
            return Ok(see_other(&format!("/sign-in?to={}", encoded(to))));
        }
        Some(error) => return Err(invalid(format!("the issuer answers {}", word(error)))),
        None => {}
    }
    let code = answer.get("code").ok_or_else(|| invalid("the answer has no code"))?;
    let person = issuer.person(code, sign_in).await.map_err(Ended::Refused)?;
    let (access, refused) = match person.access {
        Ok(access) => (Some(access), None),
        Err(refused) => (None, Some(refused)),
    };
    let lasts = Lasts { longest: console.lasts.longest.min(issuer.session_max()), ..console.lasts };
    let (subject, email) = (&person.subject, person.email.as_deref());
    let secret = console.desk.sign_in_person(subject, email, access.as_ref(), lasts).await?;
    let Some(secret) = secret else {
        return Err(Ended::Refused(refused.unwrap_or(Refused::NoRole)));
    };
    let mut response = see_other(to);
    response.headers_mut().append(header::SET_COOKIE, cookie(secret.expose_secret()));
    Ok(response)
}

/// A code of an error comes through the browser, which may put in anything.
fn word(error: &str) -> &str {
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if error.len() <= 40 && error.bytes().all(is_code) { error } else { "an unknown error" }
}

fn refusal(refused: &Refused, issuer: &Issuer) -> Problem {
    let name = issuer.name();
    match refused {
        Refused::Unavailable(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{name} does not answer. You are not signed in."),
        )
        .titled("The sign-in service does not answer")
        .hint("Sign in again in a moment."),
        Refused::Invalid(_) => Problem::new(
            StatusCode::FORBIDDEN,
            format!("The answer of {name} does not count. You are not signed in."),
        )
        .hint("Open the console and sign in again. If that does not help, an administrator finds the reason in the log."),
        Refused::NoRole => Problem::new(
            StatusCode::FORBIDDEN,
            format!("{name} gives you no role here. You are not signed in."),
        )
        .hint("Ask whoever manages access there for a role in the reconciler."),
        Refused::NoWorkspace => Problem::new(
            StatusCode::FORBIDDEN,
            format!("{name} gives you no workspace here. You are not signed in."),
        )
        .hint("Ask whoever manages access there for a workspace in the reconciler."),
    }
}

fn with_cookie(mut response: Response, state: &str, value: &str, max_age_s: u32) -> Response {
    let cookie = SignIn::id(state).and_then(|id| {
        let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
        let text = format!("{COOKIE}{id}={value}; {attributes}; Max-Age={max_age_s}");
        HeaderValue::from_str(&text).ok()
    });
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_belongs_to_the_browser_that_has_its_cookie() {
        let sign_in = SignIn::new("secret".to_owned().into());
        let state = sign_in.state();
        let with = |text: String| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, text.parse().unwrap());
            headers
        };
        let name = format!("{COOKIE}{}", &state[..16]);
        let own = with(format!("a=b; {name}=secret.%2Factions%3Fstatus%3Dopen"));
        let (found, to) = on_the_way(&own, &state).unwrap();
        assert_eq!((found.secret(), to.as_str()), ("secret", "/actions?status=open"));
        let away = with(format!("{name}=secret.%2F%2Fevil.example"));
        assert_eq!(on_the_way(&away, &state).unwrap().1, "/");
        assert!(on_the_way(&own, &format!("{}0", &state[..63])).is_none(), "another state");
        for other in [format!("{name}=other.%2F"), format!("{name}="), "a=b".to_owned()] {
            assert!(on_the_way(&with(other), &state).is_none());
        }
        assert!(on_the_way(&own, "").is_none());
    }

    #[test]
    fn an_error_that_the_browser_brings_is_logged_only_if_it_is_a_code() {
        assert_eq!(word("access_denied"), "access_denied");
        for odd in ["kim@example.com", "a b", "A", &"x".repeat(41)] {
            assert_eq!(word(odd), "an unknown error");
        }
    }
}
