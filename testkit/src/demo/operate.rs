//! The commands of the demo for another terminal.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use sqlx::{Connection, FromRow, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::commands::{APPS, NAME, PSQL};
use super::sentences::Change;
use cerby_reconciler::catalogue;
use cerby_reconciler::operator::cli::terminal::print;

const URL: &str = "RECONCILER__DATABASE__URL";

/// Act as an operator of the demo that runs in another terminal.
#[derive(Debug, Parser)]
#[command(name = NAME, max_term_width = 80)]
pub struct Operate {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Claim a manual action, make its change in the simulated app, and mark it done
    Do {
        /// The number of the action
        id: i64,
        /// Do not make the change, and mark the action done all the same
        #[arg(long)]
        lie: bool,
    },
    /// Open psql, or pass it arguments
    Sql {
        /// Arguments for psql, such as -c 'select * from reconciler.my_work'
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Runs a command of the demo. `Err` if it was refused.
pub async fn operate(operate: Operate) -> anyhow::Result<()> {
    let url = setting(URL)?;
    match operate.command {
        Verb::Do { id, lie } => act(&url, id, lie).await,
        Verb::Sql { arguments } => sql(&url, &arguments),
    }
}

fn setting(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| {
        format!("{name} is not set; source the file demo.env that the running demo names")
    })
}

/// Becomes psql, the one of the private PostgreSQL or any other.
fn sql(url: &str, arguments: &[String]) -> anyhow::Result<()> {
    let beside = std::env::var_os(PSQL).map(PathBuf::from).filter(|path| path.is_file());
    let error =
        Command::new(beside.unwrap_or_else(|| "psql".into())).arg(url).args(arguments).exec();
    bail!("psql cannot be started ({error}); without it, use: cerby-reconciler actions list")
}

#[derive(FromRow)]
struct Action {
    workspace_id: String,
    integration_id: String,
    integration_name: String,
    application: String,
    operation: String,
    member_id: String,
    member_name: Option<String>,
    member_email: String,
    member_username: Option<String>,
    entitlements: Vec<String>,
}

async fn act(url: &str, id: i64, lie: bool) -> anyhow::Result<()> {
    let mut database =
        PgConnection::connect(url).await.context("the demo does not answer; has it ended?")?;
    let action = find(&mut database, id).await?;
    let change = action.in_words();
    call(&mut database, "select from reconciler.claim($1::bigint)", id).await?;
    print(&format!("claimed  action {id}: {}\n", change.request()))?;
    let made = if lie {
        "nothing  as you wish: the app is as it was".to_owned()
    } else if action.make(&setting(APPS)?).await? {
        format!("changed  {}", change.was())
    } else {
        format!("nothing  to change: {} is so already", change.app)
    };
    print(&format!("{made}\n"))?;
    call(&mut database, "select from reconciler.mark_done($1::bigint)", id).await?;
    print(&match catalogue::is_readable(&action.application) {
        true => format!("done     the daemon reads {} now, to verify it\n", change.app),
        false => format!("done     {} cannot be read, so your word will count\n", change.app),
    })
}

async fn find(database: &mut PgConnection, id: i64) -> anyhow::Result<Action> {
    let action = sqlx::query_as(
        "select workspace_id, integration_id, integration_name, application, operation, member_id, member_name,
                member_email, member_username, entitlements
         from reconciler.manual_actions where id = $1",
    );
    let found = action.bind(id).fetch_optional(database).await?;
    found.with_context(|| {
        format!("there is no manual action {id}; list the open ones: cerby-reconciler actions list")
    })
}

/// Calls a function of the database for people, whose refusals are sentences.
async fn call(database: &mut PgConnection, statement: &'static str, id: i64) -> anyhow::Result<()> {
    match sqlx::query(statement).bind(id).execute(database).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(refusal)) => bail!("{}", refusal.message()),
        Err(error) => Err(error.into()),
    }
}

impl Action {
    fn in_words(&self) -> Change {
        let (operation, app) = (&self.operation, &self.integration_name);
        Change::new(operation, self.member_name.as_deref(), &self.member_email, app)
    }

    /// Makes the change in the app. Returns whether the app was in another state.
    async fn make(&self, apps: &str) -> anyhow::Result<bool> {
        let app = format!("/simulator/{}/integrations/{}", self.workspace_id, self.integration_id);
        let verb = match self.operation.as_str() {
            "reconnect" => return post(apps, &format!("{app}/mend-login"), "").await,
            "change_role" => "change-role",
            same => same,
        };
        let body = serde_json::json!({
            "email": self.member_email,
            "username": self.member_username,
            "entitlements": self.entitlements,
        });
        post(apps, &format!("{app}/members/{}/{verb}", self.member_id), &body.to_string()).await
    }
}

/// One request to the simulated apps, which are on this machine. Returns whether they changed.
async fn post(apps: &str, path: &str, body: &str) -> anyhow::Result<bool> {
    let host = apps.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)
        .await
        .context("the simulated apps do not answer; has the demo ended?")?;
    let length = body.len();
    let request =
        format!("POST {path} HTTP/1.0\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split(' ').nth(1) {
        Some("200") => Ok(true),
        // The app is in the desired state, or there is nobody to change.
        Some("409") => Ok(false),
        _ => bail!(
            "the simulated app refuses the change: {}",
            answer.lines().last().unwrap_or_default()
        ),
    }
}
