//! `actions return`: back to automation after a fix, with a look at what will be sent first.

use anyhow::{Context, bail};

use super::acting;
use super::integrations::workspace_of;
use super::refusal;
use super::terminal::{print, table};
use crate::backend;
use crate::config::{Config, Paths};
use crate::database::PgPool;
use crate::manual_action::returns::{self, Returnable};
use crate::text::printable;

/// Which actions go back, and why.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// One action, by its id
    #[arg(required_unless_present = "integration", conflicts_with = "integration")]
    id: Option<i64>,
    /// All open actions of this integration
    #[arg(long)]
    integration: Option<String>,
    /// Its workspace; needed if several workspaces know the integration
    #[arg(long, requires = "integration")]
    workspace: Option<String>,
    /// Only actions with this failure code
    #[arg(long, requires = "integration")]
    failure_code: Option<String>,
    /// Only actions of this operation
    #[arg(long, requires = "integration", value_parser = ["invite", "remove", "change_role"])]
    operation: Option<String>,
    /// What was fixed, for whoever reads the trail
    #[arg(long)]
    reason: String,
    /// Send them; without it, only show what would be sent
    #[arg(long)]
    yes: bool,
    /// Your name, where several people share one database login
    #[arg(long = "as", env = "USER", value_name = "NAME", default_value = "unknown")]
    name: String,
}

/// What is to go back: one action, or those of an integration.
enum Chosen<'a> {
    One(i64),
    Of { workspace: String, integration: &'a str },
}

/// Shows what would be sent, and sends it if told so.
pub(super) async fn run(pool: &PgPool, config: &Config, options: &Options) -> anyhow::Result<()> {
    let chosen = match (options.id, &options.integration) {
        (None, Some(integration)) => Chosen::Of {
            workspace: workspace_of(pool, integration, options.workspace.as_deref()).await?,
            integration,
        },
        (id, _) => Chosen::One(id.context("give an action's id or --integration")?),
    };
    let (code, operation) = (options.failure_code.as_deref(), options.operation.as_deref());
    let found = match &chosen {
        Chosen::One(id) => returns::returnable(pool, *id).await?.into_iter().collect(),
        Chosen::Of { workspace, integration } => {
            returns::returnables(pool, workspace, integration, code, operation).await?
        }
    };
    if found.is_empty() {
        bail!("there is no open action to return: see `actions list`");
    }
    print(&preview(&config.backend.paths, &found))?;
    if !options.yes {
        return print("\nNothing was sent. Give --yes to send it.\n");
    }
    send(pool, options, &chosen, found.len()).await
}

fn preview(paths: &Paths, found: &[Returnable]) -> String {
    let heads = ["ACTION", "OPERATION", "MEMBER", "FAILURE", "REQUEST"];
    let order = if found.len() > 1 {
        "The first is the canary: the rest follows when it has worked.\n"
    } else {
        ""
    };
    let rows = found.iter().map(|action| {
        [
            action.id.to_string(),
            action.desired.operation.to_string(),
            printable(&action.desired.email),
            action.failure_code.as_deref().map(printable).unwrap_or_default(),
            backend::describe(paths, &action.key, &action.hub_role, &action.desired),
        ]
    });
    format!("{order}{}", table(heads, rows))
}

async fn send(
    pool: &PgPool,
    options: &Options,
    chosen: &Chosen<'_>,
    count: usize,
) -> anyhow::Result<()> {
    let (code, operation) = (options.failure_code.as_deref(), options.operation.as_deref());
    let reason = &options.reason;
    let mut tx = acting(pool, &options.name).await?;
    let sent = match chosen {
        Chosen::One(id) => returns::give_back(&mut tx, *id, reason).await,
        Chosen::Of { workspace, integration } => {
            returns::give_all_back(&mut tx, workspace, integration, code, operation, reason).await
        }
    };
    if !sent.map_err(refusal::of)? {
        bail!("the actions have ended meanwhile: nothing was sent");
    }
    tx.commit().await.context("The commit failed")?;
    print(&match count {
        1 => "\nIt is with automation again.\n".to_owned(),
        many => format!(
            "\nThe canary is with automation again; {} follow when it has worked.\n",
            many - 1
        ),
    })
}
