//! `actions`: what people have to do, on a terminal.

use std::path::Path;
use std::time::Duration;

use super::terminal::{happened, json, moment, more, print, table};
use super::{Acting, desk, one_of, returns};
use crate::manual_action::people::{ActionFilter, ActionLine, Card};
use crate::manual_action::status::ActionStatus;
use crate::operator::desk::{ActionCard, Desk, Done};
use crate::text::printable;

/// What to do with actions.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List actions, the most urgent first
    List {
        /// Only these statuses; unfinished ones (open, in_progress, done) if none is given
        #[arg(long, value_parser = one_of!(ActionStatus))]
        status: Vec<ActionStatus>,
        /// Ended ones too
        #[arg(long, conflicts_with = "status")]
        all: bool,
        /// Only this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Those that come after this one in the list
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
        /// One JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show one action: its instructions, where it stands, and what happened to it
    Show {
        /// The action's id
        id: i64,
    },
    /// Send actions back to automation after a fix: shows what would be sent, and sends it with --yes
    ///
    /// One action by its id; or all open ones of an integration, by failure code and operation: then one canary
    /// goes first, and the rest follows when it has worked.
    Return(returns::Options),
    /// Say that the change was made in the app; the app is then read to prove it
    Done {
        /// The action's id
        id: i64,
        /// What was done, for whoever reads the trail
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        acting: Acting,
    },
    /// End an action that is not to be done in the app
    Dismiss {
        /// The action's id
        id: i64,
        /// Why it is not to be done, for whoever reads the trail
        #[arg(long)]
        note: String,
        #[command(flatten)]
        acting: Acting,
    },
    /// Note something on an action, for whoever works on it
    Note {
        /// The action's id
        id: i64,
        /// What to note; it replaces the note before, which stays in the trail
        note: String,
        #[command(flatten)]
        acting: Acting,
    },
    /// Take back that the change was made, before it was judged: only who said it may
    Withdraw {
        /// Which one, and who
        #[command(flatten)]
        which: ActionArg,
    },
    /// Take up an action: an open one, or with --take-over and a note one that a colleague works on
    Claim {
        /// Which one, and who
        #[command(flatten)]
        which: ActionArg,
        /// Take it over from whoever works on it
        #[arg(long, requires = "note")]
        take_over: bool,
        /// Why it is taken over
        #[arg(long, requires = "take_over")]
        note: Option<String>,
    },
    /// Give an action to a colleague: your own, or one that nobody works on
    HandOver {
        /// Which one, and who
        #[command(flatten)]
        which: ActionArg,
        /// The colleague
        assignee: String,
        /// Why, or what they need to know
        #[arg(long)]
        note: String,
    },
    /// Give back an action that you work on, for anybody to claim
    Release {
        /// Which one, and who
        #[command(flatten)]
        which: ActionArg,
    },
    /// Confirm what another person said, where the app cannot be read and its integration asks for a second person
    Confirm {
        /// Which one, and who
        #[command(flatten)]
        which: ActionArg,
    },
}

/// An action, and who acts.
#[derive(Debug, clap::Args)]
pub(super) struct ActionArg {
    /// The action's id
    id: i64,
    #[command(flatten)]
    acting: Acting,
}

