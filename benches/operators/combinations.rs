//! The list of actions with every combination of its filters: those that leave much, some and little.

use cerby_reconciler::manual_action::review::ActionFilter;
use cerby_reconciler::manual_action::status::ActionStatus::{
    self, Dismissed, Done, InProgress, Open, Verified,
};
use cerby_reconciler::membership::ActionOperation;

use crate::person::Person;
use crate::times::{Group, Times};

const PLAIN: Group = Group::query("actions, one filter");
const COMBINED: Group = Group::combinations("actions, several filters");
const ENDED: Group = Group::query("ended actions, one filter");
const ENDED_COMBINED: Group = Group::combinations("ended actions, several");
const COUNTED: Group = Group::query("actions, counted");
const DEEP: Group = Group::query("actions, from the middle");

/// Whose statuses are asked for.
const SCOPES: [(&str, &[ActionStatus]); 7] = [
    ("unfinished", &[Open, InProgress, Done]),
    ("open", &[Open]),
    ("in_progress", &[InProgress]),
    ("done", &[Done]),
    ("verified", &[Verified]),
    ("dismissed", &[Dismissed]),
    ("all", &[]),
];

/// What the filters ask for.
#[derive(Clone, Copy)]
struct Values<'a> {
    name: &'static str,
    workspace: &'a str,
    integration: &'a str,
    member: &'a str,
    operation: ActionOperation,
    cause: &'a str,
}

/// One bit for each filter.
const FILTERS: [&str; 7] =
    ["workspace", "integration", "member", "operation", "cause", "overdue", "mine"];
const OVERDUE: usize = 5;

/// Whether a set of filters has values: each but the last two does.
const WITH_VALUES: usize = (1 << OVERDUE) - 1;

pub(crate) async fn measure(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    let (id, email) = &person.examples.member;
    let much = Values {
        name: "much",
        workspace: "workspace-0",
        integration: "app-0",
        member: id,
        operation: ActionOperation::Remove,
        cause: "NotEnoughSeats",
    };
    let some = Values {
        name: "some",
        workspace: "workspace-2",
        integration: "app-50",
        member: id,
        operation: ActionOperation::ChangeRole,
        cause: "PageChanged",
    };
    let little = Values {
        name: "little",
        workspace: "workspace-3",
        integration: "app-199",
        member: email,
        operation: ActionOperation::Reconnect,
        cause: "OddAnswer",
    };
    for (scope, statuses) in SCOPES {
        let is_unfinished =
            !statuses.is_empty() && statuses.iter().all(|status| status.is_unfinished());
        // Overdue and somebody's are asked of unfinished ones, whatever their status.
        let sets = if statuses.len() > 1 { 1 << FILTERS.len() } else { 1 << OVERDUE };
        for set in 0..sets {
            for values in [much, some, little] {
                if set & WITH_VALUES == 0 && values.name != much.name {
                    continue;
                }
                let filter = ActionFilter { statuses, limit: 100, ..filter(set, values) };
                let asked = Asked { name: name(scope, set, values), filter, set, is_unfinished };
                asked.measure(person, times).await?;
            }
        }
    }
    Ok(())
}

fn filter(set: usize, values: Values<'_>) -> ActionFilter<'_> {
    let has = |bit: usize| set & (1 << bit) != 0;
    ActionFilter {
        workspace: has(0).then_some(values.workspace),
        integration: has(1).then_some(values.integration),
        member: has(2).then_some(values.member),
        operation: has(3).then_some(values.operation),
        cause: has(4).then_some(values.cause),
        overdue: has(OVERDUE),
        mine: has(OVERDUE + 1),
        ..ActionFilter::default()
    }
}

fn name(scope: &str, set: usize, values: Values<'_>) -> String {
    let chosen = FILTERS.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0);
    let words = chosen
        .map(|(bit, word)| if bit < OVERDUE { format!(" {word}") } else { format!(" --{word}") });
    let much = if set & WITH_VALUES == 0 { String::new() } else { format!(" ({})", values.name) };
    format!("{scope}{}{much}", words.collect::<String>())
}

struct Asked<'a> {
    name: String,
    filter: ActionFilter<'a>,
    set: usize,
    is_unfinished: bool,
}

impl Asked<'_> {
    /// The first page, and of what has at most one filter also the count and a page in the middle.
    async fn measure(&self, person: &Person, times: &mut Times) -> anyhow::Result<()> {
        let group = match (self.is_unfinished, self.set.count_ones()) {
            (false, 0 | 1) => ENDED,
            (false, _) => ENDED_COMBINED,
            (true, 0 | 1) => PLAIN,
            (true, _) => COMBINED,
        };
        self.list(person, group, self.filter, times).await?;
        if self.set.count_ones() > 1 {
            return Ok(());
        }
        if self.is_unfinished {
            let desk = person.desk().await?;
            let count = async || {
                Ok(usize::try_from(desk.count_actions(&person.actor, self.filter).await?)?)
            };
            times.ask(COUNTED, &self.name, count).await?;
        }
        let examples = &person.examples;
        let after =
            if self.is_unfinished { examples.unfinished_action } else { examples.ended_action };
        let filter = ActionFilter { after: Some(after), ..self.filter };
        self.list(person, DEEP, filter, times).await
    }

    async fn list(
        &self,
        person: &Person,
        group: Group,
        filter: ActionFilter<'_>,
        times: &mut Times,
    ) -> anyhow::Result<()> {
        let desk = person.desk().await?;
        times
            .ask(group, &self.name, async || Ok(desk.actions(&person.actor, filter).await?.len()))
            .await
    }
}
