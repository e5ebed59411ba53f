//! How people act: doors without rules of their own. The rules are the database's.

pub mod actions;
pub mod check;
pub mod cli;
pub mod import;
pub mod integrations;
mod refusal;
pub mod returns;
pub mod syncs;
pub mod tasks;
pub mod terminal;

use std::path::Path;

use crate::config::Config;
use crate::database::{PgPool, Transaction};
use crate::schema;
use crate::store::begin_as;

/// The configuration, and a database whose schema is this program's.
async fn connected(file: Option<&Path>) -> anyhow::Result<(Config, PgPool)> {
    let config = Config::load(file)?;
    let pool = schema::connect(&config.database).await?;
    schema::check(&pool).await?;
    Ok((config, pool))
}

/// Begins a transaction of a person at the command line, whom the trail names so.
async fn acting(pool: &PgPool, name: &str) -> sqlx::Result<Transaction> {
    begin_as(pool, &format!("cli:{name}")).await
}
