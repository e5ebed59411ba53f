//! What stays on the terminal when the demo has ended.

use super::progress::Progress;
use super::screen::{clock, plain};
use super::snapshot::Snapshot;
use super::story::Act;

pub(super) fn text(last: &Snapshot, source: &str) -> String {
    let ran = clock(last.running_for());
    let facts = [
        ("Counts", last.counts() + "."),
        ("Proven", proven(last)),
        ("The lie", lie(&last.stories)),
        ("Stories", stories(&last.stories)),
    ];
    let facts: String =
        facts.iter().map(|(head, text)| plain(&format!("  {head:<9}"), text)).collect();
    format!(
        "The demo with seed {seed} ran for {ran}. Its database and its files are gone.\n\n{facts}\n\
         Again, with the same people and stories:\n  make demo SEED={seed}\n\
         While it runs, in another terminal:\n  {source}\n  reconciler-demo do 7\n  reconciler-demo sql\n",
        seed = last.seed,
    )
}

fn proven(last: &Snapshot) -> String {
    let verified = Snapshot::in_state(&last.actions, "verified");
    let held = last.held_reports;
    format!(
        "{verified} changes by people, each by a snapshot younger than their statement. Reports held because they \
         removed too many: {held}."
    )
}

/// What was said, what a snapshot showed, and how it ended.
fn lie(stories: &[Progress]) -> String {
    let is_lie = |step: &super::story::Step| step.act == Some(Act::Lie);
    let told = stories.iter().find_map(|progress| {
        let at = progress.part.story.steps.iter().position(is_lie)?;
        let told: Vec<_> = progress.told().skip(at).map(|(_, text)| text).collect();
        let end = told.last().filter(|_| progress.has_ended());
        (!told.is_empty())
            .then(|| told.iter().take(2).chain(end).cloned().collect::<Vec<_>>().join(" "))
    });
    told.unwrap_or_else(|| "Nobody had told it yet.".to_owned())
}

fn stories(stories: &[Progress]) -> String {
    let ended = stories.iter().filter(|progress| progress.has_ended()).count();
    format!("{ended} of {} ended.", stories.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::screen::example;

    #[test]
    fn what_stays_is_short_and_names_the_lie_and_the_commands() {
        let text = text(&example::snapshot(), example::SOURCE);
        assert!(text.lines().count() <= 20, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("still shows Oluwaseun Patel: contradicted."), "{text}");
        for command in ["make demo SEED=1", ". target/demo.env", "reconciler-demo do 7"] {
            assert!(text.lines().any(|line| line.trim() == command), "{command}: {text}");
        }
    }
}
