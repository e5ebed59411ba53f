//! A proxy between a process and its database and backend. It counts requests and can break the connection at any of
//! them. A process whose connections are cut cannot do anything more, so to all others it is dead.

#![expect(clippy::unwrap_used, reason = "a proxy that cannot go on fails its test")]

mod http;
mod postgres;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use http::Http;
use postgres::Postgres;

/// What happens at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The process dies before the request arrives.
    DeathBefore,
    /// The request takes effect, and the process dies before it receives the answer.
    DeathAfter,
    /// The connection breaks before the request arrives; the process lives on.
    LostRequest,
    /// The request takes effect and the connection breaks; the process lives on and never receives the answer.
    LostReply,
    /// The request takes effect and its answer is held until it is released.
    HeldReply,
}

impl Kind {
    fn arrives(self) -> bool {
        !matches!(self, Self::DeathBefore | Self::LostRequest)
    }

    fn kills(self) -> bool {
        matches!(self, Self::DeathBefore | Self::DeathAfter)
    }
}

#[derive(Clone, Copy, Debug)]
pub enum At {
    /// The request with this number, counted from 0.
    Nth(usize),
    /// The first request whose text contains this.
    Text(&'static str),
}

/// A request, and what happens at it.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub at: At,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub struct Asked {
    /// To the database and not to the backend.
    pub is_statement: bool,
    /// The statement, or method and path.
    pub text: String,
}

#[derive(Default)]
struct Log {
    fault: Option<Fault>,
    asked: Vec<Asked>,
    is_broken: bool,
}

/// The traffic of one process through the proxies.
#[derive(Clone, Default)]
pub struct Line {
    log: Arc<Mutex<Log>>,
    dead: CancellationToken,
    held: CancellationToken,
    released: CancellationToken,
}

impl Line {
    /// Starts to count from here, and breaks at the request that `fault` names.
    pub fn arm(&self, fault: Option<Fault>) {
        *self.log.lock().unwrap() = Log { fault, ..Log::default() };
    }

    /// Resolves once a fault has killed the process.
    pub async fn death(&self) {
        self.dead.cancelled().await;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().asked.clone()
    }

    /// Whether the process has reached its fault.
    pub fn is_broken(&self) -> bool {
        self.log.lock().unwrap().is_broken
    }

    /// Resolves once an answer is held.
    pub async fn held(&self) {
        self.held.cancelled().await;
    }

    /// Releases the held answers.
    pub fn release(&self) {
        self.released.cancel();
    }

    async fn hold(&self) {
        self.held.cancel();
        self.released.cancelled().await;
    }

    /// Counts a request; returns what happens at it, if anything does.
    fn ask(&self, asked: Asked) -> Option<Kind> {
        let mut log = self.log.lock().unwrap();
        let number = log.asked.len();
        let fault = log.fault.filter(|fault| match fault.at {
            At::Nth(nth) => nth == number,
            At::Text(text) => asked.text.contains(text),
        });
        log.asked.push(asked);
        let kind = fault?.kind;
        log.fault = None;
        log.is_broken = true;
        Some(kind)
    }
}

/// A request as it arrived, and its text if it counts.
struct Request {
    bytes: Vec<u8>,
    text: Option<String>,
}

type Stream = BufReader<TcpStream>;

/// How to reach a server, and how to separate requests and answers.
trait Protocol: Clone + Send + 'static {
    const IS_DATABASE: bool;

    type Server: Send;

    /// Opens a connection, and passes on everything up to the first request.
    fn open(&self, client: &mut Stream) -> impl Future<Output = io::Result<Self::Server>> + Send;

    /// The next request; an error at the end of the connection.
    fn request(
        server: &mut Self::Server,
        client: &mut Stream,
    ) -> impl Future<Output = io::Result<Request>> + Send;

    /// Passes a request on; returns the whole answer.
    fn ask(
        server: &mut Self::Server,
        request: &[u8],
    ) -> impl Future<Output = io::Result<Vec<u8>>> + Send;

    /// Ends the connection, and waits until its locks are free.
    fn close(&self, server: Self::Server) -> impl Future<Output = ()> + Send;
}

/// The proxies, for one process after the other.
pub struct FaultProxy {
    pub database: SocketAddr,
    pub backend: SocketAddr,
    real_backend: Arc<Mutex<SocketAddr>>,
    line: Arc<Mutex<Line>>,
    _proxies: JoinSet<()>,
}

impl FaultProxy {
    pub async fn lay(real_database: SocketAddr) -> Self {
        let line = Arc::<Mutex<Line>>::default();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let real_backend = Arc::new(Mutex::new(nowhere));
        let mut proxies = JoinSet::new();
        let database = proxy(Postgres::new(real_database), &line, &mut proxies).await;
        let backend = proxy(Http(Arc::clone(&real_backend)), &line, &mut proxies).await;
        Self { database, backend, real_backend, line, _proxies: proxies }
    }

    /// Assigns the proxies to a new process.
    pub fn hand_over(&self, real_backend: SocketAddr) -> Line {
        *self.real_backend.lock().unwrap() = real_backend;
        let mut line = self.line.lock().unwrap();
        line.dead.cancel();
        *line = Line::default();
        line.clone()
    }
}

/// Listens on loopback and passes everything on.
async fn proxy<P: Protocol>(
    protocol: P,
    line: &Arc<Mutex<Line>>,
    proxies: &mut JoinSet<()>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let line = Arc::clone(line);
    proxies.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let line = line.lock().unwrap().clone();
            connections.spawn(serve(client, protocol.clone(), line));
        }
    });
    address
}

async fn serve<P: Protocol>(client: TcpStream, protocol: P, line: Line) {
    client.set_nodelay(true).unwrap();
    let mut client = BufReader::new(client);
    let Some(Ok(mut server)) = line.dead.run_until_cancelled(protocol.open(&mut client)).await
    else {
        return;
    };
    let exchange = exchange::<P>(&mut client, &mut server, &line);
    let broken = line.dead.run_until_cancelled(exchange).await.and_then(Result::ok);
    protocol.close(server).await;
    if broken.is_some_and(Kind::kills) {
        line.dead.cancel();
    }
}

/// Passes requests and answers on until one side hangs up (`Err`) or a fault breaks the connection.
async fn exchange<P: Protocol>(
    client: &mut Stream,
    server: &mut P::Server,
    line: &Line,
) -> io::Result<Kind> {
    loop {
        let Request { bytes, text } = P::request(server, client).await?;
        let broken = text.and_then(|text| line.ask(Asked { is_statement: P::IS_DATABASE, text }));
        if let Some(kind) = broken.filter(|kind| !kind.arrives()) {
            return Ok(kind);
        }
        let answer = P::ask(server, &bytes).await?;
        match broken {
            None => {}
            Some(Kind::HeldReply) => line.hold().await,
            Some(kind) => return Ok(kind),
        }
        client.write_all(&answer).await?;
    }
}

async fn dial(address: SocketAddr) -> io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}
