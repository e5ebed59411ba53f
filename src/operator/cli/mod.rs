//! The command line: it parses, calls the desk, and prints.

mod actions;
mod check;
mod events;
mod generate;
mod health;
mod import;
mod instructions;
mod integrations;
mod probe;
mod reports;
mod returns;
mod several;
pub mod shape;
mod syncs;
mod tasks;
pub mod terminal;
mod tokens;
mod webhooks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::{Config, Database, LogFormat, Telemetry, shell};
use crate::daemon::Daemon;
use crate::emit;
use crate::manual_action::instructions::Library;
use crate::operator::api::Webhooks;
use crate::operator::desk::{Actor, Desk};
use crate::operator::listener::{self, Doors};
use crate::schema::{self, Planning, Usable};
use crate::telemetry::{self, chain};
use terminal::{complain, print};

/// Owns what happens after a membership automation failed: retries, manual actions, and proof.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// A TOML file over the defaults; the environment (RECONCILER__…) goes over both
    #[arg(long, short, global = true, value_name = "FILE", env = "RECONCILER_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Three things must be set, in the file or in the environment; commands that do not call the backend need only the first:
  RECONCILER__DATABASE__URL      postgres://user:password@host/name; or …__URL_FILE, or what a shell
                                 has: DATABASE_URL or PGSERVICE
  RECONCILER__BACKEND__BASE_URL  https://{workspace}.example/api/v1
  RECONCILER__BACKEND__API_KEY   the key for X-API-Key; or …__API_KEY_FILE
config/default.toml explains every key.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM or SIGINT
    ///
    /// Takes new rows, retries them, opens manual actions and proves what people did. Any number of
    /// replicas may run on one database.
    Serve,
    /// Bring the database's schema to this program's version
    ///
    /// Needs a role that may create schemas, and roles unless they exist. A second run at the same time waits
    /// for the first. A migration that meets a locked table gives up after 3 s and may be run again.
    Migrate,
    /// Check configuration, database, schema and backend
    Check {
        /// The workspace to ask the backend for; otherwise one that the database knows
        #[arg(long)]
        workspace: Option<String>,
    },
    /// Ask the daemon on this machine whether it is live, for a container's health check
    Health {
        /// Ask whether it is ready: whether it can write and work
        #[arg(long)]
        ready: bool,
    },
    /// Insert failed tasks from a file of JSON lines, all or none
    ///
    /// Each line is an object with the columns of the inbound contract. Every bad line is named by number
    /// and column before anything is inserted. A line whose source_id is there already changes nothing, so
    /// the same file may be given again.
    Import {
        /// The file, or - for standard input
        file: PathBuf,
    },
    /// List, show and work manual actions, or send them back to automation
    #[command(subcommand)]
    Actions(actions::Command),
    /// List, show and cancel automation tasks, and say why they wait
    #[command(subcommand)]
    Tasks(tasks::Command),
    /// List, show and request syncs, and decide on held reports
    #[command(subcommand)]
    Syncs(syncs::Command),
    /// List, pause, resume, limit and protect integrations
    #[command(subcommand)]
    Integrations(integrations::Command),
    /// List the instructions of which people reported that the app looks different
    #[command(subcommand)]
    Instructions(instructions::Command),
    /// List and dismiss events of webhooks that could not be resolved
    #[command(subcommand)]
    Webhooks(webhooks::Command),
    /// List and show returns of several actions to automation
    #[command(subcommand)]
    Returns(returns::Command),
    /// List what happened to every row: who, when, what
    #[command(subcommand)]
    Events(events::Command),
    /// Say which app to fix first, and give the evidence of a month
    #[command(subcommand)]
    Reports(reports::Command),
    /// Make, list and revoke the tokens with which programs use the API
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Print the configuration in force, secrets redacted
    Config,
    /// Print the completions of a shell, for its folder of completions
    Completions {
        /// The shell that is to complete commands
        shell: clap_complete::Shell,
    },
    /// Write a page for `man` for every command
    Man {
        /// The folder to write to
        folder: PathBuf,
    },
}

/// Parses one of the words of a type; the help lists them.
macro_rules! one_of {
    ($type:ty) => {
        clap::builder::TypedValueParser::try_map(
            clap::builder::PossibleValuesParser::new(<$type>::WORDS),
            |word| word.parse::<$type>(),
        )
    };
}
use one_of;

/// Who acts at the command line.
#[derive(Debug, clap::Args)]
struct Acting {
    /// Your name, which the trail records beside the database login; $USER at a login that people share
    // The commands about tokens have a name, too.
    #[arg(id = "as", long = "as", value_name = "NAME")]
    name: Option<String>,
}

impl Acting {
    /// Asks for a name where the login says nothing about the person and the shell has no user.
    async fn actor(&self, desk: &Desk) -> anyhow::Result<Actor> {
        match &self.name {
            Some(name) => Ok(Actor::named(name)?),
            None if !desk.is_shared().await? => Ok(Actor::by_login()),
            None => {
                let user = shell("USER").context(
                    "say who you are, with --as NAME: people share this database login, and the trail records who acted",
                )?;
                Ok(Actor::named(&user)?)
            }
        }
    }
}

