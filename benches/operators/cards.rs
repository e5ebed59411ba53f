//! One row with all that is known of it.

use cerby_reconciler::operator::desk::Actor;

use crate::person::Person;
use crate::times::{Group, Times};

const CARDS: Group = Group::query("one row");

pub(crate) async fn measure(person: &Person, times: &mut Times) -> anyhow::Result<()> {
    let examples = &person.examples;
    let desk = person.desk().await?;
    for (name, id) in [
        ("an unfinished action", examples.unfinished_action),
        ("an ended action", examples.ended_action),
    ] {
        times
            .ask(CARDS, name, async || Ok(desk.action(&Actor::by_login(), id).await.map(|_| 1)?))
            .await?;
    }
    for (name, id) in
        [("a waiting task", examples.waiting_task), ("an ended task", examples.ended_action)]
    {
        times
            .ask(CARDS, name, async || Ok(desk.task(&Actor::by_login(), id).await.map(|_| 1)?))
            .await?;
    }
    for (name, id) in [("a held sync", 1), ("a finished sync", 10_000)] {
        times
            .ask(CARDS, name, async || Ok(desk.sync(&Actor::by_login(), id).await.map(|_| 1)?))
            .await?;
    }
    times
        .ask(CARDS, "a return", async || {
            Ok(desk.find_return(&Actor::by_login(), 100).await.map(|_| 1)?)
        })
        .await
}
