//! How a run goes and how it ended, in numbers.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use testkit::simulator::Author;

use super::checks::doubts::stricter;
use super::checks::words::{Count, Words, compared};
use super::record::Record;
use super::run::Run;
use super::settings::CONFIGURATION;
use super::world::World;

const STATES: &str = "select state from (
        select 'task ' || state as state, id from reconciler.automation_tasks
        union all select 'action ' || status, id from reconciler.manual_actions
        union all select 'sync ' || state, id from reconciler.syncs) all_rows";

/// How many tasks, actions and syncs have not ended, how much of what the person did was not taken up, and how many
/// removals are still to be looked at; nothing while the database is down. A removal that a sync could not show is looked
/// at again an hour later, which no run waits for.
pub(super) async fn unfinished(world: &World) -> Option<i64> {
    sqlx::query_scalar(
        "select (select count(*) from reconciler.task_places)
              + (select count(*) from reconciler.manual_actions where closed_at is null)
              + (select count(*) from reconciler.syncs where finished_at is null)
              + (select count(*) from reconciler.nudges)
              + (select count(*) from reconciler.members where watch_operation = 'remove' and watch_asked_at is null)",
    )
    .fetch_one(&world.owner)
    .await
    .ok()
}

/// Everything in its states, in one line.
pub(super) async fn line(world: &World) -> String {
    match states(world).await {
        Ok(states) => listed(&states),
        Err(_) => "the database is down".to_owned(),
    }
}

async fn states(world: &World) -> sqlx::Result<BTreeMap<String, u64>> {
    let states: Vec<String> = sqlx::query_scalar(STATES).fetch_all(&world.owner).await?;
    let mut counts = BTreeMap::new();
    for state in states {
        *counts.entry(state).or_default() += 1;
    }
    Ok(counts)
}

/// The end of a run.
pub(super) async fn print(run: &Run, took: Duration) {
    let apps = &run.world.apps;
    let counters = apps.counters();
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in counters.faults.values().flatten() {
        *faults.entry(kind).or_default() += count;
    }
    let effects = apps.effects();
    let by = |author| effects.iter().filter(|effect| effect.author == author).count();
    println!("soak: {:.1} s, {:?}", took.as_secs_f64(), run.settings);
    println!("  configuration: {}", listed(&CONFIGURATION.iter().copied().collect()));
    println!(
        "  planned: {} tasks, {} members",
        run.world.plan.tasks(),
        run.world.plan.members.len()
    );
    println!("  rows: {}", line(&run.world).await);
    println!("  trouble: {}", listed(&run.dealt.all()));
    for (what, time) in run.dealt.longest() {
        println!("  {what}: after {:.1} s at most", time.as_secs_f64());
    }
    for (trouble, times) in run.recoveries.by_trouble() {
        let (half, most) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "  work went on after {trouble} ({}): {half:.2} s, {most:.2} s at most",
            times.len()
        );
    }
    println!("  not run: {}", run.recoveries.not_run().join(", "));
    println!("  replicas started again: {}", run.restarts);
    println!("  faults of requests: {}", listed(&faults));
    println!("  the person: {}", listed(&run.changes.all()));
    println!(
        "  effects: {} by automation, {} of it elsewhere, {} by the person; jobs: {}, of them unheard: {}",
        by(Author::Automation) + by(Author::Elsewhere),
        by(Author::Elsewhere),
        by(Author::Person),
        apps.starts().len(),
        apps.starts().iter().filter(|start| !start.is_heard).count()
    );
    if let Ok(record) = Record::read(&run.world).await {
        print_words(&compared(&record, &run.world.plan.members));
        let (all, stricter) = (record.doubts.len(), stricter(&record));
        println!(
            "  claims with something in doubt: {all}, more than has to be: {}",
            stricter.len()
        );
        stricter.iter().for_each(|at_claim| println!("    {at_claim:?}"));
    }
    let events = run.replicas.events();
    println!("  stale writes refused: {}", events.get("lease.lost").copied().unwrap_or_default());
    println!("  log: {}", listed(&events));
}

fn print_words(words: &Words) {
    let of = |what: &str, Count { all, false_ones }| format!("{what} {all}, false {false_ones}");
    println!(
        "  words compared with the apps: {}; {}; {}",
        of("verified", words.verified),
        of("not_needed", words.not_needed),
        of("removals succeeded", words.removed)
    );
}

pub(super) fn listed<K: Display, V: Display>(counts: &BTreeMap<K, V>) -> String {
    let words: Vec<_> = counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
    words.join(", ")
}
