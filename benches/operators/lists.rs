//! The lists of tasks, syncs, returns, integrations and the trail, with every combination of their filters and from the
//! middle.

use cerby_reconciler::history::{EventFilter, Subject};
use cerby_reconciler::integration::store::IntegrationFilter;
use cerby_reconciler::manual_action::return_review::ReturnFilter;
use cerby_reconciler::manual_action::review::ActionFilter;
use cerby_reconciler::retry::review::TaskFilter;
use cerby_reconciler::sync::review::Filter;

use crate::person::Person;
use crate::times::{Group, Times};

const TASKS: Group = Group::query("tasks");
const SYNCS: Group = Group::query("syncs");
const RETURNS: Group = Group::query("returns");
const INTEGRATIONS: Group = Group::query("integrations");
const EVENTS: Group = Group::query("events");
const PREVIEW: Group = Group::query("actions, one filter");

const WORKSPACE: &str = "workspace-3";
const INTEGRATION: &str = "app-199";

/// Somewhere in the middle of the 20 000 syncs and of the 200 returns.
const SYNC: i64 = 10_000;
const RETURN: i64 = 100;

pub(crate) async fn measure(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    tasks(person, times).await?;
    syncs(person, times).await?;
    returns(person, times).await?;
    integrations(person, times).await?;
    events(person, times).await?;
    preview(person, times).await
}

/// The sets of these filters, as a name and one flag for each.
fn sets<const N: usize>(filters: [&str; N]) -> impl Iterator<Item = (String, [bool; N])> {
    (0..1_usize << N).map(move |set| {
        let chosen: [bool; N] = std::array::from_fn(|bit| set & (1 << bit) != 0);
        let words = filters.iter().zip(chosen).filter(|(_, is_chosen)| *is_chosen);
        let name = words.map(|(word, _)| *word).collect::<Vec<_>>().join(" ");
        (if name.is_empty() { "no filter".to_owned() } else { name }, chosen)
    })
}

async fn tasks(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    for (name, [workspace, integration, member, after]) in
        sets(["workspace", "integration", "member", "from the middle"])
    {
        let filter = TaskFilter {
            workspace: workspace.then_some(WORKSPACE),
            integration: integration.then_some(INTEGRATION),
            member: member.then_some("later-7@example.com"),
            after: after.then_some(person.examples.waiting_task),
            limit: 100,
            ..TaskFilter::default()
        };
        let desk = person.desk().await?;
        times.ask(TASKS, name, async || Ok(desk.tasks(&person.actor, filter).await?.len())).await?;
    }
    Ok(())
}

async fn syncs(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    for (name, [workspace, integration, held, after]) in
        sets(["workspace", "integration", "held", "from the middle"])
    {
        let filter = Filter {
            workspace: workspace.then_some(WORKSPACE),
            integration: integration.then_some(INTEGRATION),
            held,
            after: after.then_some(SYNC),
            limit: 100,
            ..Filter::default()
        };
        let desk = person.desk().await?;
        times.ask(SYNCS, name, async || Ok(desk.syncs(&person.actor, filter).await?.len())).await?;
    }
    Ok(())
}

async fn returns(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    for (name, [workspace, integration, after]) in
        sets(["workspace", "integration", "from the middle"])
    {
        let filter = ReturnFilter {
            workspace: workspace.then_some(WORKSPACE),
            integration: integration.then_some(INTEGRATION),
            after: after.then_some(RETURN),
            limit: 100,
            ..ReturnFilter::default()
        };
        let desk = person.desk().await?;
        times
            .ask(RETURNS, name, async || Ok(desk.returns(&person.actor, filter).await?.len()))
            .await?;
    }
    Ok(())
}

async fn integrations(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    for (name, [only_inactive, workspace, after]) in
        sets(["inactive", "workspace", "from the middle"])
    {
        let filter = IntegrationFilter {
            only_inactive,
            workspace: workspace.then_some("workspace-0"),
            after: after.then_some(("workspace-0", "app-100")),
            limit: 100,
            id: None,
        };
        let desk = person.desk().await?;
        times
            .ask(INTEGRATIONS, name, async || {
                Ok(desk.integrations(&person.actor, filter).await?.len())
            })
            .await?;
    }
    Ok(())
}

async fn events(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    let action = person.examples.unfinished_action.to_string();
    for (name, [row, workspace, after]) in sets(["row", "workspace", "from the middle"]) {
        let filter = EventFilter {
            row: row.then_some((Subject::Action, action.as_str())),
            workspace: workspace.then_some(WORKSPACE),
            after: after.then_some(person.examples.ended_action),
            limit: 100,
        };
        let desk = person.desk().await?;
        times
            .ask(EVENTS, name, async || Ok(desk.events(&person.actor, filter).await?.len()))
            .await?;
    }
    Ok(())
}

/// What a verb for many actions shows before it changes them.
async fn preview(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    let last = person.examples.last_unfinished_action;
    let ids: Vec<_> = (last - 99..=last).collect();
    let filter = ActionFilter { ids: &ids, limit: 100, ..ActionFilter::default() };
    let desk = person.desk().await?;
    times
        .ask(PREVIEW, "100 ids", async || Ok(desk.actions(&person.actor, filter).await?.len()))
        .await
}
