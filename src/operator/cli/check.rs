//! `check`: one verdict per part, so that a failed start is explained.

use std::path::Path;
use std::process::ExitCode;

use super::terminal::print;
use crate::backend::{BackendError, Client};
use crate::config::Config;
use crate::database::PgPool;
use crate::integration;
use crate::schema::{self, Planning};
use crate::telemetry::chain;

/// An id that no integration has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Prints `ok`, `FAILED` or `skipped` for each part; fails if one failed.
pub(super) async fn run(file: Option<&Path>, workspace: Option<&str>) -> ExitCode {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            say("configuration", &Err(chain(&error).to_string()));
            return ExitCode::FAILURE;
        }
    };
    let mut well = say("configuration", &Ok("every key is known and fits the others".to_owned()));
    let pool = match schema::connect(&config.database, Planning::ByStatistics).await {
        Ok(pool) => {
            well &= say("database", &login_verdict(&pool).await);
            well &= say("schema", &schema_verdict(&pool).await);
            Some(pool)
        }
        Err(error) => {
            well &= say("database", &Err(chain(&error).to_string()));
            None
        }
    };
    let workspace = match workspace {
        Some(workspace) => Some(workspace.to_owned()),
        None => known_workspace(pool.as_ref()).await,
    };
    well &= backend_verdict(&config, workspace).await;
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(part: &str, verdict: &Result<String, String>) -> bool {
    let printed = match verdict {
        Ok(text) => print(&format!("ok       {part}: {text}\n")),
        Err(text) => print(&format!("FAILED   {part}: {text}\n")),
    };
    verdict.is_ok() && printed.is_ok()
}

async fn login_verdict(pool: &PgPool) -> Result<String, String> {
    match schema::check_login(pool).await {
        Ok(()) => Ok("PostgreSQL answers".to_owned()),
        Err(error) => Err(chain(&error).to_string()),
    }
}

async fn schema_verdict(pool: &PgPool) -> Result<String, String> {
    match schema::check(pool).await {
        Ok(version) => Ok(format!("version {version}, as this program needs")),
        Err(error) => Err(chain(&error).to_string()),
    }
}

async fn known_workspace(pool: Option<&PgPool>) -> Option<String> {
    integration::store::some_workspace(pool?).await.ok().flatten()
}

async fn backend_verdict(config: &Config, workspace: Option<String>) -> bool {
    let client = match Client::new(&config.backend) {
        Ok(client) => client,
        Err(error) => return say("backend", &Err(chain(&error).to_string())),
    };
    let Some(workspace) = workspace else {
        let skipped = "skipped  backend: no workspace is known yet; give one with --workspace\n";
        return print(skipped).is_ok();
    };
    let verdict = match client.integration(&workspace, NOBODY).await {
        // That nothing has this id is the answer of a backend that accepted the key.
        Ok(()) | Err(BackendError::NotFound { .. } | BackendError::Refused { .. }) => {
            Ok("it answers and accepts the key".to_owned())
        }
        Err(error) => Err(chain(&error).to_string()),
    };
    say("backend", &verdict)
}
