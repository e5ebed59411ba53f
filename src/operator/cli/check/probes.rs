//! The listener of the probes: whether it can be taken, or a daemon has it already; and who can reach it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Verdict;

const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn check(address: SocketAddr) -> Verdict {
    match TcpListener::bind(address).await {
        Ok(_) => Verdict::Ok(format!("{address} can be taken; {}", reach(address))),
        Err(error) if error.kind() == ErrorKind::AddrInUse => in_use(address).await,
        Err(error) => Verdict::failed(
            format!("{address} cannot be taken: {error}"),
            "Set http.listen to an address of this machine, and to a port that the user may take.",
        ),
    }
}

/// Who can send a probe.
fn reach(address: SocketAddr) -> &'static str {
    if address.ip().is_loopback() {
        "only this machine reaches it: a container needs http.listen = 0.0.0.0:8087 and http.expose_probes = true"
    } else {
        "other machines reach it"
    }
}

async fn in_use(address: SocketAddr) -> Verdict {
    let answer = tokio::time::timeout(ANSWERS_WITHIN, readiness(address)).await;
    match answer {
        Ok(Ok(answer)) if KNOWN.iter().any(|known| answer.ends_with(known)) => {
            let answer = answer.rsplit("\r\n").next().unwrap_or_default().trim();
            Verdict::Ok(format!("a daemon runs at {address}: {answer}; {}", reach(address)))
        }
        _ => Verdict::failed(
            format!("{address} is taken by another program"),
            "Set http.listen to another port, or stop that program.",
        ),
    }
}

/// How the answers of our probe end.
const KNOWN: [&str; 6] = [
    "ready\n",
    "stopping\n",
    "starting\n",
    "work fails\n",
    "the database is read-only\n",
    "the database does not answer\n",
];

async fn readiness(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(4_096).read_to_string(&mut answer).await?;
    Ok(answer)
}
