//! `integrations`: which apps are active, on a terminal.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use super::several::{Several, Verb};
use super::terminal::{Clock, List, ListFormat, more};
use super::{desk, one_of};
use crate::integration::store::{IntegrationFilter, IntegrationLine, Settings};
use crate::membership::IntegrationKind;
use crate::operator::cursor::InWorkspace;
use crate::operator::desk::{Actor, Desk, DeskError, Integration};
use crate::store::MOST_COUNTED;
use crate::text::{counted, printable};

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
        #[arg(long, value_name = "WORKSPACE/ID")]
        after: Option<InWorkspace>,
        #[command(flatten)]
        format: ListFormat,
    },
    /// Put the tasks of integrations on hold; nothing is lost, and no attempt is used
    Pause {
        #[command(flatten)]
        which: Which,
        /// Why, for whoever wonders
        #[arg(long)]
        reason: String,
    },
    /// Make integrations active again, whatever stopped them; one task of each goes first
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// Limit how much of the automation of integrations runs, all replicas together
    Limit {
        #[command(flatten)]
        which: Which,
        /// Tasks in flight at a time; 0 for the configured number
        #[arg(long, value_name = "N")]
        in_flight: Option<u32>,
        /// Tasks taken up per minute; 0 for the configured number
        #[arg(long, value_name = "N")]
        per_minute: Option<u32>,
    },
    /// Protect accounts from automatic removal, set how often the app is read, or correct what it is
    Set {
        #[command(flatten)]
        which: Which,
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

/// Integrations by their ids, and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    #[command(flatten)]
    which: Several,
    /// Their workspace; needed if several workspaces know an id
    #[arg(long)]
    workspace: Option<String>,
}

impl Which {
    async fn each(
        &self,
        desk: &Desk,
        verb: &'static str,
        act: impl AsyncFn(&Actor, &Integration) -> Result<String, DeskError>,
    ) -> anyhow::Result<ExitCode> {
        let actor = self.which.actor(desk).await?;
        let find = async |id: &str| {
            desk.integration(&Actor::by_login(), id, self.workspace.as_deref()).await
        };
        let preview = async |ids: &[String]| {
            let mut text = String::new();
            for id in ids {
                let found = find(id).await;
                text.push_str(&match found {
                    Ok(one) => format!("{} of workspace {}\n", one.id, one.workspace),
                    Err(error) => format!("{error}\n"),
                });
            }
            Ok(text)
        };
        let act = async |id: String| act(&actor, &find(&id).await?).await;
        self.which.each(Verb { verb, rows: "integrations" }, preview, act).await
    }
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<ExitCode> {
    let (_, desk) = desk(file).await?;
    let desk = &desk;
    match command {
        Command::List { inactive, workspace, limit, after, format } => {
            let filter = IntegrationFilter {
                only_inactive: inactive,
                workspace: workspace.as_deref(),
                id: None,
                after: after.as_ref().map(InWorkspace::pair),
                limit,
            };
            let read = async || {
                let lines = desk.integrations(&Actor::by_login(), filter).await?;
                let last = lines.last();
                let last = last.map(|one| InWorkspace::new(&one.workspace_id, &one.integration_id));
                format.render(&listed(&lines, inactive, more(lines.len(), limit, last)))
            };
            format.show(read).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Pause { which, reason } => {
            let act = async |actor: &Actor, one: &Integration| {
                desk.pause(actor, one, &reason).await?;
                Ok(format!("integration {} is paused: its tasks are on hold\n", one.id))
            };
            which.each(desk, "pause", act).await
        }
        Command::Resume { which } => {
            let act = async |actor: &Actor, one: &Integration| {
                desk.resume(actor, one).await?;
                Ok(format!("integration {} is active: one task goes first\n", one.id))
            };
            which.each(desk, "resume", act).await
        }
        Command::Limit { which, in_flight, per_minute } => {
            if in_flight.is_none() && per_minute.is_none() {
                bail!("give --in-flight or --per-minute");
            }
            let act = async |actor: &Actor, one: &Integration| {
                desk.limit(actor, one, in_flight, per_minute).await?;
                Ok(format!("Limit of {} set: {}\n", one.id, limits(in_flight, per_minute)))
            };
            which.each(desk, "limit", act).await
        }
        Command::Set { which, settings } => {
            let settings = settings.settings();
            let act = async |actor: &Actor, one: &Integration| {
                desk.protect(actor, one, &settings).await?;
                Ok(format!("integration {} is set: see `integrations list`\n", one.id))
            };
            which.each(desk, "set", act).await
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

fn listed(
    lines: &[IntegrationLine],
    inactive: bool,
    below: String,
) -> List<'_, IntegrationLine, 8> {
    List {
        lines,
        heads: [
            "INTEGRATION",
            "NAME",
            "STATUS",
            "WAITING",
            "IN FLIGHT",
            "ACTIONS",
            "WHY",
            "WORKSPACE",
        ],
        wide: &[],
        cells,
        nothing: if inactive { "every integration is active" } else { "no integration is known" },
        below,
    }
}

fn cells(line: &IntegrationLine, clock: Clock) -> [String; 8] {
    let until = line.status_until.map(|until| format!(" until {}", clock.moment(until)));
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
        counted(line.waiting, MOST_COUNTED),
        line.in_flight.to_string(),
        counted(line.unfinished_actions, MOST_COUNTED),
        why.into_iter().chain(said.into_iter().flatten()).collect::<Vec<_>>().join("; "),
        line.workspace_id.clone(),
    ]
}