/// The configuration, and a desk on a database whose schema is this program's.
async fn desk(file: Option<&Path>) -> anyhow::Result<(Config, Desk)> {
    let config = Config::load(file)?;
    let pool = schema::connect(&config.database, Planning::ByStatistics).await?;
    schema::check(&pool).await?;
    Ok((config, Desk::new(pool)))
}

/// Runs one command; its exit code.
pub async fn run(cli: Cli) -> ExitCode {
    let config = cli.config.as_deref();
    let outcome = match cli.command {
        Command::Serve => {
            let code = serve(config).await;
            telemetry::finish();
            return code;
        }
        Command::Migrate => migrate(config).await,
        Command::Check { workspace } => return check::run(config, workspace.as_deref()).await,
        Command::Health { ready } => return ended(health::run(config, ready).await),
        Command::Import { file } => import::run(config, &file).await,
        Command::Actions(command) => return ended(actions::run(config, command).await),
        Command::Tasks(command) => return ended(tasks::run(config, command).await),
        Command::Syncs(command) => return ended(syncs::run(config, command).await),
        Command::Integrations(command) => return ended(integrations::run(config, command).await),
        Command::Webhooks(command) => return ended(webhooks::run(config, command).await),
        Command::Instructions(command) => instructions::run(config, command).await,
        Command::Returns(command) => returns::run(config, command).await,
        Command::Events(command) => events::run(config, command).await,
        Command::Reports(command) => reports::run(config, command).await,
        Command::Tokens(command) => tokens::run(config, command).await,
        Command::Config => show_config(config),
        Command::Completions { shell } => generate::completions(shell),
        Command::Man { folder } => generate::manual(&folder),
    };
    ended(outcome.map(|()| ExitCode::SUCCESS))
}

fn ended(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The daemon speaks in log lines from the first to the last, a refused configuration included.
async fn serve(file: Option<&Path>) -> ExitCode {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            let telemetry = Telemetry { format: LogFormat::Auto, filter: "info".to_owned() };
            if telemetry::start(&telemetry).is_ok() {
                emit!(SERVICE_FAILED, error = %chain(&error), "The daemon failed to start");
            }
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = telemetry::start(&config.telemetry) {
        complain(&format!("error: {error}"));
        return ExitCode::FAILURE;
    }
    if let Err(error) = telemetry::traces::start(&config.traces) {
        emit!(SERVICE_FAILED, error = %chain(&error), "The daemon failed to start");
        return ExitCode::FAILURE;
    }
    let daemon = match start(config).await {
        Ok(Some(daemon)) => daemon,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            emit!(SERVICE_FAILED, error = %chain(error.as_ref()), "The daemon failed to start");
            return ExitCode::FAILURE;
        }
    };
    match daemon.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            emit!(SERVICE_FAILED, error = %chain(error.as_ref()), "The daemon stopped with an error");
            ExitCode::FAILURE
        }
    }
}

/// Starts the daemon, and the listener for operators beside it.
async fn start(config: Config) -> anyhow::Result<Option<Daemon>> {
    let (operators, database) = (config.operators.clone(), config.database.clone());
    let webhooks = Webhooks::new(&config.intake, &operators)?;
    let library = Arc::new(Library::new(&config.instructions)?);
    let socket = listener::bind(&operators).await?;
    let Some(mut daemon) = Daemon::start(config, library.clone()).await? else { return Ok(None) };
    let Some(socket) = socket else { return Ok(Some(daemon)) };
    // What people read must not take the connections of the flow.
    let database = Database { max_connections: operators.database_connections + 1, ..database };
    let pool = schema::connect(&database, Planning::ByStatistics).await?;
    let listen = socket.local_addr().context("the listener has no address")?;
    let public_url = operators.public_url.as_deref().unwrap_or("");
    emit!(OPERATORS_LISTENING, operators.listen = %listen, public_url,
          "The console and the API are up");
    let doors = Doors { desk: Desk::new(pool), webhooks, library };
    daemon.also(|stop| listener::serve(socket, operators, doors, stop));
    Ok(Some(daemon))
}

async fn migrate(file: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    let pool = schema::connect(&config.database, Planning::ByStatistics).await?;
    // Nobody may be left to read it: that does not stop a migration.
    let mut tell = |line: &str| print(&format!("{line}\n")).unwrap_or_default();
    let usable = schema::apply(&pool, schema::migrations(), &mut tell).await?;
    print(&match usable {
        Usable::Own { version } => format!("schema is at version {version}\n"),
        newer @ Usable::Newer { .. } => format!("schema is at {newer}; nothing was migrated\n"),
    })
}

fn show_config(file: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    print(&config.effective().context("the configuration cannot be printed")?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_of_no_command_contradict_one_another() {
        Cli::command().debug_assert();
    }
}
