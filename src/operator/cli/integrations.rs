//! `integrations`: which apps are active, on a terminal.

use std::path::Path;

use anyhow::bail;

use super::terminal::{Format, more, print, table};
use super::{Acting, desk, one_of};
use crate::integration::store::{IntegrationFilter, IntegrationLine, Settings};
use crate::membership::IntegrationKind;
use crate::operator::desk::{Actor, Desk, DeskError, Integration};
use crate::text::printable;

/// What to do with integrations.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List integrations: their status, how many tasks wait, and how many are in flight
    List {
        /// Only those that are not active
        #[arg(long)]
        inactive: bool,
        /// Only this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Those that come after this one in the list
        #[arg(long, value_name = "WORKSPACE/ID", value_parser = place)]
        after: Option<(String, String)>,
        /// How to print the list
        #[command(flatten)]
        format: Format,
    },
    /// Put the tasks of an integration on hold; nothing is lost, and no attempt is used
    Pause {
        /// Which one
        #[command(flatten)]
        arg: IntegrationArg,
        /// Why, for whoever wonders
        #[arg(long)]
        reason: String,
    },
    /// Make an integration active again, whatever stopped it; one task goes first
    Resume {
        /// Which one
        #[command(flatten)]
        arg: IntegrationArg,
    },
    /// Limit how much of an integration's automation runs, all replicas together
    Limit {
        /// Which one
        #[command(flatten)]
        arg: IntegrationArg,
        /// Tasks in flight at a time; 0 for the configured number
        #[arg(long, value_name = "N")]
        in_flight: Option<u32>,
        /// Tasks taken up per minute; 0 for the configured number
        #[arg(long, value_name = "N")]
        per_minute: Option<u32>,
    },
    /// Protect accounts from automatic removal, set how often the app is read, or correct what it is
    Set {
        /// Which one
        #[command(flatten)]
        arg: IntegrationArg,
        /// What to set
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

/// What people say of an integration; at least one of it.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct SettingsArgs {
    /// The email, name in the app or id of the account that the automation logs in with
    #[arg(long, value_name = "WHO", conflicts_with = "no_own_account")]
    own_account: Option<String>,
    /// Protect no account
    #[arg(long)]
    no_own_account: bool,
    /// The id of a role that makes an administrator; may be given several times, and replaces what was set
    #[arg(long, value_name = "ROLE", conflicts_with = "default_administrator_roles")]
    administrator_role: Vec<String>,
    /// The configured roles make an administrator
    #[arg(long)]
    default_administrator_roles: bool,
    /// Seconds between snapshots that nothing else asked for; 0 for never
    #[arg(long, value_name = "N", conflicts_with = "default_snapshot")]
    snapshot_every_s: Option<u32>,
    /// Read the app as often as configured
    #[arg(long)]
    default_snapshot: bool,
    /// Where the app cannot be read: whether a second person has to confirm what one says was done
    #[arg(long, value_name = "BOOL")]
    four_eyes: Option<bool>,
    /// What kind of integration it is, where the first row of it was wrong
    #[arg(long, value_parser = one_of!(IntegrationKind))]
    kind: Option<IntegrationKind>,
    /// The app, where the first row was wrong
    #[arg(long)]
    application: Option<String>,
}

impl SettingsArgs {
    fn settings(self) -> Settings {
        let roles = Some(self.administrator_role).filter(|roles| !roles.is_empty());
        let (own, every) = (self.own_account, self.snapshot_every_s);
        Settings {
            own_account: (self.no_own_account || own.is_some()).then_some(own),
            administrator_roles: (self.default_administrator_roles || roles.is_some())
                .then_some(roles),
            snapshot_every_s: (self.default_snapshot || every.is_some()).then_some(every),
            four_eyes: self.four_eyes,
            kind: self.kind,
            application: self.application,
        }
    }
}

/// An integration, and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct IntegrationArg {
    /// The integration's id
    integration: String,
    /// Its workspace; needed if several workspaces know the id
    #[arg(long)]
    workspace: Option<String>,
    #[command(flatten)]
    acting: Acting,
}

