//! Who is signed in: the cookie of a request, and the page where people sign in.

use std::net::SocketAddr;
use std::time::Instant;

use askama::Template;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;

use super::form::{Form, Query};
use super::page::{Frame, html, see_other};
use super::problem::Problem;
use super::{Console, LONGEST_FORM, assets};
use crate::operator::desk::Session;
use crate::operator::listener::client;
use crate::text::encoded;

/// A browser takes a cookie of this name only from where it is sent, over TLS or from the own machine, for all paths.
const COOKIE: &str = "__Host-reconciler";

/// Lets a request pass if somebody is signed in. Otherwise a page is shown after the sign-in, and a form comes back with
/// its text: what somebody has typed is not lost, and nothing is done that they do not see.
pub(super) async fn require(
    State(console): State<Console>,
    mut request: Request,
    next: Next,
) -> Response {
    match session(&console, request.headers()).await {
        Ok(Some(session)) => {
            request.extensions_mut().insert(SignedIn(session));
            next.run(request).await
        }
        // Whoever signs out is out already.
        Ok(None) if request.uri().path() == "/sign-out" => see_other("/sign-in"),
        Ok(None) if request.method() == Method::POST => {
            let to = request.uri().path().to_owned();
            let Ok(body) = to_bytes(request.into_body(), LONGEST_FORM).await else {
                return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "The form is too long.")
                    .into_response();
            };
            let kept = Some(String::from_utf8_lossy(&body).into_owned());
            ask_again(&console, StatusCode::UNAUTHORIZED, to, kept, None).await
        }
        Ok(None) => {
            let to = request.uri().path_and_query().map_or("/", |to| to.as_str());
            match renews(&console, request.headers()).await {
                Ok(true) => see_other(&format!("/sign-in/issuer?quiet=1&to={}", encoded(to))),
                Ok(false) => see_other(&format!("/sign-in?to={}", encoded(to))),
                Err(problem) => problem.into_response(),
            }
        }
        Err(problem) => problem.into_response(),
    }
}

/// Whether the issuer may say, without a page of its own, if the session of the browser can go on.
async fn renews(console: &Console, headers: &HeaderMap) -> Result<bool, Problem> {
    match secret(headers).filter(|_| console.issuer.is_some()) {
        Some(secret) => Ok(console.desk.may_renew(secret, console.lasts).await?),
        None => Ok(false),
    }
}

/// Whoever is signed in.
#[derive(Debug, Clone)]
pub(super) struct SignedIn(pub(super) Session);

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let session = parts.extensions.get::<Self>().cloned();
        session.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "Nobody is signed in."))
    }
}

pub(super) async fn session(
    console: &Console,
    headers: &HeaderMap,
) -> Result<Option<Session>, Problem> {
    match secret(headers) {
        Some(secret) => Ok(console.desk.session(secret, console.lasts).await?),
        None => Ok(None),
    }
}

fn secret(headers: &HeaderMap) -> Option<&str> {
    cookies(headers).find(|(name, _)| *name == COOKIE).map(|(_, secret)| secret)
}

/// The names and values of the cookies of a request.
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|list| list.to_str().ok());
    cookies.flat_map(|list| list.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    /// Where to go on.
    to: String,
    /// The form that was sent after the session had ended: as it came, and its fields.
    kept: Option<String>,
    form: Form,
    problem: Option<String>,
    /// Whether anybody could sign in with a token.
    has_tokens: bool,
    /// By which people sign in, if one is configured.
    issuer: Option<String>,
}

impl SignIn {
    fn asset(&self, name: &str) -> String {
        assets::asset(name)
    }

    fn encoded(&self, part: &str) -> String {
        encoded(part)
    }
}

pub(super) async fn ask_again(
    console: &Console,
    status: StatusCode,
    to: String,
    kept: Option<String>,
    problem: Option<String>,
) -> Response {
    let form = match Form::parse(kept.as_deref().unwrap_or_default().as_bytes()) {
        Ok(form) => form,
        Err(problem) => return problem.into_response(),
    };
    let issuer = console.issuer.as_ref().map(|issuer| issuer.name().to_owned());
    match console.desk.has_tokens().await {
        Ok(has_tokens) => html(status, &SignIn { to, kept, form, problem, has_tokens, issuer }),
        Err(error) => Problem::from(error).into_response(),
    }
}

