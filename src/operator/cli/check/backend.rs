//! The backend: whether it answers, and accepts the key.

use super::Verdict;
use crate::backend::{BackendError, Client};
use crate::config::Backend;
use crate::telemetry::chain;

/// An id that no integration has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

pub(super) async fn check(config: &Backend, workspace: Option<&str>) -> Verdict {
    let (client, url) = match (Client::new(config), config.base_url()) {
        (Ok(client), Ok(url)) => (client, url),
        (Err(error), _) => return Verdict::failed(chain(&error), NEEDED),
        (_, Err(error)) => return Verdict::failed(chain(&error), NEEDED),
    };
    let Some(workspace) = workspace else {
        let skipped = "no workspace is known yet; give one with --workspace";
        return Verdict::Skipped(skipped.to_owned());
    };
    match client.integration(workspace, NOBODY).await {
        // That nothing has this id is the answer of a backend that accepted the key.
        Ok(()) | Err(BackendError::NotFound { .. } | BackendError::Refused { .. }) => Verdict::Ok(
            format!("{url} answers and accepts the key, asked for workspace {workspace}"),
        ),
        Err(error) => Verdict::failed(format!("{url}: {}", chain(&error)), remedy(&error)),
    }
}

const NEEDED: &str = "`serve` needs it; commands that only read or write the database do not.";

fn remedy(error: &BackendError) -> &'static str {
    match error {
        BackendError::Unreachable(_) => {
            "Check the host in backend.base_url, its certificate, whose authority the machine has to trust, and backend.proxy."
        }
        BackendError::NoAnswer(_) => {
            "Try again; if it stays like this, the backend is slow or something between cuts connections."
        }
        BackendError::UnexpectedResponse(_) => {
            "Check that backend.base_url is the path of the API, and that no login page stands before it."
        }
        BackendError::KeyRejected { .. } => {
            "Set RECONCILER__BACKEND__API_KEY to a key that is valid."
        }
        BackendError::RateLimited { .. } => "Try again later; `serve` waits by itself.",
        BackendError::Unavailable { .. } | BackendError::ServerError { .. } => {
            "The backend has a problem of its own; `serve` waits until it has passed."
        }
        BackendError::NotFound { .. } | BackendError::Refused { .. } => {
            "Check the workspace and backend.paths."
        }
    }
}