const UNFINISHED: [ActionStatus; 3] =
    [ActionStatus::Open, ActionStatus::InProgress, ActionStatus::Done];

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<()> {
    let (config, desk) = desk(file).await?;
    match command {
        Command::List { status, all, workspace, limit, after, json: as_json } => {
            let statuses = if all || !status.is_empty() { &*status } else { &UNFINISHED };
            let workspace = workspace.as_deref();
            let lines = desk.actions(ActionFilter { statuses, workspace, after, limit }).await?;
            print(&match as_json {
                true => json(&lines)?,
                false => {
                    listed(&lines) + &more(lines.len(), limit, lines.last().map(|line| line.id))
                }
            })
        }
        Command::Show { id } => show(&desk, id).await,
        Command::Return(options) => returns::run(&desk, &config, &options).await,
        Command::Done { id, note, acting } => {
            let done = desk.done(&acting.actor(), id, note.as_deref()).await?;
            let attest_after = Duration::from_secs(config.manual_action.attest_after_s);
            print(&format!("action {id} is done; {}\n", what_follows(id, done, attest_after)))
        }
        Command::Dismiss { id, note, acting } => {
            desk.dismiss(&acting.actor(), id, &note).await?;
            print(&format!("action {id} is dismissed\n"))
        }
        Command::Note { id, note, acting } => {
            desk.note(&acting.actor(), id, &note).await?;
            print(&format!("noted on action {id}\n"))
        }
        Command::Withdraw { which: ActionArg { id, acting } } => {
            desk.withdraw(&acting.actor(), id).await?;
            print(&format!("action {id} is open again: nothing is said of it any more\n"))
        }
        Command::Claim { which: ActionArg { id, acting }, note, .. } => {
            desk.claim(&acting.actor(), id, note.as_deref()).await?;
            print(&format!("action {id} is yours\n"))
        }
        Command::HandOver { which: ActionArg { id, acting }, assignee, note } => {
            desk.assign(&acting.actor(), id, &assignee, &note).await?;
            print(&format!("action {id} is {}'s\n", printable(&assignee)))
        }
        Command::Release { which: ActionArg { id, acting } } => {
            desk.release(&acting.actor(), id).await?;
            print(&format!("action {id} is open: anybody may claim it\n"))
        }
        Command::Confirm { which: ActionArg { id, acting } } => {
            desk.confirm(&acting.actor(), id).await?;
            print(&format!("action {id} is confirmed\n"))
        }
    }
}

fn listed(lines: &[ActionLine]) -> String {
    if lines.is_empty() {
        return "no such actions\n".to_owned();
    }
    let heads = ["ID", "STATUS", "DUE", "OPERATION", "APP", "MEMBER", "WORKSPACE", "WHY"];
    table(heads, lines.iter().map(cells))
}

fn cells(line: &ActionLine) -> [String; 8] {
    let again = if line.reopened_count > 0 {
        format!(" (reopened {}×)", line.reopened_count)
    } else {
        String::new()
    };
    let due = line.due_at.format("%Y-%m-%d %H:%M UTC");
    [
        line.id.to_string(),
        format!("{}{again}", line.status),
        if line.overdue { format!("{due} OVERDUE") } else { due.to_string() },
        line.operation.clone(),
        printable(&line.integration_name),
        member(line),
        line.workspace_id.clone(),
        printable(&line.reason),
    ]
}

/// Whom it is about; fixing a login is about nobody.
fn member(line: &ActionLine) -> String {
    if line.member_email.is_empty() { "-".to_owned() } else { printable(&line.member_email) }
}

async fn show(desk: &Desk, id: i64) -> anyhow::Result<()> {
    let ActionCard { card, trail } = desk.action(id).await?;
    // The instructions were rendered from names that anybody may type, and made printable then.
    let mut text = format!(
        "Manual action {id} of workspace {}: {}\n\n{}\n\n",
        card.workspace_id, card.status, card.instructions
    );
    for (name, value) in facts(&card) {
        text.push_str(&format!("{name:<18}{value}\n"));
    }
    text.push_str(&happened(&trail));
    print(&text)
}

fn facts(card: &Card) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("due", moment(card.due_at)),
        ("opened", moment(card.opened_at)),
        ("attempts", card.attempts.to_string()),
        ("reopened", card.reopened_count.to_string()),
    ];
    let texts = [
        ("failure message", card.failure_message.clone()),
        ("assignee", card.assignee.clone()),
        ("note", card.note.clone()),
        ("done by", card.done_by.clone()),
        ("done at", card.done_at.map(moment)),
        ("confirmed by", card.confirmed_by.clone()),
        ("verdict", card.verdict.clone()),
        ("verdict at", card.verdict_at.map(moment)),
        ("observed", card.observed.clone()),
    ];
    facts.extend(texts.into_iter().filter_map(|(name, text)| Some((name, printable(&text?)))));
    facts
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
