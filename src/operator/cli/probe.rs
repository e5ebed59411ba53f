//! What the probes of a daemon on this machine answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A status and a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) is_ok: bool,
    pub(super) line: String,
}

/// Asks the daemon that listens at this address; `Err` if there is none, or if another program answers.
pub(super) async fn ask(listen: SocketAddr, path: &str) -> std::io::Result<Answer> {
    let asking = tokio::time::timeout(ANSWERS_WITHIN, exchange(reachable(listen), path));
    let text = asking.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
    let body = text.rsplit("\r\n").next().unwrap_or_default().trim_end();
    let is_ours =
        ["live", "ready", "not ready", "the loop "].iter().any(|one| body.starts_with(one));
    if !is_ours {
        return Err(std::io::Error::other("another program answers there"));
    }
    let is_ok = text.split(' ').nth(1) == Some("200");
    Ok(Answer { is_ok, line: body.to_owned() })
}

async fn exchange(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.take(4_096).read_to_string(&mut text).await?;
    Ok(text)
}

/// Where one reaches a listener of all addresses.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        ip if !ip.is_unspecified() => {}
        IpAddr::V4(_) => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
    }
    listen
}
