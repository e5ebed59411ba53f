//! Who plays which story: the same people in the same apps for the same seed.

use std::collections::BTreeSet;

use cerby_reconciler::catalogue;
use cerby_reconciler::intake::inbound::InboundTask;
use cerby_reconciler::text::printable;

use super::story::{STORIES, Story};
use super::world;
use crate::simulator::{Fate, LOGIN_CODES, Operation, PERMANENT_CODES, Place, Simulator};

/// A member with their story.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) story: &'static Story,
    pub(super) place: Place,
    /// The task that begins the story.
    source: String,
    pub(super) member: String,
    /// The member's name.
    pub(super) who: String,
    pub(super) app: String,
}

impl Part {
    /// A sentence of the story, about this member and this app.
    pub(super) fn told(&self, sentence: &str) -> String {
        sentence.replace("{who}", &self.who).replace("{app}", &self.app)
    }

    fn of_task(story: &'static Story, task: &InboundTask) -> Self {
        let name = task.member_name.as_deref().unwrap_or_default();
        Self::new(story, task, task.member_id.clone(), printable(name))
    }

    fn new(story: &'static Story, task: &InboundTask, member: String, who: String) -> Self {
        let (place, source) = (world::place(task), task.source_id.clone());
        Self { story, place, source, member, who, app: task.integration_name.clone() }
    }
}

/// The members of the six stories, in the order of the stories. Each story has an app of its own, so that none of them
/// waits for another.
pub(super) fn cast(tasks: &[InboundTask], seed: u64) -> Vec<Part> {
    let mut taken = BTreeSet::new();
    let parts = STORIES.iter().map(|story| {
        let fitting: Vec<_> = tasks.iter().filter(|task| fits(task, story, tasks)).collect();
        let first = usize::try_from(seed % fitting.len().max(1) as u64).unwrap_or(0);
        let mut in_turn = fitting.iter().cycle().skip(first).take(fitting.len());
        let task = in_turn.find(|task| taken.insert(world::place(task)));
        let task = task.expect("each story fits more apps than there are stories");
        match story.operation {
            Some(_) => Part::of_task(story, task),
            None => Part::new(story, task, world::bystander_id(0), world::bystander_name(0)),
        }
    });
    parts.collect()
}

/// Whether a task begins a story.
pub(super) fn begins_one(cast: &[Part], task: &InboundTask) -> bool {
    cast.iter()
        .any(|part| part.source == task.source_id && part.place.workspace == task.workspace_id)
}

/// Sets what happens to the members of the stories. Nothing lasting happens to others in their apps: a second login
/// that is refused would stop a story.
pub(super) fn set_fates(apps: &Simulator, cast: &[Part], tasks: &[InboundTask]) {
    for task in tasks {
        let place = world::place(task);
        let Some(part) = cast.iter().find(|part| part.place == place) else { continue };
        let is_about = part.story.operation.is_some() && part.member == task.member_id;
        let fate = if is_about { part.story.fate() } else { Fate::Succeed };
        let (workspace, integration) = (&place.workspace, &place.integration);
        apps.set_fate(workspace, integration, &task.member_id, operation(task), fate);
    }
}

fn operation(task: &InboundTask) -> Operation {
    match task.operation.as_str() {
        "invite" => Operation::Invite,
        "remove" => Operation::Remove,
        _ => Operation::ChangeRole,
    }
}

fn fits(task: &InboundTask, story: &Story, tasks: &[InboundTask]) -> bool {
    let Some(app) = catalogue::find(&task.application).filter(|app| app.can_sync) else {
        return false;
    };
    if !is_plain(&task.integration_name) || is_troubled(task, tasks) {
        return false;
    }
    let Some(wanted) = story.operation else {
        // Only the report of an app can be held.
        return task.integration_kind == "app" && app.can_remove;
    };
    let can = match wanted {
        Operation::Invite => app.can_invite,
        Operation::Remove => app.can_remove,
        Operation::ChangeRole => app.can_change_role,
    };
    can && operation(task) == wanted && is_ordinary(task, tasks)
}

/// Whether another task brings a failure of the login of the same app.
fn is_troubled(task: &InboundTask, tasks: &[InboundTask]) -> bool {
    let mut neighbours = tasks.iter().filter(|other| is_same_app(other, task));
    neighbours
        .any(|other| other.failure_code.as_deref().is_some_and(|code| LOGIN_CODES.contains(&code)))
}

fn is_same_app(one: &InboundTask, other: &InboundTask) -> bool {
    one.integration_id == other.integration_id && one.workspace_id == other.workspace_id
}

/// Whether automation may try it again, for a member with a plain name and no other task.
fn is_ordinary(task: &InboundTask, tasks: &[InboundTask]) -> bool {
    let same = |other: &&InboundTask| other.member_id == task.member_id && is_same_app(other, task);
    let is_passing = |code: &str| !PERMANENT_CODES.contains(&code);
    task.member_name.as_deref().is_some_and(is_plain)
        && task.can_retry == Some(true)
        && task.job_id.is_some()
        && task.trigger != "user_deprovisioned"
        && task.failure_code.as_deref().is_some_and(is_passing)
        && tasks.iter().filter(same).count() == 1
}

/// The file of tasks also has names that try to break what shows them.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() && c < 'ɐ' || c == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::tasks;

    fn told(tasks: &[InboundTask], seed: u64) -> Vec<(String, String, String)> {
        let parts = cast(tasks, seed).into_iter();
        parts.map(|part| (part.story.title.to_owned(), part.who, part.app)).collect()
    }

    #[test]
    fn every_seed_casts_six_stories_in_six_apps() {
        let tasks = tasks::all();
        for seed in (0..40).chain([u64::MAX]) {
            let apps: BTreeSet<_> = told(&tasks, seed).into_iter().map(|(_, _, app)| app).collect();
            assert_eq!(apps.len(), STORIES.len(), "seed {seed}");
        }
    }

    #[test]
    fn the_same_seed_casts_the_same_people_and_another_casts_others() {
        let tasks = tasks::all();
        assert_eq!(told(&tasks, 7), told(&tasks, 7));
        assert_ne!(told(&tasks, 7), told(&tasks, 8));
    }
}
