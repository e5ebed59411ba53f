//! One row with all that is known of it.

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
            .ask(CARDS, name, async || Ok(desk.action(&person.actor, id).await.map(|_| 1)?))
            .await?;
    }
    for (name, id) in
        [("a waiting task", examples.waiting_task), ("an ended task", examples.ended_action)]
    {
        times.ask(CARDS, name, async || Ok(desk.task(&person.actor, id).await.map(|_| 1)?)).await?;
    }
    for (name, id) in [("a held sync", 3), ("a finished sync", 10_000)] {
        times.ask(CARDS, name, async || Ok(desk.sync(&person.actor, id).await.map(|_| 1)?)).await?;
    }
    times
        .ask(CARDS, "a return", async || {
            Ok(desk.find_return(&person.actor, 100).await.map(|_| 1)?)
        })
        .await
}
