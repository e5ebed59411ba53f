//! PostgreSQL's protocol, as far as needed to separate statements and their answers.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Protocol, Request, Stream, dial};

const SSL_REQUEST: u32 = 80_877_103;
const AUTHENTICATION_OK: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 0];

/// A server, and idle sessions of it. They are reused because the authentication takes longer than a short test.
#[derive(Clone)]
pub(super) struct Postgres {
    address: SocketAddr,
    idle: Arc<Mutex<Vec<Session>>>,
}

pub(super) struct Session {
    stream: Stream,
    /// What the server sent after the authentication.
    greeting: Vec<u8>,
    prepared: HashMap<Vec<u8>, String>,
    /// Whether an answer is outstanding.
    is_asked: bool,
}

impl Postgres {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, idle: Arc::default() }
    }
}

impl Protocol for Postgres {
    const IS_DATABASE: bool = true;

    type Server = Session;

    async fn open(&self, client: &mut Stream) -> io::Result<Session> {
        let startup = startup(client).await?;
        let idle = self.idle.lock().unwrap().pop();
        let Some(session) = idle else {
            return Session::start(dial(self.address).await?, client, &startup).await;
        };
        client.write_all(&AUTHENTICATION_OK).await?;
        client.write_all(&session.greeting).await?;
        Ok(session)
    }

    /// Everything up to a `Query` or `Sync`. It counts if it executes something.
    async fn request(session: &mut Session, client: &mut Stream) -> io::Result<Request> {
        let (mut all, mut text, mut bound) = (Vec::new(), None, String::new());
        loop {
            let (kind, bytes) = message(client).await?;
            let mut strings = bytes[5..].split(|byte| *byte == 0);
            match kind {
                b'Q' => text = strings.next().map(words),
                b'P' => {
                    let name = strings.next().unwrap_or_default().to_vec();
                    session.prepared.insert(name, strings.next().map(words).unwrap_or_default());
                }
                b'B' => {
                    let name = strings.nth(1).unwrap_or_default();
                    bound = session.prepared.get(name).cloned().unwrap_or_default();
                }
                b'E' => text = Some(std::mem::take(&mut bound)),
                b'X' => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
            all.extend(bytes);
            if matches!(kind, b'Q' | b'S') {
                return Ok(Request { bytes: all, text });
            }
        }
    }

    /// Returns everything up to `ReadyForQuery`.
    async fn ask(session: &mut Session, request: &[u8]) -> io::Result<Vec<u8>> {
        session.is_asked = true;
        session.stream.write_all(request).await?;
        let mut all = Vec::new();
        loop {
            let (kind, bytes) = message(&mut session.stream).await?;
            all.extend(bytes);
            if kind == b'Z' {
                session.is_asked = false;
                return Ok(all);
            }
        }
    }

    async fn close(&self, mut session: Session) {
        if !session.is_asked && session.forget().await.is_ok() {
            self.idle.lock().unwrap().push(session);
        }
    }
}

impl Session {
    /// From the first byte to the first `ReadyForQuery`.
    async fn start(mut stream: Stream, client: &mut Stream, startup: &[u8]) -> io::Result<Self> {
        stream.write_all(startup).await?;
        let mut greeting = Vec::new();
        loop {
            let (kind, bytes) = message(&mut stream).await?;
            client.write_all(&bytes).await?;
            match kind {
                b'R' if wants_answer(&bytes) => {
                    let (_, bytes) = message(client).await?;
                    stream.write_all(&bytes).await?;
                }
                b'R' => {}
                _ => greeting.extend(bytes),
            }
            if kind == b'Z' {
                let prepared = HashMap::new();
                return Ok(Self { stream, greeting, prepared, is_asked: false });
            }
        }
    }

    /// Releases everything that the session holds, as its end would.
    async fn forget(&mut self) -> io::Result<()> {
        for statement in ["ROLLBACK", "DISCARD ALL"] {
            let length = u32::try_from(statement.len() + 5).unwrap().to_be_bytes();
            let query = [b"Q", length.as_slice(), statement.as_bytes(), b"\0"].concat();
            Postgres::ask(self, &query).await?;
        }
        Ok(())
    }
}

/// The startup message; requests for encryption before it are declined.
async fn startup(client: &mut Stream) -> io::Result<Vec<u8>> {
    loop {
        let (length, code) = (client.read_u32().await?, client.read_u32().await?);
        if code == SSL_REQUEST {
            client.write_all(b"N").await?;
            continue;
        }
        let mut bytes = [length.to_be_bytes(), code.to_be_bytes()].concat();
        bytes.resize(usize::try_from(length).unwrap(), 0);
        client.read_exact(&mut bytes[8..]).await?;
        return Ok(bytes);
    }
}

/// A message with its type.
async fn message(stream: &mut Stream) -> io::Result<(u8, Vec<u8>)> {
    let (kind, length) = (stream.read_u8().await?, stream.read_u32().await?);
    let mut bytes = vec![kind];
    bytes.extend(length.to_be_bytes());
    bytes.resize(usize::try_from(length).unwrap() + 1, 0);
    stream.read_exact(&mut bytes[5..]).await?;
    Ok((kind, bytes))
}

/// Whether an authentication message asks for a password or the next step of SASL.
fn wants_answer(bytes: &[u8]) -> bool {
    matches!(bytes[5..9], [0, 0, 0, 3 | 5 | 10 | 11])
}

fn words(statement: &[u8]) -> String {
    let text = String::from_utf8_lossy(statement);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
