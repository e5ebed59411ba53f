//! One action as a page: what to do, where it stands, and what happened.

use crate::manual_action::card::ActionFacts;
use crate::operator::cli::terminal::{clock, facts, happened};
use crate::operator::desk::{ActionCard, Names};
use crate::text::printable;

pub(super) fn of(ActionCard { facts: card, trail }: &ActionCard, names: &Names) -> String {
    // The instructions were rendered from names that anybody may type, and made printable then.
    let head = format!(
        "Manual action {} of workspace {}: {}\n\n{}\n\n",
        card.id, card.workspace_id, card.status, card.instructions
    );
    head + &facts(known(card, names)) + &happened(trail, names)
}

fn known(card: &ActionFacts, names: &Names) -> [(&'static str, Option<String>); 21] {
    let text = |text: &Option<String>| text.as_deref().map(printable);
    let person = |who: &Option<String>| who.as_deref().map(|who| printable(names.of(who)));
    let moment = |at| clock().moment(at);
    let assignee = person(&card.assignee).unwrap_or_else(|| "nobody".to_owned());
    let reopened = (card.reopened_count > 0).then(|| match card.reopened_count {
        1 => "once".to_owned(),
        times => format!("{times} times"),
    });
    [
        ("due", Some(moment(card.due_at))),
        ("assignee", Some(assignee)),
        ("why", Some(printable(&card.reason))),
        ("failure code", text(&card.failure_code)),
        ("failure message", text(&card.failure_message)),
        ("attempts", Some(card.attempts.to_string())),
        ("integration", Some(format!("{}, {}", card.integration_id, card.integration_status))),
        ("task", Some(card.task_id.to_string())),
        ("opened", Some(moment(card.opened_at))),
        ("instructions", instructions(card)),
        ("pictures", pictures(card)),
        ("screen changed", screen_changed(card, names)),
        ("reopened", reopened),
        ("note", text(&card.note)),
        ("done by", person(&card.done_by)),
        ("done at", card.done_at.map(moment)),
        ("confirmed by", person(&card.confirmed_by)),
        ("verdict", text(&card.verdict)),
        ("verdict at", card.verdict_at.map(moment)),
        ("read by", card.sync_id.map(|sync| format!("sync {sync}"))),
        ("observed", text(&card.observed)),
    ]
}

/// The text that the instructions were made of, and its version.
fn instructions(card: &ActionFacts) -> Option<String> {
    let (name, hash) = (card.instructions_name.as_deref()?, card.short_hash()?);
    let source = card.instructions_source.as_deref().unwrap_or_default();
    Some(format!("{} ({source}, {hash})", printable(name)))
}

/// A terminal shows no pictures: the console does.
fn pictures(card: &ActionFacts) -> Option<String> {
    let pictures = card.pictures.iter();
    let pictures: Vec<_> = pictures
        .map(|picture| format!("step {}: {}", picture.step, printable(&picture.alt)))
        .collect();
    (!pictures.is_empty()).then(|| format!("{}; the console shows them", pictures.join(", ")))
}

fn screen_changed(card: &ActionFacts, names: &Names) -> Option<String> {
    let (at, by) = (card.screen_changed_at?, card.screen_changed_by.as_deref()?);
    let note = card.screen_changed_note.as_deref().map(|note| format!(": {}", printable(note)));
    let (at, by) = (clock().moment(at), printable(names.of(by)));
    Some(format!("reported at {at} by {by}{}", note.unwrap_or_default()))
}