/// A path of the console, which leads nowhere else.
pub(super) fn local(to: Option<&str>) -> String {
    let is_path = |to: &&str| {
        let mut bytes = to.bytes();
        bytes.next() == Some(b'/')
            && !matches!(bytes.next(), Some(b'/' | b'\\'))
            && to.bytes().all(|byte| byte.is_ascii_graphic())
            && !to.starts_with("/sign-")
    };
    to.filter(is_path).unwrap_or("/").to_owned()
}

pub(super) async fn ask(
    State(console): State<Console>,
    Query(query): Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let to = local(query.get("to"));
    Ok(match session(&console, &headers).await? {
        Some(_) => see_other(&to),
        None => ask_again(&console, StatusCode::OK, to, None, None).await,
    })
}

pub(super) async fn sign_in(
    State(console): State<Console>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let to = local(form.get("to"));
    let kept = form.get("kept").map(str::to_owned);
    let address = client(console.public_url.is_some(), peer, &headers);
    let token = form.get("token").unwrap_or_default().trim();
    if let Some(wait) = console.failures.wait_with(token, address, Instant::now()) {
        let seconds = wait.as_secs() + 1;
        let words =
            format!("Too many wrong tokens came from your address. Try again in {seconds} s.");
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut response = ask_again(&console, status, to, kept, Some(words)).await;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return Ok(response);
    }
    let found = console.desk.actor_of(token).await?;
    console.failures.note_token(token, found.is_some(), address, Instant::now());
    let Some(actor) = found else {
        let words = "This token is unknown, has expired or was revoked.".to_owned();
        return Ok(ask_again(&console, StatusCode::UNAUTHORIZED, to, kept, Some(words)).await);
    };
    let secret = console.desk.start_session(&actor, console.lasts).await?;
    let mut response = match kept {
        None => see_other(&to),
        Some(kept) => {
            let session = console.desk.session(secret.expose_secret(), console.lasts).await?;
            let session = session.ok_or_else(|| {
                Problem::new(StatusCode::UNAUTHORIZED, "The session has ended already.")
            })?;
            let form = Form::parse(kept.as_bytes())?;
            let frame = Frame::new(&SignedIn(session), "", "Send it again");
            html(StatusCode::OK, &Resume { frame, to, form })
        }
    };
    let cookie = cookie(secret.expose_secret());
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

pub(super) fn cookie(secret: &str) -> HeaderValue {
    let text = format!("{COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Lax");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(GONE))
}

const GONE: &str = "__Host-reconciler=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";

/// A form that came after the session had ended, for whoever has signed in to send it.
#[derive(Debug, Template)]
#[template(path = "resume.html")]
struct Resume {
    frame: Frame,
    to: String,
    form: Form,
}

impl Resume {
    /// The page from which the form came.
    fn page(&self) -> &str {
        self.to.rsplit_once('/').map_or("/", |(page, _)| page)
    }
}

/// For the tab in which somebody has signed in while a form waits in another one.
#[derive(Debug, Template)]
#[template(path = "signed_in.html")]
struct Welcome {
    frame: Frame,
}

pub(super) async fn signed_in(signed_in: SignedIn) -> Response {
    html(StatusCode::OK, &Welcome { frame: Frame::new(&signed_in, "", "You are signed in") })
}

pub(super) async fn sign_out(
    State(console): State<Console>,
    SignedIn(session): SignedIn,
) -> Result<Response, Problem> {
    console.desk.end_session(&session.actor, session.id).await?;
    let mut response = see_other("/sign-in");
    response.headers_mut().insert(header::SET_COOKIE, HeaderValue::from_static(GONE));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_a_page_of_the_console_and_nowhere_else() {
        assert_eq!(local(Some("/actions?status=open")), "/actions?status=open");
        for other in
            ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\tb", "/sign-out"]
        {
            assert_eq!(local(Some(other)), "/", "{other}");
        }
    }
}
