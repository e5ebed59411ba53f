//! The lists of actions.

use crate::manual_action::review::{ActionFilter, ActionLine, ActionOrder};
use crate::manual_action::status::ActionStatus;
use crate::membership::ActionOperation;
use crate::operator::cli::terminal::{Clock, List, ListFormat, more};
use crate::operator::cli::{Acting, one_of};
use crate::operator::desk::{Actor, Desk};
use crate::store::MOST_COUNTED;
use crate::text::{counted, printable};

#[derive(Debug, clap::Args)]
pub(in crate::operator::cli) struct Options {
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
    /// By deadline, the ended ones after the others; or the newest first
    #[arg(long, value_name = "ORDER", default_value = "due", value_parser = one_of!(ActionOrder))]
    sort: ActionOrder,
    /// At most this many
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Those that come after this one in the list
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    #[command(flatten)]
    format: ListFormat,
    #[command(flatten)]
    acting: Acting,
}

const UNFINISHED: [ActionStatus; 3] =
    [ActionStatus::Open, ActionStatus::InProgress, ActionStatus::Done];

impl Options {
    fn filter(&self) -> ActionFilter<'_> {
        let is_any = self.all || !self.status.is_empty();
        ActionFilter {
            statuses: if is_any { &self.status } else { &UNFINISHED },
            workspace: self.workspace.as_deref(),
            integration: self.integration.as_deref(),
            member: self.member.as_deref(),
            operation: self.operation,
            cause: self.cause.as_deref(),
            overdue: self.overdue,
            mine: self.mine,
            ids: &[],
            order: Some(self.sort),
            after: self.after,
            limit: self.limit,
        }
    }

    /// Only who asks for their own actions has to say who they are.
    async fn actor(&self, desk: &Desk) -> anyhow::Result<Actor> {
        if self.mine { self.acting.actor(desk).await } else { Ok(Actor::by_login()) }
    }
}

pub(super) async fn run(desk: &Desk, options: &Options) -> anyhow::Result<()> {
    let actor = options.actor(desk).await?;
    let (filter, format) = (options.filter(), options.format);
    let read = async || {
        let mut lines = desk.actions(&actor, filter).await?;
        if format.is_for_people() {
            let names = desk.names(&actor).await?;
            names.put_in(lines.iter_mut().filter_map(|line| line.assignee.as_mut()));
        }
        let mut below = more(lines.len(), filter.limit, lines.last().map(|line| line.id));
        if format.is_for_people() && !below.is_empty() {
            let all = counted(desk.count_actions(&actor, filter).await?, MOST_COUNTED);
            below = format!("{} of {all}. {below}", lines.len());
        }
        format.render(&listed(&lines, below))
    };
    format.show(read).await
}

/// What is about to be changed.
pub(super) async fn preview(desk: &Desk, ids: &[i64]) -> anyhow::Result<String> {
    let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let filter = ActionFilter { ids, limit, ..ActionFilter::default() };
    listed(&desk.actions(&Actor::by_login(), filter).await?, String::new()).shown()
}

fn listed(lines: &[ActionLine], below: String) -> List<'_, ActionLine, 11> {
    List {
        lines,
        heads: [
            "ID",
            "STATUS",
            "DUE",
            "OPERATION",
            "APP",
            "MEMBER",
            "ASSIGNEE",
            "WHY",
            "APP STATUS",
            "INTEGRATION",
            "WORKSPACE",
        ],
        wide: &["APP STATUS", "INTEGRATION", "WORKSPACE"],
        cells,
        nothing: "no such actions",
        below,
    }
}

fn cells(line: &ActionLine, clock: Clock) -> [String; 11] {
    let again = match line.reopened_count {
        0 => String::new(),
        times => format!(" (reopened {times}×)"),
    };
    let due = clock.minute(line.due_at);
    let code = line.failure_code.as_deref().map(|code| format!(": {}", printable(code)));
    [
        line.id.to_string(),
        format!("{}{again}", line.status),
        if line.overdue { format!("{due} OVERDUE") } else { due },
        line.operation.clone(),
        printable(&line.integration_name),
        member(line),
        line.assignee.as_deref().map_or("-".to_owned(), printable),
        format!("{}{}", printable(&line.reason), code.unwrap_or_default()),
        line.integration_status.clone(),
        printable(&line.integration_id),
        printable(&line.workspace_id),
    ]
}

/// Whom it is about; fixing a login is about nobody.
fn member(line: &ActionLine) -> String {
    if line.member_email.is_empty() { "-".to_owned() } else { printable(&line.member_email) }
}
