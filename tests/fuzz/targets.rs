//! What parses bytes from outside, one function each. Each must return, whatever it is given.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use cerby_reconciler::backend::{BackendError, Client};
use cerby_reconciler::config::Config;
use cerby_reconciler::intake::inbound;
use cerby_reconciler::membership::{Entitlements, MemberKey};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub(crate) type Target = fn(&[u8]);

const SECRET: &str = "a-secret-nobody-may-see";
const STATUSES: [u16; 10] = [200, 201, 204, 303, 400, 404, 409, 429, 500, 503];
/// No message quotes what came in without a limit.
const LONGEST_MESSAGE: usize = 5_000;

#[derive(Clone, Default)]
struct Reply {
    status: StatusCode,
    /// Retry-After and Date: what the backend says about times.
    time: Option<HeaderValue>,
    body: Bytes,
}

/// A backend that sends what the target was given.
struct Backend {
    runtime: Runtime,
    client: Client,
    reply: Arc<Mutex<Reply>>,
}

static BACKEND: LazyLock<Backend> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let reply = Arc::<Mutex<Reply>>::default();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().fallback(send).with_state(Arc::clone(&reply));
    runtime.spawn(async move { axum::serve(listener, router).await });
    let base_url = format!("http://{address}/{{workspace}}/api/v1");
    let given = [("BASE_URL", base_url.as_str()), ("API_KEY", SECRET)];
    let given = given.map(|(key, value)| (format!("RECONCILER__BACKEND__{key}"), value.to_owned()));
    let config = Config::from_sources(None, Some(given.into())).expect("a configuration");
    let client = Client::new(&config.backend).expect("a client");
    Backend { runtime, client, reply }
});

async fn send(State(reply): State<Arc<Mutex<Reply>>>) -> impl IntoResponse {
    let reply = reply.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let times = reply.time.into_iter();
    let times = times.flat_map(|time| [(header::RETRY_AFTER, time.clone()), (header::DATE, time)]);
    (reply.status, times.collect::<axum::http::HeaderMap>(), reply.body)
}

/// A digit for the call, one for the status, the rest of the line for the times, and then the body.
pub(crate) fn replies(input: &[u8]) {
    let [call, status, rest @ ..] = input else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (time, body) = rest.split_at(end);
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let Backend { runtime, client, reply } = &*BACKEND;
    *reply.lock().unwrap_or_else(PoisonError::into_inner) = Reply {
        status: StatusCode::from_u16(status).expect("a status"),
        time: HeaderValue::from_bytes(time).ok().filter(|time| !time.is_empty()),
        body: Bytes::copy_from_slice(body.get(1..).unwrap_or_default()),
    };
    runtime.block_on(ask(client, call % 10));
}

async fn ask(client: &Client, call: u8) {
    let key = MemberKey {
        workspace: "acme".to_owned(),
        integration: "app-1".to_owned(),
        member: "jo".to_owned(),
    };
    let roles = Entitlements::from(["EDITOR".to_owned()]);
    match call {
        0 => answered(client.invite(&key, "account_owner", &roles).await),
        1 => answered(client.change_role(&key, &roles).await),
        2 => answered(client.remove(&key).await),
        3 => answered(client.member(&key).await),
        4 => answered(client.integration("acme", "app-1").await),
        5 => answered(client.first_members("acme", "app-1", 3).await),
        6 => answered(client.job("acme", "j1").await),
        7 => answered(client.start_sync("acme", "app-1").await),
        8 => answered(client.report("acme", "app-1").await),
        _ => answered(client.apply_report("acme", "app-1", "r1").await),
    }
}

fn answered<T: Debug>(answer: Result<T, BackendError>) {
    match answer {
        Ok(answer) => drop(format!("{answer:?}")),
        Err(error) => {
            let _ = (error.is_uncertain(), error.is_usable(), error.asked());
            let message = format!("{error} {error:?}");
            assert!(message.len() < LONGEST_MESSAGE, "{message}");
            is_told_safely(&message);
        }
    }
}

/// Rows that come in as lines of JSON.
pub(crate) fn inbound(input: &[u8]) {
    match inbound::parse(&String::from_utf8_lossy(input)) {
        Ok(tasks) => drop(format!("{tasks:?}")),
        Err(bad) => assert!(!format!("{bad}").is_empty()),
    }
}

/// A file, and after a line of four dashes the variables of the environment, a line each.
pub(crate) fn configuration(input: &[u8]) {
    static FILE: LazyLock<tempfile::NamedTempFile> =
        LazyLock::new(|| tempfile::Builder::new().suffix(".toml").tempfile().expect("a file"));
    let text = String::from_utf8_lossy(input);
    let (file, variables) = text.split_once("\n----\n").unwrap_or((&text, ""));
    fs::write(FILE.path(), file).expect("the file is written");
    let mut variables: HashMap<_, _> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (format!("RECONCILER__{key}"), value.to_owned()))
        .collect();
    variables.insert("RECONCILER__BACKEND__API_KEY".to_owned(), SECRET.to_owned());
    match Config::from_sources(Some(FILE.path()), Some(variables)) {
        Ok(config) => {
            is_told_safely(&format!("{config:?}"));
            is_told_safely(&config.effective().expect("a configuration can be printed"));
        }
        Err(error) => is_told_safely(&format!("{error} {error:?}")),
    }
}

fn is_told_safely(message: &str) {
    assert!(!message.contains(SECRET), "the secret is told: {message}");
}
