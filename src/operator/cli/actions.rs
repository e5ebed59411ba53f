//! `actions`: what people have to do, on a terminal.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::several::ActionsArg;
use super::terminal::{Format, facts, happened, moment, more, print, table};
use super::{Acting, desk, one_of, returns};
use crate::manual_action::people::{ActionFilter, ActionLine, ActionOperation, Card, MOST_COUNTED};
use crate::manual_action::status::ActionStatus;
use crate::operator::desk::{ActionCard, Actor, Desk, Done};
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
        /// Only this integration
        #[arg(long)]
        integration: Option<String>,
        /// Only this member, by id or email
        #[arg(long)]
        member: Option<String>,
        /// Only this operation
        #[arg(long, value_parser = one_of!(ActionOperation))]
        operation: Option<ActionOperation>,
        /// Only those with this failure code or reason
        #[arg(long)]
        cause: Option<String>,
        /// Only those past their deadline
        #[arg(long)]
        overdue: bool,
        /// Only those that you work on
        #[arg(long)]
        mine: bool,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Those that come after this one in the list
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
        /// How to print the list
        #[command(flatten)]
        format: Format,
        #[command(flatten)]
        acting: Acting,
    },
    /// Show the most urgent action that nobody works on
    Next {
        /// Only this integration
        #[arg(long)]
        integration: Option<String>,
        #[command(flatten)]
        acting: Acting,
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
    /// State that you made the change in the app; the daemon then reads the app to prove it
    Done {
        /// Which ones, and who
        #[command(flatten)]
        which: ActionsArg,
        /// What was done, for whoever reads the trail
        #[arg(long)]
        note: Option<String>,
    },
    /// End an action whose change is not to be made
    Dismiss {
        /// Which ones, and who
        #[command(flatten)]
        which: ActionsArg,
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
        /// Which ones, and who
        #[command(flatten)]
        which: ActionsArg,
    },
    /// Claim an action: an open one, or with --take-over and a note one that a colleague works on
    Claim {
        /// Which ones, and who
        #[command(flatten)]
        which: ActionsArg,
        /// Take it over from whoever works on it
        #[arg(long, requires = "note")]
        take_over: bool,
        /// Why it is taken over
        #[arg(long, requires = "take_over")]
        note: Option<String>,
    },
    /// Give an action to a colleague: your own, or one that nobody works on
    HandOver {
        /// Which ones, and who
        #[command(flatten)]
        which: ActionsArg,
        /// The colleague
        #[arg(long = "to", value_name = "NAME")]
        assignee: String,
        /// Why, or what they need to know
        #[arg(long)]
        note: String,
    },
    /// Release an action that you work on, for anybody to claim
    Release {
        /// Which ones, and who
        #[command(flatten)]
        which: ActionsArg,
    },
    /// Confirm another person's statement, where the app cannot be read and its integration has four eyes set
    Confirm {
        /// Which ones, and who
        #[command(flatten)]
        which: ActionsArg,
    },
}

const UNFINISHED: [ActionStatus; 3] =
    [ActionStatus::Open, ActionStatus::InProgress, ActionStatus::Done];

