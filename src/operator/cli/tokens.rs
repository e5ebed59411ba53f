//! `tokens`: who may use the listener for operators, on a terminal.

use std::path::Path;

use secrecy::ExposeSecret;

use super::terminal::{Clock, List, ListFormat, print};
use super::{Acting, desk, one_of};
use crate::access::{Access, Role};
use crate::operator::desk::Actor;
use crate::text::printable;
use crate::tokens::TokenLine;

/// What to do with tokens.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a bearer token for the API, and print it: it cannot be shown again
    Create {
        /// Its name, which the trail records as token:NAME; each name is given once
        name: String,
        /// What it may do: a viewer reads, an operator also acts, an administrator also manages access
        #[arg(long, value_parser = one_of!(Role))]
        role: Role,
        /// A workspace that it may see and change; give it again for more
        #[arg(long, value_name = "ID", required_unless_present = "all_workspaces")]
        workspace: Vec<String>,
        /// Let it see and change all workspaces
        #[arg(long, conflicts_with = "workspace")]
        all_workspaces: bool,
        /// For how many days it is valid, up to 400
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=400))]
        days: u32,
        #[command(flatten)]
        acting: Acting,
    },
    /// List tokens: their roles, their workspaces, until when they are valid, and when they were last used
    List {
        #[command(flatten)]
        format: ListFormat,
    },
    /// End a token at once
    Revoke {
        /// The token's name
        name: String,
        #[command(flatten)]
        acting: Acting,
    },
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let (_, desk) = desk(file).await?;
    match command {
        Command::Create { name, role, workspace, all_workspaces, days, acting } => {
            let access = Access { role, workspaces: (!all_workspaces).then_some(workspace) };
            let actor = acting.actor(&desk).await?;
            let token = desk.create_token(&actor, &name, &access, days).await?;
            print(&format!("{}\n", token.expose_secret()))
        }
        Command::List { format } => {
            let read = async || {
                let actor = Actor::by_login();
                let mut lines = desk.tokens(&actor).await?;
                if format.is_for_people() {
                    let names = desk.names(&actor).await?;
                    names.put_in(lines.iter_mut().map(|line| &mut line.created_by));
                }
                format.render(&listed(&lines))
            };
            format.show(read).await
        }
        Command::Revoke { name, acting } => {
            desk.revoke_token(&acting.actor(&desk).await?, &name).await?;
            print(&format!("token {} is revoked\n", printable(&name)))
        }
    }
}

fn listed(lines: &[TokenLine]) -> List<'_, TokenLine, 7> {
    List {
        lines,
        heads: ["NAME", "ROLE", "WORKSPACES", "VALID UNTIL", "LAST USED", "REVOKED", "CREATED BY"],
        wide: &["CREATED BY"],
        cells,
        nothing: "no token was made",
        below: String::new(),
    }
}

fn cells(line: &TokenLine, clock: Clock) -> [String; 7] {
    let moment = |at: Option<_>| at.map_or("-".to_owned(), |at| clock.minute(at));
    [
        line.name.clone(),
        line.role.clone(),
        line.workspaces.as_ref().map_or("all".to_owned(), |list| list.join(" ")),
        clock.minute(line.expires_at),
        moment(line.last_used_at),
        moment(line.revoked_at),
        printable(&line.created_by),
    ]
}
