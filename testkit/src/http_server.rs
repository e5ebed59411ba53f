//! An HTTP server that sends what real servers send, and a client for it.

use std::error::Error;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cerby_reconciler::backend::{BackendError, Client};
use cerby_reconciler::config::Config;
use cerby_reconciler::membership::MemberKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const KEY: &str = "a-key-nobody-may-see";
pub const BODY: &str = "words-nobody-may-see";

#[derive(Debug, Clone)]
pub struct Heard {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Heard {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub fn page(&self) -> usize {
        let number = self.target.split("page%5Bnumber%5D=").nth(1);
        let number = number.and_then(|rest| rest.split('&').next());
        number.and_then(|number| number.parse().ok()).expect("a page number in the query")
    }
}

#[derive(Debug, Clone)]
pub enum Reply {
    /// Status, more headers, body.
    Whole(u16, &'static str, String),
    /// The head and a part of the body, and then nothing until the client gives up.
    Part,
    Reset,
    /// These bytes, and then the end of the connection.
    Raw(Vec<u8>),
    /// A head with this status and length, and then single bytes for as long as the client waits.
    Trickle(u16),
    /// A head with this status, and then chunks for as long as the client reads.
    Endless(u16),
}

pub fn json_reply(status: u16, body: &Value) -> Reply {
    Reply::Whole(status, "", body.to_string())
}

pub fn ok(body: &Value) -> Reply {
    json_reply(200, body)
}

pub fn error(http: u16, code: &str, status: Value) -> Reply {
    let error = json!({"code": code, "title": BODY, "detail": BODY, "status": status});
    json_reply(http, &json!({"errors": [error]}))
}

type Script = dyn Fn(&Heard) -> Reply + Send + Sync;

/// An HTTP server that sends what a test prescribes, byte for byte.
pub struct Server {
    pub address: SocketAddr,
    pub heard: Arc<Mutex<Vec<Heard>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start(script: impl Fn(&Heard) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let script: Arc<Script> = Arc::new(script);
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let server =
            Self { address, heard: Arc::clone(&heard), connections: Arc::clone(&connections) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(converse(stream, Arc::clone(&script), Arc::clone(&heard)));
            }
        });
        server
    }

    pub async fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone()).await
    }

    pub fn client(&self) -> Client {
        client(self.address, &[])
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.heard().iter().map(Heard::line).collect()
    }
}

async fn converse(mut stream: TcpStream, script: Arc<Script>, heard: Arc<Mutex<Vec<Heard>>>) {
    while let Some(request) = read_request(&mut stream).await {
        let reply = script(&request);
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let text = match reply {
            Reply::Whole(status, headers, body) => format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}",
                body.len()
            ),
            Reply::Part => {
                let part = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{{\"{BODY}");
                let _ = stream.write_all(part.as_bytes()).await;
                let _ = stream.read(&mut [0]).await;
                return;
            }
            Reply::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Trickle(status) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 1000000\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                return;
            }
            Reply::Endless(status) => {
                let head = format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
                return;
            }
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Heard> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    let body = String::from_utf8_lossy(&bytes[end..]).into_owned();
    Some(Heard { method, target, headers, body })
}

pub fn client(address: SocketAddr, settings: &[(&str, &str)]) -> Client {
    let base_url = format!("http://{address}/{{workspace}}/api/v1");
    let given = [("BASE_URL", base_url.as_str()), ("API_KEY", KEY)];
    let variables = given
        .iter()
        .chain(settings)
        .map(|(name, value)| (format!("RECONCILER__BACKEND__{name}"), (*value).to_owned()));
    let config = Config::from_sources(None, Some(variables.collect())).expect("a configuration");
    Client::new(&config.backend).expect("a client")
}

pub fn somebody() -> MemberKey {
    MemberKey {
        workspace: "acme".to_owned(),
        integration: "app-1".to_owned(),
        member: "jo".to_owned(),
    }
}

/// Everything that a log line or a row could contain about an error.
fn told(error: &BackendError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, " {error} {error:?}");
        cause = error.source();
    }
    text
}

/// The error of a call, after a check that it contains neither key nor body.
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, BackendError>) -> BackendError {
    let error = outcome.expect_err("the reply is no answer");
    let text = told(&error);
    assert!(!text.contains(KEY), "the key is told: {text}");
    assert!(!text.contains(BODY), "the body is told: {text}");
    error
}
