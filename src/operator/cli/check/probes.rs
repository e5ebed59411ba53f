//! The listener of the probes: whether it can be taken, or a daemon has it already; and who can reach it.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Verdict;
use crate::operator::cli::probe;

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
        "only this machine reaches it: for probes of an orchestrator set http.listen = 0.0.0.0:8087 and \
         http.expose_probes = true"
    } else {
        "other machines reach it"
    }
}

async fn in_use(address: SocketAddr) -> Verdict {
    match probe::ask(address, "/readyz").await {
        Ok(answer) => {
            Verdict::Ok(format!("a daemon runs at {address}: {}; {}", answer.line, reach(address)))
        }
        Err(_) => Verdict::failed(
            format!("{address} is taken by another program"),
            "Set http.listen to another port, or stop that program.",
        ),
    }
}
