//! The apps before the first failed task arrives, and the expected final state of each member.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::{Integration, Kind, Member, Place, World};
use cerby_reconciler::intake::inbound::InboundTask;

/// The number of people per integration for whom no task exists.
const BYSTANDERS: usize = 30;
const FORMER_ROLE: &str = "GUEST";
const FIRST_NAMES: [&str; 6] = ["Mara", "Tom", "Lea", "Ivo", "Nina", "Paul"];
const LAST_NAMES: [&str; 5] = ["Bell", "Frost", "Hale", "Lane", "Reed"];

/// The state of a member that the latest request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) place: Place,
    pub(super) member: String,
    /// Whether they are a member or invited.
    pub(super) present: bool,
    /// Their roles, if they are.
    pub(super) roles: BTreeSet<String>,
}

/// The world before these tasks were created.
pub(super) fn before(tasks: &[InboundTask]) -> World {
    let integrations = integrations(tasks);
    let world = integrations.values().fold(World::new(), |world, integration| {
        with_bystanders(world.integration((*integration).clone()), integration)
    });
    intents(tasks).iter().fold(world, |world, (place, intents)| {
        let first = intents[0];
        let person = person(first);
        if first.operation == "invite" {
            return world.person(&place.0.workspace, person);
        }
        world.person(&place.0.workspace, person.clone()).member(
            &place.0.workspace,
            &place.0.integration,
            person.with(&[FORMER_ROLE]),
        )
    })
}

/// The expected final state of each member: that of the latest request, in whatever order the tasks arrive.
pub(super) fn endings(tasks: &[InboundTask]) -> Vec<Ending> {
    intents(tasks)
        .into_iter()
        .map(|((place, member), intents)| {
            let last = intents[intents.len() - 1];
            Ending {
                place,
                member,
                present: last.operation != "remove",
                roles: last.entitlements.iter().cloned().collect(),
            }
        })
        .collect()
}

/// The tasks of each member, in the order in which they were requested.
fn intents(tasks: &[InboundTask]) -> BTreeMap<(Place, String), Vec<&InboundTask>> {
    let mut intents: BTreeMap<_, Vec<&InboundTask>> = BTreeMap::new();
    for task in tasks {
        let key = (place(task), task.member_id.clone());
        intents.entry(key).or_default().push(task);
    }
    for tasks in intents.values_mut() {
        tasks.sort_by_key(|task| task.requested_at.at);
    }
    intents
}

fn integrations(tasks: &[InboundTask]) -> BTreeMap<Place, Integration> {
    tasks.iter().map(|task| (place(task), integration(task))).collect()
}

pub(super) fn place(task: &InboundTask) -> Place {
    Place::new(&task.workspace_id, &task.integration_id)
}

fn integration(task: &InboundTask) -> Integration {
    let kind = match task.integration_kind.as_str() {
        "app" => Kind::App,
        _ => Kind::BusinessHub,
    };
    let integration = Integration::new(
        &task.workspace_id,
        &task.integration_id,
        &task.integration_name,
        kind,
        &task.application,
    );
    Integration {
        // Makes a client visible that sends an invitation twice.
        resends_invitations: true,
        ..integration
    }
}

fn person(task: &InboundTask) -> Member {
    let name = task.member_name.as_deref().unwrap_or_default();
    let (first, last) = name.split_once(' ').unwrap_or((name, ""));
    Member {
        username: task.member_username.clone(),
        first_name: first.to_owned(),
        last_name: last.to_owned(),
        ..Member::new(&task.member_id, &task.member_email)
    }
}

fn with_bystanders(world: World, integration: &Integration) -> World {
    (0..BYSTANDERS).fold(world, |world, n| {
        let id = bystander_id(n);
        let email = format!("{id}@{}.example.com", integration.workspace);
        let member = Member {
            first_name: first_name(n).to_owned(),
            last_name: last_name(n).to_owned(),
            ..Member::new(&id, &email).with(&["VIEWER"])
        };
        world.member(&integration.workspace, &integration.id, member)
    })
}

pub(super) fn bystander_id(n: usize) -> String {
    format!("bystander-{n:02}")
}

pub(super) fn bystander_name(n: usize) -> String {
    format!("{} {}", first_name(n), last_name(n))
}

fn first_name(n: usize) -> &'static str {
    FIRST_NAMES[n % FIRST_NAMES.len()]
}

fn last_name(n: usize) -> &'static str {
    LAST_NAMES[n / FIRST_NAMES.len() % LAST_NAMES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::tasks;

    #[test]
    fn the_latest_intent_decides_however_tasks_arrive() {
        let mut tasks = tasks::all();
        let endings = super::endings(&tasks);
        tasks.reverse();
        assert_eq!(super::endings(&tasks), endings);
        assert!(endings.iter().any(|ending| !ending.present));
        assert!(endings.iter().any(|ending| ending.present && !ending.roles.is_empty()));
    }

    #[test]
    fn some_members_have_several_intents() {
        let tasks = tasks::all();
        let several = intents(&tasks).values().filter(|one| one.len() > 1).count();
        assert!(several >= 30, "{several}");
    }
}