impl IntegrationArg {
    async fn find(&self, desk: &Desk) -> Result<(Actor, Integration), DeskError> {
        let integration = desk.integration(&self.integration, self.workspace.as_deref()).await?;
        Ok((self.acting.actor(), integration))
    }
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let (_, desk) = desk(file).await?;
    match command {
        Command::List { inactive, workspace, limit, after, format } => {
            let after = after.as_ref().map(|(workspace, id)| (workspace.as_str(), id.as_str()));
            let workspace = workspace.as_deref();
            let filter = IntegrationFilter { only_inactive: inactive, workspace, after, limit };
            let lines = desk.integrations(filter).await?;
            let shown = match lines.is_empty() {
                true if inactive => "every integration is active\n".to_owned(),
                true => "no integration is known\n".to_owned(),
                false => {
                    let last = lines
                        .last()
                        .map(|one| format!("{}/{}", one.workspace_id, one.integration_id));
                    table(HEADS, lines.iter().map(cells)) + &more(lines.len(), limit, last)
                }
            };
            format.print(&lines, HEADS, cells, shown)
        }
        Command::Pause { arg, reason } => {
            let (actor, integration) = arg.find(&desk).await?;
            desk.pause(&actor, &integration, &reason).await?;
            print(&format!("integration {} is paused: its tasks are on hold\n", integration.id))
        }
        Command::Resume { arg } => {
            let (actor, integration) = arg.find(&desk).await?;
            desk.resume(&actor, &integration).await?;
            print(&format!("integration {} is active: one task goes first\n", integration.id))
        }
        Command::Limit { arg, in_flight, per_minute } => {
            if in_flight.is_none() && per_minute.is_none() {
                bail!("give --in-flight or --per-minute");
            }
            let (actor, integration) = arg.find(&desk).await?;
            desk.limit(&actor, &integration, in_flight, per_minute).await?;
            print(&format!("Limit set: {}\n", limits(in_flight, per_minute)))
        }
        Command::Set { arg, settings } => {
            let (actor, integration) = arg.find(&desk).await?;
            desk.protect(&actor, &integration, &settings.settings()).await?;
            print(&format!("integration {} is set: see `integrations list`\n", integration.id))
        }
    }
}

fn limits(in_flight: Option<u32>, per_minute: Option<u32>) -> String {
    let limits = [
        in_flight.map(|number| match number {
            0 => "in flight as configured".to_owned(),
            number => format!("at most {number} in flight"),
        }),
        per_minute.map(|number| match number {
            0 => "per minute as configured".to_owned(),
            number => format!("at most {number} a minute"),
        }),
    ];
    limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

const HEADS: [&str; 8] =
    ["INTEGRATION", "NAME", "STATUS", "WAITING", "IN FLIGHT", "ACTIONS", "WORKSPACE", "WHY"];

/// The place of an integration in the list.
fn place(text: &str) -> Result<(String, String), String> {
    let place = text.split_once('/').map(|(workspace, id)| (workspace.to_owned(), id.to_owned()));
    place.ok_or_else(|| "give it as WORKSPACE/ID".to_owned())
}

fn cells(line: &IntegrationLine) -> [String; 8] {
    let until = line.status_until.map(|until| format!(" until {}", until.format("%H:%M:%S UTC")));
    let said = [
        line.max_in_flight.map(|number| format!("at most {number} in flight")),
        line.starts_per_minute.map(|number| format!("at most {number} a minute")),
        line.own_account.as_deref().map(|who| format!("protects {}", printable(who))),
        line.administrator_roles
            .as_ref()
            .map(|roles| format!("administrators: {}", printable(&roles.join(", ")))),
        line.snapshot_every_s.map(|every| match every {
            0 => "never read without a reason".to_owned(),
            every => format!("read every {every} s"),
        }),
        line.four_eyes.then(|| "asks a second person".to_owned()),
    ];
    let why = line.status_reason.as_deref().map(printable);
    [
        line.integration_id.clone(),
        printable(&line.name),
        format!("{}{}", line.status, until.unwrap_or_default()),
        line.waiting.to_string(),
        line.in_flight.to_string(),
        line.unfinished_actions.to_string(),
        line.workspace_id.clone(),
        why.into_iter().chain(said.into_iter().flatten()).collect::<Vec<_>>().join("; "),
    ]
}
