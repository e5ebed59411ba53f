//! `actions`: what people have to do, on a terminal.

mod list;
mod page;
mod returning;
mod summary;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::several::{Several, Verb};
use super::terminal::{CardFormat, ListFormat, clock, print};
use super::{Acting, desk};
use crate::manual_action::review::ActionFilter;
use crate::manual_action::status::ActionStatus;
use crate::operator::desk::{Actor, Desk, DeskError, Done};
use crate::text::printable;

/// What to do with actions.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List actions, the most urgent first
    List(list::Options),
    /// Say what there is to do: a line for each app, operation and cause, the most urgent first
    Summary {
        /// Only this workspace
        #[arg(long)]
        workspace: Option<String>,
        #[command(flatten)]
        format: ListFormat,
    },
    /// Show the most urgent action that nobody works on
    Next {
        /// Only this integration
        #[arg(long)]
        integration: Option<String>,
        #[command(flatten)]
        format: CardFormat,
    },
    /// Show one action: its instructions, where it stands, and what happened to it
    Show {
        /// The action's id
        id: i64,
        #[command(flatten)]
        format: CardFormat,
    },
    /// Send actions back to automation after a fix: shows what would be sent, and sends it with --yes
    ///
    /// One action by its id; or all open ones of an integration, by failure code and operation: then one canary
    /// goes first, and the rest follows when it has worked.
    Return(returning::Options),
    /// State that you made the change in the app; the daemon then reads the app to prove it
    Done {
        #[command(flatten)]
        which: Several,
        /// What was done, for whoever reads the trail
        #[arg(long)]
        note: Option<String>,
    },
    /// End an action whose change is not to be made
    Dismiss {
        #[command(flatten)]
        which: Several,
        /// Why it is not to be done, for whoever reads the trail
        #[arg(long)]
        note: String,
    },
    /// Write a note on an action, for whoever works on it
    Note {
        /// The action's id
        id: i64,
        /// What to note; it replaces the note before, which stays in the trail
        note: String,
        #[command(flatten)]
        acting: Acting,
    },
    /// Withdraw your statement that the change was made, until it is judged
    Withdraw {
        #[command(flatten)]
        which: Several,
    },
    /// Claim an action: an open one, or with --take-over and a note one that a colleague works on
    Claim {
        #[command(flatten)]
        which: Several,
        /// Take it over from whoever works on it
        #[arg(long, requires = "note")]
        take_over: bool,
        /// Why it is taken over
        #[arg(long, requires = "take_over")]
        note: Option<String>,
    },
    /// Give an action to a colleague: your own, or one that nobody works on
    HandOver {
        #[command(flatten)]
        which: Several,
        /// The colleague
        #[arg(long = "to", value_name = "NAME")]
        assignee: String,
        /// Why, or what they need to know
        #[arg(long)]
        note: String,
    },
    /// Report that the app looks different from the instructions of an action
    ScreenChanged {
        #[command(flatten)]
        which: Several,
        /// What has changed, for whoever mends the instructions
        #[arg(long)]
        note: Option<String>,
    },
    /// Release an action that you work on, for anybody to claim
    Release {
        #[command(flatten)]
        which: Several,
    },
    /// Confirm another person's statement, where the app cannot be read and its integration has four eyes set
    Confirm {
        #[command(flatten)]
        which: Several,
    },
}

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<ExitCode> {
    let (config, desk) = desk(file).await?;
    let desk = &desk;
    match command {
        Command::List(options) => list::run(desk, &options).await?,
        Command::Summary { workspace, format } => {
            let read = async || {
                format.render(&summary::listed(
                    &desk.work(&Actor::by_login(), workspace.as_deref()).await?,
                ))
            };
            format.show(read).await?;
        }
        Command::Next { integration, format } => next(desk, integration.as_deref(), format).await?,
        Command::Show { id, format } => {
            show(desk, id, format).await?;
        }
        Command::Return(options) => returning::run(desk, &config, &options).await?,
        Command::Note { id, note, acting } => {
            desk.note(&acting.actor(desk).await?, id, &note).await?;
            print(&format!("noted on action {id}\n"))?;
        }
        Command::Done { which, note } => {
            let attest_after = Duration::from_secs(config.manual_action.attest_after_s);
            let act = async |actor: &Actor, id| {
                let marked = desk.done(actor, id, note.as_deref()).await?;
                let follows = what_follows(id, marked.follows, attest_after);
                Ok(match marked.before {
                    None => format!("action {id} is done; {follows}\n"),
                    Some((who, at)) => format!(
                        "action {id} was marked done already, by {} at {}; {follows}\n",
                        printable(desk.names(actor).await?.of(&who)),
                        clock().moment(at)
                    ),
                })
            };
            return each(desk, &which, "mark done", act).await;
        }
        Command::Dismiss { which, note } => {
            let act = async |actor: &Actor, id| {
                desk.dismiss(actor, id, &note).await?;
                Ok(format!("action {id} is dismissed\n"))
            };
            return each(desk, &which, "dismiss", act).await;
        }
        Command::Withdraw { which } => {
            let act = async |actor: &Actor, id| {
                desk.withdraw(actor, id).await?;
                Ok(format!("action {id} is open again: the statement is withdrawn\n"))
            };
            return each(desk, &which, "withdraw", act).await;
        }
        Command::Claim { which, note, .. } => {
            let act = async |actor: &Actor, id| {
                desk.claim(actor, id, note.as_deref()).await?;
                Ok(format!("action {id} is yours\n"))
            };
            return each(desk, &which, "claim", act).await;
        }
        Command::HandOver { which, assignee, note } => {
            let act = async |actor: &Actor, id| {
                desk.assign(actor, id, &assignee, &note).await?;
                Ok(format!("action {id} is {}'s\n", printable(&assignee)))
            };
            return each(desk, &which, "hand over", act).await;
        }
        Command::ScreenChanged { which, note } => {
            let act = async |actor: &Actor, id| {
                desk.screen_changed(actor, id, note.as_deref()).await?;
                Ok(format!("reported for action {id}: see `instructions list`\n"))
            };
            return each(desk, &which, "report the screen of", act).await;
        }
        Command::Release { which } => {
            let act = async |actor: &Actor, id| {
                desk.release(actor, id).await?;
                Ok(format!("action {id} is open: anybody may claim it\n"))
            };
            return each(desk, &which, "release", act).await;
        }
        Command::Confirm { which } => {
            let act = async |actor: &Actor, id| {
                desk.confirm(actor, id).await?;
                Ok(format!("action {id} is confirmed\n"))
            };
            return each(desk, &which, "confirm", act).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn each(
    desk: &Desk,
    which: &Several,
    verb: &'static str,
    act: impl AsyncFn(&Actor, i64) -> Result<String, DeskError>,
) -> anyhow::Result<ExitCode> {
    let actor = which.actor(desk).await?;
    let verb = Verb { verb, rows: "actions" };
    which
        .each(verb, async |ids| list::preview(desk, ids).await, async |id| act(&actor, id).await)
        .await
}

async fn show(desk: &Desk, id: i64, format: CardFormat) -> anyhow::Result<()> {
    let actor = Actor::by_login();
    let (card, names) = (desk.action(&actor, id).await?, desk.names(&actor).await?);
    format.print(&card, |card| page::of(card, &names))
}

async fn next(desk: &Desk, integration: Option<&str>, format: CardFormat) -> anyhow::Result<()> {
    let statuses = &[ActionStatus::Open];
    let filter = ActionFilter { statuses, integration, limit: 1, ..ActionFilter::default() };
    match desk.actions(&Actor::by_login(), filter).await?.first() {
        Some(line) => show(desk, line.id, format).await,
        None => print("nobody has to do anything: no action is open\n"),
    }
}

fn what_follows(id: i64, done: Done, attest_after: Duration) -> String {
    match done {
        Done::Read => "the app will be read to prove it".to_owned(),
        Done::NextTask => {
            "the app cannot be read: the next task shows whether the login works".to_owned()
        }
        Done::Word { four_eyes } => {
            let once_confirmed = match four_eyes {
                true => {
                    format!(", once another person has run `cerby-reconciler actions confirm {id}`")
                }
                false => String::new(),
            };
            format!(
                "the app cannot be read, so nothing will be checked: your word closes the action after \
                 {attest_after:?}{once_confirmed}\n\
                 If it was a mistake: `cerby-reconciler actions withdraw {id}`"
            )
        }
    }
}