/// Runs one of them.
pub(super) async fn run(file: Option<&Path>, command: Command) -> anyhow::Result<ExitCode> {
    let (config, desk) = desk(file).await?;
    let desk = &desk;
    let done = match command {
        Command::List {
            status,
            all,
            workspace,
            integration,
            member,
            operation,
            cause,
            overdue,
            mine,
            limit,
            after,
            format,
            acting,
        } => {
            let actor = acting.actor();
            let filter = ActionFilter {
                statuses: if all || !status.is_empty() { &status } else { &UNFINISHED },
                workspace: workspace.as_deref(),
                integration: integration.as_deref(),
                member: member.as_deref(),
                operation,
                cause: cause.as_deref(),
                overdue,
                mine,
                ids: &[],
                after,
                limit,
            };
            list(desk, &actor, filter, format).await
        }
        Command::Next { integration, acting } => {
            next(desk, &acting.actor(), integration.as_deref()).await
        }
        Command::Show { id } => show(desk, id).await,
        Command::Return(options) => returns::run(desk, &config, &options).await,
        Command::Note { id, note, acting } => {
            desk.note(&acting.actor(), id, &note).await?;
            print(&format!("noted on action {id}\n"))
        }
        Command::Done { which, note } => {
            let (actor, note) = (which.actor(), note.as_deref());
            let attest_after = Duration::from_secs(config.manual_action.attest_after_s);
            let act = async |id| {
                let done = desk.done(&actor, id, note).await?;
                Ok(format!("action {id} is done; {}\n", what_follows(id, done, attest_after)))
            };
            return which.each(desk, "mark done", act).await;
        }
        Command::Dismiss { which, note } => {
            let actor = which.actor();
            let act = async |id| {
                desk.dismiss(&actor, id, &note).await?;
                Ok(format!("action {id} is dismissed\n"))
            };
            return which.each(desk, "dismiss", act).await;
        }
        Command::Withdraw { which } => {
            let actor = which.actor();
            let act = async |id| {
                desk.withdraw(&actor, id).await?;
                Ok(format!("action {id} is open again: the statement is withdrawn\n"))
            };
            return which.each(desk, "withdraw", act).await;
        }
        Command::Claim { which, note, .. } => {
            let (actor, note) = (which.actor(), note.as_deref());
            let act = async |id| {
                desk.claim(&actor, id, note).await?;
                Ok(format!("action {id} is yours\n"))
            };
            return which.each(desk, "claim", act).await;
        }
        Command::HandOver { which, assignee, note } => {
            let actor = which.actor();
            let act = async |id| {
                desk.assign(&actor, id, &assignee, &note).await?;
                Ok(format!("action {id} is {}'s\n", printable(&assignee)))
            };
            return which.each(desk, "hand over", act).await;
        }
        Command::Release { which } => {
            let actor = which.actor();
            let act = async |id| {
                desk.release(&actor, id).await?;
                Ok(format!("action {id} is open: anybody may claim it\n"))
            };
            return which.each(desk, "release", act).await;
        }
        Command::Confirm { which } => {
            let actor = which.actor();
            let act = async |id| {
                desk.confirm(&actor, id).await?;
                Ok(format!("action {id} is confirmed\n"))
            };
            return which.each(desk, "confirm", act).await;
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

async fn list(
    desk: &Desk,
    actor: &Actor,
    filter: ActionFilter<'_>,
    format: Format,
) -> anyhow::Result<()> {
    let lines = desk.actions(actor, filter).await?;
    let more = more(lines.len(), filter.limit, lines.last().map(|line| line.id));
    let mut shown = listed(&lines);
    if format.is_table() && !more.is_empty() {
        let all = counted(desk.count_actions(actor, filter).await?);
        shown = format!("{shown}{} of {all}. {more}", lines.len());
    }
    format.print(&lines, HEADS, cells, shown)
}

/// A number with its thousands apart. Counting ends at a limit.
fn counted(all: i64) -> String {
    let digits = all.min(MOST_COUNTED).to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    let more = if all > MOST_COUNTED { " or more" } else { "" };
    format!("{}{more}", groups.join(","))
}

async fn next(desk: &Desk, actor: &Actor, integration: Option<&str>) -> anyhow::Result<()> {
    let statuses = &[ActionStatus::Open];
    let filter = ActionFilter { statuses, integration, limit: 1, ..ActionFilter::default() };
    match desk.actions(actor, filter).await?.first() {
        Some(line) => show(desk, line.id).await,
        None => print("nobody has to do anything: no action is open\n"),
    }
}

const HEADS: [&str; 10] = [
    "ID",
    "STATUS",
    "DUE",
    "OPERATION",
    "APP",
    "MEMBER",
    "WORKSPACE",
    "ASSIGNEE",
    "INTEGRATION",
    "WHY",
];

pub(super) fn listed(lines: &[ActionLine]) -> String {
    match lines.is_empty() {
        true => "no such actions\n".to_owned(),
        false => table(HEADS, lines.iter().map(cells)),
    }
}

fn cells(line: &ActionLine) -> [String; 10] {
    let again = match line.reopened_count {
        0 => String::new(),
        times => format!(" (reopened {times}×)"),
    };
    let due = line.due_at.format("%Y-%m-%d %H:%M UTC");
    let code = line.failure_code.as_deref().map(|code| format!(": {}", printable(code)));
    [
        line.id.to_string(),
        format!("{}{again}", line.status),
        if line.overdue { format!("{due} OVERDUE") } else { due.to_string() },
        line.operation.clone(),
        printable(&line.integration_name),
        member(line),
        line.workspace_id.clone(),
        line.assignee.as_deref().map_or("-".to_owned(), printable),
        line.integration_status.clone(),
        format!("{}{}", printable(&line.reason), code.unwrap_or_default()),
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
    text.push_str(&facts(known(&card)));
    text.push_str(&happened(&trail));
    print(&text)
}

fn known(card: &Card) -> [(&'static str, Option<String>); 14] {
    let text = |text: &Option<String>| text.as_deref().map(printable);
    [
        ("due", Some(moment(card.due_at))),
        ("integration", Some(card.integration_status.clone())),
        ("opened", Some(moment(card.opened_at))),
        ("attempts", Some(card.attempts.to_string())),
        ("reopened", Some(card.reopened_count.to_string())),
        ("failure message", text(&card.failure_message)),
        ("assignee", text(&card.assignee)),
        ("note", text(&card.note)),
        ("done by", text(&card.done_by)),
        ("done at", card.done_at.map(moment)),
        ("confirmed by", text(&card.confirmed_by)),
        ("verdict", text(&card.verdict)),
        ("verdict at", card.verdict_at.map(moment)),
        ("observed", text(&card.observed)),
    ]
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
