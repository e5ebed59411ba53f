//! `actions return`: back to automation after a fix, with a look at what will be sent first.

use anyhow::Context;

use crate::backend;
use crate::config::{Config, Paths};
use crate::manual_action::returns::Returnable;
use crate::membership::Operation;
use crate::operator::cli::terminal::{print, table};
use crate::operator::cli::{Acting, one_of};
use crate::operator::desk::{Actor, Chosen, Desk};
use crate::text::printable;

/// Which actions go back, and why.
#[derive(Debug, clap::Args)]
pub(in crate::operator::cli) struct Options {
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
    #[arg(long, requires = "integration", value_parser = one_of!(Operation))]
    operation: Option<Operation>,
    /// What was fixed, for whoever reads the trail
    #[arg(long)]
    reason: String,
    /// Send them; without it, only show what would be sent
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    acting: Acting,
}

/// Shows what would be sent, and sends it if told so.
pub(super) async fn run(desk: &Desk, config: &Config, options: &Options) -> anyhow::Result<()> {
    let chosen = match (options.id, &options.integration) {
        (None, Some(integration)) => Chosen::Of {
            integration: desk
                .integration(&Actor::by_login(), integration, options.workspace.as_deref())
                .await?,
            failure_code: options.failure_code.clone(),
            operation: options.operation,
            seen: None,
        },
        (id, _) => Chosen::One(id.context("give an action's id or --integration")?.into()),
    };
    let found = desk.returnable(&Actor::by_login(), &chosen).await?;
    print(&preview(&config.backend.paths, &found))?;
    if !options.yes {
        return print("\nNothing was sent. Give --yes to send it.\n");
    }
    let actor = options.acting.actor(desk).await?;
    desk.return_to_automation(&actor, &chosen.as_seen(&found), &options.reason).await?;
    print(&match found.len() {
        1 => "\nIt is with automation again.\n".to_owned(),
        many => format!(
            "\nThe canary is with automation again; {} follow when it has worked.\n",
            many - 1
        ),
    })
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
